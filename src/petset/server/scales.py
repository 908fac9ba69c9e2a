"""The scale of a set: its replicas as autoscaling/v1 Scale, whichever kind it is, read and written back.

All writing goes through Rest, so every check and precondition holds here too; policies and webhooks are asked about the
Scale. Where a kind has its replicas, and what its selector looks like, is said in its row.
"""

from __future__ import annotations

from typing import Any

from petset.objects import errors, meta, selectors
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import SCALE as SCALE_OF_SETS
from petset.objects.registry import Kind, Scale
from petset.server import answers, decoding, ownership, rest, writes
from petset.server.routes import Call
from petset.wire import http

REPLICAS_MAX = 2**31 - 1
SCALE = Kind("autoscaling", "v1", "scales", "Scale")


class Scales:
    def __init__(self, objects: rest.Rest):
        self._rest = objects

    async def get(self, call: Call) -> http.Response:
        found = await self._rest.existing(call.resource, call.route.namespace, call.route.name)
        return answers.tree(call, scale_of(found.object, call.resource.scale))

    async def put(self, call: Call) -> http.Response:
        body = decoding.typed(await decoding.body(call), SCALE)
        return await self._change_scale(call, writes.of(call), lambda old: (scaled(call, old, body), ()))

    async def _change_scale(self, call: Call, write: writes.Write, make: rest.Make) -> http.Response:
        """Policies and webhooks are asked about the Scale, not about the set."""
        paths, others = call.resource.scale, self._rest.others

        async def review(wanted: Object, old: Object) -> Object:
            asked = scale_of(wanted, paths)
            found = await others.reviewed(write, writes.UPDATE, SCALE, asked, scale_of(old, paths))
            return wanted if found is asked else scaled(call, wanted, found)

        is_asked = others.asking(write, writes.UPDATE, SCALE) is not None
        written = await self._rest.change(write, make, review if is_asked else None)
        return answers.tree(call, scale_of(written.object, paths))

    async def patch(self, call: Call) -> http.Response:
        if writes.is_apply(call):
            return await self._apply_scale(call)
        apply = await rest.patch_function(call, SCALE)
        write = writes.of(call)

        def make(old: Object) -> tuple[Object, tuple[FieldError, ...]]:
            wanted = decoding.typed(apply(scale_of(old, call.resource.scale)), SCALE)
            return scaled(call, old, wanted), ()

        return await self._change_scale(call, write, make)

    async def _apply_scale(self, call: Call) -> http.Response:
        config = await ownership.configuration(call, SCALE)
        write = writes.of(call)
        wanted, at = meta.get(config, "spec", "replicas"), call.resource.scale.replicas
        kind: Object = {"apiVersion": call.resource.api_version, "kind": call.resource.kind}

        def make(old: Object) -> tuple[Object, tuple[FieldError, ...]]:
            whole: Object = {**kind, "metadata": {}}
            new = ownership.applied(write, old, whole if wanted is None else meta.changed(whole, at, wanted))
            replicas = meta.get(new, *at, default=1)
            return scaled(call, new, {**config, "spec": {"replicas": replicas}}), ()

        return await self._change_scale(call, write, make)


def scale_of(obj: Object, paths: Scale) -> dict[str, Any]:
    """A set, or what is like one, as autoscaling/v1 Scale."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = meta.get(obj, *paths.selector) if paths.selector else None
    if paths is SCALE_OF_SETS and selector:
        is_plain = not selector.keys() & {"matchLabels", "matchExpressions"}  # A ReplicationController's.
        selector = str(selectors.from_map(selector) if is_plain else selectors.from_object(selector))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]},
        "spec": {"replicas": meta.get(obj, *paths.replicas, default=0)},
        "status": {
            "replicas": meta.get(obj, *paths.status_replicas, default=0),
            **({"selector": selector} if selector and isinstance(selector, str) else {}),
        },
    }


def scaled(call: Call, old: Object, scale: Object) -> Object:
    """The set with the scale's replicas, and its resourceVersion when it names one. Raises ApiError."""
    replicas = meta.get(scale, "spec", "replicas", default=0)
    name = call.route.name
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise errors.bad_request("cannot scale: spec.replicas is not a whole number")
    if not 0 <= replicas <= REPLICAS_MAX:
        wrong = FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid("Scale", name, [wrong], "autoscaling")
    given = scale["metadata"]
    metadata = {**old["metadata"]}
    for field in ("name", "namespace", "uid", "resourceVersion"):
        if given.get(field) is not None:
            if not isinstance(given[field], str):
                raise errors.bad_request(f"cannot scale: metadata.{field} is not a text")
            metadata[field] = given[field]
    return meta.changed({**old, "metadata": metadata}, call.resource.scale.replicas, replicas)
