"""A namespace that is being deleted is emptied, kind by kind, and then let go.

Everything in it is deleted, gracefully where a kind has grace: pods first, so that none of them loses what it lives by
(a NetworkPolicy, a Secret) before it has ended, and the others when no pod is left. What is being deleted and stays for
a while stands in the namespace's conditions, with the finalizers it waits for. When the caches show none left the
server is asked once more for each kind (it accepts nothing new in such a namespace), and the finalizer is taken away.
Kinds are those there are at the moment, other servers' among them: while one of those cannot be asked, the namespace
says so and stays.
Follows: the condition types and reasons of NamespaceStatus in the Kubernetes API reference; KEP-5080, ordered deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds.event import EVENTS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

FINALIZER = "kubernetes"


def is_emptied(kind: Kind) -> bool:
    """What nobody can delete is only looked at when it is asked for, as metrics are: there is none to go."""
    return kind.namespaced and "list" in kind.verbs and "delete" in kind.verbs


def is_followed(kind: Kind) -> bool:
    """Events are too many to be kept here, and nothing holds them up: they go at the end, unseen; as what nobody can
    watch that another server keeps."""
    return is_emptied(kind) and "watch" in kind.verbs and kind.key() != EVENTS.key()


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps towards an empty namespace that may go."""
    namespace = view.get(NAMESPACES, "", key)
    if namespace is None or not meta.is_deleting(namespace):
        return []
    if FINALIZER not in meta.get(namespace, "spec", "finalizers", default=()):
        return []
    kinds = [kind for kind in view.kinds.each_once() if is_emptied(kind)]
    left = [obj for kind in kinds if is_followed(kind) for obj in view.list(kind, key)]
    first = [obj for obj in left if obj["kind"] == PODS.kind and obj["apiVersion"] == PODS.api_version]
    if to_delete := [obj for obj in first or left if not meta.is_deleting(obj)]:
        return [actions.Delete(obj, propagation="Background") for obj in to_delete]
    told = meta.get(namespace, "status", "conditions", default=[])
    lacking = view.kinds.lacking
    if (left or told or lacking) and (conditions := with_what_is_left(told, left, now, lacking)) != told:
        return [actions.UpdateStatus(meta.changed(namespace, ("status", "conditions"), conditions))]
    if left or lacking:
        return []  # A change of the kinds there are brings it back.
    others = [finalizer for finalizer in namespace["spec"]["finalizers"] if finalizer != FINALIZER]
    finalized = meta.changed(namespace, ("spec", "finalizers"), others)
    unseen = [actions.DeleteAll(kind, key) for kind in kinds if not is_followed(kind)]
    return [*unseen, *(actions.Empty(kind, key) for kind in kinds), actions.UpdateStatus(finalized, "finalize")]


def with_what_is_left(
    conditions: Sequence[Object], left: Sequence[Object], now: float, lacking: Sequence[str] = ()
) -> list[Object]:
    """The conditions of a namespace in which these objects wait to go, `lacking` what cannot be asked."""
    kinds: dict[str, int] = {}
    finalizers: dict[str, int] = {}
    for obj in left:
        kinds[obj["kind"]] = kinds.get(obj["kind"], 0) + 1
        for finalizer in obj["metadata"].get("finalizers") or ():
            finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    told = list(conditions)
    for type_, is_so, reasons, message in (
        (
            "NamespaceDeletionDiscoveryFailure",
            bool(lacking),
            ("DiscoveryFailed", "ResourcesDiscovered"),
            f"cannot be asked what they have: {', '.join(lacking)}" if lacking else "every kind is known",
        ),
        ("NamespaceDeletionGroupVersionParsingFailure", False, ("", "ParsedGroupVersions"), "every group is known"),
        ("NamespaceDeletionContentFailure", False, ("", "ContentDeleted"), _asked_to_go(left)),
        (
            "NamespaceContentRemaining",
            bool(kinds),
            ("SomeResourcesRemain", "ContentRemoved"),
            f"still there: {_counted(kinds)}" if kinds else "nothing is left",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(finalizers),
            ("SomeFinalizersRemain", "ContentHasNoFinalizers"),
            f"waiting for finalizers: {_counted(finalizers)}" if finalizers else "nothing waits for a finalizer",
        ),
    ):
        reason = reasons[0] if is_so else reasons[1]
        new = {"type": type_, "status": "True" if is_so else "False", "reason": reason, "message": message}
        told = meta.with_condition(told, {**new, "lastTransitionTime": tasks.rfc3339(now)})
    return told


def _asked_to_go(left: Sequence[Object]) -> str:
    if all(meta.is_deleting(obj) for obj in left):
        return "everything has been asked to go"
    return "pods have been asked to go, and everything else follows when they are gone"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))


def namespace_that_goes(obj: Object, view: View) -> Iterable[str]:
    namespace = view.get(NAMESPACES, "", meta.namespace(obj))
    if namespace is not None and meta.is_deleting(namespace):
        yield meta.name(namespace)


def all_that_go(view: View) -> Iterable[str]:
    return [meta.name(namespace) for namespace in view.list(NAMESPACES) if meta.is_deleting(namespace)]


CONTROLLERS = (
    Controller(
        name="namespaces",
        component="namespace-controller",
        watches=((NAMESPACES, own_key),),
        every=(is_followed, namespace_that_goes),
        when_kinds_change=all_that_go,
        reconcile=reconcile,
    ),
)
