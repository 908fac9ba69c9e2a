"""What goes when its owner goes, what stays, and who is asked first."""

from __future__ import annotations

from typing import Any

from petset.client.views import Snapshot
from petset.controllers import actions, garbage
from petset.kinds import builtin
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers.sets import told


def key_of(obj: Object) -> str:
    kind = builtin.KINDS.of(obj)
    assert kind is not None
    return garbage.key_of(obj, kind)


WHEN = "2016-08-03T00:00:00Z"


def thing(name: str, *owners: Object, **metadata: Any) -> Object:
    references = [meta.owner_reference(owner) for owner in owners]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"u-{name}",
            "ownerReferences": references,
            **metadata,
        },
    }


def steps_for(obj: Object, *others: Object) -> list[actions.Action]:
    return garbage.reconcile({}, key_of(obj), Snapshot([obj, *others]), 0)


def test_a_node_without_a_spec_has_its_place() -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "u"}}
    assert (
        garbage.place(node) == garbage.place({**node, "spec": {}}) != garbage.place({**node, "spec": {"taints": [1]}})
    )


def test_owned_by_what_is_there_it_stays() -> None:
    owner = thing("owner")
    assert steps_for(thing("leaf", owner), owner) == []
    assert steps_for(thing("leaf")) == []


def test_owned_by_what_is_gone_it_goes_after_the_server_was_asked() -> None:
    gone, delete = steps_for(thing("leaf", thing("owner")))
    assert isinstance(gone, actions.Gone) and (gone.name, gone.uid) == ("owner", "u-owner")
    assert isinstance(delete, actions.Delete) and delete.propagation == "Background"


def test_an_owner_made_anew_is_another_one() -> None:
    steps = steps_for(thing("leaf", thing("owner", uid="an earlier one")), thing("owner"))
    assert isinstance(steps[-1], actions.Delete)


def test_an_owner_of_a_kind_nobody_knows_counts_as_there() -> None:
    stranger = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x", "uid": "u"}}
    assert steps_for(thing("leaf", stranger)) == []


def test_with_one_of_two_owners_left_it_forgets_the_other() -> None:
    owner = thing("owner")
    _, update = steps_for(thing("leaf", owner, thing("gone")), owner)
    assert isinstance(update, actions.Update)
    assert [reference["name"] for reference in update.object["metadata"]["ownerReferences"]] == ["owner"]


def test_what_is_collected_is_as_it_was_seen() -> None:
    steps = steps_for(thing("leaf", thing("owner")))
    assert isinstance(steps[-1], actions.Delete)
    assert steps[-1].at_revision, "it may have been orphaned or adopted since"


def test_in_the_foreground_dependents_go_first() -> None:
    owner = thing("owner", finalizers=["foregroundDeletion"], deletionTimestamp=WHEN)
    leaf = thing("leaf", owner)
    assert steps_for(owner, leaf) == []
    assert told(steps_for(leaf, owner)) == ["delete ConfigMap leaf"]
    (last,) = steps_for(owner)
    assert isinstance(last, actions.Update) and last.object["metadata"]["finalizers"] == []


def test_in_the_foreground_the_whole_tree_goes_from_its_leaves() -> None:
    owner = thing("owner", finalizers=["foregroundDeletion"], deletionTimestamp=WHEN)
    branch = thing("branch", owner)
    (step,) = steps_for(branch, owner, thing("leaf", branch))
    assert isinstance(step, actions.Delete) and step.propagation == "Foreground"


def circle(*names: str, **metadata: Any) -> list[Object]:
    """Each owned by the one before it, the first by the last."""
    owners = [thing(name) for name in (names[-1], *names[:-1])]
    return [thing(name, owner, **metadata) for name, owner in zip(names, owners, strict=True)]


GOING = {"finalizers": ["foregroundDeletion"], "deletionTimestamp": WHEN}


def test_owners_in_a_circle_go() -> None:
    _, second, third = circle("a", "b", "c")
    a, b, c = circle("a", "b", "c", **GOING)
    assert told(steps_for(second, a, third)) == ["delete ConfigMap b"], "from one to the next"
    assert steps_for(a, b, third) == [], "c may yet be left to others"
    assert told(steps_for(a, b, c)) == ["update ConfigMap a"], "all wait for each other"
    itself = thing("a", thing("a"), **GOING)
    assert told(steps_for(itself)) == ["update ConfigMap a"]


def test_what_hangs_on_a_circle_still_goes_first() -> None:
    a, b = circle("a", "b", **GOING)
    leaf = thing("leaf", b)
    assert steps_for(b, a, leaf) == [], "the leaf blocks it, and waits for nobody"
    assert told(steps_for(b, a)) == ["update ConfigMap b"]


def test_a_dependent_that_does_not_block_is_not_waited_for() -> None:
    owner = thing("owner", finalizers=["foregroundDeletion"], deletionTimestamp=WHEN)
    loose = thing("leaf")
    loose = meta.changed(loose, ("metadata", "ownerReferences"), [meta.owner_reference(owner, block=False)])
    assert told(steps_for(owner, loose)) == ["update ConfigMap owner"]


def test_orphans_forget_their_owner_before_it_goes() -> None:
    owner = thing("owner", finalizers=["orphan"], deletionTimestamp=WHEN)
    steps = steps_for(owner, thing("leaf", owner))
    assert told([steps[0], steps[-1]]) == ["update ConfigMap leaf", "update ConfigMap owner"]
    checks = steps[1:-1]
    assert actions.NoneOwned(PODS, "default", "u-owner") in checks, "the server is asked, not the cache"
    assert all(isinstance(check, actions.NoneOwned) for check in checks)
    assert "ownerReferences" not in steps[0].object["metadata"]  # type: ignore[union-attr]


def test_whom_a_change_concerns() -> None:
    owner = thing("owner")
    leaf = thing("leaf", owner)
    view = Snapshot([leaf])
    assert list(garbage.keys(owner, view)) == [key_of(leaf)], "the owner is gone"
    view = Snapshot([leaf, owner])
    assert list(garbage.keys(owner, view)) == [], "it is there and stays"
    going = thing("owner", finalizers=["foregroundDeletion"], deletionTimestamp=WHEN)
    assert key_of(going) in list(garbage.keys(leaf, Snapshot([going]))), "a dependent is gone"
    let_go = meta.changed(leaf, ("metadata", "ownerReferences"), [])
    assert key_of(going) in list(garbage.keys(leaf, Snapshot([going, let_go]))), "it is no dependent any more"
    (reference,) = leaf["metadata"]["ownerReferences"]
    unblocked = meta.changed(leaf, ("metadata", "ownerReferences"), [{**reference, "blockOwnerDeletion": False}])
    assert key_of(going) in list(garbage.keys(leaf, Snapshot([going, unblocked]))), "nobody waits for it any more"
    assert key_of(going) not in list(garbage.keys(leaf, Snapshot([going, leaf])))


def pod(**given: Any) -> Object:
    deleting = {"deletionTimestamp": WHEN} if given.get("deleting") else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": "u", **deleting},
        "spec": {"nodeName": given.get("node", "n")},
    }


def node(*taints: str, ready: str = "True") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n"},
        "spec": {"taints": [{"key": taint} for taint in taints]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod_steps(*objects: Object, missing: dict[str, float] | None = None, now: float = 0) -> list[actions.Action]:
    return garbage.reconcile_pod({} if missing is None else missing, "default/p", Snapshot(objects), now)


def test_a_pod_whose_node_stays_away_is_removed() -> None:
    missing: dict[str, float] = {}
    assert pod_steps(pod(), missing=missing, now=100) == [actions.RequeueAfter(garbage.NODE_GONE_SECONDS)]
    assert pod_steps(pod(), missing=missing, now=110) == [actions.RequeueAfter(garbage.NODE_GONE_SECONDS - 10)]
    gone, delete = pod_steps(pod(), missing=missing, now=100 + garbage.NODE_GONE_SECONDS)
    assert isinstance(gone, actions.Gone) and gone.name == "n"
    assert isinstance(delete, actions.Delete) and delete.grace_seconds == 0


def test_a_node_that_comes_back_has_its_whole_time_again() -> None:
    missing: dict[str, float] = {}
    pod_steps(pod(), missing=missing, now=100)
    assert pod_steps(pod(), node(), missing=missing, now=130) == []
    assert pod_steps(pod(), missing=missing, now=139) == [actions.RequeueAfter(garbage.NODE_GONE_SECONDS)]


def test_a_pod_that_goes_on_a_node_out_of_service_is_removed_at_once() -> None:
    out = "node.kubernetes.io/out-of-service"
    assert told(pod_steps(pod(deleting=True), node(out, ready="Unknown"))) == ["delete Pod p"]
    assert pod_steps(pod(deleting=True), node(out)) == []
    assert pod_steps(pod(), node(out, ready="Unknown")) == []
    assert pod_steps(pod(deleting=True), node(ready="Unknown")) == []


def test_a_pod_that_goes_and_never_had_a_node_is_removed() -> None:
    assert told(pod_steps(pod(deleting=True, node=""))) == ["delete Pod p"]
    assert pod_steps(pod(node="")) == []
