"""What a start makes of a disk that lost or changed something: all that was acknowledged, or a refusal; never less."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from petset.base import memory
from petset.store import core, recovery, sqlite, witness
from petset.store.store import CannotOpen
from tests.store.objects import config_map, key, value
from tests.waiting import until

FLIPS = 250  # In each file, evenly spread over its bits.
PAGE_BYTES, FRAME_BYTES, LOG_HEAD_BYTES = 4096, 4096 + 24, 32
FILES = ("store.db", "store.db-wal", "store.db.witness")

Objects = dict[str, tuple[int, str]]  # key -> (revision, value)


class Saved:
    """The files of a store as kill -9 leaves them, and what it had acknowledged."""

    def __init__(self, directory: Path, store: core.Core):
        self.files = {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith(".lock")}
        self.objects, self.revision = objects(store), store.revision

    def put_back(self, directory: Path) -> None:
        for path in directory.iterdir():
            path.unlink()
        for name, data in self.files.items():
            (directory / name).write_bytes(data)


def objects(store: core.Core) -> Objects:
    return {entry.key: (entry.revision, value(entry.object)) for entry in store.list("")[1]}


async def work(store: sqlite.SqliteStore, first: int, last: int) -> None:
    """Fourteen objects come, change and go."""
    for i in range(first, last):
        await store.put(key(f"k{i % 14}"), config_map("k", f"{i}" * 150), None)
        if i % 9 == 8:
            await store.delete(key(f"k{(i - 3) % 14}"), None)


def saved_states(directory: Path) -> dict[str, Saved]:
    """By how much of the log had been folded into the file when petset was killed."""

    async def main() -> dict[str, Saved]:
        states: dict[str, Saved] = {}
        store = await sqlite.SqliteStore.open(directory / "store.db")
        await work(store, 0, 14)
        states["all in the log"] = Saved(directory, store)
        await store._thread.call(store._fold)
        await work(store, 14, 30)
        states["some in the log"] = Saved(directory, store)
        connection = store._connection
        assert connection is not None
        await store._thread.call(connection.execute, "PRAGMA wal_checkpoint(PASSIVE)")
        states["all in both"] = Saved(directory, store)
        await store._thread.call(store._fold)
        states["all in the file"] = Saved(directory, store)
        await store.close()
        return states

    return asyncio.run(main())


STATES = ("all in the log", "some in the log", "all in both", "all in the file")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    found = saved_states(tmp_path_factory.mktemp("written"))
    assert tuple(found) == STATES
    assert len(found["all in the log"].files["store.db-wal"]) > 14 * FRAME_BYTES
    assert not found["all in the file"].files["store.db-wal"]
    return found


def opened(directory: Path, accept_older: bool = False) -> sqlite.SqliteStore:
    async def main() -> sqlite.SqliteStore:
        store = await sqlite.SqliteStore.open(directory / "store.db", accept_older=accept_older)
        await store.close()
        return store

    return asyncio.run(main())


def looked_at(saved: Saved, directory: Path) -> str:
    """Open what lies there: "" when it is all that was acknowledged, or the refusal, which has touched nothing."""
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    try:
        contents = recovery.examined(directory / "store.db", accept_older=False)
    except CannotOpen as refusal:
        for name, data in before.items():
            if not name.endswith("-shm"):
                assert (directory / name).read_bytes() == data, name
        assert str(refusal).startswith("cannot open the state file ") and "\n" not in str(refusal)
        return str(refusal)
    found = {entry.key: (entry.revision, value(entry.object)) for entry in contents.entries}
    assert (contents.revision, found) == (saved.revision, saved.objects)
    return ""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_loses_nothing_silently(states: dict[str, Saved], tmp_path: Path, state: str, name: str) -> None:
    saved = states[state]
    data = saved.files[name]
    refusals = 0
    for flip in range(min(FLIPS, len(data) * 8)):
        bit = flip * len(data) * 8 // FLIPS + flip % 8
        saved.put_back(tmp_path)
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / name).write_bytes(damaged)
        refusals += bool(looked_at(saved, tmp_path))
    if (state, name) in (("all in the log", "store.db-wal"), ("all in the file", "store.db")):
        assert refusals > FLIPS // 4


@pytest.mark.parametrize("state", STATES)
def test_a_page_that_is_zero_or_anothers_loses_nothing_silently(
    states: dict[str, Saved], tmp_path: Path, state: str
) -> None:
    saved = states[state]
    for name, size, head in (("store.db", PAGE_BYTES, 0), ("store.db-wal", FRAME_BYTES, LOG_HEAD_BYTES)):
        data = saved.files[name]
        pieces = range(head, len(data), size)
        for at in pieces:
            for other in (b"\0" * size, data[head : head + size], data[pieces[-1] :]):
                saved.put_back(tmp_path)
                (tmp_path / name).write_bytes(data[:at] + other + data[at + size :])
                looked_at(saved, tmp_path)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_loses_nothing_silently(
    states: dict[str, Saved], tmp_path: Path, state: str, name: str
) -> None:
    saved = states[state]
    data = saved.files[name]
    frames = range(LOG_HEAD_BYTES, len(data), FRAME_BYTES) if name.endswith("-wal") else range(0, len(data), 2048)
    for end in sorted({0, 10, *frames, *(at + 13 for at in frames)}):
        if end < len(data):
            saved.put_back(tmp_path)
            (tmp_path / name).write_bytes(data[:end])
            refusal = looked_at(saved, tmp_path)
            assert refusal or name != "store.db-wal" or state != "all in the log"


@pytest.mark.parametrize("state", STATES)
def test_a_missing_file_loses_nothing_silently(states: dict[str, Saved], tmp_path: Path, state: str) -> None:
    saved = states[state]
    for gone in (
        ("store.db",),
        ("store.db-wal",),
        ("store.db-shm",),
        ("store.db-wal", "store.db-shm"),
        ("store.db", "store.db-wal"),
        ("store.db", "store.db-wal", "store.db-shm"),
        ("store.db.witness",),
    ):
        saved.put_back(tmp_path)
        for name in gone:
            (tmp_path / name).unlink()
        refusal = looked_at(saved, tmp_path)
        if "store.db" in gone:
            assert f"the last {saved.revision} of {saved.revision} acknowledged writes are missing" in refusal
        elif "store.db.witness" in gone:
            assert "nobody can tell" in refusal
        elif "store.db-wal" in gone:
            assert bool(refusal) == state.endswith("in the log")


def test_an_older_copy_is_told_from_the_newest(states: dict[str, Saved], tmp_path: Path) -> None:
    older, newer = states["all in the log"], states["all in the file"]
    newer.put_back(tmp_path)
    for name in ("store.db", "store.db-wal"):
        (tmp_path / name).write_bytes(older.files[name])
    lost = newer.revision - older.revision
    assert f"the last {lost} of {newer.revision} acknowledged writes are missing" in looked_at(newer, tmp_path)


def test_a_log_that_is_not_needed_is_set_aside(states: dict[str, Saved], tmp_path: Path) -> None:
    saved = states["all in both"]
    saved.put_back(tmp_path)
    damaged = bytearray(saved.files["store.db-wal"])
    damaged[LOG_HEAD_BYTES + 5 * FRAME_BYTES] ^= 1
    (tmp_path / "store.db-wal").write_bytes(damaged)
    store = opened(tmp_path)
    assert (store.revision, objects(store)) == (saved.revision, saved.objects)
    assert (tmp_path / f"store.db.before-{saved.revision}-wal").read_bytes() == damaged


def test_an_older_state_is_begun_with_only_when_it_is_accepted(states: dict[str, Saved], tmp_path: Path) -> None:
    saved = states["some in the log"]
    saved.put_back(tmp_path)
    (tmp_path / "store.db-wal").unlink()
    for _ in range(2):  # To try costs nothing.
        with pytest.raises(CannotOpen, match=r"acknowledged writes are missing.*petset up --accept-older"):
            opened(tmp_path)
    store = opened(tmp_path, accept_older=True)
    assert objects(store) == states["all in the log"].objects
    revision = saved.revision + recovery.REVISIONS_SKIPPED
    assert store.revision == revision
    assert (tmp_path / f"store.db.before-{revision}").read_bytes() == saved.files["store.db"]

    async def go_on() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        for i in range(3):
            assert (await store.put(key("new"), config_map("new", str(i)), None)).revision == revision + 1 + i
        await store.close()

    asyncio.run(go_on())
    assert opened(tmp_path).revision == revision + 3
    assert objects(opened(tmp_path, accept_older=True)) == objects(opened(tmp_path))


def test_what_can_be_read_of_a_damaged_file_may_be_accepted(states: dict[str, Saved], tmp_path: Path) -> None:
    saved = states["all in the file"]
    name, (revision, text) = next(iter(saved.objects.items()))
    saved.put_back(tmp_path)
    data = saved.files["store.db"]
    at = data.index(f'"resourceVersion":"{revision}"'.encode())
    (tmp_path / "store.db").write_bytes(data[:at] + b"}" + data[at + 1 :])
    with pytest.raises(CannotOpen, match="its objects are not those that were written"):
        opened(tmp_path)
    assert objects(opened(tmp_path, accept_older=True)) == {k: v for k, v in saved.objects.items() if k != name}
    assert text


def test_a_file_of_the_format_before_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(recovery.SCHEMA.replace(",\n    sum      INTEGER", ""))
        connection.execute(f"PRAGMA application_id = {recovery.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        for revision in (1, 2, 3):
            encoded = b'{"metadata":{"resourceVersion":"%d"},"data":{"value":"v"}}' % revision
            connection.execute("INSERT INTO changes VALUES (?,?,1,0,?)", (revision, key("a"), encoded))
    for _ in range(2):
        store = opened(tmp_path)
        assert (store.revision, objects(store)) == (3, {key("a"): (3, "v")})
    assert witness.read(witness.beside(path)) == 3
    damaged = path.read_bytes().replace(b'"value":"v"}}', b'"value":"w"}}')
    path.write_bytes(damaged)
    with pytest.raises(CannotOpen, match="its objects are not those that were written"):
        opened(tmp_path)


def test_the_witness_is_never_ahead_of_a_commit_and_never_behind_an_acknowledgement(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    class Told(sqlite.SqliteStore):
        def _insert(self, *args: object) -> None:
            told.append(("before", witness.read(witness.beside(self._path))))
            super()._insert(*args)  # type: ignore[arg-type]
            told.append(("committed", witness.read(witness.beside(self._path))))

    async def main() -> None:
        store = await Told.open(tmp_path / "store.db")
        for i in range(3):
            entry = await store.put(key("a"), config_map("a", str(i)), None)
            told.append(("acknowledged", witness.read(witness.beside(tmp_path / "store.db"))))
            assert entry.revision == i + 1
        await store.close()

    asyncio.run(main())
    assert told == [
        (step, i + (step == "acknowledged")) for i in range(3) for step in ("before", "committed", "acknowledged")
    ]


@pytest.mark.parametrize("cut", range(witness.RECORD.size))
def test_a_record_that_was_cut_off_leaves_the_one_before(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "w"
    witness.create(path, 7)
    open_ = witness.Witness(path)
    open_.record(8)
    page = path.read_bytes()
    open_.record(9)
    changed = path.read_bytes()
    at = next(i for i in range(witness.FILE_BYTES) if page[i] != changed[i])
    place = max(place for place in witness.PLACES if place <= at)
    path.write_bytes(page[:place] + changed[place : place + cut] + page[place + cut :])
    assert witness.read(path) in (8, 9)
    open_.close()


def test_the_log_is_folded_soon_after_a_write_and_an_idle_store_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FOLD_SECONDS_MAX", 0.01)
    folds = counted(monkeypatch)

    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        assert folds == ["fold"]
        await store.put(key("a"), config_map("a"), 0)
        await until(lambda: len(folds) == 2)
        await store._thread.call(lambda: None)
        assert (tmp_path / "store.db-wal").stat().st_size == 0
        assert store._fold_timer is None
        await store.close()

    asyncio.run(main())
    assert len(folds) == 2


def test_memory_is_given_back_in_the_rest_after_much_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_WRITES_MIN", 50)
    monkeypatch.setattr(sqlite, "CALM_WRITES_MAX", 5)
    given: list[str] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append("back"))

    async def main() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")

        async def write(count: int) -> None:
            await asyncio.gather(*(store.put(key(f"k{i}"), config_map("k"), None) for i in range(count)))
            store._fold_soon()
            for thread in (store._thread, store._rest_thread, store._rest_thread):
                await thread.call(lambda: None)

        await write(3)
        assert given == []
        await write(60)
        assert given == []  # This was work.
        await write(2)
        assert len(given) == 1
        await write(2)
        assert len(given) == 1
        await store.close()

    asyncio.run(main())


def test_giving_memory_back_is_possible() -> None:
    memory.give_back()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    folds: list[str] = []
    fold: Callable[[sqlite.SqliteStore], None] = sqlite.SqliteStore._fold

    def counting(store: sqlite.SqliteStore) -> None:
        folds.append("fold")
        fold(store)

    monkeypatch.setattr(sqlite.SqliteStore, "_fold", counting)
    return folds
