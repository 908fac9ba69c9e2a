"""Objects applied to a cluster server-side, and taken away again: what `petset run` made, and nothing else.

Kinds that are not built in are looked up where the server tells of them; one whose definition was applied just before
is waited for. What was there before is not of this run, and stays when the rest goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from petset.cli.asking import sets
from petset.cli.failures import CommandError
from petset.client import discovery
from petset.client.client import Client
from petset.kinds import pet_names
from petset.kinds.custom_resource_definition import CUSTOMRESOURCEDEFINITIONS
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

MANAGER = "petset-run"
# What to do about a refusal, by its reason.
MENDS = {
    "Conflict": "--force-conflicts takes the fields over",
    "Invalid": "correct it and run it again",
    "Forbidden": "apply it as a user who may, or change what forbids it",
}
KIND_SECONDS_MAX = 10.0
GONE_SECONDS_MAX = 120.0
AGAIN_SECONDS = 0.1


class Refused(CommandError):
    """The server did not take an object."""


@dataclass(frozen=True, slots=True)
class Applied:
    kind: Kind
    obj: Object  # As it is now.
    is_new: bool

    @property
    def called(self) -> str:
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.singular}{group}/{meta.name(self.obj)}"

    @property
    def told(self) -> str:
        """What became of it, as kubectl says it."""
        return f"{self.called} {'created' if self.is_new else 'applied'}"


async def apply(client: Client, obj: Object, namespace: str, force: bool) -> Applied:
    """Raises Refused, OSError."""
    kind = await kind_of(client, obj)
    space = (meta.namespace(obj) or namespace) if kind.namespaced else ""
    wanted = {**obj, "metadata": {**obj["metadata"], **({"namespace": space} if space else {})}}
    try:
        was_there = await _is_there(client, kind, meta.name(obj), space)
        return Applied(kind, await client.apply(wanted, MANAGER, force=force, resource=kind), not was_there)
    except errors.ApiError as error:
        mend = f"; {MENDS[error.reason]}" if error.reason in MENDS else ""
        raise Refused(f"cannot apply {obj['kind']} {meta.name(obj)}: {error.message}{mend}") from None


async def _is_there(client: Client, kind: Kind, name: str, namespace: str) -> bool:
    try:
        await client.get(kind, name, namespace)
    except errors.ApiError as error:
        if error.code != 404:
            raise
        return False
    return True


async def kind_of(client: Client, obj: Object) -> Kind:
    """Its kind, also of one that somebody has defined. Raises Refused."""
    built_in = client.kinds.now.of(obj)
    if built_in is not None:
        return built_in
    loop = asyncio.get_running_loop()
    give_up = loop.time() + KIND_SECONDS_MAX
    while True:
        served = await discovery.of_version(client, obj["apiVersion"])
        if (found := next((one for one in served if one.kind == obj["kind"]), None)) is not None:
            return found
        if loop.time() >= give_up or not await _is_being_defined(client, obj["kind"]):
            what = f"{obj['kind']} {meta.name(obj)}"
            why = f"the cluster has no kind {obj['kind']} in {obj['apiVersion']}"
            raise Refused(f"cannot apply {what}: {why}; correct the apiVersion, or apply the kind's definition, too")
        await asyncio.sleep(AGAIN_SECONDS)


async def _is_being_defined(client: Client, kind: str) -> bool:
    found, _ = await client.list(CUSTOMRESOURCEDEFINITIONS)
    return any(meta.get(one, "spec", "names", "kind") == kind for one in found)


async def take_away(client: Client, applied: Sequence[Applied]) -> list[str]:
    """Delete what was new, the last first, with the claims of the sets, and wait until it is gone; what stays, told."""
    new = [one for one in reversed(applied) if one.is_new]
    for one in new:
        await _delete(client, one.kind, meta.name(one.obj), meta.namespace(one.obj))
    left = await _remaining(client, [(one.kind, meta.name(one.obj), meta.namespace(one.obj)) for one in new])
    claims = [claim for one in new if one.kind in sets.KINDS for claim in await _claims(client, one.obj)]
    for claim in claims:  # Only now: a set that is still there makes them again.
        await _delete(client, PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim))
    places = [(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim)) for claim in claims]
    return left + await _remaining(client, places)


async def _claims(client: Client, owner: Object) -> list[Object]:
    """Those of a set's pets, which were made from its templates after it was."""
    found, _ = await client.list(PERSISTENTVOLUMECLAIMS, meta.namespace(owner))
    return [
        claim
        for claim in found
        if pet_names.template_of(owner, meta.name(claim)) is not None
        if claim["metadata"]["creationTimestamp"] >= owner["metadata"]["creationTimestamp"]
    ]


async def _delete(client: Client, kind: Kind, name: str, namespace: str) -> None:
    try:
        await client.delete(kind, name, namespace, propagation="Foreground")
    except errors.ApiError as error:
        if error.code != 404:
            raise


async def _remaining(client: Client, places: Sequence[tuple[Kind, str, str]]) -> list[str]:
    left = list(places)
    loop = asyncio.get_running_loop()
    give_up = loop.time() + GONE_SECONDS_MAX
    while left and loop.time() < give_up:
        left = [place for place in left if await _is_there(client, *place)]
        if left:
            await asyncio.sleep(AGAIN_SECONDS)
    return [f"{kind.singular}/{name}" for kind, name, _ in left]
