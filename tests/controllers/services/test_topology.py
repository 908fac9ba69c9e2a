"""Endpoints shared out among zones by their CPUs, as the annotation topology-mode: Auto has it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.base import well_known
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.services import behind, slices, topology
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

OF_CONTROL_PLANE = {well_known.CONTROL_PLANE_LABELS[0]: ""}
AUTO = {well_known.TOPOLOGY_MODE_ANNOTATION: "Auto"}


def node(name: str, zone: str, cpu: str = "4", ready: bool = True, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, **({well_known.ZONE_LABEL: zone} if zone else {})}},
        "status": {
            "allocatable": {"cpu": cpu} if cpu else {},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def service(**spec: Any) -> Object:
    annotations = spec.pop("annotations", AUTO)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "s", "annotations": annotations},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }


def pod(number: int, node_name: str, ready: bool = True) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web-{number}", "namespace": "default", "uid": f"u{number}", "labels": {"app": "web"}},
        "spec": {"nodeName": node_name, "containers": [{"name": "web"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "podIP": f"10.0.0.{number}",
        },
    }


def shared(zones: str, **shares: float) -> str:
    """The zone that each endpoint is for; each is a letter, in the order of addresses."""
    return "".join(topology.hints(list(enumerate(zones)), shares).values())


@pytest.mark.parametrize(
    ("zones", "shares", "then"),
    [
        ("aabb", {"a": 0.5, "b": 0.5}, "aabb"),
        ("aaab", {"a": 0.5, "b": 0.5}, "baab"),
        ("aaaa", {"a": 0.5, "b": 0.5}, "bbaa"),
        ("aaabbb", {"a": 0.25, "b": 0.75}, "baabbb"),  # b lacks 1.5, but a has not more than one that it may give.
        ("aaabbbccc", {"a": 0.5, "b": 0.25, "c": 0.25}, "aaaabbccc"),  # Two parts of one are no whole.
        ("ccccc", {"a": 0.4, "b": 0.6}, "ccccc"),  # In a zone that does not count: nobody gives.
    ],
)
def test_a_zone_lends_what_it_has_above_its_part(zones: str, shares: dict[str, float], then: str) -> None:
    assert Counter(shared(zones, **shares)) == Counter(then)


@pytest.mark.parametrize(
    ("zones", "shares", "why"),
    [
        ("ab", {"a": 0.4, "b": 0.3, "c": 0.3}, r"fewer endpoints \(2\) than zones \(3\)"),
        ("abc", {"a": 0.5, "b": 0.4, "c": 0.1}, "3 endpoints are too few"),
        (["a", "b", "", "a"], {"a": 0.5, "b": 0.5}, "an endpoint is in no zone"),
    ],
)
def test_what_would_not_be_fair_is_not_done(zones: Any, shares: dict[str, float], why: str) -> None:
    with pytest.raises(topology.NoHints, match=why):
        topology.hints(list(enumerate(zones)), shares)


@given(
    st.lists(st.sampled_from("abc"), min_size=3, max_size=60),
    st.tuples(*[st.integers(1, 16)] * 3),
)
def test_no_zone_is_overloaded(zones: list[str], cpus: tuple[int, int, int]) -> None:
    shares = {zone: cpu / sum(cpus) for zone, cpu in zip("abc", cpus, strict=True)}
    try:
        found = list(topology.hints(list(enumerate(zones)), shares).values())
    except topology.NoHints:
        return
    assert len(found) == len(zones)
    for zone, share in shares.items():
        assert found.count(zone) >= share * len(zones) / (1 + topology.OVERLOAD) - 1
        lent = sum(one == zone != own for one, own in zip(found, zones, strict=True))
        given_away = sum(own == zone != one for one, own in zip(found, zones, strict=True))
        assert not (lent and given_away), "a zone gives or takes"


@pytest.mark.parametrize(
    ("nodes", "then"),
    [
        ([node("a", "x"), node("b", "y", "12")], {"x": 0.25, "y": 0.75}),
        ([node("a", "x"), node("b", "y"), node("c", "y", "8"), node("d", "", ready=False)], {"x": 0.25, "y": 0.75}),
        (
            [node("a", "x"), node("b", "y"), node("c", "", **OF_CONTROL_PLANE)],
            {"x": 0.5, "y": 0.5},
        ),
        ([node("a", "x"), node("b", "y"), node("c", "")], "node c tells no zone"),
        ([node("a", "x"), node("b", "y", "")], "node b tells no CPUs"),
        ([node("a", "x"), node("b", "x")], "the nodes that are ready are in 1 zones"),
    ],
)
def test_the_part_of_a_zone_is_that_of_its_ready_nodes(nodes: list[Object], then: Any) -> None:
    shares = topology.Shares(Snapshot(nodes))
    if isinstance(then, str):
        with pytest.raises(topology.NoHints, match=then):
            shares.by_zone()
    else:
        assert shares.by_zone() == pytest.approx(then)


class Story:
    def __init__(self, **spec: Any) -> None:
        nodes = [node("a", "x"), node("b", "y")]
        pods = [pod(number, "a" if number < 4 else "b") for number in range(1, 5)]
        self.view = Snapshot([service(**spec), *nodes, *pods])
        for kind in (SERVICES, ENDPOINTSLICES):
            self.view.of(kind)

    def run(self) -> list[tuple[str, str]]:
        """What is told; what is written is so afterwards."""
        told: list[tuple[str, str]] = []
        for step in slices.reconcile("default/web", self.view, 0):
            if isinstance(step, actions.Create | actions.Update):
                self.view.of(ENDPOINTSLICES).put(step.object)
            elif isinstance(step, actions.EmitEvent):
                told.append((step.type, step.reason))
        return told

    def hints(self) -> list[str]:
        (slice_,) = self.view.list(ENDPOINTSLICES)
        zones = [meta.parts(one, "hints", "forZones") for one in slice_["endpoints"]]
        return [found[0]["name"] if found else "" for found in zones]


def test_slices_say_for_which_zone_each_endpoint_is_and_follow_nodes_and_pods() -> None:
    story = Story()
    assert story.run() == [("Normal", topology.ENABLED)]
    assert sorted(story.hints()) == ["x", "x", "y", "y"] and story.hints()[3] == "y"
    assert story.run() == [] and slices.reconcile("default/web", story.view, 0) == []

    story.view.of(NODES).put(node("b", "y", "12"))
    assert list(behind.keys_of_node(node("c", ""), story.view)) == ["default/web"]
    assert story.run() == [] and sorted(story.hints()) == ["x", "y", "y", "y"]

    story.view.of(PODS).put(pod(4, "b", ready=False))  # Who is not ready is for nobody.
    assert story.run() == [] and sorted(story.hints()) == ["", "x", "y", "y"]

    story.view.of(NODES).put(node("b", "y", ready=False))
    assert story.run() == [("Warning", topology.DISABLED)] and story.hints() == ["", "", "", ""]
    assert story.run() == []
    story.view.of(NODES).put(node("b", "y"))
    story.view.of(PODS).put(pod(4, "b"))
    assert story.run() == [("Normal", topology.ENABLED)] and sorted(story.hints()) == ["x", "x", "y", "y"]

    story.view.of(SERVICES).put(service(annotations={}))
    assert story.run() == [] and story.hints() == ["", "", "", ""]


@pytest.mark.parametrize(
    ("annotations", "is_shared"),
    [
        ({}, False),
        (AUTO, True),
        ({well_known.TOPOLOGY_MODE_ANNOTATION: "auto"}, True),
        ({well_known.TOPOLOGY_MODE_ANNOTATION: "Disabled"}, False),
        ({well_known.TOPOLOGY_HINTS_ANNOTATION: "Auto"}, True),
        ({**AUTO, well_known.TOPOLOGY_HINTS_ANNOTATION: "Disabled"}, False),  # The older one goes first.
    ],
)
def test_the_annotation_goes_before_what_else_is_preferred(annotations: Any, is_shared: bool) -> None:
    story = Story(annotations=annotations, trafficDistribution="PreferSameNode")
    story.run()
    (slice_,) = story.view.list(ENDPOINTSLICES)
    for_nodes = [meta.parts(one, "hints", "forNodes") for one in slice_["endpoints"]]
    assert sorted(story.hints()) == (["x", "x", "y", "y"] if is_shared else ["x", "x", "x", "y"])
    assert [bool(found) for found in for_nodes] == [not is_shared] * 4


def test_two_annotations_have_to_say_the_same() -> None:
    both = {**AUTO, well_known.TOPOLOGY_HINTS_ANNOTATION: "Disabled"}
    same = {**AUTO, well_known.TOPOLOGY_HINTS_ANNOTATION: "Auto"}
    told = [error.field for error in service_kind.validate(service(annotations=both))]
    assert "metadata.annotations[service.kubernetes.io/topology-mode]" in told
    assert len(service_kind.validate(service(annotations=same))) == len(told) - 1
