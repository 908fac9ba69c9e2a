"""What the store on disk owes to its disk: acknowledged means durable, whatever fails or dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.store import core, recovery, sqlite
from petset.store.store import CannotOpen, Conflict, Unavailable
from tests.store.objects import config_map, key, value
from tests.waiting import until


def rows(path: Path) -> list[tuple[int, str, int]]:
    """What another reader finds committed in the file."""
    with contextlib.closing(sqlite3.connect(path)) as reader:
        return reader.execute("SELECT revision, key, deleted FROM changes ORDER BY revision").fetchall()


class GatedStore(sqlite.SqliteStore):
    """Its commits wait at a gate, and tell when they have passed."""

    def __init__(self, *args: Any, **limits: int):
        super().__init__(*args, **limits)
        self.gate = threading.Event()
        self.order: list[str] = []

    def _insert(self, connection: sqlite3.Connection, batch: Any, sums: Any) -> None:
        self.order.append(f"commit of {len(batch)} begins")
        assert self.gate.wait(10)
        super()._insert(connection, batch, sums)
        self.order.append("commit is done")


def test_no_acknowledgement_and_no_sight_of_a_write_precedes_its_commit(tmp_path: Path) -> None:
    async def main() -> None:
        store = await GatedStore.open(tmp_path / "store.db")
        assert isinstance(store, GatedStore)

        async def put(name: str) -> None:
            await store.put(key(name), config_map(name), 0)
            store.order.append(f"{name} acknowledged")
            assert rows(tmp_path / "store.db")[-1][0] >= 2  # On disk for others, too.

        with store.watch("", since=0) as watch:
            async with asyncio.TaskGroup() as group:
                group.create_task(put("a"))
                group.create_task(put("b"))
                await until(lambda: store.order)
                group.create_task(put("c"))  # Comes while the commit is under way: of the next one.
                await asyncio.sleep(0.02)
                assert (store.revision, store.get(key("a")), store.count(""), watch.pending()) == (0, None, 0, ())
                assert rows(tmp_path / "store.db") == []
                store.gate.set()
        first, second = (i for i, step in enumerate(store.order) if step == "commit is done")
        assert store.order[:2] == ["commit of 2 begins", "commit is done"]
        assert first < store.order.index("a acknowledged") < store.order.index("b acknowledged")
        assert "commit of 1 begins" in store.order[first:second]
        assert second < store.order.index("c acknowledged")
        await store.close()

    asyncio.run(main())


def test_no_refusal_precedes_the_commit_of_what_it_rests_on(tmp_path: Path) -> None:
    """A client that is told "it exists already" and reads then, finds it."""

    async def main() -> None:
        store = await GatedStore.open(tmp_path / "store.db")
        assert isinstance(store, GatedStore)

        async def refused(expected: int) -> None:
            with pytest.raises(Conflict):
                await store.put(key("a"), config_map("a", "second"), expected)
            store.order.append("refused")
            assert store.get(key("a")) is not None

        async with asyncio.TaskGroup() as group:
            group.create_task(store.put(key("a"), config_map("a"), 0))
            await until(lambda: store.order)
            group.create_task(refused(0))
            group.create_task(refused(7))
            await asyncio.sleep(0.02)
            assert store.order == ["commit of 1 begins"]
            store.gate.set()
        assert store.order == ["commit of 1 begins", "commit is done", "refused", "refused"]
        await store.close()

    asyncio.run(main())


def test_a_writer_that_goes_away_takes_nobody_along(tmp_path: Path) -> None:
    """Who waits for what its write will come to is still answered."""

    async def main() -> None:
        store = await GatedStore.open(tmp_path / "store.db")
        assert isinstance(store, GatedStore)
        store.gate.set()
        await store.put(key("b"), config_map("b"), 0)
        store.gate.clear()
        creating = asyncio.ensure_future(store.put(key("a"), config_map("a"), 0))
        deleting = asyncio.ensure_future(store.delete(key("b"), None))
        await asyncio.sleep(0)
        others = [
            asyncio.ensure_future(store.put(key("a"), config_map("a"), 0)),
            asyncio.ensure_future(store.delete(key("b"), None)),
        ]
        await asyncio.sleep(0)
        creating.cancel()
        deleting.cancel()
        await asyncio.sleep(0)
        store.gate.set()
        refused, absent = await asyncio.gather(*others, return_exceptions=True)
        assert isinstance(refused, Conflict)
        assert absent is None
        await store.close()

    asyncio.run(main())


def test_a_write_is_not_refused_for_one_that_failed(tmp_path: Path) -> None:
    async def main() -> None:
        store = await GatedStore.open(tmp_path / "store.db")
        assert isinstance(store, GatedStore)
        with full_disk(16 << 10, tmp_path):
            failing = asyncio.ensure_future(store.put(key("a"), config_map("a", "x" * 1_000_000), 0))
            await until(lambda: store.order)
            creating = asyncio.ensure_future(store.put(key("a"), config_map("a", "small"), 0))
            await asyncio.sleep(0)
            store.gate.set()
            with pytest.raises(Unavailable):
                await failing
        assert (await creating).revision == 1
        await store.close()

    asyncio.run(main())


def test_the_file_is_asked_to_sync_every_commit(tmp_path: Path) -> None:
    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        assert store._connection is not None
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        await store.close()

    asyncio.run(main())


def test_writes_of_one_loop_turn_share_a_commit(tmp_path: Path) -> None:
    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        await asyncio.gather(*(store.put(key(f"k{i}"), config_map("k"), 0) for i in range(500)))
        assert (store.stats().writes, store.stats().commits) == (500, 1)
        await asyncio.gather(*(store.put(key(f"k{i}"), config_map("k"), None) for i in range(2500)))
        assert store.stats().commits == 4  # BATCH_WRITES_MAX bounds one.
        await store.close()

    asyncio.run(main())


WRITER = """
import asyncio, sys
from petset.store import sqlite
from tests.store.objects import config_map, key

async def write(store, writer):
    i = 0
    while True:
        name = f"w{writer}-{i % 5}"
        if i % 4 == 3:
            entry = await store.delete(key(name), None)
            print("gone" if entry else "none", name, entry.revision if entry else 0, i, flush=True)
        else:
            entry = await store.put(key(name), config_map(name, str(i)), None)
            print("put", name, entry.revision, i, flush=True)
        i += 1

async def main():
    store = await sqlite.SqliteStore.open(sys.argv[1])
    async with asyncio.TaskGroup() as group:
        for writer in range(4):
            group.create_task(write(store, writer))

asyncio.run(main())
"""


def test_kill_9_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    highest = 0
    for _ in range(3):  # Each round goes on with what the one before left.
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(400)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.read().splitlines(keepends=True)
        acknowledged: dict[str, tuple[str, int, str]] = {}
        for line in lines:
            if not line.endswith(b"\n"):
                continue  # Cut off by the kill: nobody has read it.
            what, name, revision, i = line.decode().split()
            acknowledged[name] = (what, int(revision), i)
            highest = max(highest, int(revision))
        store = asyncio.run(contents(path))
        assert store.revision >= highest
        for name, (what, revision, i) in acknowledged.items():
            entry = store.get(key(name))
            if what == "put":
                assert entry is not None or store.revision > highest
                if entry is not None and entry.revision == revision:
                    assert value(entry.object) == i
                else:  # A later write was committed but not acknowledged before the kill.
                    assert entry is None or entry.revision > revision
            elif entry is not None:
                assert entry.revision > revision


async def contents(path: Path) -> core.Core:
    """The store as a start finds it, closed again."""
    store = await sqlite.SqliteStore.open(path)
    await store.close()
    return store


@contextlib.contextmanager
def full_disk(bytes_more: int, directory: Path) -> Iterator[None]:
    """No file of ours may grow by more: what is written beyond fails as on a full disk."""
    largest = max(path.stat().st_size for path in directory.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + bytes_more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_fails_the_writes_shows_nothing_and_is_forgotten_when_it_is_over(tmp_path: Path) -> None:
    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        for i in range(5):
            await store.put(key(f"k{i}"), config_map("k", "before"), 0)
        with full_disk(16 << 10, tmp_path), store.watch("", since=5) as watch:
            big = "x" * 100_000
            results = await asyncio.gather(
                *(store.put(key(f"k{i}"), config_map("k", big), None) for i in range(10)),
                store.delete(key("k0"), None),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [Unavailable] * 11
            assert "cannot write to" in str(results[0])
            assert (store.revision, store.count(""), watch.pending()) == (5, 5, ())
            entry = store.get(key("k0"))
            assert entry is not None
            assert value(entry.object) == "before"
            with pytest.raises(Unavailable):
                await store.put(key("again"), config_map("k", big), None)
        entry = await store.put(key("after"), config_map("k", "after"), 0)
        assert entry.revision == 6
        assert store.stats().failed_writes == 12
        await store.close()

    asyncio.run(main())
    store = asyncio.run(contents(tmp_path / "store.db"))
    assert (store.revision, store.count("")) == (6, 6)


def test_writes_judged_against_a_failed_one_fail_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        store = await GatedStore.open(tmp_path / "store.db")
        assert isinstance(store, GatedStore)
        with full_disk(16 << 10, tmp_path):
            first = asyncio.ensure_future(store.put(key("a"), config_map("a", "x" * 1_000_000), 0))
            await until(lambda: store.order)
            second = asyncio.ensure_future(store.put(key("a"), config_map("a", "small"), 1))
            await asyncio.sleep(0)
            store.gate.set()
            results = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable]
        assert (await store.put(key("a"), config_map("a"), 0)).revision == 1
        await store.close()

    asyncio.run(main())


def test_a_commit_that_was_reported_as_failed_is_not_seen_by_later_ones(tmp_path: Path) -> None:
    """The disk may have it although the answer was an error; the revision is given again, to another write."""

    class Doubtful(sqlite.SqliteStore):
        def _insert(self, connection: sqlite3.Connection, batch: Any, sums: Any) -> None:
            super()._insert(connection, batch, sums)
            if any(write.entry.key == key("doubtful") for write in batch):
                raise sqlite3.OperationalError("disk I/O error")

    async def main() -> None:
        store = await Doubtful.open(tmp_path / "store.db")
        await store.put(key("a"), config_map("a"), 0)
        with pytest.raises(Unavailable):
            await store.put(key("doubtful"), config_map("d"), 0)
        assert (await store.put(key("b"), config_map("b"), 0)).revision == 2
        await store.close()

    asyncio.run(main())
    assert rows(tmp_path / "store.db") == [(1, key("a"), 0), (2, key("b"), 0)]


def test_superseded_rows_go_and_the_revision_stays(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def fill() -> None:
        store = await sqlite.SqliteStore.open(path)
        for i in range(20):
            await asyncio.gather(*(store.put(key(f"k{j}"), config_map("k", str(i)), None) for j in range(200)))
        await asyncio.gather(*(store.delete(key(f"k{j}"), None) for j in range(200)))
        await store.close()

    asyncio.run(fill())
    kept = sqlite.SUPERSEDED_ROWS_KEPT
    assert kept <= len(rows(path)) < kept + sqlite.SUPERSEDED_ROWS_MIN + 600
    store = asyncio.run(contents(path))
    assert (store.revision, store.count("")) == (4200, 0)

    assert [revision for revision, _, _ in rows(path)[-kept:]] == list(range(4200 - kept + 1, 4201))

    async def go_on() -> None:
        store = await sqlite.SqliteStore.open(path)
        for i in range(10):
            assert (await store.put(key("last"), config_map("last", str(i)), None)).revision == 4201 + i
        await store.close()

    asyncio.run(go_on())
    assert kept <= len(rows(path)) < kept + sqlite.SUPERSEDED_ROWS_MIN
    store = asyncio.run(contents(path))
    assert (store.revision, store.count("")) == (4210, 1)


def test_a_start_decodes_nothing(tmp_path: Path) -> None:
    async def main() -> core.Core:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        await store.put(key("a"), config_map("a", "kept"), 0)
        await store.close()
        return await contents(tmp_path / "store.db")

    entry = asyncio.run(main()).get(key("a"))
    assert entry is not None
    assert entry._object is None
    assert value(entry.object) == "kept"


def test_the_history_begins_anew_at_a_start(tmp_path: Path) -> None:
    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        await store.put(key("a"), config_map("a"), 0)
        await store.close()
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        with store.watch("", since=1) as watch:
            await store.put(key("a"), config_map("a"), 1)
            assert (await anext(watch)).revision == 2
        await store.close()

    asyncio.run(main())


def test_a_second_opener_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        with pytest.raises(CannotOpen, match="another petset has it open"):
            await sqlite.SqliteStore.open(tmp_path / "store.db")
        await store.put(key("a"), config_map("a"), 0)
        await store.close()
        await contents(tmp_path / "store.db")

    asyncio.run(main())


def test_a_file_of_a_newer_format_of_another_program_or_of_nothing_known_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    asyncio.run(contents(path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {recovery.FORMAT + 1}")
    with pytest.raises(CannotOpen, match=f"it has format {recovery.FORMAT + 1}.*use the newer petset"):
        asyncio.run(contents(path))

    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE changes (x)")
    with pytest.raises(CannotOpen, match="another program"):
        asyncio.run(contents(other))

    noise = tmp_path / "noise.db"
    noise.write_bytes(b"no database " * 1000)
    with pytest.raises(CannotOpen, match="cannot open the state file"):
        asyncio.run(contents(noise))
    with pytest.raises(CannotOpen, match="cannot open the state file"):
        asyncio.run(contents(tmp_path / "absent" / "store.db"))


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        await store.put(key("secret"), config_map("secret"), 0)
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert len(list(tmp_path.iterdir())) == 5
        await store.close()

    asyncio.run(main())
