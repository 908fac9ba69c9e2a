"""What every service has to survive, under acknowledged writes from its own client: five failures, as a table.

A service's test module describes its service once (`Service`), and runs `survive(service, failure)` for each name in
FAILURES. That is: all members in sync; a `Writer` thread that writes numbers one at a time and remembers those that
were acknowledged; the failure; writes are acknowledged again; all members in sync again. Then every number that was
ever acknowledged is there, in this failure and in all before it, and no pet has another name, volume or address.

A write that raises counts as not acknowledged: it may be there or not. Clients talk to the pets' addresses from
outside, so they go on while petset itself is dead.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.cluster import Cluster

WRITES_BEFORE = 20
WRITES_AFTER = 20


@dataclass
class Service:
    """One running set of pets, and how its own client sees it."""

    cluster: Cluster
    pets: Sequence[str]
    claim: str  # The volume claim template's name.
    comm: str  # The server's process name, as /proc says it.
    write: Callable[[int], object]  # Returns when the number is acknowledged, raises otherwise; must time out.
    read_all: Callable[[], Iterable[int]]  # All numbers that are there, read as strictly as the service can.
    in_sync: Callable[[], bool]  # All pets are members that have all data; may raise for no.
    leader: Callable[[], str]  # The pet that leads (any pet where all are equal).
    seconds: float = 120  # How long the service may take to be in sync, or to accept writes again.
    namespace: str = "default"
    acknowledged: set[int] = field(default_factory=set)
    addresses: dict[str, str] = field(default_factory=dict)

    def address(self, pet: str) -> str:
        """Where the pet is; the last address known while petset is dead."""
        try:
            found = self.cluster.pod(pet, self.namespace)["status"].get("podIP")
        except (AssertionError, subprocess.TimeoutExpired):
            found = None
        if found:
            self.addresses[pet] = found
        return self.addresses[pet]

    def follower(self) -> str:
        leader = self.leader()
        return next(pet for pet in reversed(self.pets) if pet != leader)

    def uid(self, pet: str) -> str:
        return self.cluster.pod(pet, self.namespace)["metadata"]["uid"]

    def kubectl(self, *args: str, timeout: float = 60) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, timeout=timeout)

    def wait_in_sync(self) -> None:
        self.cluster.wait_ready(*self.pets, seconds=self.seconds, namespace=self.namespace)
        self.cluster.wait(quietly(self.in_sync), "all members to be in sync", self.seconds)

    def identities(self) -> dict[str, tuple[str, str]]:
        """Each pet's volume and address."""
        found = {}
        for pet in self.pets:
            claim = self.cluster.kubectl.json("-n", self.namespace, "get", "pvc", f"{self.claim}-{pet}")
            found[pet] = (claim["spec"]["volumeName"], self.cluster.pod(pet, self.namespace)["status"]["podIP"])
        return found


class Writer:
    """Writes first, first + 1, ... in a thread until it is left; what was acknowledged is in `acknowledged`, in order.

    A number that failed is not tried again: the next one is.
    """

    def __init__(self, write: Callable[[int], object], first: int = 0, pause_seconds: float = 0.01):
        self.write = write
        self.next = first
        self.pause_seconds = pause_seconds
        self.acknowledged: list[int] = []
        self.refused = 0
        self.last_error: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the writer hangs: its write has no timeout"

    def _run(self) -> None:
        while not self._stopped.is_set():
            number = self.next
            self.next += 1
            try:
                self.write(number)
            except Exception as error:
                self.refused += 1
                self.last_error = error
                self._stopped.wait(0.1)
            else:
                self.acknowledged.append(number)
                self._stopped.wait(self.pause_seconds)

    def wait_for(self, more: int, seconds: float) -> None:
        """Return once so many further writes were acknowledged."""
        enough = len(self.acknowledged) + more
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < enough:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{len(self.acknowledged)} of {enough} writes acknowledged after {seconds} s, "
                    f"{self.refused} refused, the last with {self.last_error!r}"
                )
            time.sleep(0.05)


def survive(service: Service, failure: str) -> Writer:
    """Let it happen, and hold the service to what its documentation promises."""
    service.wait_in_sync()
    before = service.identities()
    with Writer(service.write, first=max(service.acknowledged, default=-1) + 1_000) as writer:
        writer.wait_for(WRITES_BEFORE, service.seconds)
        FAILURES[failure](service, writer)
        writer.wait_for(WRITES_AFTER, service.seconds)
    service.acknowledged.update(writer.acknowledged)
    service.wait_in_sync()
    lost = service.acknowledged - set(service.read_all())
    assert not lost, f"{failure}: {len(lost)} of {len(service.acknowledged)} acknowledged writes lost: {sorted(lost)}"
    assert service.identities() == before
    return writer


# ---- the failures


def a_server_is_killed(service: Service, writer: Writer) -> None:
    """SIGKILL of the server in one pet; its container restarts in place, in the same pod."""
    pet = service.follower()
    before = service.cluster.pod(pet, service.namespace)
    kill_server(before["metadata"]["uid"], service.comm)
    service.cluster.wait(
        lambda: restarts(service, pet) > _restarts(before), f"{pet}'s container to restart", service.seconds
    )
    assert service.uid(pet) == before["metadata"]["uid"]


def a_pet_is_deleted(service: Service, writer: Writer) -> None:
    delete_now(service, service.follower())


def the_leader_is_lost(service: Service, writer: Writer) -> None:
    delete_now(service, service.leader())


def all_pets_are_deleted(service: Service, writer: Writer) -> None:
    delete_now(service, *service.pets)


def petset_is_killed(service: Service, writer: Writer) -> None:
    """kill -9 of petset and a new start: no server is touched, and writes go on in between."""
    before = {pet: _containers(service, pet) for pet in service.pets}
    service.cluster.kill()
    writer.wait_for(WRITES_BEFORE, service.seconds)
    service.cluster.up()
    assert {pet: _containers(service, pet) for pet in service.pets} == before


FAILURES: dict[str, Callable[[Service, Writer], None]] = {
    "a server is killed": a_server_is_killed,
    "a pet is deleted": a_pet_is_deleted,
    "the leader is lost": the_leader_is_lost,
    "petset is killed": petset_is_killed,
    "all pets are deleted": all_pets_are_deleted,
}


def delete_now(service: Service, *pets: str) -> None:
    """Delete with grace 0 and return when each name is a new pod's."""
    before = {pet: service.uid(pet) for pet in pets}
    service.kubectl("delete", "pod", "--grace-period=0", "--force", "--wait=false", *pets)
    for pet in pets:
        service.cluster.wait(lambda pet=pet: service.uid(pet) != before[pet], f"a new {pet}", service.seconds)


def kill_server(uid: str, comm: str) -> None:
    """SIGKILL of a pod's process of that name, from outside: in its own process namespace the first one is immune.

    Returns when the process is gone. `uid` is the pod's; its cgroup or its mounts name it.
    """
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or (entry / "comm").read_text().strip() != comm[:15]:
                continue
            if uid not in (entry / "cgroup").read_text() + (entry / "mountinfo").read_text():
                continue
            descriptor = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], 10)  # Readable once it has ended.
        finally:
            os.close(descriptor)
        return
    raise AssertionError(f"no {comm} of pod {uid} is running")


def restarts(service: Service, pet: str) -> int:
    return _restarts(service.cluster.pod(pet, service.namespace))


def _restarts(pod: dict) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def _containers(service: Service, pet: str) -> tuple:
    pod = service.cluster.pod(pet, service.namespace)
    return pod["metadata"]["uid"], [(c["containerID"], c["restartCount"]) for c in pod["status"]["containerStatuses"]]


def quietly(condition: Callable[[], bool]) -> Callable[[], bool]:
    """The condition, with any exception as no: a client that cannot connect says the same."""

    def quiet() -> bool:
        try:
            return condition()
        except Exception:
            return False

    return quiet
