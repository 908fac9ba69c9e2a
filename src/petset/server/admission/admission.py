"""Admission: what the server fills in or refuses, by the state of the cluster, between defaults and validation.

A table of hooks, each for some kinds and verbs, run in the table's order. A hook gets the context (the store as it is
now, who asks), the new object and, at an update, the old one; it returns the object, changed or not, or raises
ApiError. A second table has checks, which change nothing and are made when nothing changes the object any more: after
mutating webhooks, and after it was found valid. Pods have hooks of their own in pod_admission.py and
class_admission.py, what nodes write in node_admission.py, what a namespace bounds in namespaces/. Whether somebody has
the rights that he gives by a role or a binding can take long to tell and is awaited: escalation.py. Nothing here
writes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from petset.base import well_known
from petset.kinds import storage_class
from petset.kinds.certificate_signing_request import CERTIFICATESIGNINGREQUESTS
from petset.kinds.cluster_trust_bundle import CLUSTERTRUSTBUNDLES
from petset.kinds.lease import LEASES
from petset.kinds.namespace import NAMESPACES, OF_EVERY_CLUSTER
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.pod_certificate_request import PODCERTIFICATEREQUESTS
from petset.kinds.priority_class import PRIORITYCLASSES
from petset.kinds.service import SERVICES
from petset.kinds.stateful_set import STATEFULSETS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import errors, meta, quantity
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.access import auth, escalation, users
from petset.server.admission import certificate_admission, class_admission, node_admission, pod_admission
from petset.server.admission.namespaces import accounts, limits, security
from petset.server.admission.service_addresses import Addresses
from petset.server.writes import CREATE, DELETE, UPDATE, Write
from petset.store import store as stores

NAMESPACE_FINALIZER = "kubernetes"
CLAIM_FINALIZER, VOLUME_FINALIZER = well_known.PVC_PROTECTION_FINALIZER, well_known.PV_PROTECTION_FINALIZER


@dataclass(slots=True)  # Never changed; to freeze it would take longer than to make it.
class Context:
    store: stores.Store
    authorizer: auth.Authorizer
    addresses: Addresses
    write: Write

    def find(self, resource: Kind, name: str, namespace: str = "") -> Object | None:
        entry = self.store.get(resource.key(namespace, name))
        return entry.object if entry else None

    def all(self, resource: Kind) -> Sequence[Object]:
        """Of a kind that there are few of."""
        return [entry.object for entry in self.store.list(resource.key())[1]]

    def within(self, resource: Kind, namespace: str) -> Sequence[Object]:
        """Of a kind that there are few of in a namespace."""
        return [entry.object for entry in self.store.list(resource.key(namespace))[1]]


_NOTHING_GIVEN = contextlib.nullcontext()
Hook = Callable[[Context, Object, "Object | None"], Object]
Judge = Callable[[], None]  # Raises ApiError.
Check = Callable[[Context, Object, "Object | None"], Judge | None]


class Admission:
    def __init__(self, store: stores.Store, authorizer: auth.Authorizer):
        self._store, self._authorizer = store, authorizer
        self.addresses = Addresses(store)

    def create(self, write: Write, obj: Object) -> Object:
        return self._run(CREATE, write, obj, None)

    def update(self, write: Write, new: Object, old: Object) -> Object:
        return self._run(UPDATE, write, new, old)

    def delete(self, write: Write, old: Object) -> None:
        self._run(DELETE, write, old, old)

    def giving(self, write: Write) -> contextlib.AbstractContextManager[None]:
        """Within it the write is on its way; after it, what it was given is the stored object's, or nobody's."""
        return self.addresses.giving(write) if write.resource is SERVICES else _NOTHING_GIVEN

    async def check(self, write: Write, new: Object, old: Object | None, size: int) -> bool:
        """What an object must pass as it is to be stored; whether the cluster went on meanwhile. Raises ApiError.

        A check takes from the store what it needs and leaves the judgement, which for large objects is found beside
        the loop.
        """
        if write.resource not in _CHECKED:
            return False
        context = Context(self._store, self._authorizer, self.addresses, write)
        for check in _checks_of(CREATE if old is None else UPDATE, write.resource):
            judge = check(context, new, old)
            if judge is not None:
                await write.work.beside(size, judge)
        if old is not None and write.resource is NAMESPACES:
            return await security.tell_of_pods(self._store, write, new, old)
        return False

    def gives_rights(self, resource: Kind) -> bool:
        """Whether `require_held` is to be awaited of a write, during which the cluster goes on."""
        return resource in escalation.KINDS or resource in (CERTIFICATESIGNINGREQUESTS, CLUSTERTRUSTBUNDLES)

    async def require_held(self, write: Write, obj: Object, old: Object | None) -> None:
        """Of what gives rights, that the user has them. Raises ApiError."""
        if write.resource is CERTIFICATESIGNINGREQUESTS:
            await certificate_admission.require(self._authorizer, write, obj, old)
            return
        if write.resource is CLUSTERTRUSTBUNDLES:
            await certificate_admission.require_attested(self._authorizer, write, obj, old)
            return
        await escalation.require(self._authorizer, write, obj, old)

    def _run(self, verb: str, write: Write, obj: Object, old: Object | None) -> Object:
        hooks = hooks_of(verb, write.resource)
        if hooks:
            context = Context(self._store, self._authorizer, self.addresses, write)
            for hook in hooks:
                obj = hook(context, obj, old)
        return obj


def namespace_exists(context: Context, obj: Object, old: Object | None) -> Object:
    space, plural = meta.namespace(obj), context.write.resource.plural
    if not context.write.resource.namespaced:
        return obj
    found = context.find(NAMESPACES, space)
    if found is None:
        raise errors.not_found("namespaces", space)
    if meta.is_deleting(found):
        raise errors.ApiError(
            403,
            "Forbidden",
            f'{plural} "{meta.name(obj)}" is forbidden: unable to create new content in namespace '
            f"{space} because it is being terminated",
            {
                "name": meta.name(obj),
                "kind": plural,
                "causes": [
                    {
                        "reason": "NamespaceTerminating",
                        "message": f"namespace {space} is being terminated",
                        "field": "metadata.namespace",
                    }
                ],
            },
        )
    return obj


def namespace_is_mortal(context: Context, obj: Object, old: Object | None) -> Object:
    if meta.name(obj) in OF_EVERY_CLUSTER:
        raise errors.forbidden("namespaces", meta.name(obj), "this namespace may not be deleted")
    return obj


def namespace_finalizer(context: Context, obj: Object, old: Object | None) -> Object:
    """Content goes before the namespace does; the label lets selectors name a namespace."""
    label = {well_known.NAMESPACE_NAME_LABEL: meta.name(obj)}
    if old is None:
        obj = meta.changed(obj, ("spec", "finalizers"), [NAMESPACE_FINALIZER])
        obj = meta.changed(obj, ("status", "phase"), "Active")
    elif context.write.subresource != "finalize":
        kept = meta.get(old, "spec", "finalizers")
        obj = meta.changed(obj, ("spec", "finalizers"), kept) if kept else meta.without(obj, ("spec", "finalizers"))
    return meta.changed(obj, ("metadata", "labels"), {**meta.labels(obj), **label})


def service_addresses(context: Context, obj: Object, old: Object | None) -> Object:
    """Addresses and ports of nodes; those of the cluster's own services are decided."""
    if context.write.user is users.SERVER or context.write.subresource:
        return obj
    return context.addresses.given(context.write, obj, old)


def default_storage_class(context: Context, obj: Object, old: Object | None) -> Object:
    name = storage_class.counting(obj, context.all(STORAGECLASSES))
    if storage_class.of(obj) is not None or not name:
        return obj
    return meta.changed(obj, ("spec", "storageClassName"), name)


def storage_protection(context: Context, obj: Object, old: Object | None) -> Object:
    wanted = CLAIM_FINALIZER if context.write.resource is PERSISTENTVOLUMECLAIMS else VOLUME_FINALIZER
    present = meta.texts(obj, "metadata", "finalizers")
    return obj if wanted in present else meta.changed(obj, ("metadata", "finalizers"), [*present, wanted])


def claim_growth(context: Context, obj: Object, old: Object | None) -> Object:
    """A bound claim may ask for more only where its class lets it; of one that is not bound the validation speaks."""
    after, before = (meta.get(one, "spec", "resources", "requests", "storage") for one in (obj, old))
    if not after or not before or meta.get(old, "status", "phase") != "Bound" or quantity.compare(after, before) <= 0:
        return obj
    name = storage_class.of(obj)
    class_ = context.find(STORAGECLASSES, name) if name else None
    if class_ is None or not class_.get("allowVolumeExpansion"):
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support "
            "resize"
        )
        raise errors.forbidden("persistentvolumeclaims", meta.name(obj), why)
    return obj


_VOLUMES = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)
_OF_NODES = (NODES, LEASES, PODS, PODCERTIFICATEREQUESTS, PERSISTENTVOLUMECLAIMS)
_PODS = (PODS,)
_SETS = (PETSETS, STATEFULSETS)

# Kinds (none: all), verbs, hook; in the order in which they run.
HOOKS: tuple[tuple[tuple[Kind, ...], tuple[str, ...], Hook], ...] = (
    ((), (CREATE,), namespace_exists),
    ((NAMESPACES,), (DELETE,), namespace_is_mortal),
    ((NAMESPACES,), (CREATE, UPDATE), namespace_finalizer),
    (_OF_NODES, (CREATE, UPDATE, DELETE), node_admission.node_restriction),
    (_PODS, (CREATE,), pod_admission.annotations_of_2016),
    (_SETS, (CREATE, UPDATE), pod_admission.template_annotations_of_2016),
    (_PODS, (CREATE,), limits.defaults),
    (_PODS, (CREATE,), pod_admission.service_account),
    (_PODS, (CREATE, UPDATE), class_admission.priority),
    (_PODS, (CREATE,), class_admission.runtime_class),
    (_PODS, (CREATE, UPDATE), pod_admission.tolerations),
    ((PRIORITYCLASSES,), (CREATE, UPDATE), class_admission.one_default_priority),
    ((SERVICES,), (CREATE, UPDATE), service_addresses),
    ((PERSISTENTVOLUMECLAIMS,), (CREATE,), default_storage_class),
    ((PERSISTENTVOLUMECLAIMS,), (UPDATE,), claim_growth),
    (_VOLUMES, (CREATE,), storage_protection),
    ((CERTIFICATESIGNINGREQUESTS,), (CREATE,), certificate_admission.requester),
    ((CERTIFICATESIGNINGREQUESTS,), (UPDATE,), certificate_admission.condition_times),
)


# And what is looked at last, in the same way.
CHECKS: tuple[tuple[tuple[Kind, ...], tuple[str, ...], Check], ...] = (
    ((NAMESPACES,), (CREATE, UPDATE), security.of_a_namespace),
    (_PODS, (CREATE, UPDATE), limits.pod_within),
    (_PODS, (CREATE, UPDATE), accounts.of_a_pod),
    (_PODS, (CREATE, UPDATE), security.of_a_pod),
    (tuple(security.TEMPLATES), (CREATE, UPDATE), security.of_a_template),
    ((PERSISTENTVOLUMECLAIMS,), (CREATE, UPDATE), limits.claim_within),
)


_NAMED = frozenset(kind for kinds, _, _ in HOOKS for kind in kinds)
_CHECKED = frozenset(kind for kinds, _, _ in CHECKS for kind in kinds)


def hooks_of(verb: str, resource: Kind) -> tuple[Hook, ...]:
    """The hooks of one verb on one kind, of the table of kinds or not."""
    return _hooks_of(verb, resource if resource in _NAMED else None)  # Of kinds that come and go none is kept.


@functools.cache
def _checks_of(verb: str, resource: Kind) -> tuple[Check, ...]:
    return tuple(check for kinds, verbs, check in CHECKS if verb in verbs and resource in kinds)


@functools.cache
def _hooks_of(verb: str, resource: Kind | None) -> tuple[Hook, ...]:
    return tuple(hook for kinds, verbs, hook in HOOKS if verb in verbs and (not kinds or resource in kinds))
