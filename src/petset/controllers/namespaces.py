"""A namespace that is being deleted is emptied, kind by kind, and then let go.

Everything in it is deleted, gracefully where a kind has grace. When the caches show none left the server is asked once
more for each kind (it accepts nothing new in such a namespace), and the finalizer is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.objects import meta, resources
from petset.objects.meta import Object

FINALIZER = "kubernetes"
KINDS = tuple(row for row in resources.TABLE if row.namespaced and "list" in row.verbs)


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps towards an empty namespace that may go."""
    namespace = view.get(resources.NAMESPACES, "", key)
    if namespace is None or not meta.is_deleting(namespace):
        return []
    if FINALIZER not in meta.get(namespace, "spec", "finalizers", default=()):
        return []
    left = [obj for kind in KINDS for obj in view.list(kind, key)]
    if left:
        return [actions.Delete(obj, propagation="Background") for obj in left if not meta.is_deleting(obj)]
    others = [finalizer for finalizer in namespace["spec"]["finalizers"] if finalizer != FINALIZER]
    finalized = meta.changed(namespace, ("spec", "finalizers"), others)
    return [*(actions.Empty(kind, key) for kind in KINDS), actions.UpdateStatus(finalized, "finalize")]


def namespace_that_goes(obj: Object, view: View) -> Iterable[str]:
    namespace = view.get(resources.NAMESPACES, "", meta.namespace(obj))
    if namespace is not None and meta.is_deleting(namespace):
        yield meta.name(namespace)


CONTROLLERS = (
    Controller(
        name="namespaces",
        component="namespace-controller",
        watches=((resources.NAMESPACES, own_key), *((kind, namespace_that_goes) for kind in KINDS)),
        reconcile=reconcile,
    ),
)
