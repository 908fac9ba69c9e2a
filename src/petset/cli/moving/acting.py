"""A move's steps, taken: look at both clusters, decide, do the one next thing, and look again.

Nothing is remembered between two looks but what stands in the objects, so whoever is killed at any moment goes on by
running the same command. A write that somebody else was quicker than is decided anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from petset.cli.failures import CommandError
from petset.cli.moving import copying, deciding, making
from petset.cli.moving.deciding import Side, Step
from petset.cli.moving.record import Move
from petset.client import following
from petset.client.client import Client
from petset.kinds import pet_names
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.net.dialer import Dialer
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

QUICKER_MAX = 100  # So often in a row somebody else may be quicker.
OTHERS = "cannot go on: somebody else moves the same set, and has gone on with it; see that one does, and run it again"
Tell = Callable[[str], None]
TellBytes = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """One cluster, and the place in it where the set is or is to be."""

    client: Client
    dialer: Dialer
    namespace: str
    kind: Kind
    name: str
    image: str = ""  # Of the mover; "": that of the pets' first container.

    async def look(self) -> Side:
        """Raises ApiError, OSError."""
        set_ = await found(self.client, self.kind, self.namespace, self.name)
        pods, _ = await self.client.list(PODS, self.namespace)
        claims, _ = await self.client.list(PERSISTENTVOLUMECLAIMS, self.namespace)
        services, _ = await self.client.list(SERVICES, self.namespace)
        return Side(
            set_,
            {meta.name(pod): pod for pod in pods if self._concerns(pod)},
            {meta.name(claim): claim for claim in claims},
            {meta.name(service): service for service in services},
        )

    def _concerns(self, pod: Object) -> bool:
        return self.name in (pet_names.parent(pod), pet_names.parsed(making.moved_by(pod))[0])


async def found(client: Client, kind: Kind, namespace: str, name: str) -> Object | None:
    """None: there is no such object. Raises ApiError, OSError."""
    try:
        return await client.get(kind, name, namespace)
    except errors.ApiError as error:
        if error.code != 404:
            raise
        return None


@dataclass(frozen=True, slots=True)
class Mover:
    """Who moves a set from one ground to another."""

    here: Ground
    there: Ground
    move: Move
    wishes: making.Wishes
    tell: Tell
    tell_bytes: TellBytes
    seconds_max: float  # For a pod to be as it is wanted.

    async def run(self) -> None:
        """Until every pet is there. Raises CommandError, ApiError, OSError; run again, it goes on."""
        quicker, is_held = 0, False
        while True:
            here, there = await asyncio.gather(self.here.look(), self.there.look())
            try:
                step = deciding.next_step(self.move, self.wishes, here, there)
            except deciding.CANNOT as error:
                raise CommandError(f"cannot move {self.here.name}: {error}") from None
            if isinstance(step, deciding.Take) and is_held:
                raise CommandError(OTHERS)
            is_held = is_held or (there.set_ is not None and self._holds(there.set_))
            self.tell(step.why)
            try:
                await self._take(step, here)
                if isinstance(step, deciding.Done):
                    return
                quicker = 0
            except errors.ApiError as error:
                quicker += 1
                if error.reason not in ("Conflict", "AlreadyExists", "NotFound") or quicker > QUICKER_MAX:
                    raise

    async def _take(self, step: Step, here: Side) -> None:
        match step:
            case deciding.Change(obj=obj):
                await self._ground(step).client.update(obj)
            case deciding.Make(obj=obj):
                await self._ground(step).client.create(obj)
            case deciding.Remove(obj=obj):
                await self._remove(self._ground(step), obj)
            case deciding.Await(pod=pod, holds=holds):
                await self._wait(self._ground(step), pod, holds, step.why)
            case deciding.Copy():
                assert here.set_ is not None
                await self._copy(step, here.set_)
            case deciding.Done(set_=set_):
                if set_ is not None:
                    await self.here.client.update(set_)

    def _holds(self, there: Object) -> bool:
        return making.is_held(there, self.move, self.wishes.mover)

    def _ground(self, step: deciding.Write | deciding.Await) -> Ground:
        return self.there if step.there else self.here

    async def _remove(self, ground: Ground, pod: Object) -> None:
        await ground.client.delete(PODS, meta.name(pod), ground.namespace, uid=meta.uid(pod), grace_seconds=0)
        await self._wait(
            ground, meta.name(pod), lambda now: now is None or meta.uid(now) != meta.uid(pod), "it is gone"
        )

    async def _wait(self, ground: Ground, pod: str, holds: Callable[[Object | None], bool], why: str) -> None:
        states = following.states(ground.client, PODS, ground.namespace, field_selector=f"metadata.name={pod}")
        try:
            async with asyncio.timeout(self.seconds_max), contextlib.aclosing(states) as seen:
                async for there in seen:
                    if holds(next(iter(there.values()), None)):
                        return
        except TimeoutError:
            raise CommandError(
                f"cannot go on: {why}: not within {self.seconds_max:g} s; `petset why {pod}` tells what holds it; "
                "mend that and run the same command again"
            ) from None

    async def _copy(self, step: deciding.Copy, set_: Object) -> None:
        """Into claims that say so before, and say that it is done only if nobody else has begun since.

        That the set is still this mover's is seen once it has its pods on the volumes: who takes it removes them first.
        """
        async with self._holding(self.here, set_, step) as here, self._holding(self.there, set_, step) as there:
            if not self._holds(await self.there.client.get(self.there.kind, self.there.name, self.there.namespace)):
                raise CommandError(OTHERS)
            for at, name in enumerate(step.claims):
                claim = await self.there.client.get(PERSISTENTVOLUMECLAIMS, name, self.there.namespace)
                claim = await self.there.client.update(making.being_copied(claim, self.wishes.mover))
                source = copying.Place(self.here.dialer, self.here.namespace, here, making.place(at))
                target = copying.Place(self.there.dialer, self.there.namespace, there, making.place(at))
                digest = await copying.copied(source, target, self._told(name))
                await self.there.client.update(making.copied(claim, step.move, digest))

    def _told(self, claim: str) -> copying.Tell:
        return lambda done, total: self.tell_bytes(claim, done, total)

    @contextlib.asynccontextmanager
    async def _holding(self, ground: Ground, set_: Object, step: deciding.Copy) -> AsyncGenerator[str]:
        """The name of a pod that has the claims."""
        image = ground.image or set_["spec"]["template"]["spec"]["containers"][0]["image"]
        image = image if ground is self.here else self.wishes.images.renamed(image)
        name = making.mover_name(step.pet, self.wishes.mover)
        made = await ground.client.create(making.mover(set_, ground.namespace, name, step.claims, image))
        try:
            await self._wait(ground, name, _runs, f"{name} runs, which copies with the image {image} (--image)")
            yield name
        finally:
            with contextlib.suppress(errors.ApiError, OSError):  # Whoever goes on removes it.
                await self._remove(ground, made)


def _runs(pod: Object | None) -> bool:
    if pod is None or meta.is_deleting(pod):
        raise CommandError(OTHERS)
    if meta.get(pod, "status", "phase") in ("Failed", "Succeeded"):
        raise CommandError(f"cannot copy: {meta.name(pod)} has ended; name an image that has sh and sleep with --image")
    return meta.get(pod, "status", "phase") == "Running"
