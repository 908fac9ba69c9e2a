"""A namespace that goes: what is deleted, what it says is left, and when it is let go."""

from __future__ import annotations

from typing import Any

from petset.client.views import Snapshot
from petset.controllers import actions, namespaces
from petset.kinds.event import EVENTS
from petset.objects import meta
from petset.objects.meta import Object

WHEN = "2016-08-03T00:00:00Z"


def namespace(conditions: Any = ()) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "zoo", "deletionTimestamp": WHEN},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating", **({"conditions": list(conditions)} if conditions else {})},
    }


def configmap(name: str, *finalizers: str, going: bool = True) -> Object:
    metadata = {"name": name, "namespace": "zoo", "uid": name, "finalizers": list(finalizers)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, **({"deletionTimestamp": WHEN} if going else {})},
    }


def steps(*objects: Object, now: float = 0) -> list[actions.Action]:
    return namespaces.reconcile("zoo", Snapshot(objects), now)


def said(step: actions.Action) -> dict[str, tuple[str, str, str]]:
    """Condition type -> (status, reason, message)."""
    assert isinstance(step, actions.UpdateStatus) and step.subresource == "status"
    told = step.object["status"]["conditions"]
    return {one["type"]: (one["status"], one["reason"], one["message"]) for one in told}


def test_all_is_deleted_before_anything_is_said() -> None:
    (delete,) = steps(namespace(), configmap("a", going=False), configmap("b", "example.com/x"))
    assert isinstance(delete, actions.Delete) and meta.name(delete.object) == "a"


def pod(*, going: bool) -> Object:
    return {**configmap("p", going=going), "kind": "Pod"}


def test_pods_go_before_what_they_live_by() -> None:
    needed = configmap("a", going=False)
    (delete,) = steps(namespace(), needed, pod(going=False))
    assert isinstance(delete, actions.Delete) and delete.object["kind"] == "Pod"
    (told,) = steps(namespace(), needed, pod(going=True))
    assert said(told)["NamespaceContentRemaining"][2] == "still there: ConfigMap (1), Pod (1)"
    assert "when they are gone" in said(told)["NamespaceDeletionContentFailure"][2]
    (delete,) = steps(namespace(), needed)
    assert isinstance(delete, actions.Delete) and delete.object["kind"] == "ConfigMap"


def test_what_stays_is_said_once_with_the_finalizers_it_waits_for() -> None:
    left = [configmap("a", "example.com/x"), configmap("b", "example.com/x", "example.com/y")]
    (step,) = steps(namespace(), *left)
    told = said(step)
    assert told["NamespaceContentRemaining"] == ("True", "SomeResourcesRemain", "still there: ConfigMap (2)")
    waiting = "waiting for finalizers: example.com/x (2), example.com/y (1)"
    assert told["NamespaceFinalizersRemaining"] == ("True", "SomeFinalizersRemain", waiting)
    for type_, reason in (
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions"),
        ("NamespaceDeletionContentFailure", "ContentDeleted"),
    ):
        assert told[type_][:2] == ("False", reason)
    conditions = step.object["status"]["conditions"]  # type: ignore[union-attr]
    assert steps(namespace(conditions), *left, now=60) == [], "the same is not said again"


def test_when_all_is_gone_it_is_said_and_then_the_namespace_let_go() -> None:
    (step,) = steps(namespace(), configmap("a", "example.com/x"))
    (emptied,) = steps(namespace(step.object["status"]["conditions"]))  # type: ignore[union-attr]
    told = said(emptied)
    assert told["NamespaceContentRemaining"][:2] == ("False", "ContentRemoved")
    assert told["NamespaceFinalizersRemaining"][:2] == ("False", "ContentHasNoFinalizers")
    events, *checks, last = steps(namespace(emptied.object["status"]["conditions"]))  # type: ignore[union-attr]
    assert events == actions.DeleteAll(EVENTS, "zoo")
    assert all(isinstance(check, actions.Empty) for check in checks)
    assert isinstance(last, actions.UpdateStatus) and last.subresource == "finalize"


def test_a_namespace_in_which_nothing_waits_says_nothing() -> None:
    last = steps(namespace())[-1]
    assert isinstance(last, actions.UpdateStatus) and last.subresource == "finalize"
