"""The params of a binding: what of the cluster a policy is told, looked up when a request comes.

A param is an object of the policy's paramKind, by name or by its labels, in the namespace that the binding names or in
that of the request. Follows: "Parameter resources" of the Kubernetes documentation on ValidatingAdmissionPolicy.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind
from petset.server import conversion
from petset.server.admission.policies.policy import Bound, ParamRef
from petset.server.admission.request import Request
from petset.store import store as stores

PARAMS_MAX = 1_000  # Of one binding in one request.


class Misconfigured(Exception):
    """Why a binding has no params."""


async def of(request: Request, catalog: Catalog, bound: Bound, obj: Object) -> Sequence[Object | None]:
    """What the policy is asked about an object with, once for each; [None] for no params. Raises Misconfigured."""
    wanted, reference = bound.policy.param, bound.binding.param
    if wanted is None or reference is None:
        return [None]
    kind = catalog.now.named(*wanted)
    if kind is None:
        raise Misconfigured(f"paramKind kind `{wanted[0]}, Kind={wanted[1]}` not known")
    found = await _found(request, kind, reference, _namespace(request.namespace_of(obj), kind, reference))
    if not found and reference.denies:
        raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found


def _namespace(own: str, kind: Kind, reference: ParamRef) -> str:
    """Raises Misconfigured."""
    if not kind.namespaced:
        if reference.namespace:
            raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    namespace = reference.namespace or own
    if not namespace:
        raise Misconfigured("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    return namespace


async def _found(request: Request, kind: Kind, reference: ParamRef, namespace: str) -> list[Object]:
    """Raises Misconfigured."""
    if reference.selector is None:
        entry = request.store.get(kind.key(namespace, reference.name))
        return [(await conversion.shown(kind, entry)).object] if entry is not None else []
    _, entries = request.store.list(kind.key(namespace))
    found: list[stores.Entry] = []
    async for run in request.write.work.in_runs(entries, _size, _selected, reference.selector):
        found += run
    if len(found) > PARAMS_MAX:
        raise Misconfigured(f"paramRef.selector chooses more than {PARAMS_MAX} objects")
    return [(await conversion.shown(kind, entry)).object for entry in found]


def _size(entry: stores.Entry) -> int:
    return len(entry.encoded)


def _selected(run: Sequence[stores.Entry], selector: selectors.Selector) -> list[stores.Entry]:
    return [entry for entry in run if selector.matches(meta.labels(entry.object))]
