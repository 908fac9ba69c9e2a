"""Two replicas over one cluster: what one writes the other shows, at the same revisions, whatever breaks between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.client import informer
from petset.kept import store
from petset.kinds.stored_pet_set import STORED_PETSETS
from petset.objects import errors, meta
from petset.store.store import Conflict, Expired, TooLarge, Unavailable, Unknown
from tests.kept.clusters import HOME, Cluster, key, pet_set, value
from tests.waiting import in_a_loop, until

ALL = "/apps/petsets/"


def is_write(request: Any) -> bool:
    return request.method in ("POST", "PATCH", "DELETE")


class Once:
    """True of the first request of which something holds."""

    def __init__(self, holds: Any = is_write):
        self.holds, self.done = holds, False

    def __call__(self, request: Any) -> bool:
        if self.done or not self.holds(request):
            return False
        self.done = True
        return True


@in_a_loop
async def test_every_write_of_one_is_seen_by_the_other_at_its_revision() -> None:
    async with Cluster().running() as cluster, cluster.replica() as one, cluster.replica() as other:
        with other.watch(ALL, other.revision) as watch:
            first = await one.put(key("web"), pet_set("web", value="1"), 0)
            second = await other.put(key("web"), pet_set("web", value="2"), first.revision)
            gone = await one.delete(key("web"), second.revision)
            assert gone is not None
            seen = [await anext(watch) for _ in range(3)]
        assert [(change.type, change.revision, value(change.entry.object)) for change in seen] == [
            ("ADDED", first.revision, "1"),
            ("MODIFIED", second.revision, "2"),
            ("DELETED", gone.revision, "2"),
        ]
        assert first.revision < second.revision < gone.revision
        assert [entry.object["metadata"]["resourceVersion"] for entry in (first, second, gone)] == [
            str(entry.revision) for entry in (first, second, gone)
        ]


@in_a_loop
async def test_a_fresh_read_shows_what_any_replica_has_written_before_it() -> None:
    ways = Cluster()
    async with ways.running() as cluster, cluster.replica() as one, cluster.replica() as other:
        for number in range(20):
            entry = await one.put(key("web"), pet_set("web", value=str(number)), None)
            await other.fresh(key("web"))
            assert other.get(key("web")).revision == entry.revision  # type: ignore[union-attr]
            await one.put(key("more"), pet_set("more", value=str(number)), None)
            await other.fresh(ALL)
            assert value(other.get(key("more")).object) == str(number)  # type: ignore[union-attr]
            await one.delete(key("more"), None)
            await other.fresh(f"{ALL}default/" if number % 2 else key("more"))
            assert other.get(key("more")) is None


@in_a_loop
async def test_many_that_want_to_read_freshly_ask_the_cluster_together() -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            await one.put(key("web"), pet_set("web"), 0)
            way.sent.clear()
            way.held = asyncio.Event()
            asked = [asyncio.get_running_loop().create_task(one.fresh(ALL)) for _ in range(50)]
            await until(lambda: way.sent)
            way.held.set()
            await asyncio.gather(*asked)
            assert way.sent == ["GET"] * 2  # The first one's, and one for all that came while it was under way.


@in_a_loop
async def test_who_comes_while_others_are_answered_is_not_answered_with_them() -> None:
    """What they hear may have been so before he came."""
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            way.after = lambda request: overtaken()
            later: list[asyncio.Task[None]] = []

            async def overtaken() -> None:
                if not later:  # Their answer is made, and has not come.
                    await other.put(key("web"), pet_set("web"), 0)
                    later.append(asyncio.get_running_loop().create_task(one.fresh(ALL)))

            await one.fresh(ALL)
            await later[0]
            assert one.get(key("web")) is not None


@in_a_loop
async def test_of_two_that_create_or_change_one_set_one_conflicts_and_then_sees_why() -> None:
    async with Cluster().running() as cluster, cluster.replica() as one, cluster.replica() as other:

        async def race(expected: int) -> int:
            results = await asyncio.gather(
                one.put(key("web"), pet_set("web", value="1"), expected),
                other.put(key("web"), pet_set("web", value="2"), expected),
                return_exceptions=True,
            )
            won = next(result for result in results if not isinstance(result, BaseException))
            lost = next(result for result in results if isinstance(result, BaseException))
            assert isinstance(lost, Conflict) and lost.current == won.revision
            for replica in (one, other):
                assert replica.get(key("web")).revision == won.revision  # type: ignore[union-attr]
            return won.revision

        await race(await race(0))


@pytest.mark.parametrize("operation", ["create", "change", "delete"])
@in_a_loop
async def test_a_write_whose_answer_is_lost_is_acknowledged_when_it_went_through(operation: str) -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            expected = 0
            if operation != "create":
                expected = (await one.put(key("web"), pet_set("web", value="old"), 0)).revision
            way.answer_lost = Once()
            if operation == "delete":
                entry = await one.delete(key("web"), expected)
            else:
                entry = await one.put(key("web"), pet_set("web", value="new"), expected)
            assert entry is not None
            await other.fresh(ALL)
            found = other.get(key("web"))
            assert (found is None) if operation == "delete" else (found.revision == entry.revision)  # type: ignore[union-attr]
            assert cluster.kept.revision == entry.revision  # It was done once.


@pytest.mark.parametrize("others", ["change", "delete"])
@in_a_loop
async def test_a_write_that_went_through_is_no_conflict_although_others_have_come_since(others: str) -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            first = await one.put(key("web"), pet_set("web"), 0)
            made: list[int] = []

            async def overtake(request: Any) -> None:
                if is_write(request) and not made:
                    made.append(cluster.kept.revision)
                    if others == "change":
                        await other.put(key("web"), pet_set("web", value="theirs"), made[0])
                    else:
                        await other.delete(key("web"), made[0])

            way.after, way.answer_lost = overtake, Once()
            entry = await one.put(key("web"), pet_set("web", value="mine"), first.revision)
            assert (entry.revision, value(entry.object)) == (made[0], "mine")


@in_a_loop
async def test_a_change_that_never_arrived_is_sent_again_and_a_creation_is_not() -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            way.lost = Once()
            with pytest.raises(Unknown):
                await one.put(key("web"), pet_set("web"), 0)
            await one.fresh(key("web"))
            assert one.get(key("web")) is None
            first = await one.put(key("web"), pet_set("web"), 0)
            way.lost = Once()
            second = await one.put(key("web"), pet_set("web", value="2"), first.revision)
            way.lost = Once()
            assert await one.delete(key("web"), second.revision) is not None


@in_a_loop
async def test_a_conflict_after_a_lost_answer_is_said_only_if_the_stream_would_have_told() -> None:
    """Between, all was listed anew: whether the write was made and replaced, nobody can tell."""
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            first = await one.put(key("web"), pet_set("web"), 0)

            async def overtake(request: Any) -> None:
                if is_write(request):
                    way.after = None
                    await other.put(key("web"), pet_set("web", value="theirs"), None)
                    way.silent = False
                    one._following.begin_list_anew()

            way.after, way.answer_lost, way.silent = overtake, Once(), True
            with pytest.raises(Unknown):
                await one.put(key("web"), pet_set("web", value="mine"), first.revision)


@in_a_loop
async def test_what_another_has_deleted_first_is_absent() -> None:
    """Whoever deletes any version there is has what he wants; nobody could be quicker once more."""
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            await one.put(key("web"), pet_set("web"), 0)

            def hold_what_follows(request: Any) -> None:
                way.held = way.held or asyncio.Event()

            way.refused = hold_what_follows
            deleting = asyncio.get_running_loop().create_task(one.delete(key("web"), None))
            await until(lambda: "DELETE" in way.sent)
            assert way.held is not None and await other.delete(key("web"), None) is not None
            way.held.set()
            assert await deleting is None
            assert way.sent.count("DELETE") == 1


@in_a_loop
async def test_a_watch_that_breaks_is_resumed_without_a_gap() -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            with one.watch(ALL, one.revision) as watch:
                made = []
                for number in range(10):
                    made.append((await other.put(key(f"s{number}"), pet_set(f"s{number}"), 0)).revision)
                    way.cut_watches()
                assert [(await anext(watch)).revision for _ in made] == made
            assert one.stats().lists == 1 and one.stats().watch_restarts >= 1


@in_a_loop
async def test_after_a_revision_that_is_gone_all_is_listed_and_watches_are_expired() -> None:
    async with Cluster(history_changes_max=5).running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            old = await other.put(key("old"), pet_set("old"), 0)
            await one.fresh(ALL)
            with one.watch(ALL, one.revision) as watch:
                way.held = asyncio.Event()
                way.cut_watches()
                await until(lambda: way.sent.count("WATCH") == 2)
                await other.delete(key("old"), old.revision)
                for number in range(10):
                    await other.put(key("new"), pet_set("new", value=str(number)), None)
                way.held.set()
                with pytest.raises(Expired):
                    await anext(watch)
            assert one.stats().lists == 2
            assert [value(entry.object) for entry in one.list(ALL)[1]] == ["9"]
            with pytest.raises(Expired), one.watch(ALL, old.revision):
                pass
            with one.watch(ALL, one.revision) as watch:
                made = await other.put(key("new"), pet_set("new"), None)
                assert (await anext(watch)).revision == made.revision


@in_a_loop
async def test_a_connection_that_is_dead_and_does_not_say_so_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "OWED_SECONDS_MAX", 0.05)
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            way.silent = True
            opened = len(way.streams)
            way_again = asyncio.get_running_loop().create_task(one.put(key("web"), pet_set("web"), 0))
            await until(lambda: one.stats().watch_restarts > 0)
            way.silent = False
            way.cut_watches()
            assert opened == 1
            assert (await way_again).revision == one.revision


@in_a_loop
async def test_what_the_cluster_does_not_tell_in_time_is_unavailable_and_no_old_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "SEEN_SECONDS_MAX", 0.05)
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one, cluster.replica() as other:
            way.silent = True
            await other.put(key("web"), pet_set("web"), 0)
            for prefix in (key("web"), ALL, f"{ALL}default/"):
                with pytest.raises(Unavailable):
                    await one.fresh(prefix)
            with pytest.raises(Unknown):  # It is written, and nobody here could read it.
                await one.put(key("mine"), pet_set("mine"), 0)
            way.silent = False
            way.cut_watches()
            await until(lambda: one.get(key("mine")) is not None)


@in_a_loop
async def test_a_cluster_that_refuses_or_is_slow_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ASK_SECONDS_MAX", 0.05)
    monkeypatch.setattr(store, "LOOKS_MAX", 2)
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            for error, said in (
                (errors.ApiError(403, "Forbidden", "no rights"), "the cluster refuses it: no rights"),
                (errors.too_many_requests("too much"), "the cluster refuses it: too much"),
            ):
                way.refused = lambda request, error=error: error
                with pytest.raises(Unavailable, match=said) as refused:
                    await one.put(key("web"), pet_set("web"), 0)
                assert not isinstance(refused.value, Unknown)
                with pytest.raises(Unavailable, match=error.message):
                    await one.fresh(key("web"))
            way.refused = lambda request: errors.unavailable("not now") if is_write(request) else None
            with pytest.raises(Unknown):
                await one.put(key("web"), pet_set("web"), 0)
            way.refused = lambda request: None
            way.held = asyncio.Event()
            for work in (one.fresh(key("web")), one.put(key("web"), pet_set("web"), 0)):
                with pytest.raises(Unavailable):
                    await work
            way.held.set()
            way.held = None
            assert await one.put(key("web"), pet_set("web"), None)
            assert one.stats().unknown_writes == 2


@in_a_loop
async def test_before_everything_is_listed_nothing_is_answered() -> None:
    async with Cluster().running() as cluster:
        one = store.KeptStore(cluster.admin, HOME)
        for read in (lambda: one.get(key("web")), lambda: one.list(ALL), lambda: one.watch(ALL, 0).__enter__()):
            with pytest.raises(Unavailable):
                read()
        for work in (one.fresh(ALL), one.put(key("web"), pet_set("web"), 0), one.delete(key("web"), None)):
            with pytest.raises(Unavailable):
                await work
        assert one.trouble


@in_a_loop
async def test_a_replica_that_has_lost_the_cluster_says_so_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOST_SECONDS_MAX", 0.05)
    monkeypatch.setattr(informer, "RECONNECT_SECONDS_MAX", 0.01)
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            await until(lambda: not one.trouble)
            way.refused = lambda request: errors.unavailable("not now")
            way.cut_watches()
            await until(lambda: one.trouble == "cannot follow StoredPetSets: not now")
            way.refused = lambda request: None
            await until(lambda: not one.trouble)
            assert one.stats().lists == 1


@in_a_loop
async def test_a_set_that_is_too_large_is_refused_before_and_by_the_cluster() -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            largest = store.OBJECT_BYTES_MAX - 400
            assert await one.put(key("web"), pet_set("web", value="x" * largest), 0)
            way.sent.clear()
            with pytest.raises(TooLarge, match=str(store.OBJECT_BYTES_MAX)):
                await one.put(key("big"), pet_set("big", value="x" * store.OBJECT_BYTES_MAX), 0)
            assert "POST" not in way.sent
            for error in (
                errors.too_large("Request entity too large: limit is 3145728"),
                errors.ApiError(500, "InternalError", "etcdserver: request is too large"),
            ):
                way.refused = lambda request, error=error: error if is_write(request) else None
                with pytest.raises(TooLarge):
                    await one.put(key("big"), pet_set("big"), 0)


@in_a_loop
async def test_what_others_write_of_the_stored_object_stays_and_nonsense_is_left_out() -> None:
    async with Cluster().running() as cluster, cluster.replica() as one:
        entry = await one.put(key("web"), pet_set("web", value="1"), 0)
        stored = await cluster.admin.patch(
            STORED_PETSETS, "default.web", HOME, {"metadata": {"labels": {"backup": "yes"}}}
        )
        await one.fresh(key("web"))
        found = one.get(key("web"))
        assert found is not None and found.revision == meta.revision(stored) > entry.revision
        await one.put(key("web"), pet_set("web", value="2"), found.revision)
        stored = await cluster.admin.get(STORED_PETSETS, "default.web", HOME)
        assert stored["metadata"]["labels"] == {"backup": "yes", "petset.dev/namespace": "default"}
        with one.watch(ALL, one.revision) as watch:
            spoilt = [{"op": "replace", "path": "/spec/object", "value": {"kind": "Nonsense"}}]
            await cluster.admin.patch(STORED_PETSETS, "default.web", HOME, spoilt, "json")
            change = await anext(watch)
            assert (change.type, value(change.entry.object)) == ("DELETED", "2")
        assert one.get(key("web")) is None and one.stats().unreadable_objects == 1
        with pytest.raises(Conflict):  # The name is taken.
            await one.put(key("web"), pet_set("web"), 0)


@in_a_loop
async def test_one_that_finalizers_hold_cannot_be_deleted() -> None:
    async with Cluster().running() as cluster, cluster.replica() as one:
        await one.put(key("web"), pet_set("web"), 0)
        held = {"metadata": {"finalizers": ["example.com/hold"]}}
        await cluster.admin.patch(STORED_PETSETS, "default.web", HOME, held)
        await one.fresh(ALL)
        with pytest.raises(Unavailable, match=r"kept from going by the finalizers example\.com/hold"):
            await one.delete(key("web"), None)


@in_a_loop
async def test_a_cluster_that_begins_anew_from_a_backup_is_listed_anew() -> None:
    async with Cluster().running() as cluster:
        async with cluster.replica() as one:
            await one.put(key("web"), pet_set("web"), 0)
            one.reached(10**6)  # Where it was before.
            with one.watch(ALL, one.revision) as watch:
                await one.fresh(ALL)
                with pytest.raises(Expired):
                    await anext(watch)
            assert one.revision == cluster.kept.revision
            assert one.get(key("web")) is not None


@in_a_loop
async def test_one_object_that_is_older_than_it_was_is_a_cluster_from_a_backup_too() -> None:
    async with Cluster().running() as cluster, cluster.replica() as one:
        entry = await one.put(key("web"), pet_set("web"), 0)
        stored = await cluster.admin.get(STORED_PETSETS, "default.web", HOME)
        one.changed("MODIFIED", meta.changed(stored, ("metadata", "resourceVersion"), str(10**6)))
        await one.fresh(key("web"))
        found = one.get(key("web"))
        assert found is not None and found.revision == entry.revision
        assert one.stats().lists == 2


@in_a_loop
async def test_what_is_told_while_a_question_is_answered_is_no_sign_of_another_cluster() -> None:
    """The watch is quicker than the answer: by then more has come than there was when it was asked."""
    async with Cluster().running() as cluster, cluster.replica() as other:
        way = cluster.way()
        async with cluster.replica(way) as one:
            await other.put(key("web"), pet_set("web"), 0)

            async def write_meanwhile(request: Any) -> None:
                if request.method == "GET" and "watch" not in request.target:
                    way.after = None
                    entry = await other.put(key("more"), pet_set("more"), 0)
                    await until(lambda: one.revision >= entry.revision)

            lists, way.after = one.stats().lists, write_meanwhile
            await one.fresh(ALL)
            assert way.after is None and one.stats().lists == lists and one.stats().watch_restarts == 0


@in_a_loop
async def test_a_watch_that_is_just_given_up_is_given_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Cluster().running() as cluster, cluster.replica() as one:
        watches = one.stats().watch_restarts
        one._following.begin_watch_anew()
        await asyncio.sleep(0)  # Its time is over, and who waits in it has not heard of it yet.
        one._following.begin_watch_anew()
        await until(lambda: one.stats().watch_restarts == watches + 1)


@in_a_loop
async def test_closing_waits_for_writes_and_refuses_later_ones() -> None:
    async with Cluster().running() as cluster:
        way = cluster.way()
        async with cluster.replica(way) as one:
            with one.watch("", one.revision) as watch:
                way.held = asyncio.Event()
                writing = asyncio.get_running_loop().create_task(one.put(key("web"), pet_set("web"), 0))
                await until(lambda: "POST" in way.sent)
                assert one.waiting_bytes > 0
                closing = asyncio.get_running_loop().create_task(one.close())
                await asyncio.sleep(0)
                assert not closing.done()
                way.held.set()
                await closing
                entry = await writing
                assert [change.revision async for change in watch] == [entry.revision]
                assert one.waiting_bytes == 0
            with pytest.raises(Unavailable):
                await one.put(key("web"), pet_set("web"), None)
