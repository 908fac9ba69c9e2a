"""(n) The aggregated form: two replicas of `petset serve` beside a cluster without PetSets, and sets of simulated pods.

What so many PetSets add to a cluster: requests and watch events by the set until all pets are Ready, and at rest; bytes
that a replica receives; memory and CPU of the cluster, of the replica that leads (it acts, and serves nobody) and of
the one that serves (the cluster hands requests on to it); what the way through the aggregator costs a read, one pet
more, and how long a killed leader is missing. By hand: as many StatefulSets of the same pods, which the cluster's own
controller looks after, in the same run.

PETSET_BENCH_SERVE="100x10 1000x10" names other sizes (sets x pets).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench import instance
from petset.cli.asking import connection
from petset.client.client import Client
from petset.controllers.replica import LEASE
from petset.kinds.lease import LEASES
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta
from petset.objects.registry import Kind
from petset.wire import http

SIZES = tuple(
    (int(sets), int(pets))
    for sets, pets in (size.split("x") for size in os.environ.get("PETSET_BENCH_SERVE", "100x10 1000x10").split())
)
REST_SECONDS = float(os.environ.get("PETSET_BENCH_REST", "60"))
SECONDS_MAX = 3600.0
LOOK_SECONDS = 2.0
READS = 300
T = TypeVar("T")
NAMESPACE, SERVICE = "petset-system", "petset"


def main() -> None:
    instance.heading()
    for sets, pets in SIZES:
        with (
            instance.running(None, "--simulate", "--runtime-config=apps/v1alpha1=false") as one,
            tempfile.TemporaryDirectory() as directory,
        ):
            asyncio.run(measured(one, Path(directory), sets, pets))


# -- Replicas


@dataclass
class Replica:
    name: str
    process: subprocess.Popen[str]
    port: int = 0

    @property
    def memory(self) -> int:
        return instance.memory_bytes(self.process.pid)

    @property
    def cpu(self) -> float:
        return instance.cpu_seconds(self.process.pid)

    @property
    def received(self) -> int:
        """Bytes that came over the connections that are open now; its watches are among them."""
        told = subprocess.run(["ss", "-tinpH"], capture_output=True, text=True, check=True).stdout
        own = re.findall(rf"pid={self.process.pid},[^\n]*\n[^\n]*bytes_received:(\d+)", told)
        return sum(map(int, own))


@contextlib.contextmanager
def replicas(one: instance.Instance, keys: Path) -> Generator[list[Replica]]:
    """Two, of one authority."""
    started: list[Replica] = []
    try:
        for name in ("replica-0", "replica-1"):
            started.append(start(one, keys, name))
        yield started
    finally:
        for replica in started:
            replica.process.terminate()
        for replica in started:
            replica.process.wait(timeout=instance.STOP_SECONDS_MAX)


def start(one: instance.Instance, keys: Path, name: str) -> Replica:
    process = subprocess.Popen(
        [sys.executable, "-m", "petset", "serve", "--kubeconfig", str(one.state.kubeconfig)]
        + ["--bind-address=127.0.0.1", "--secure-port=0", "--replica-name", name, "--cert-dir", str(keys)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    replica = Replica(name, process)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"api: https://[^ ]*:(\d+) ", line):
            replica.port = int(found[1])
            return replica
    raise RuntimeError(f"{name} ended before it answered")


def installed(port: int, authority: bytes) -> list[dict[str, Any]]:
    """What an administrator installs, with one replica behind the Service."""
    about = {"name": SERVICE, "namespace": NAMESPACE}
    spec = {
        "group": PETSETS.group,
        "version": PETSETS.version,
        "groupPriorityMinimum": 17800,
        "versionPriority": 1,
        "caBundle": base64.b64encode(authority).decode(),
        "service": {**about, "port": port},
    }
    external = {"type": "ExternalName", "externalName": "localhost"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": external},
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{PETSETS.version}.{PETSETS.group}"},
            "spec": spec,
        },
    ]


# -- Measuring


@dataclass
class Counts:
    """What the cluster has counted, less what this benchmark asked itself."""

    requests: dict[str, float]  # By "verb resource".
    events: dict[str, float]  # By resource.

    def since(self, before: Counts) -> Counts:
        def less(now: dict[str, float], then: dict[str, float]) -> dict[str, float]:
            return {key: n - then.get(key, 0) for key, n in now.items() if n - then.get(key, 0)}

        return Counts(less(self.requests, before.requests), less(self.events, before.events))


class Looking:
    """A transport that counts what passes, as the cluster does."""

    def __init__(self, transport: http.Transport):
        self._transport, self.own = transport, 0

    async def send(self, request: http.Request) -> http.Response:
        self.own += 1
        return await self._transport.send(request)


@dataclass
class Bench:
    one: instance.Instance
    replicas: list[Replica]
    client: Client
    looking: Looking

    async def counts(self) -> Counts:
        text = (await self.client.raw("/metrics")).decode()
        return Counts(
            summed(text, "apiserver_request_total", "verb", "resource"),
            summed(text, "apiserver_watch_events_total", "resource"),
        )

    async def leader(self) -> Replica | None:
        try:
            lease = await self.client.get(LEASES, LEASE, NAMESPACE)
        except errors.ApiError:
            return None
        holder = str(meta.get(lease, "spec", "holderIdentity", default=""))
        return next((one for one in self.replicas if holder.startswith(f"{one.name}_")), None)


def summed(text: str, metric: str, *labels: str) -> dict[str, float]:
    """A counter of a page of metrics, by the values of these labels."""
    found: dict[str, float] = {}
    for told, value in re.findall(rf"^{metric}\{{(.*)\}} (\S+)$", text, re.MULTILINE):
        of = dict(re.findall(r'(\w+)="([^"]*)"', told))
        key = " ".join(of[label] for label in labels)
        found[key] = found.get(key, 0) + float(value)
    return found


async def measured(one: instance.Instance, keys: Path, sets: int, pets: int) -> None:
    async with opened(one, keys) as bench:
        leader = await until(bench.leader)
        serving = next(replica for replica in bench.replicas if replica is not leader)
        await installation(bench, serving, (keys / "ca.crt").read_bytes())
        where = f"{sets}x{pets}"
        begun = dict(memories(bench, leader, serving))
        await row_rest(bench, f"{where}: none yet")

        ours = await created(bench, PETSETS, sets, pets, leader, serving)
        for what, cpu in ours.cpu.items():
            instance.row(f"{where}: CPU ms a pet, {what}", f"{cpu * 1e3 / sets / pets:.2f}")
        rows_of_counts(f"{where}: until Ready", ours.counts, sets)
        instance.row(f"{where}: the leader received", f"{ours.received / sets / 1e3:.1f} kB a set")
        await asyncio.sleep(REST_SECONDS / 2)
        for name, memory in memories(bench, leader, serving):
            kept = (memory - begun[name]) / sets
            instance.row(f"{where}: memory, {name}", f"{memory / 2**20:.0f} MiB", f"{kept / 1024:.1f} KiB a set")
        await row_rest(bench, f"{where}: at rest")
        await rows_of_reads(bench, where)
        await row_one_more(bench, where, pets)
        await row_lost_leader(bench, leader, where, pets)
        await gone(bench, PETSETS)
        hand = await created(bench, STATEFULSETS, sets, pets, serving, serving)
        ratio = ours.seconds / hand.seconds
        instance.row(f"{where}: until all are Ready", f"{ours.seconds:.1f} s", f"{hand.seconds:.1f} s", ratio)
        cpu, theirs = sum(ours.cpu.values()) / sets / pets * 1e3, hand.cpu["the cluster"] / sets / pets * 1e3
        instance.row(f"{where}: CPU ms a pet, all processes", f"{cpu:.2f}", f"{theirs:.2f}", cpu / theirs)
        rows_of_counts(f"{where}: StatefulSets until Ready", hand.counts, sets)


@contextlib.asynccontextmanager
async def opened(one: instance.Instance, keys: Path) -> AsyncGenerator[Bench]:
    async with connection.connect(one.state) as connected:
        looking = Looking(connected.dialer)
        client = Client(looking, "petset-bench")
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        with replicas(one, keys) as both:
            yield Bench(one, both, client, looking)


async def installation(bench: Bench, serving: Replica, authority: bytes) -> None:
    for obj in installed(serving.port, authority):
        await bench.client.create(obj)

    async def served() -> bool:
        try:
            await bench.client.list(PETSETS, "default")
        except errors.ApiError:
            return False
        return True

    await until(served)
    await asyncio.sleep(5)  # What a start still does in the background.


async def until(true: Callable[[], Awaitable[T | None]], look: float = 0.2) -> T:
    """What it is at last."""
    async with asyncio.timeout(SECONDS_MAX):
        while not (found := await true()):  # noqa: ASYNC110  # What is waited for is asked for.
            await asyncio.sleep(look)
    return found


def memories(bench: Bench, leader: Replica, serving: Replica) -> Sequence[tuple[str, int]]:
    return [
        ("the cluster", instance.memory_bytes(bench.one.process.pid)),
        ("the replica that leads", leader.memory),
        ("the replica that serves", serving.memory),
    ]


@dataclass(frozen=True, slots=True)
class Created:
    seconds: float
    cpu: dict[str, float]
    counts: Counts
    received: int


async def created(bench: Bench, kind: Kind, sets: int, pets: int, leader: Replica, serving: Replica) -> Created:
    processes = {"the cluster": bench.one.process.pid, "the replica that leads": leader.process.pid}
    if serving is not leader:
        processes["the replica that serves"] = serving.process.pid
    before, own = await bench.counts(), bench.looking.own
    cpu = {what: instance.cpu_seconds(pid) for what, pid in processes.items()}
    received, began = leader.received, time.monotonic()
    numbers = iter(range(sets))

    async def create() -> None:
        for number in numbers:
            await bench.client.create(a_set(kind, f"s{number}", pets))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(create())

    async def ready() -> bool:
        found, _ = await bench.client.list(kind, "default")
        return len(found) == sets and all(meta.get(one, "status", "readyReplicas") == pets for one in found)

    await until(ready, LOOK_SECONDS)
    seconds = time.monotonic() - began
    taken = {what: instance.cpu_seconds(pid) - cpu[what] for what, pid in processes.items()}
    counts = (await bench.counts()).since(before)
    if (looks := f"LIST {kind.plural}") in counts.requests:
        counts.requests[looks] -= bench.looking.own - own - sets - 1
    return Created(seconds, taken, counts, leader.received - received)


def a_set(kind: Kind, name: str, pets: int) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "nothing"}]},
    }
    spec = {"serviceName": name, "replicas": pets, "selector": {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


OWN = (
    *("storedpetsets", "subjectaccessreviews", "tokenreviews", "statefulsets"),
    *("pods", "controllerrevisions", "events", "leases"),
)


def rows_of_counts(where: str, counts: Counts, sets: int) -> None:
    """Requests to the cluster and events that it sent, by the set, of the kinds that a set is about."""
    by_kind = {
        resource: {
            key.partition(" ")[0]: n / sets for key, n in counts.requests.items() if key.partition(" ")[2] == resource
        }
        for resource in OWN
    }
    for resource, verbs in by_kind.items():
        told = ", ".join(f"{verb} {n:.1f}" for verb, n in sorted(verbs.items()) if round(n, 1))
        if told:
            instance.row(f"{where}: {resource}, requests a set", told)
    events = ", ".join(f"{resource} {counts.events.get(resource, 0) / sets:.1f}" for resource in OWN)
    instance.row(f"{where}: watch events a set", events)


async def row_rest(bench: Bench, where: str) -> None:
    """Requests a second, and CPU, while nothing happens."""
    before, cpu = await bench.counts(), [replica.cpu for replica in bench.replicas]
    received = [replica.received for replica in bench.replicas]
    await asyncio.sleep(REST_SECONDS)
    found = (await bench.counts()).since(before)
    told = {key: n / REST_SECONDS for key, n in found.requests.items() if "/metrics" not in key}
    most = sorted(told.items(), key=lambda item: -item[1])[:6]
    instance.row(f"{where}: requests a second, all", f"{sum(told.values()):.2f}")
    instance.row(f"{where}: the most", ", ".join(f"{key} {n:.2f}" for key, n in most))
    for replica, was, had in zip(bench.replicas, cpu, received):
        instance.row(
            f"{where}: {replica.name}",
            f"{(replica.cpu - was) * 60 / REST_SECONDS:.2f} s CPU a minute",
            f"{(replica.received - had) / REST_SECONDS:.0f} B/s received",
        )


async def rows_of_reads(bench: Bench, where: str) -> None:
    """The same object through the aggregator, and one that the cluster has itself; discovery of the group version."""

    async def median(read: Callable[[], Awaitable[Any]]) -> float:
        took: list[float] = []
        for _ in range(READS):
            began = time.perf_counter()
            await read()
            took.append(time.perf_counter() - began)
        return statistics.median(took) * 1e3

    through = await median(lambda: bench.client.get(PETSETS, "s0", "default"))
    own = await median(lambda: bench.client.get(PODS, "s0-0", "default"))
    instance.row(f"{where}: a get of a PetSet, and of a pod, p50 ms", f"{through:.2f}", f"{own:.2f}", through / own)
    path = f"/apis/{PETSETS.api_version}"
    found = await median(lambda: bench.client.raw(path))
    theirs = await median(lambda: bench.client.raw("/apis/apps/v1"))
    instance.row(f"{where}: discovery of a group version, p50 ms", f"{found:.2f}", f"{theirs:.2f}", found / theirs)


async def row_one_more(bench: Bench, where: str, pets: int) -> None:
    before, own = await bench.counts(), bench.looking.own
    began = time.monotonic()
    await bench.client.patch(PETSETS, "s0", "default", {"spec": {"replicas": pets + 1}})

    async def ready() -> bool:
        return meta.get(await bench.client.get(PETSETS, "s0", "default"), "status", "readyReplicas") == pets + 1

    await until(ready, 0.02)
    seconds = time.monotonic() - began
    mine = bench.looking.own - own
    found = (await bench.counts()).since(before)
    requests = {key: n for key, n in found.requests.items() if key.partition(" ")[2] in OWN and "leases" not in key}
    instance.row(f"{where}: one pet more, until its set says so", f"{seconds * 1e3:.0f} ms")
    instance.row(
        f"{where}: its requests, {mine - 1} looks among them", ", ".join(f"{k} {n:.0f}" for k, n in requests.items())
    )


async def row_lost_leader(bench: Bench, leader: Replica, where: str, pets: int) -> None:
    leader.process.kill()
    leader.process.wait()
    began = time.monotonic()
    await bench.client.patch(PETSETS, "s0", "default", {"spec": {"replicas": pets + 2}})

    async def ready() -> bool:
        return meta.get(await bench.client.get(PETSETS, "s0", "default"), "status", "readyReplicas") == pets + 2

    await until(ready, 0.1)
    instance.row(f"{where}: a leader is killed, until a pet more is Ready", f"{time.monotonic() - began:.1f} s")


async def gone(bench: Bench, kind: Kind) -> None:
    for obj in (await bench.client.list(kind, "default"))[0]:
        await bench.client.delete(kind, meta.name(obj), "default", propagation="Foreground")

    async def none_left() -> bool:
        return not (await bench.client.list(kind, "default"))[0] and not (await bench.client.list(PODS, "default"))[0]

    await until(none_left, LOOK_SECONDS)
