"""Nodes whose agent is a script: pods start after a while, stop within their grace, and are reported as they are.

It keeps what the real one promises: a pod of a namespace/name starts only when nothing of an older one runs, a pod is
removed from the API only when it has stopped, and what runs survives the agent. What runs is `self.running`, which is
the machine's and outlives the program.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from petset.base import tasks, well_known
from petset.client import client as api
from petset.client import informer
from petset.kinds.lease import LEASES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server.access import users
from petset.wire import streaming
from petset.world import laws

if TYPE_CHECKING:
    from petset.world.world import World

LEASE_SECONDS = 10.0
RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Sandbox:
    """A pod that runs on the machine."""

    namespace: str
    name: str
    uid: str
    address: str
    started_at: float
    directories: list[str]
    restarts: int = 0
    alive: bool = True  # Its container runs.


class ScriptedNode:
    """A machine and the script that is its agent."""

    def __init__(self, world: World, name: str):
        self.world, self.name = world, name
        self.user = users.of_node(name)
        self.sandboxes: dict[str, Sandbox] = {}  # By pod uid; the machine's.
        self._addresses = 0
        self._number = int(name.rpartition("-")[2])
        self._lives = 0
        self.look_again: Callable[[str], None] = lambda uid: None

    # The machine

    streams: streaming.NodeStreams | None = None  # There is nothing in its sandboxes.
    server: streaming.NodeServer | None = None  # Nor does it tell anything.

    def cut_off(self) -> None:
        """The agent dies at once: its steps under way do nothing more."""
        self._lives += 1

    def reboot(self) -> None:
        for sandbox in list(self.sandboxes.values()):
            self.stop(sandbox)

    async def kill_some_container(self, chance: random.Random) -> None:
        running = [sandbox for sandbox in self.sandboxes.values() if sandbox.alive]
        if running:
            victim = chance.choice(running)
            victim.alive = False
            self.look_again(victim.uid)

    def start(self, pod: Object) -> Sandbox:
        self._addresses += 1
        address = f"10.{self._number}.{self._addresses // 250}.{self._addresses % 250}"
        namespace, name, uid = meta.namespace(pod), meta.name(pod), meta.uid(pod)
        directories = [f"claim {namespace}/{claim}" for claim in claims_of(pod)]
        sandbox = Sandbox(namespace, name, uid, address, tasks.now(), directories)
        self.sandboxes[uid] = sandbox
        self.world.laws.starts(f"{namespace}/{name}", laws.Running(self.name, uid, tuple(directories)))
        return sandbox

    def stop(self, sandbox: Sandbox) -> None:
        if self.sandboxes.pop(sandbox.uid, None) is not None:
            self.world.laws.note(f"STOPPED  {sandbox.namespace}/{sandbox.name} {sandbox.uid[:8]} on {self.name}")

    def running(self) -> list[tuple[str, laws.Running]]:
        return [
            (f"{each.namespace}/{each.name}", laws.Running(self.name, each.uid, tuple(each.directories)))
            for each in self.sandboxes.values()
        ]

    def calm(self) -> None:
        """Nothing ends by itself from now on."""

    # The program

    async def run(self, client: api.Client) -> None:
        life = _Life(self, client)
        await life.run()

    @property
    def lives(self) -> int:
        return self._lives


class _Life:
    """One run of the agent."""

    def __init__(self, node: ScriptedNode, client: api.Client):
        self.node, self.client = node, client
        self.born = node.lives
        self.chance = random.Random(f"{node.world.seed} {node.name} {node.lives}")
        self.pods = informer.Informer(client, PODS, field_selector=f"spec.nodeName={node.name}")
        self.wake = asyncio.Event()
        self.waiting: dict[str, None] = {}  # Pods to look at, by uid.
        self.busy: dict[str, None] = {}

    async def run(self) -> None:
        await self._register()
        self.pods.on_change(self._changed)
        async with asyncio.TaskGroup() as group:
            tasks.spawn(group, self.pods.run(), f"{self.node.name} pods")
            tasks.spawn(group, self._renew(), f"{self.node.name} lease")
            await self.pods.synced.wait()
            self.node.look_again = self.look_at
            for uid in self.node.sandboxes:
                self.look_at(uid)
            while True:
                for uid in [uid for uid in self.waiting if uid not in self.busy]:
                    del self.waiting[uid]
                    self.busy[uid] = None
                    tasks.spawn(group, self._work(uid), f"{self.node.name} {uid}")
                self.wake.clear()
                await self.wake.wait()

    def look_at(self, uid: str) -> None:
        self.waiting[uid] = None
        self.wake.set()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self.look_at(meta.uid(obj))

    async def _register(self) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.node.name, "labels": {well_known.HOSTNAME_LABEL: self.node.name}},
        }
        resource_list = {"cpu": "8", "memory": "16Gi", "pods": "110"}
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is"}
        status = {"capacity": resource_list, "allocatable": resource_list, "conditions": [condition]}
        await self._persistently(lambda: self.client.create(node))
        patch = {"status": status}
        await self._persistently(lambda: self.client.patch(NODES, self.node.name, "", patch, subresource="status"))

    async def _renew(self) -> None:
        name, namespace = self.node.name, "kube-node-lease"
        lease: Object = {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
        }
        while True:
            renewed = tasks.rfc3339_micro(tasks.now())
            try:
                await self.client.patch(LEASES, name, namespace, {"spec": {"renewTime": renewed}})
            except errors.ApiError as error:
                if error.code == 404:
                    new = meta.changed(lease, ("spec", "renewTime"), renewed)
                    await self._persistently(partial(self.client.create, new))
            except OSError:
                pass
            await asyncio.sleep(LEASE_SECONDS)

    async def _persistently(self, attempt: Any) -> Object | None:
        while True:
            try:
                return await attempt()
            except errors.ApiError as error:
                if error.code in (404, 409):
                    return None
            except OSError:
                pass
            await asyncio.sleep(RETRY_SECONDS)

    def _pod(self, uid: str) -> Object | None:
        return next((pod for pod in self.pods.list() if meta.uid(pod) == uid), None)

    async def _work(self, uid: str) -> None:
        try:
            pod, sandbox = self._pod(uid), self.node.sandboxes.get(uid)
            if pod is None and sandbox is not None:
                # Gone from the API by force: stop it. What only looks gone to a late copy is asked for once more.
                there = await self._current(sandbox.namespace, sandbox.name)
                if there is None or meta.uid(there) != uid:
                    await self._slowly(1)
                    self.node.stop(sandbox)
            elif pod is not None and meta.is_deleting(pod):
                await self._finish(pod, sandbox)
            elif pod is not None and sandbox is None:
                await self._begin(pod)
            elif pod is not None and sandbox is not None:
                if not sandbox.alive:
                    await self._report(pod, sandbox, ready=False)
                    await self._slowly(3)
                    sandbox.alive, sandbox.restarts = True, sandbox.restarts + 1
                await self._report(pod, sandbox, ready=True)
        except (errors.ApiError, OSError):
            await asyncio.sleep(RETRY_SECONDS)
            self.waiting[uid] = None
        finally:
            self.busy.pop(uid, None)
            self.wake.set()

    async def _current(self, namespace: str, name: str) -> Object | None:
        try:
            return await self.client.get(PODS, name, namespace)
        except errors.ApiError as error:
            if error.code in (403, 404):
                return None  # A node may not even see a successor that is not its own.
            raise

    async def _slowly(self, most: float) -> None:
        await asyncio.sleep(self.chance.uniform(0, most))

    async def _begin(self, pod: Object) -> None:
        for claim in claims_of(pod):
            found = await self.client.get(PERSISTENTVOLUMECLAIMS, claim, meta.namespace(pod))
            if meta.get(found, "status", "phase") != "Bound":
                raise OSError("a claim is not bound yet")
        for other in list(self.node.sandboxes.values()):
            if (other.namespace, other.name) == (meta.namespace(pod), meta.name(pod)):
                raise OSError("its predecessor still runs here")
        sandbox = self.node.start(pod)
        await self._report(pod, sandbox, ready=False)
        await self._slowly(4)
        await self._report(pod, sandbox, ready=True)

    async def _finish(self, pod: Object, sandbox: Sandbox | None) -> None:
        if sandbox is not None:
            await self._slowly(min(10, pod["metadata"].get("deletionGracePeriodSeconds") or 0))
            self.node.stop(sandbox)
        await self.client.delete(PODS, meta.name(pod), meta.namespace(pod), uid=meta.uid(pod), grace_seconds=0)
        await self.pods.until(lambda: self._pod(meta.uid(pod)) is None)

    async def _report(self, pod: Object, sandbox: Sandbox, ready: bool) -> None:
        ready = ready and sandbox.alive
        truth = {True: "True", False: "False"}[ready]
        started = tasks.rfc3339(sandbox.started_at)
        conditions = [
            {
                "type": name,
                "status": truth if name in ("Ready", "ContainersReady") else "True",
                "lastTransitionTime": started,
            }
            for name in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ]
        status = {
            "phase": "Running" if ready or meta.get(pod, "status", "phase") == "Running" else "Pending",
            "podIP": sandbox.address,
            "podIPs": [{"ip": sandbox.address}],
            "startTime": started,
            "conditions": conditions,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "ready": ready,
                    "restartCount": sandbox.restarts,
                    "image": container["image"],
                    "imageID": "",
                    "state": {"running": {"startedAt": started}} if ready else {"waiting": {"reason": "Starting"}},
                }
                for container in pod["spec"]["containers"]
            ],
        }
        known = {field: meta.get(pod, "status", field) for field in status}
        if known == status:
            return
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": status}
        await self.client.patch(PODS, meta.name(pod), meta.namespace(pod), patch, subresource="status")
        wanted = meta.get(status, "conditions")
        await self.pods.until(
            lambda: (now := self._pod(meta.uid(pod))) is None or meta.get(now, "status", "conditions") == wanted
        )


def claims_of(pod: Object) -> list[str]:
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    ]
