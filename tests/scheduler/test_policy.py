"""Where a pod goes, and in which words it is told why it cannot go anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.client.views import Snapshot
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler import loads, policy


def node(name: str = "n1", **given: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **given.get("labels", {})}},
        "spec": {"taints": given.get("taints", []), "unschedulable": given.get("unschedulable", False)},
        "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3", **given.get("allocatable", {})},
            "conditions": [{"type": "Ready", "status": given.get("ready", "True")}],
        },
    }


def pod(name: str = "p", on: str = "", **given: Any) -> Object:
    """{cpu, claims, labels, owner, created, and anything of spec}"""
    requests = {key: given.pop(key) for key in ("cpu", "memory") if key in given}
    claims = given.pop("claims", ())
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "uid": f"u-{name}",
        "labels": given.pop("labels", {}),
        "creationTimestamp": given.pop("created", "2016-08-03T00:00:00Z"),
    }
    if "owner" in given:
        metadata["ownerReferences"] = [{"uid": given.pop("owner"), "controller": True}]
    container = {"name": "c", "resources": {"requests": requests}, "ports": given.pop("ports", [])}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [container],
            "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims],
            **({"nodeName": on} if on else {}),
            **given,
        },
        "status": {"phase": "Running" if on else "Pending"},
    }


def claim(name: str = "www", **given: Any) -> Object:
    deleting = {"deletionTimestamp": "2016-08-03T00:00:00Z"} if given.get("deleting") else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", **deleting},
        "spec": {key: given[key] for key in ("storageClassName", "volumeName") if key in given},
        "status": {"phase": given.get("phase", "Pending")},
    }


def decided(*objects: Object) -> list[Any]:
    """What becomes of each; why it has no node without what is said of preemption."""
    return [(meta.name(d.pod), d.node or d.why.partition(" preemption: ")[0]) for d in policy.place(Snapshot(objects))]


def why(one: Object, *objects: Object) -> str:
    ((_, said),) = decided(one, *objects)
    return said


def test_a_pod_goes_to_the_node_there_is() -> None:
    assert decided(pod(), node()) == [("p", "n1")]


def test_without_nodes() -> None:
    assert why(pod()) == "no nodes available to schedule pods"


ZONE = {"key": "zone", "operator": "In", "values": ["a"]}
GPU = {"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}
IN_ZONE = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [ZONE]}]}}
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("one", "where", "expected"),
    [
        (pod(), node(ready="False"), "1 node(s) had untolerated taint(s)"),
        (pod(), node(unschedulable=True), "1 node(s) were unschedulable"),
        (pod(), node(taints=[TAINT]), "1 node(s) had untolerated taint(s)"),
        (pod(nodeSelector={"disk": "ssd"}), node(), "1 node(s) didn't match Pod's node affinity/selector"),
        (pod(affinity={"nodeAffinity": IN_ZONE}), node(), "1 node(s) didn't match Pod's node affinity/selector"),
        (pod(cpu="3"), node(), "1 Insufficient cpu"),
        (pod(containers=[GPU]), node(), "1 Insufficient example.com/gpu"),
        (pod(cpu="3", memory="5Gi"), node(), "1 Insufficient cpu, 1 Insufficient memory"),
    ],
)
def test_reasons(one: Object, where: Object, expected: str) -> None:
    assert why(one, where) == f"0/1 nodes are available: {expected}."


def test_what_is_asked_for_is_found() -> None:
    tolerant = pod(tolerations=[{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}])
    assert why(tolerant, node(taints=[TAINT])) == "n1"
    assert why(pod(nodeSelector={"disk": "ssd"}), node(), node("n2", labels={"disk": "ssd"})) == "n2"
    assert why(pod(affinity={"nodeAffinity": IN_ZONE}), node(), node("n2", labels={"zone": "a"})) == "n2"


def test_room_is_given_away_once() -> None:
    assert decided(pod("a", cpu="1500m"), pod("b", cpu="1500m"), node()) == [
        ("a", "n1"),
        ("b", "0/1 nodes are available: 1 Insufficient cpu."),
    ]


def test_those_that_run_take_room_and_those_that_ended_do_not() -> None:
    busy = pod("busy", on="n1", cpu="1500m")
    assert why(pod(cpu="1"), busy, node()) == "0/1 nodes are available: 1 Insufficient cpu."
    assert why(pod(cpu="1"), {**busy, "status": {"phase": "Succeeded"}}, node()) == "n1"


def test_too_many_pods() -> None:
    full = [pod(f"full-{i}", on="n1") for i in range(3)]
    assert why(pod(), *full, node()) == "0/1 nodes are available: 1 Too many pods."


def test_host_ports() -> None:
    taken = pod("taken", on="n1", ports=[{"containerPort": 80, "hostPort": 80}])
    wants = pod(ports=[{"containerPort": 8080, "hostPort": 80}])
    assert "free ports" in why(wants, taken, node())
    assert why(pod(ports=[{"containerPort": 80, "hostPort": 81}]), taken, node()) == "n1"


def test_claims() -> None:
    one = pod(claims=["www"])
    said = "0/1 nodes are available: {}."
    assert why(one, node()) == said.format('persistentvolumeclaim "www" not found')
    assert why(one, node(), claim()) == said.format("pod has unbound immediate PersistentVolumeClaims")
    assert why(one, node(), claim(deleting=True)) == said.format('persistentvolumeclaim "www" is being deleted')
    assert why(one, node(), claim(phase="Bound", volumeName="v")) == "n1"


def test_a_volume_that_is_elsewhere() -> None:
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "v"},
        "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [ZONE]}]}}},
    }
    bound = claim(phase="Bound", volumeName="v")
    assert why(pod(claims=["www"]), node(), node("n2", labels={"zone": "a"}), bound, volume) == "n2"
    assert "PersistentVolume's node affinity" in why(pod(claims=["www"]), node(), bound, volume)


def test_a_claim_that_binds_late_is_told_the_node() -> None:
    late = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "late"},
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    waits = claim(storageClassName="late")
    (decision,) = policy.place(Snapshot([pod(claims=["www"]), node(), waits, late]))
    assert decision.node == "n1" and decision.claims_to_tell == (waits,)


def test_pets_of_one_set_spread() -> None:
    there = pod("web-0", on="n1", owner="web")
    assert why(pod("web-1", owner="web"), there, node("n1"), node("n2")) == "n2"


BY_HOST = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}


def with_term(kind: str, **given: Any) -> Object:
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [BY_HOST]}
    return pod(affinity={kind: terms}, **given)


def test_pods_that_do_not_want_each_other() -> None:
    apart = with_term("podAntiAffinity", labels={"app": "db"})
    there = pod("db-0", on="n1", labels={"app": "db"})
    assert why(apart, there, node()) == "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."
    assert why(apart, there, node(), node("n2")) == "n2"
    exclusive = {**with_term("podAntiAffinity", name="db-0", on="n1", labels={"app": "other"})}
    newcomer = pod("db-1", labels={"app": "db"})
    assert "existing pods anti-affinity" in why(newcomer, exclusive, node())


def test_pods_that_want_each_other() -> None:
    near = with_term("podAffinity", labels={"app": "web"})
    assert "didn't match pod affinity rules" in why(near, node())
    assert why(near, pod("db-0", on="n2", labels={"app": "db"}), node("n1"), node("n2")) == "n2"
    assert why(with_term("podAffinity", labels={"app": "db"}), node()) == "n1", "the first of its group"


def test_the_most_important_and_then_the_oldest_first() -> None:
    pods = [
        pod("late", created="2016-08-03T00:00:02Z"),
        pod("early", created="2016-08-03T00:00:01Z"),
        pod("important", created="2016-08-03T00:00:03Z", priority=10),
    ]
    assert [name for name, _ in decided(*pods, node())] == ["important", "early", "late"]


def test_who_is_not_ours_to_schedule() -> None:
    others = [
        pod("there", on="n1"),
        pod("theirs", schedulerName="another"),
        pod("gated", schedulingGates=[{"name": "g"}]),
        {**pod("ended"), "status": {"phase": "Failed"}},
    ]
    assert decided(*others, node()) == []


names = st.sampled_from(["a", "b", "c", "d"])
pod_changes = st.fixed_dictionaries(
    {"name": names, "on": st.sampled_from(["", "n1", "n2"])},
    optional={
        "cpu": st.sampled_from(["1", "500m"]),
        "owner": st.sampled_from(["x", "y"]),
        "ports": st.just([{"hostPort": 80, "containerPort": 80}]),
        "created": st.sampled_from(["2016-08-03T00:00:01Z", "2016-08-03T00:00:02Z"]),
        "priority": st.integers(0, 2),
    },
)


@given(st.lists(st.one_of(pod_changes, names), max_size=20))
def test_what_is_kept_of_nodes_and_of_who_waits_is_what_there_is(changes: list[Any]) -> None:
    view = Snapshot([node("n1"), node("n2")])
    for change in changes:
        if isinstance(change, str):
            view.of(PODS).remove(f"default/{change}")
        else:
            view.of(PODS).put(pod(**change))
        anew = Snapshot([*view.list(NODES), *view.list(PODS)])
        assert policy.place(view) == policy.place(anew)
        for kept, made in zip(loads.places_of(view), loads.places_of(anew), strict=True):
            assert sorted(map(meta.name, kept.pods)) == sorted(map(meta.name, made.pods))
            assert all(kept.used(name) == made.used(name) for name in ("cpu", "memory"))
            assert [kept.of_controller(uid) for uid in "xy"] == [made.of_controller(uid) for uid in "xy"]


@pytest.mark.parametrize("size", [10, 5000])
def test_a_pod_is_placed_without_a_look_at_those_that_are(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    big = node(allocatable={"pods": "10000"})
    view = Snapshot([big, *(pod(f"p{i}", on="n1") for i in range(size))])
    assert policy.place(view) == []
    loads.places_of(view)
    read: list[str] = []
    whole = loads.demand
    monkeypatch.setattr(loads, "demand", lambda one: read.append(meta.name(one)) or whole(one))
    view.of(PODS).put(pod("new"))
    assert [decision.node for decision in policy.place(view)] == ["n1"]
    assert list(dict.fromkeys(read)) == ["new"]


def test_those_that_were_tried_are_not_tried_again() -> None:
    view = Snapshot([pod("a"), pod("b"), pod("c")])
    assert list(map(meta.name, policy.next_waiting(view, {"u-a": None}, 1))) == ["b"]
