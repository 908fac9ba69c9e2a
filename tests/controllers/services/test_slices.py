"""Who is behind a service: ready, not ready, tolerated, named, and by which ports."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.services import behind, endpoints, seen, slices
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object


def service(**spec: Any) -> Object:
    annotations = spec.pop("annotations", {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "redis", "namespace": "default", "uid": "s", "annotations": annotations},
        "spec": {"clusterIP": "None", "selector": {"app": "redis"}, "ports": [{"port": 6379, "name": "peer"}], **spec},
    }


def pod(number: int, ready: bool = True, **given: Any) -> Object:
    ip = {} if given.get("without_address") else {"podIP": f"10.0.0.{number}"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"rd-{number}",
            "namespace": "default",
            "uid": f"u{number}",
            "labels": given.get("labels", {"app": "redis"}),
            **({"deletionTimestamp": "2016-08-03T00:00:00Z"} if given.get("deleting") else {}),
        },
        "spec": {
            "hostname": f"rd-{number}",
            "subdomain": given.get("subdomain", "redis"),
            "nodeName": "n",
            "containers": [{"name": "redis", "ports": given.get("ports", [])}],
        },
        "status": {
            "phase": given.get("phase", "Running"),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **ip,
        },
    }


def reconciled(view: Snapshot) -> list[Any]:
    """What both controllers do, but for how long they rest."""
    steps = [*endpoints.reconcile("default/redis", view, 0), *slices.reconcile("default/redis", view, 0)]
    return [step for step in steps if not isinstance(step, actions.Rest)]


def subsets(service_: Object, *pods: Object) -> list[Any]:
    shown = []
    for subset in endpoints.subsets_of(seen.endpoints_of(service_, map(seen.read, pods))):
        ready = [address["ip"] for address in subset.get("addresses", ())]
        waiting = [address["ip"] for address in subset.get("notReadyAddresses", ())]
        shown.append((ready, waiting, [port["port"] for port in subset.get("ports", ())]))
    return shown


def test_ready_and_not_ready_sorted_by_address() -> None:
    assert subsets(service(), pod(10), pod(9), pod(2, ready=False)) == [
        (["10.0.0.9", "10.0.0.10"], ["10.0.0.2"], [6379])
    ]


def test_without_an_address_or_ended_or_going_a_pod_is_not_there() -> None:
    pods = [pod(1, without_address=True), pod(2, phase="Failed"), pod(3, phase="Succeeded"), pod(4, deleting=True)]
    assert subsets(service(), *pods) == []


def test_unready_and_going_pods_are_published_when_the_service_asks_for_it() -> None:
    annotated = service(annotations={"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"})
    for one in (annotated, service(publishNotReadyAddresses=True)):
        assert subsets(one, pod(1, ready=False), pod(2, ready=False, deleting=True)) == [
            (["10.0.0.1", "10.0.0.2"], [], [6379])
        ]
        assert subsets(one, pod(1, ready=False, without_address=True)) == []


def test_a_pet_is_named_only_by_the_service_it_belongs_to() -> None:
    found = seen.endpoints_of(service(), map(seen.read, [pod(1), pod(2, subdomain="other")]))
    assert [endpoint.hostname for endpoint in found] == ["rd-1", ""]


def test_a_named_port_is_the_pods_own() -> None:
    one = service(ports=[{"port": 80, "name": "web", "targetPort": "http"}])
    pods = [
        pod(1, ports=[{"name": "http", "containerPort": 8080}]),
        pod(2, ports=[{"name": "http", "containerPort": 9090}]),
        pod(3, ports=[{"name": "other", "containerPort": 1}]),
    ]
    assert subsets(one, *pods) == [(["10.0.0.1"], [], [8080]), (["10.0.0.2"], [], [9090])]


def test_a_headless_service_needs_no_ports() -> None:
    assert subsets(service(ports=[]), pod(1)) == [(["10.0.0.1"], [], [])]


def test_a_slice_tells_the_conditions() -> None:
    one = service(publishNotReadyAddresses=True)
    found = seen.endpoints_of(one, [seen.read(pod(1, ready=False, deleting=True))])
    (slice_,) = slices.slices_of(one, found)
    assert slice_["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": True}
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "redis"
    assert slice_["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_ready_endpoints_are_hinted_for_their_node_where_the_service_prefers_it() -> None:
    for preference, hints in (("PreferSameNode", [{"forNodes": [{"name": "n"}]}, None]), (None, [None, None])):
        one = service(trafficDistribution=preference)
        (slice_,) = slices.slices_of(one, seen.endpoints_of(one, map(seen.read, [pod(1), pod(2, ready=False)])))
        assert [endpoint.get("hints") for endpoint in slice_["endpoints"]] == hints


def node(zone: str) -> Object:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": labels, "uid": "n"}}


@pytest.mark.parametrize(
    ("preference", "hints"),
    [
        ("PreferClose", {"forZones": [{"name": "east"}]}),
        ("PreferSameZone", {"forZones": [{"name": "east"}]}),
        ("PreferSameNode", {"forZones": [{"name": "east"}], "forNodes": [{"name": "n"}]}),
        (None, None),
    ],
)
def test_endpoints_tell_their_zone_and_follow_it(preference: str | None, hints: Object | None) -> None:
    view = Snapshot([service(trafficDistribution=preference), pod(1), pod(2, ready=False), node("")])

    def written() -> list[Object]:
        for step in reconciled(view):
            if isinstance(step, actions.Create | actions.Update):
                view.of(view.kinds.of(step.object) or PODS).put(step.object)
        (slice_,) = view.list(ENDPOINTSLICES)
        return [*meta.parts(slice_, "endpoints")]

    assert [one.get("zone") for one in written()] == [None, None]
    for zone in ("west", "east"):
        view.of(NODES).put(node(zone))
        assert list(behind.keys_of_node(node(zone), view)) == ["default/redis"]
        said = written()
        assert [one["zone"] for one in said] == [zone, zone]
    assert [one.get("hints") for one in said] == [hints, None]
    view.of(NODES).remove(meta.key(node("")))
    assert [one.get("zone") for one in written()] == [None, None], "a node that is gone is in no zone"
    view.of(NODES).put(node("east"))
    assert list(behind.keys_of_node(node(""), view)) == []


def test_nothing_is_written_that_says_the_same() -> None:
    one, pods = service(), [pod(1), pod(2, ready=False)]
    first = reconciled(Snapshot([one, *pods]))
    made = [step.object for step in first if isinstance(step, actions.Create)]
    assert [obj["kind"] for obj in made] == ["Endpoints", "EndpointSlice"]
    assert reconciled(Snapshot([one, *pods, *made])) == []
    more = reconciled(Snapshot([one, *pods, pod(3), *made]))
    assert [type(step) for step in more] == [actions.Update, actions.Update]


def test_a_service_without_a_selector_is_left_alone() -> None:
    assert reconciled(Snapshot([service(selector={}), pod(1)])) == []


def test_endpoints_go_with_their_service() -> None:
    one = service()
    made = [s.object for s in reconciled(Snapshot([one])) if isinstance(s, actions.Create)]
    steps = reconciled(Snapshot(made))
    assert [(type(step), step.object["kind"]) for step in steps] == [(actions.Delete, "Endpoints")]  # type: ignore[union-attr]
    by_hand = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "redis", "namespace": "default"}}
    assert reconciled(Snapshot([by_hand])) == []


def test_a_pods_change_brings_the_services_that_select_it() -> None:
    view = Snapshot([service(), meta.changed(service(), ("metadata", "name"), "second")])
    assert list(behind.keys_of_pod(pod(1), view)) == ["default/redis", "default/second"]
    assert list(behind.keys_of_pod(pod(1, labels={}), view)) == []


def shown(*numbers: int, ready: bool = True) -> list[seen.Endpoint]:
    pods = []
    for number in numbers:
        one = pod(number, ready=ready)
        pods.append(meta.changed(one, ("status", "podIP"), f"10.0.{number // 250}.{number % 250}"))
    return seen.endpoints_of(service(), map(seen.read, pods))


def uids(slice_: Object) -> list[str]:
    return [endpoint["targetRef"]["uid"] for endpoint in slice_["endpoints"]]


def test_a_slice_has_a_hundred_pods_and_a_new_pod_changes_one_of_them() -> None:
    before = slices.slices_of(service(), shown(*range(250)))
    assert [(meta.name(one), len(one["endpoints"])) for one in before] == [
        ("redis-0", 100),
        ("redis-1", 100),
        ("redis-2", 50),
    ]
    after = slices.slices_of(service(), shown(*range(251)), before)
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, True, False]
    fewer = slices.slices_of(service(), shown(*range(50, 250)), before)
    assert [len(one["endpoints"]) for one in fewer] == [50, 100, 50] and fewer[1:] == before[1:]


def at(place: int, one: Object) -> Object:
    return meta.changed(one, ("status", "podIP"), f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}")


def endpoints_writes(view: Snapshot) -> list[Any]:
    return [step for step in endpoints.reconcile("default/redis", view, 0) if not isinstance(step, actions.Rest)]


def test_endpoints_have_a_thousand_addresses_and_say_that_there_are_more() -> None:
    view = Snapshot([service(), *(at(i, pod(i)) for i in range(1200))])
    (step,) = endpoints_writes(view)
    many = step.object
    assert isinstance(step, actions.Create)
    assert sum(len(subset["addresses"]) for subset in many["subsets"]) == 1000
    assert meta.annotations(many) == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    view.of(ENDPOINTS).put(meta.changed(many, ("metadata", "resourceVersion"), "1"))
    assert endpoints_writes(view) == []
    for i in range(10, 1200):
        view.of(PODS).remove(f"default/rd-{i}")
    (fewer,) = endpoints_writes(view)
    assert isinstance(fewer, actions.Update) and meta.annotations(fewer.object) == {}


def test_a_pod_that_endpoints_have_no_room_for_makes_none_of_their_addresses_anew(monkeypatch) -> None:
    view = Snapshot([service(), *(at(i, pod(i)) for i in range(1200))])
    for step in endpoints_writes(view):
        view.of(ENDPOINTS).put(step.object)
    made: list[str] = []
    whole = endpoints._address
    monkeypatch.setattr(endpoints, "_address", lambda one: made.append(one.address) or whole(one))
    for change in (pod(1100, ready=False), pod(1200, ready=False), pod(1200), pod(1100), pod(1150, deleting=True)):
        view.of(PODS).put(at(int(meta.name(change)[3:]), change))
        assert endpoints_writes(view) == []
    assert len(made) <= 1000, "once, since nobody was not ready before"
    made.clear()
    view.of(PODS).put(at(1100, pod(1100, ready=False)))
    assert endpoints_writes(view) == [] and made == []
    view.of(PODS).remove("default/rd-7")
    (step,) = endpoints_writes(view)
    addresses = [one["ip"] for one in step.object["subsets"][0]["addresses"]]
    assert len(made) == len(addresses) == 1000 and "10.0.0.7" not in addresses and addresses[-1] == "10.0.3.232"


@given(st.lists(st.sets(st.integers(0, 40), max_size=40), min_size=1, max_size=6))
def test_every_pod_is_in_one_slice_and_stays_there(rounds) -> None:
    there: list[Object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SLICE_ENDPOINTS_MAX", 7)
        for numbers in rounds:
            after: list[Object] = list(slices.slices_of(service(), shown(*sorted(numbers)), there))
            assert sorted(uid for one in after for uid in uids(one)) == sorted(f"u{number}" for number in numbers)
            assert all(len(one["endpoints"]) <= 7 for one in after)
            assert len({meta.name(one) for one in after}) == len(after)
            was = {uid: meta.name(one) for one in there for uid in uids(one)}
            for one in after:
                assert all(was.get(uid, meta.name(one)) == meta.name(one) for uid in uids(one))
            there = after


def test_pods_that_have_none_of_the_ports_are_not_counted() -> None:
    named = service(ports=[{"port": 80, "targetPort": "web"}])
    pods = [meta.changed(pod(1), ("status", "podIP"), f"10.0.{i // 250}.{i % 250}") for i in range(1200)]
    (made,) = [step.object for step in endpoints_writes(Snapshot([named, *pods]))]
    assert made["subsets"] == [] and meta.annotations(made) == {}


numbers = st.integers(1, 30)
pod_changes = st.tuples(
    numbers,
    st.fixed_dictionaries(
        {},
        optional={
            "ready": st.booleans(),
            "deleting": st.booleans(),
            "without_address": st.booleans(),
            "labels": st.just({"app": "other"}),
            "phase": st.just("Failed"),
            "ports": st.just([{"name": "web", "containerPort": 81}]),
        },
    ),
)
slice_changes = st.tuples(st.integers(0, 4), st.sampled_from(["gone", "emptied", "doubled", "relabelled", "stranger"]))


@given(
    st.lists(st.lists(st.one_of(pod_changes, slice_changes, numbers), min_size=1, max_size=8), max_size=6),
    st.sampled_from([{}, {"publishNotReadyAddresses": True}, {"ports": [{"port": 80, "targetPort": "web"}]}]),
)
@example([[(1, {})], [(0, "doubled")]], {})
def test_slices_by_what_has_changed_are_those_by_all_there_is(rounds, spec) -> None:
    one = service(**spec)
    view = Snapshot([one])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SLICE_ENDPOINTS_MAX", 4)
        patch.setattr(behind, "ADDRESSES_MAX", 5)
        for changes in rounds:
            for change in changes:
                changed(view, change)
            steps = reconciled(view)
            anew = Snapshot([*view.list(SERVICES), *view.list(PODS), *view.list(ENDPOINTS), *view.list(ENDPOINTSLICES)])
            assert reconciled(anew) == steps
            for step in steps:
                assert isinstance(step, actions.Create | actions.Update | actions.Delete)
                cache = view.of(ENDPOINTS if step.object["kind"] == "Endpoints" else ENDPOINTSLICES)
                if isinstance(step, actions.Delete):
                    cache.remove(meta.key(step.object))
                else:
                    cache.put(step.object)
            there = view.list(ENDPOINTSLICES)
            found = seen.endpoints_of(one, map(seen.read, labelled(view)))
            assert sorted(uid for slice_ in there for uid in uids(slice_)) == sorted(e.target["uid"] for e in found)
            assert sorted(map(slices._says, slices.slices_of(one, found, there)), key=str) == sorted(
                map(slices._says, there), key=str
            )
            assert endpoints.subsets_of(first_of(found, 5)) == view.list(ENDPOINTS)[0]["subsets"]


def first_of(found: list[seen.Endpoint], most: int) -> list[seen.Endpoint]:
    """Those that Endpoints have room for."""
    there = [one for one in found if not one.is_leaving]
    return sorted(there, key=lambda one: (one.ports, not one.ready, one.order))[:most]


def labelled(view: Snapshot) -> list[Object]:
    return [one for one in view.list(PODS) if meta.labels(one) == {"app": "redis"}]


def changed(view: Snapshot, change: Any) -> None:
    there = view.list(ENDPOINTSLICES)
    match change:
        case int(number):
            view.of(PODS).remove(f"default/rd-{number}")
        case (number, str(how)):
            if number >= len(there):
                return
            slice_, cache = there[number], view.of(ENDPOINTSLICES)
            if how == "gone":
                cache.remove(meta.key(slice_))
            elif how == "emptied":
                cache.put({**slice_, "endpoints": []})
            elif how == "doubled":
                cache.put(meta.changed(slice_, ("metadata", "name"), "redis-double"))
            elif how == "relabelled":
                cache.put(meta.changed(slice_, ("metadata", "labels", "x"), "y"))
            else:
                cache.put({**slice_, "endpoints": [*slice_["endpoints"], {"addresses": ["10.9.9.9"]}]})
        case (number, how):
            view.of(PODS).put(pod(number, **how))


@pytest.mark.parametrize("size", [10, 5000])
def test_a_change_of_one_pod_is_a_look_at_one_slice(size, monkeypatch) -> None:
    pods = [meta.changed(pod(i), ("status", "podIP"), f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}") for i in range(size)]
    view = Snapshot([service(), *pods])
    for step in reconciled(view):
        if isinstance(step, actions.Create):
            view.of(ENDPOINTS if step.object["kind"] == "Endpoints" else ENDPOINTSLICES).put(step.object)
    made: list[str] = []
    whole = seen.slice_endpoint
    monkeypatch.setattr(seen, "slice_endpoint", lambda one: made.append(one.address) or whole(one))
    last = pods[-1]
    view.of(PODS).put(meta.changed(last, ("status", "conditions"), []))
    steps = reconciled(view)
    written = [s.object for s in steps if isinstance(s, actions.Update) and s.object["kind"] == "EndpointSlice"]
    assert len(written) == 1 and meta.uid(last) in uids(written[0])
    assert len(made) <= slices.SLICE_ENDPOINTS_MAX + 1
