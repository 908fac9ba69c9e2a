"""Leader election: what is decided, and what comes of it in virtual time, in bad weather and under kills."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset import cluster
from petset.base import tasks
from petset.client import election
from petset.client.client import Client
from petset.client.election import Seen, Settings, Stop, Wait, Write, decide
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.event import EVENTS
from petset.kinds.lease import LEASES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.wire import http
from petset.world import faults, link, loop, server
from petset.world import world as worlds

SETTINGS = Settings("sets", "default", "replica")
ME, OTHER = "me_1", "other_2"
REPLACED_SECONDS_MAX = 15.0
Inspect = Callable[[http.Request], None]


def lease(holder: str, renewal: int = 1, revision: str = "5", uid: str = "u", **spec: Any) -> Object:
    record = {"holderIdentity": holder, "leaseDurationSeconds": 12, "renewTime": str(renewal), **spec}
    metadata = {"name": "sets", "namespace": "default", "uid": uid, "resourceVersion": revision}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": record}


def test_where_there_is_no_lease_it_is_made():
    step = decide(Seen(ME), SETTINGS, 0.0, 0.0)
    assert isinstance(step, Write)
    assert step.lease == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "sets", "namespace": "default"},
        "spec": {
            "holderIdentity": ME,
            "leaseDurationSeconds": 12,
            "acquireTime": "1970-01-01T00:00:00.000000Z",
            "renewTime": "1970-01-01T00:00:00.000000Z",
            "leaseTransitions": 0,
        },
    }


def test_anothers_lease_is_taken_when_it_stood_for_its_duration_by_the_own_clock():
    seen = Seen(ME).saw(lease(OTHER, leaseTransitions=3), 100.0)
    assert decide(seen, SETTINGS, 100.0, 0.0) == Wait(12.0)
    assert decide(seen, SETTINGS, 111.5, 1e9) == Wait(0.5)
    step = decide(seen, SETTINGS, 112.0, 0.0)
    assert isinstance(step, Write) and step.lease["metadata"]["resourceVersion"] == "5"
    assert step.lease["spec"]["holderIdentity"] == ME and step.lease["spec"]["leaseTransitions"] == 4
    # By its own duration: who holds it may have another one.
    longer = Seen(ME).saw(lease(OTHER, leaseDurationSeconds=60), 100.0)
    assert decide(longer, SETTINGS, 112.0, 0.0) == Wait(48.0)


def test_a_renewal_begins_the_time_anew_and_a_note_on_the_lease_does_not():
    seen = Seen(ME).saw(lease(OTHER, 1, "5"), 100.0)
    assert seen.saw(lease(OTHER, 2, "6"), 105.0).since == 105.0
    noted = seen.saw(meta.changed(lease(OTHER, 1, "6"), ("metadata", "annotations"), {"a": "b"}), 105.0)
    assert noted.since == 100.0 and meta.get(noted.lease, "metadata", "resourceVersion") == "6"
    assert seen.saw(lease(OTHER, 0, "4"), 105.0) == seen, "an old picture"


def test_a_lease_that_is_released_is_taken_at_once():
    seen = Seen(ME).saw(election.released(lease(OTHER), 0.0), 100.0)
    assert isinstance(decide(seen, SETTINGS, 100.0, 0.0), Write)


def test_a_lease_that_somebody_deleted_may_still_be_held():
    seen = Seen(ME).saw(lease(OTHER), 100.0).saw(None, 101.0)
    assert decide(seen, SETTINGS, 101.0, 0.0) == Wait(12.0)
    assert isinstance(decide(seen, SETTINGS, 113.0, 0.0), Write)


def test_who_leads_renews_and_stops_before_anybody_may_take_it():
    seen = Seen(ME, tried=10.0).wrote(lease(ME), sent=10.0, wall=1000.0, now=10.5)
    assert decide(seen, SETTINGS, 10.5, 1000.5) == Wait(1.5)
    renewal = decide(seen, SETTINGS, 12.0, 1002.0)
    assert isinstance(renewal, Write) and renewal.lease["metadata"]["resourceVersion"] == "5"
    assert isinstance(decide(seen, SETTINGS, 17.9, 1007.9), Write)
    over = Stop("it could not be renewed for 8 s")
    assert decide(seen, SETTINGS, 18.0, 1008.0) == over
    assert decide(seen, SETTINGS, 10.6, 5000.0) == over, "the machine slept, and its clock with it"
    assert isinstance(decide(seen, SETTINGS, 18.0, 900.0), Stop), "a time of day that is set back gains nothing"
    taken = seen.saw(lease(OTHER, 2, "6"), 11.0)
    assert decide(taken, SETTINGS, 11.0, 1001.0) == Stop(f"{OTHER} holds it")
    gone = seen.saw(None, 12.0)
    assert isinstance(decide(gone, SETTINGS, 12.0, 1002.0), Write), "who holds it makes it anew"


def test_an_attempt_that_failed_is_made_again_after_a_pause():
    assert decide(Seen(ME, tried=7.0, pause=2.2), SETTINGS, 7.2, 0.0) == Wait(pytest.approx(2.0))


@pytest.mark.parametrize(("lease_", "renew", "retry"), [(10, 10.0, 2.0), (12, 2.0, 2.0), (12, 8.0, 0.0)])
def test_times_that_promise_nothing_are_refused(lease_, renew, retry):
    with pytest.raises(ValueError, match="cannot hold an election"):
        Settings("sets", "default", "r", lease_, renew, retry)


# -- In virtual time


class Stage:
    """A server, and replicas that write all the time while they lead."""

    def __init__(self, loop_: loop.VirtualLoop, seed: int):
        self.loop, self.seed = loop_, seed
        self.weather = faults.Faults.none()
        self.lease: Object | None = None
        self.cut: dict[str, bool] = {}
        self.acted: list[tuple[float, str]] = []  # When who sent a write.
        self.wrong: list[str] = []
        self.server = server.Server(server.SeenStore(self._saw), cluster.Config(), _nobody, _nobody)
        self.admin = Client(self._link("admin", lambda request: None, lambda: faults.Faults.none()))
        self.replicas: dict[str, tuple[asyncio.Task[None], link.Link, election.Election]] = {}

    def _saw(self, change: Any) -> None:
        if change.entry.key == LEASES.key("default", "sets"):
            self.lease = None if change.type == "DELETED" else change.entry.object

    def _link(
        self, name: str, inspect: Callable[[http.Request], None], weather: Callable[[], faults.Faults]
    ) -> link.Link:
        chance = random.Random(f"{self.seed} {name} {self.loop.time()}")
        cut = lambda: self.cut.get(name, False)  # noqa: E731
        return link.Link(self.server, cluster.ADMINISTRATOR, chance, weather, inspect=inspect, is_cut=cut)

    def begin(self, group: asyncio.TaskGroup, name: str) -> None:
        def inspect(request: http.Request) -> None:
            if request.method != "GET" and "/configmaps" in request.target:
                self.acted.append((self.loop.time(), name))
                holder = meta.get(self.lease, "spec", "holderIdentity", default="")
                if holder != part.identity:
                    self.wrong.append(f"{self.loop.time():.3f}: {name} acts and {holder or 'nobody'} holds the lease")

        way = self._link(name, inspect, lambda: self.weather)
        part = election.Election(Client(way, name), Settings("sets", "default", name))

        async def lead(client: Client) -> None:
            while True:
                with contextlib.suppress(OSError, errors.ApiError):
                    await client.patch(CONFIGMAPS, "acts", "default", {"data": {"by": name}})
                await asyncio.sleep(0.3)

        self.replicas[name] = (tasks.spawn(group, part.run(lead), name), way, part)

    async def kill(self, name: str) -> None:
        task, way, _ = self.replicas.pop(name)
        way.cut()
        task.cancel()
        await asyncio.wait((task,))

    async def stop(self, name: str) -> None:
        task, _, _ = self.replicas.pop(name)
        task.cancel()
        await asyncio.wait((task,))

    @property
    def leader(self) -> str:
        return next((name for name, (_, _, part) in self.replicas.items() if part.leads()), "")

    async def until(self, true: Callable[[], object], seconds: float) -> float:
        """How long it took."""
        began = self.loop.time()
        while not true():
            assert self.loop.time() - began <= seconds, f"not within {seconds} s; {self.lease} {self.acted[-3:]}"
            await asyncio.sleep(0.05)
        return self.loop.time() - began


def _nobody(name: str) -> Any:
    raise AssertionError(name)


def play(seed: int, story: Callable[[Stage, asyncio.TaskGroup], Awaitable[None]]) -> Stage:
    async def main(loop_: loop.VirtualLoop) -> Stage:
        with worlds.environment(seed, loop_):
            stage = Stage(loop_, seed)
            await stage.server.begin()
            await stage.admin.create(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "acts", "namespace": "default"}}
            )
            async with asyncio.TaskGroup() as group:
                await story(stage, group)
                for name in list(stage.replicas):
                    await stage.stop(name)
        assert not stage.wrong, stage.wrong[:3]
        return stage

    return loop.run(main, seed)


def test_a_killed_leader_is_replaced_within_15_seconds_whenever_it_dies():
    waits = []

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.begin(group, "a")
        await stage.until(lambda: stage.leader == "a" and stage.acted, 1.0)
        stage.begin(group, "b")
        for number in range(8):
            await asyncio.sleep(3.0 + number * 0.37)  # At different moments between two renewals.
            dead = stage.leader
            await stage.kill(dead)
            stage.begin(group, dead + "'")
            acted = len(stage.acted)
            waits.append(await stage.until(lambda acted=acted: len(stage.acted) > acted, REPLACED_SECONDS_MAX))
        transitions = stage.lease["spec"]["leaseTransitions"] if stage.lease else 0
        assert transitions == 8

    play(1, story)
    assert max(waits) <= 13.0 and min(waits) >= 9.0, waits


def test_a_leader_that_is_stopped_is_replaced_at_once_and_it_is_told():
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.begin(group, "a")
        await stage.until(lambda: stage.leader == "a", 1.0)
        stage.begin(group, "b")
        await asyncio.sleep(5.0)
        await stage.stop("a")
        assert await stage.until(lambda: stage.leader == "b", 1.0) < 0.5
        await asyncio.sleep(1.0)
        events = (await stage.admin.list(EVENTS, "default"))[0]
        said = [event["message"] for event in events]
        assert sorted(text.partition("_")[0] + text[-14:] for text in said) == ["a became leader", "b became leader"]
        assert all(event.get("count", 1) == 1 for event in events), "each is told once"

    play(2, story)


def test_a_leader_that_reaches_nobody_stops_before_another_begins():
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.begin(group, "a")
        await stage.until(lambda: stage.leader == "a", 1.0)
        stage.begin(group, "b")
        await asyncio.sleep(5.0)
        stage.cut["a"] = True
        began = stage.loop.time()
        await stage.until(lambda: stage.leader == "", 8.0)
        last = max(when for when, who in stage.acted if who == "a")
        await stage.until(lambda: stage.leader == "b", 7.0)
        assert stage.loop.time() - began <= REPLACED_SECONDS_MAX and stage.loop.time() - last >= 3.0
        stage.cut["a"] = False
        await asyncio.sleep(30.0)
        assert stage.leader == "b", "who comes back waits"

    play(3, story)


def test_a_leader_whose_machine_slept_sends_nothing_when_it_wakes(monkeypatch: pytest.MonkeyPatch):
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.begin(group, "a")
        await stage.until(lambda: stage.leader == "a" and stage.acted, 1.0)
        acted, now = len(stage.acted), tasks.now
        slept = 3600.0
        monkeypatch.setattr(tasks, "now", lambda: now() + slept)
        part = stage.replicas["a"][2]
        assert not part.leads()
        sending = election.Fenced(stage.replicas["a"][1], part.leads)
        with pytest.raises(ConnectionError, match="leads no longer"):
            await sending.send(http.Request("DELETE", "/api/v1/namespaces/default/pods/web-0"))
        assert len(stage.acted) == acted
        await stage.until(lambda: stage.leader == "a", 5.0)  # Nobody else has taken it.

    play(7, story)


def test_a_lease_that_is_deleted_leaves_the_leader_alone_to_act():
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        for name in ("a", "b", "c"):
            stage.begin(group, name)
        await stage.until(lambda: stage.leader, 1.0)
        first = stage.leader
        for _ in range(3):
            await asyncio.sleep(7.0)
            await stage.admin.delete(LEASES, "sets", "default")
            stage.wrong.clear()  # Nobody holds what is gone; from its next renewal on it does.
            await stage.until(lambda: stage.lease is not None, 3.0)
            stage.wrong.clear()
            assert stage.leader == first
        await asyncio.sleep(20.0)

    play(4, story)


def test_a_leader_that_is_stopped_before_it_makes_a_deleted_lease_anew_ends_as_any():
    """Nothing is there to be released."""

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.begin(group, "a")
        await stage.until(lambda: stage.leader == "a", 1.0)
        part = stage.replicas["a"][2]
        await stage.admin.delete(LEASES, "sets", "default")
        await stage.until(lambda: part._seen.lease is None, 1.0)
        stage.wrong.clear()
        task = stage.replicas["a"][0]
        await stage.stop("a")
        assert task.cancelled() and stage.lease is None

    play(8, story)


def test_what_another_has_taken_meanwhile_is_not_released():
    """What the leader does may take longer to end than the Lease lasts."""

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        part = election.Election(stage.admin, Settings("sets", "default", "a"))

        async def ends_slowly(client: Client) -> None:
            try:
                await asyncio.sleep(1000.0)
            finally:
                await asyncio.sleep(20.0)

        task = tasks.spawn(group, part.run(ends_slowly), "a")
        await stage.until(part.leads, 1.0)
        stage.begin(group, "b")
        task.cancel()
        await asyncio.wait((task,))
        assert stage.leader == "b"
        await asyncio.sleep(5.0)
        assert stage.leader == "b" and stage.lease and stage.lease["spec"]["leaseTransitions"] == 1

    play(9, story)


@pytest.mark.parametrize("seed", range(12))
def test_never_two_act_whatever_the_weather(seed):
    """Whoever sends a write holds the Lease in the store at that moment; in the end one leads."""

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        chance = random.Random(f"{seed} election")
        names = ["a", "b", "c"]
        for name in names:
            stage.begin(group, name)
        stage.weather = faults.Faults.some(chance)
        for number in range(25):
            await asyncio.sleep(chance.choice((0.1, 1.0, 5.0, 20.0)) * chance.random())
            name = chance.choice(sorted(stage.replicas))
            match chance.randrange(4):
                case 0:
                    await stage.kill(name)
                    stage.begin(group, f"{name[0]}{number}")
                case 1:
                    await stage.stop(name)
                    stage.begin(group, f"{name[0]}{number}")
                case 2:
                    stage.cut[name] = True
                    stage.replicas[name][1].sever()
                    await asyncio.sleep(chance.choice((2.0, 9.0, 30.0)))
                    stage.cut[name] = False
                case _:
                    stage.server.kill()
                    await asyncio.sleep(chance.choice((0.5, 5.0, 20.0)))
                    await stage.server.start().begin()
        stage.weather = faults.Faults.none()
        await stage.until(lambda: stage.leader, 120.0)
        await asyncio.sleep(60.0)
        acted = len(stage.acted)
        await asyncio.sleep(5.0)
        assert len({who for _, who in stage.acted[acted:]}) == 1

    play(seed, story)


def test_the_law_sees_a_leader_that_does_not_stop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(election.Election, "leads", lambda self: True)
    monkeypatch.setattr(election, "_leading", lambda seen, *rest: Wait(100.0))

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.begin(group, "a")
        await asyncio.sleep(1.0)
        stage.begin(group, "b")
        await asyncio.sleep(40.0)

    with pytest.raises(AssertionError, match="holds the lease"):
        play(5, story)


def test_what_the_leader_does_ends_with_it_and_its_failure_is_told():
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        part = election.Election(stage.admin, Settings("sets", "default", "a"))

        async def fails(client: Client) -> None:
            raise ValueError("it went wrong")

        with pytest.raises(ExceptionGroup) as failed:
            await part.run(fails)
        assert "it went wrong" in repr(failed.value.exceptions)
        assert meta.get(stage.lease, "spec", "holderIdentity") == "", "and it is released"

    play(6, story)
