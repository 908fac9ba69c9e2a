"""The subresources that are not just another way to write the object: binding, eviction, token (scale: scales.py).

`binding` is how the scheduler gives a pod its node; `eviction` is a deletion that a disruption budget may refuse
(evictions.py); `token` issues a service account's token. All writing goes through Rest, so every check and precondition
holds here too.
"""

from __future__ import annotations

from typing import Any

from petset.base import tasks
from petset.kinds import transient
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.reviews import TOKENREVIEWS
from petset.kinds.secret import SECRETS
from petset.objects import errors, meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import answers, decoding, deletion, evictions, rest, writes
from petset.server.access import tokens, users
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http


class Subresources:
    def __init__(self, store: stores.Store, objects: rest.Rest, issuer: tokens.Tokens):
        self._store, self._rest, self._issuer = store, objects, issuer
        self._evictions = evictions.Evictions(store, objects)

    # Pods

    async def bind(self, call: Call) -> http.Response:
        body = _object(await decoding.body(call), "Binding")
        write = writes.of(call, is_decided=True)
        body = await self._reviewed(write, transient.BINDING, body)
        node = meta.get(body, "target", "name")
        if not isinstance(node, str) or not node:
            wrong = FieldError.required("target.name", "the node's name")
            raise errors.invalid("Binding", call.route.name, [wrong])
        uid = meta.get(body, "metadata", "uid")
        await self._rest.change(write, lambda old: (bound(old, node, uid, tasks.now()), ()))
        return answers.tree(call, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)

    async def evict(self, call: Call) -> http.Response:
        body = _object(await decoding.body(call) if call.request.body else {}, "Eviction")
        if meta.get(body, "metadata", "name") not in (None, call.route.name):
            raise errors.bad_request("name in URL does not match name in Eviction object")
        body = await self._reviewed(writes.of(call), transient.EVICTION, body)
        options = deletion.read_options(body.get("deleteOptions"), call.query)
        await self._evictions.evict(writes.of_removal(call, options))
        return answers.tree(
            call, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
        )

    async def finalize(self, call: Call) -> http.Response:
        """A namespace's own finalizers, which only this way may take away."""
        body = _object(await decoding.body(call), "Namespace")
        wanted: Any = meta.get(body, "spec", "finalizers", default=[])
        if not meta.is_texts(wanted):
            raise errors.bad_request("cannot finalize: spec.finalizers is not a list of texts")
        given = meta.get(body, "metadata", "resourceVersion")

        def make(old: Object) -> tuple[Object, tuple[FieldError, ...]]:
            if given and given != old["metadata"]["resourceVersion"]:
                raise errors.stale_write("namespaces", meta.name(old), given, old["metadata"]["resourceVersion"])
            spec = meta.without(meta.part(old, "spec"), ("finalizers",))
            return {**old, "spec": {**spec, **({"finalizers": wanted} if wanted else {})}}, ()

        write, others = writes.of(call, is_decided=True), self._rest.others

        async def review(wanted: Object, old: Object) -> Object:
            return await others.reviewed(write, writes.UPDATE, call.resource, wanted, old)

        is_asked = others.asking(write, writes.UPDATE, call.resource) is not None
        return answers.entry(call, await self._rest.change(write, make, review if is_asked else None))

    async def _reviewed(self, write: writes.Write, kind: Kind, body: Object) -> Object:
        """A body that is not stored, as policies and webhooks want it; asked about under the name of its object."""
        if self._rest.others.asking(write, writes.CREATE, kind) is None:
            return body
        metadata = {**meta.part(body, "metadata"), "name": write.name, "namespace": write.namespace}
        whole: Object = {"kind": kind.kind, "apiVersion": kind.api_version, **body, "metadata": metadata}
        return _object(await self._rest.others.reviewed(write, writes.CREATE, kind, whole), kind.kind)

    # Service accounts

    async def request_token(self, call: Call) -> http.Response:
        """A token for the account, bound to the pod, secret or node that the request names. Raises ApiError."""
        body = await self._reviewed(
            writes.of(call), transient.TOKEN_REQUEST, _object(await decoding.body(call), "TokenRequest")
        )
        account = (await self._rest.existing(call.resource, call.route.namespace, call.route.name)).object
        spec = meta.part(body, "spec")
        audiences, seconds = self._wanted(spec)
        bound = await self._bound_object(call, spec.get("boundObjectRef"))
        if users.node_name(call.user) and users.MASTERS not in call.user.groups:
            _check_node_asks_for_its_pod(call, bound)
        await self._issuer.ready()
        now = tasks.now()
        claims = tokens.Claims(
            namespace=call.route.namespace,
            account=_named(account),
            identifier=tasks.new_uid(),
            audiences=audiences,
            expires=now + seconds,
            **self._bound_claims(bound),
        )
        status = {"token": self._issuer.issue(claims, now), "expirationTimestamp": tasks.rfc3339(claims.expires)}
        answer: Object = {
            "kind": "TokenRequest",
            "apiVersion": TOKENREVIEWS.api_version,
            "metadata": {
                "name": call.route.name,
                "namespace": call.route.namespace,
                "creationTimestamp": tasks.rfc3339(now),
            },
            "spec": {**spec, "audiences": list(audiences), "expirationSeconds": seconds},
            "status": status,
        }
        return answers.tree(call, answer, 201)

    def _wanted(self, spec: Object) -> tuple[tuple[str, ...], int]:
        given: Any = spec.get("audiences") or []
        seconds: Any = spec.get("expirationSeconds")
        audiences, wrong = given if meta.is_texts(given) else [], list[FieldError]()
        if given and not audiences:
            wrong.append(FieldError.invalid("spec.audiences", given, "must be a list of texts"))
        if seconds is None:
            seconds = tokens.TOKEN_SECONDS_DEFAULT
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            wrong.append(FieldError.invalid("spec.expirationSeconds", seconds, "must be a whole number"))
        elif seconds < tokens.TOKEN_SECONDS_MIN:
            why = "may not specify a duration less than 10 minutes"
            wrong.append(FieldError.invalid("spec.expirationSeconds", seconds, why))
        elif seconds > tokens.TOKEN_SECONDS_ASKED_MAX:
            why = "may not specify a duration larger than 2^32 seconds"
            wrong.append(FieldError.invalid("spec.expirationSeconds", seconds, why))
        if wrong:
            raise errors.invalid("TokenRequest", "", wrong, TOKENREVIEWS.group)
        return tuple(audiences) or (self._issuer.issuer,), min(seconds, tokens.TOKEN_SECONDS_MAX)

    async def _bound_object(self, call: Call, reference: Any) -> Object | None:
        """The object a token is to die with. Raises ApiError when it is another one or none."""
        if not reference:
            return None
        struct = reference if meta.is_struct(reference) else {}
        kind: Any = struct.get("kind")
        resource = BINDABLE.get(str(kind))
        if resource is None:
            raise errors.bad_request(f"cannot bind a token to {str(kind)[:100]!r}; bind it to a Pod, Secret or Node")
        name = str(struct.get("name"))
        found = (await self._rest.existing(resource, call.route.namespace if resource.namespaced else "", name)).object
        if struct.get("uid") and struct["uid"] != meta.uid(found):
            why = f"the UID in the bound object reference is not {meta.uid(found)}"
            raise errors.conflict(resource.plural, name, why)
        if resource is PODS and meta.get(found, "spec", "serviceAccountName") != call.route.name:
            raise errors.bad_request(
                f"cannot bind token for serviceaccount {call.route.name!r} to a pod that runs with another one"
            )
        return found

    def _bound_claims(self, bound: Object | None) -> dict[str, tokens.Bound]:
        if bound is None:
            return {}
        claims = {bound["kind"].lower(): _named(bound)}
        if node_name := meta.get(bound, "spec", "nodeName"):
            node = self._store.get(NODES.key("", node_name))
            claims["node"] = tokens.Bound(node_name, meta.uid(node.object) if node else "")
        return claims


BINDABLE = {"Pod": PODS, "Secret": SECRETS, "Node": NODES}


def _named(obj: Object) -> tokens.Bound:
    return tokens.Bound(meta.name(obj), meta.uid(obj))


def _check_node_asks_for_its_pod(call: Call, bound: Object | None) -> None:
    node = users.node_name(call.user)
    if bound is None or bound["kind"] != "Pod" or meta.get(bound, "spec", "nodeName") != node:
        raise errors.forbidden(
            "serviceaccounts", call.route.name, f'node "{node}" may request only tokens bound to its own pods'
        )


def _object(tree: Any, kind: str) -> Object:
    """A body of that kind whose parts have the right shape. Raises ApiError 400."""
    if not meta.is_struct(tree) or tree.get("kind", kind) != kind:
        raise errors.bad_request(f"cannot read the body: it is not an object of kind {kind}")
    for field in ("metadata", "spec", "target"):
        if tree.get(field) is not None and not isinstance(tree[field], dict):
            raise errors.bad_request(f"cannot read the {kind}: {field} is not an object")
    return tree


def bound(pod: Object, node: str, uid: str | None, now: float) -> Object:
    """The pod on its node. Raises ApiError 409 when it is being deleted, is bound, or is another pod."""
    name = meta.name(pod)
    if uid and uid != meta.uid(pod):
        raise errors.conflict("pods", name, f"its uid is {meta.uid(pod)} and the binding is for {uid}")
    if meta.is_deleting(pod):
        raise errors.conflict("pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if meta.get(pod, "spec", "nodeName"):
        there = pod["spec"]["nodeName"]
        raise errors.conflict("pods/binding", name, f'pod {name} is already assigned to node "{there}"')
    if meta.get(pod, "spec", "schedulingGates"):
        raise errors.conflict("pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": tasks.rfc3339(now)}
    conditions = meta.with_condition(meta.get(pod, "status", "conditions", default=()), scheduled)
    return {
        **pod,
        "spec": {**pod["spec"], "nodeName": node},
        "status": {**meta.without(meta.part(pod, "status"), ("nominatedNodeName",)), "conditions": conditions},
    }
