"""Where pods go: the cases of tests/cases/scheduling, and what holds however nodes and pods are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.client.views import Snapshot
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.scheduler import policy, profiles
from tests import case_files
from tests.scheduler import short


@pytest.mark.parametrize("case", case_files.cases("scheduling"))
def test_case(case: dict[str, Any]) -> None:
    head = f"apiVersion: {profiles.API_VERSION}\nkind: {profiles.KIND}\n"
    named = profiles.read((head + case["given"].get("profiles", "")).encode())
    decisions = policy.place(Snapshot(short.objects(case["given"])), profiles=named)
    decision = {meta.name(one.pod): one for one in decisions}["p"]
    why, _, preempting = decision.why.partition(" preemption: ")
    assert (decision.node or why) == case["then"]
    if "preemption" in case:
        assert preempting == case["preemption"]
    assert list(map(meta.name, decision.victims)) == case.get("victims", [])
    if "tells" in case:
        assert list(map(meta.name, decision.claims_to_tell)) == case["tells"]
    if "waits_for" in case:
        assert decision.waits_for == case["waits_for"]


def test_a_volume_is_promised_once_to_those_that_are_placed_one_after_another() -> None:
    local = {"name": "local", "provisioner": "kubernetes.io/no-provisioner"}
    claims = [{"name": name, "class": "local"} for name in ("data", "other")]
    given = {"nodes": {"n1": {"zone": "a"}}, "classes": [local], "claims": claims}
    given |= {"volumes": [{"name": "v", "class": "local", "zone": "a"}], "pending": [{"name": "q", "claim": "other"}]}
    view = Snapshot(short.objects({**given, "pod": {"claim": "data"}}))
    promised: dict[str, str] = {}
    placed = [policy.place(view, [one], promised=promised)[0].node for one in policy.next_waiting(view)]
    assert (placed, promised) == (["n1", ""], {"v": "default/other"})


# Laws, held against a scheduler's simplest sentences.

APPS = st.sampled_from(["a", "b", "c"])
TERM = st.fixed_dictionaries({"app": APPS, "by": st.sampled_from(["zone", short.HOST])})
SPREAD = st.fixed_dictionaries({"by": st.sampled_from(["zone", short.HOST]), "max": st.integers(1, 2)})
POD = st.fixed_dictionaries(
    {"app": APPS, "cpu": st.sampled_from(["500m", "1", "2"])},
    optional={
        "apart": st.lists(TERM, min_size=1, max_size=2),
        "near": st.lists(TERM, min_size=1, max_size=2),
        "spread": st.lists(SPREAD, min_size=1, max_size=1),
        "ports": st.just([80]),
    },
)
NODE = st.fixed_dictionaries({"cpu": st.sampled_from(["1", "3"])}, optional={"zone": st.sampled_from(["x", "y"])})


def made(number: int, one: dict[str, Any]) -> Object:
    app = one["app"]
    given = {**one, "name": f"p{number}", "labels": {"app": app}, "selects": {"app": app}, "made": f"20{number:02d}"}
    return short.pod(given)


def milli(text: str) -> int:
    return int(text[:-1]) if text.endswith("m") else int(text) * 1000


def cpu_of(pod: Object) -> int:
    return milli(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])


def meets(term: Object, mine: Object, other: Object, here: Object, there: Object) -> bool:
    """Whether the other pod is one that the term means, and on a node of the same topology."""
    value = meta.labels(here).get(term["topologyKey"])
    return (
        meta.namespace(mine) == meta.namespace(other)
        and selectors.from_object(term["labelSelector"]).matches(meta.labels(other))
        and value is not None
        and value == meta.labels(there).get(term["topologyKey"])
    )


def required(pod: Object, kind: str) -> list[Object]:
    return pod["spec"]["affinity"][kind].get("requiredDuringSchedulingIgnoredDuringExecution", [])


def broken_by(pod: Object, node: Object, placed: list[tuple[Object, Object]], nodes: list[Object]) -> list[str]:
    """What placing the pod there breaks."""
    wrong: list[str] = []
    here = [other for other, there in placed if there is node]
    if sum(map(cpu_of, here)) + cpu_of(pod) > milli(node["status"]["allocatable"]["cpu"]):
        wrong.append("there is not enough CPU")
    if pod["spec"]["containers"][0]["ports"] and any(one["spec"]["containers"][0]["ports"] for one in here):
        wrong.append("the port is taken")
    for other, there in placed:
        if any(meets(term, pod, other, node, there) for term in required(pod, "podAntiAffinity")):
            wrong.append("it does not want the other")
        if any(meets(term, other, pod, there, node) for term in required(other, "podAntiAffinity")):
            wrong.append("the other does not want it")
    for one in pod["spec"]["topologySpreadConstraints"]:
        counting = [each for each in nodes if one["topologyKey"] in meta.labels(each)]
        counts = {meta.labels(each)[one["topologyKey"]]: 0 for each in counting}
        for other, there in [*placed, (pod, node)]:
            value = meta.labels(there).get(one["topologyKey"])
            if value is not None and meta.labels(other) == meta.labels(pod):
                counts[value] += 1
        value = meta.labels(node).get(one["topologyKey"])
        if value is None or counts[value] - min(counts.values()) > one["maxSkew"]:
            wrong.append("it is uneven")
    return wrong


@given(st.lists(NODE, min_size=1, max_size=4), st.lists(POD, max_size=8), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_node_is_given_more_than_it_may_take(nodes: list[Any], pods: list[Any], at_once: bool) -> None:
    there = [short.node(f"n{i}", one) for i, one in enumerate(nodes)]
    view = Snapshot([short.namespace("default", {}), *there])
    by_name = {meta.name(node): node for node in there}
    placed: list[tuple[Object, Object]] = []
    waiting = [made(i, one) for i, one in enumerate(pods)]
    for batch in [waiting] if at_once else [[one] for one in waiting]:
        for pod in batch:
            view.of(PODS).put(pod)
        for decision in policy.place(view):
            if not decision.node:
                continue
            node = by_name[decision.node]
            assert broken_by(decision.pod, node, placed, there) == []
            placed.append((decision.pod, node))
            view.of(PODS).put(meta.changed(decision.pod, ("spec", "nodeName"), decision.node))
        left = [meta.name(pod) for pod in view.list(PODS) if not pod["spec"].get("nodeName")]
        assert all(decision.why for decision in policy.place(view)), left  # What fits nowhere does not by itself.
    # What is kept is what would be made anew.
    anew = Snapshot([*view.list(NODES), *view.list(PODS), short.namespace("default", {})])
    assert policy.place(view) == policy.place(anew)


@pytest.mark.parametrize("size", [10, 1000])
def test_what_a_pod_costs_does_not_grow_with_the_pods(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says of others: the pods that are there are not looked at once more."""
    term = {"app": "web", "by": "zone"}
    nodes = {f"n{i}": {"zone": "ab"[i % 2], "cpu": "1000", "pods": "5000"} for i in range(4)}
    pods = [
        {"name": f"x{i}", "at": f"n{i % 4}", "labels": {"app": "web"}, "rather_near": [{**term, "weight": 1 + i % 5}]}
        for i in range(size)
    ]
    all_of_it = {"near": [term], "rather_apart": [term], "spread": [{"by": "zone", "max": 5}]}
    one = {**all_of_it, "labels": {"app": "web"}}
    view = Snapshot(short.objects({"nodes": nodes, "pods": pods, "pod": {"name": "first", **one}}))
    assert policy.place(view)[0].node
    view.of(PODS).remove("default/first")
    read: list[str] = []
    labels = meta.labels

    def look(obj: Object) -> Any:
        if obj.get("kind") == "Pod":
            read.append(meta.name(obj))
        return labels(obj)

    monkeypatch.setattr(meta, "labels", look)
    view.of(PODS).put(short.pod(one))
    assert policy.place(view)[0].node
    assert not [name for name in read if name != "p"]
