"""A monkey with all rights: scales, deletes, orphans, edits, kills containers and programs, reboots and cordons nodes.

What it does is told to the laws before it is done. It uses the API like anybody, over a link without faults, so that
it knows what it did. `goes_home` puts right what only a person can: cordoned nodes, paused sets, relabelled pods.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from petset.base import well_known
from petset.kinds.node import NODES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.world import faults, laws, nodes
from petset.world.process import persistently

if TYPE_CHECKING:
    from petset.world.world import World

REPLICAS_MAX = 4
PAUSE_SECONDS_MAX = 60.0
WAITS_MAX = 600
OTHER_KIND = {
    "PetSet": {"apiVersion": "apps/v1", "kind": "StatefulSet"},
    "StatefulSet": {"apiVersion": "apps/v1alpha1", "kind": "PetSet"},
}


class Monkey:
    """Plays `tricks`, the heavier ones more often; the world's seed chooses."""

    def __init__(self, world: World):
        self.world, self.admin = world, world.admin
        self.chance = random.Random(f"{world.seed} monkey")
        self.tricks: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (5, self.scale),
            (5, self.delete_pod),
            (2, self.delete_pod_by_force),
            (3, self.kill_container),
            (2, self.edit_template),
            (2, self.recreate_set),
            (2, self.delete_claim),
            (1, self.cordon),
            (1, self.delete_endpoints),
            (2, self.relabel_pod),
            (1, self.pause),
            (3, self.kill_program),
            (2, self.kill_server),
            (1, self.reboot_node),
        ]

    async def play(self, steps: int) -> None:
        tricks = [trick for weight, trick in self.tricks for _ in range(weight)]
        for _ in range(steps):
            await asyncio.sleep(self._pause())
            if self.world.laws.broken:
                return
            trick = self.chance.choice(tricks)
            self.world.laws.note(f"MONKEY   {trick.__name__}")
            await trick()

    def _pause(self) -> float:
        """Often at once, now and then long enough for everything to settle."""
        return self.chance.choice((0.0, 0.5, 3.0, 10.0, PAUSE_SECONDS_MAX)) * self.chance.random()

    async def goes_home(self) -> None:
        await asyncio.sleep(faults.STALL_SECONDS_MAX)  # What is still under way arrives.
        for key, obj in list(self.world.laws.objects.items()):
            if key.startswith("/core/nodes/") and meta.get(obj, "spec", "unschedulable"):
                await self._try(
                    lambda obj=obj: self.admin.patch(NODES, meta.name(obj), "", {"spec": {"unschedulable": None}})
                )
            if key.startswith(laws.PODS):
                await self._initialize(obj)
                stem = meta.name(obj).rpartition("-")[0]
                if meta.labels(obj).get("app") != stem:
                    await self._label(obj, stem)
                # A pod may have got hold of a claim in its last moment; then neither goes without the other.
                if any(meta.is_deleting(claim) for claim in self._claims_of(obj)):
                    await self._delete(obj, None)

    # Tricks

    async def scale(self) -> None:
        set_ = self._any(self._sets())
        if set_ is None:
            return
        replicas = self.chance.randint(0, REPLICAS_MAX)
        self.world.laws.note(f"MONKEY   scales {meta.key(set_)} to {replicas}")
        await self._patch(set_, {"spec": {"replicas": replicas}})

    async def delete_pod(self) -> None:
        await self._delete_pod(self.chance.choice((None, None, 1, 5)))

    async def delete_pod_by_force(self) -> None:
        await self._delete_pod(0)

    async def _delete_pod(self, grace: int | None) -> None:
        pod = self._any(self._pods())
        if pod is not None:
            await self._delete(pod, grace)

    async def _delete(self, pod: Object, grace: int | None) -> None:
        self.world.laws.excused(meta.uid(pod), "deleted")
        self.world.laws.note(f"MONKEY   deletes {meta.key(pod)} grace {grace}")
        await self._try(
            lambda: self.admin.delete(PODS, meta.name(pod), meta.namespace(pod), uid=meta.uid(pod), grace_seconds=grace)
        )

    def _claims_of(self, pod: Object) -> list[Object]:
        keys = [f"{laws.CLAIMS}{meta.namespace(pod)}/{name}" for name in nodes.claims_of(pod)]
        return [self.world.laws.objects[key] for key in keys if key in self.world.laws.objects]

    async def kill_container(self) -> None:
        node = self.chance.choice(self.world.nodes)
        await node.kill_some_container(self.chance)

    async def edit_template(self) -> None:
        set_ = self._any(self._sets())
        if set_ is None:
            return
        containers = [
            {**container, "image": f"example/server:{self.chance.randint(1, 3)}"}
            for container in set_["spec"]["template"]["spec"]["containers"]
        ]
        await self._patch(set_, {"spec": {"template": {"spec": {"containers": containers}}}})

    async def recreate_set(self) -> None:
        """Delete a set, its pets with it or left alone, and make it anew."""
        set_ = self._any(self._sets())
        if set_ is None or meta.is_deleting(set_):
            return
        policy = self.chance.choice(("Orphan", "Orphan", "Background", "Foreground"))
        if policy != "Orphan":
            self.world.laws.cascades(meta.uid(set_))
            for pod in self._pods():
                if meta.controller_uid(pod) == meta.uid(set_):
                    self.world.laws.excused(meta.uid(pod), "its set deleted")
        self.world.laws.note(f"MONKEY   deletes {set_['kind']} {meta.key(set_)} {policy} and makes it anew")
        kind = self.admin.kind_of(set_)
        await self._try(
            lambda: self.admin.delete(
                kind, meta.name(set_), meta.namespace(set_), uid=meta.uid(set_), propagation=policy
            )
        )
        await asyncio.sleep(self._pause())
        kept = ("name", "namespace", "labels", "annotations")
        metadata = {field: set_["metadata"][field] for field in kept if field in set_["metadata"]}
        fresh = {**set_, "metadata": metadata}
        if self.chance.random() < 0.3:
            fresh |= OTHER_KIND[set_["kind"]]
        key = kind.key(meta.namespace(set_), meta.name(set_))
        await self._until(lambda: meta.uid(self.world.laws.objects.get(key) or {"metadata": {}}) != meta.uid(set_))
        await self._try(lambda: self.admin.create({k: v for k, v in fresh.items() if k != "status"}))

    async def _until(self, true: Callable[[], bool]) -> None:
        for _ in range(WAITS_MAX):
            if true():
                return
            await asyncio.sleep(1)

    async def delete_claim(self) -> None:
        claim = self._any(self._objects(laws.CLAIMS))
        if claim is not None:
            self.world.laws.excused(meta.uid(claim), "deleted")
            self.world.laws.note(f"MONKEY   deletes claim {meta.key(claim)}")
            await self._try(
                lambda: self.admin.delete(
                    PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), uid=meta.uid(claim)
                )
            )
            # As people do: the pod is to be made anew with a new claim.
            stem = meta.name(claim).partition("-")[2]
            pod = self.world.laws.objects.get(f"{laws.PODS}{meta.namespace(claim)}/{stem}")
            if pod is not None:
                self.world.laws.excused(meta.uid(pod), "deleted with its claim")
                await self._try(lambda: self.admin.delete(PODS, stem, meta.namespace(claim), uid=meta.uid(pod)))

    async def delete_endpoints(self) -> None:
        """Nobody should, and it is there again at once."""
        found = self._any(self._objects("/core/endpoints/default/", "/discovery.k8s.io/endpointslices/default/"))
        if found is not None:
            kind = self.admin.kind_of(found)
            await self._try(lambda: self.admin.delete(kind, meta.name(found), meta.namespace(found)))

    async def cordon(self) -> None:
        node = self.chance.choice(self.world.nodes)
        patch = {"spec": {"unschedulable": True}}
        await self._try(lambda: self.admin.patch(NODES, node.name, "", patch))

    async def relabel_pod(self) -> None:
        """Take a pet out of its set's selection, or back."""
        pod = self._any(self._pods())
        if pod is not None:
            self.world.laws.excused(meta.uid(pod), "relabelled")
            stem = meta.name(pod).rpartition("-")[0]
            app = "elsewhere" if meta.labels(pod).get("app") == stem else stem
            await self._label(pod, app)

    async def _label(self, pod: Object, app: str) -> None:
        patch = {"metadata": {"labels": {"app": app}}}
        await self._try(lambda: self.admin.patch(PODS, meta.name(pod), meta.namespace(pod), patch))

    async def pause(self) -> None:
        pod = self._any(self._pods())
        if pod is not None:
            patch = {"metadata": {"annotations": {well_known.INITIALIZED_ANNOTATION: "false"}}}
            await self._try(lambda: self.admin.patch(PODS, meta.name(pod), meta.namespace(pod), patch))

    async def _initialize(self, pod: Object) -> None:
        if meta.annotations(pod).get(well_known.INITIALIZED_ANNOTATION) == "false":
            patch = {"metadata": {"annotations": {well_known.INITIALIZED_ANNOTATION: "true"}}}
            await self._try(lambda: self.admin.patch(PODS, meta.name(pod), meta.namespace(pod), patch))

    async def kill_program(self) -> None:
        process = self.chance.choice(self.world.processes)
        self.world.laws.note(f"MONKEY   kills {process.name}")
        process.kill(self.chance.choice((0.1, 2.0, 30.0)) * self.chance.random())

    async def kill_server(self) -> None:
        self.world.laws.note("MONKEY   kills the server")
        self.world.laws.server_died_at = self.world.loop.time()
        self.world.server.kill()
        await asyncio.sleep(self.chance.choice((0.1, 2.0, 15.0)) * self.chance.random())
        self.world.server.start()
        self.world.laws.server_died_at = self.world.loop.time()
        self.world.laws.note("ALIVE    server")

    async def reboot_node(self) -> None:
        """Nothing of a node runs any more, and its agent begins again with what its disk has."""
        node = self.chance.choice(self.world.nodes)
        self.world.laws.note(f"MONKEY   reboots {node.name}")
        self.world.process(node.name).kill(self.chance.uniform(1, 20))
        node.reboot()

    # What there is

    def _objects(self, *prefixes: str) -> list[Object]:
        return [obj for key, obj in sorted(self.world.laws.objects.items()) if key.startswith(prefixes)]

    def _pods(self) -> list[Object]:
        return self._objects(laws.PODS)

    def _sets(self) -> list[Object]:
        return self._objects(*laws.SETS)

    def _any(self, objects: list[Object]) -> Object | None:
        return self.chance.choice(objects) if objects else None

    async def _patch(self, obj: Object, patch: dict[str, Any]) -> None:
        kind = self.admin.kind_of(obj)
        await self._try(lambda: self.admin.patch(kind, meta.name(obj), meta.namespace(obj), patch))

    async def _try(self, attempt: Callable[[], Awaitable[Any]]) -> None:
        await persistently(attempt)
