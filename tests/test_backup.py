"""A backup is all of an instance, as it was; a restore is all of it or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset import backup
from petset.base import state
from petset.cli import main
from petset.store import recovery, sqlite, witness
from tests.store.objects import config_map, key


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


async def filled(path: Path, objects: list[tuple[str, dict[str, Any]]]) -> None:
    store = await sqlite.SqliteStore.open(path)
    for name, obj in objects:
        await store.put(name, obj, None)
    await store.close()


def volume(path: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": path.name},
        "spec": {"hostPath": {"path": str(path)}},
    }


@pytest.fixture
def instance(tmp_path: Path) -> state.State:
    """One with two objects of three revisions, a key, and a volume with all that a file can be."""
    made = state.State(tmp_path / "old")
    made.create()
    place = made.volumes / "pvc-1"
    place.mkdir(parents=True)
    objects = [
        (key("a"), config_map("a", "before")),
        (key("a"), config_map("a", "after")),
        ("/core/persistentvolumes/pvc-1", volume(place)),
        ("/core/persistentvolumes/elsewhere", volume(Path("/srv/elsewhere"))),
    ]
    asyncio.run(filled(made.database, objects))
    made.keys.mkdir(mode=0o700)
    state.write_private(made.keys / "tokens.key", b"secret")
    made.write("instance.json", {"api_port": 7001, "node_name": "box"})
    made.write("network.json", {"instance": "abcdef"})
    fill(place)
    return made


def fill(place: Path) -> None:
    (place / "data").write_bytes(b"x" * 100_000)
    (place / "data").chmod(0o640)
    (place / "program").write_bytes(b"#!")
    (place / "program").chmod(0o4755)
    (place / "link").symlink_to("/etc/passwd")
    (place / "dangling").symlink_to("../../nowhere")
    os.link(place / "data", place / "same")
    (place / "empty" / "deep").mkdir(parents=True)
    (place / "empty").chmod(0o2775)
    (place / "näme with\nnewline").write_text("")
    with (place / "sparse").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    os.mkfifo(place / "pipe")
    os.utime(place / "data", (1_470_000_000, 1_470_000_000))
    with contextlib.suppress(PermissionError):  # Only root may.
        os.chown(place / "data", 4321, 1234)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(place / "socket"))  # Means nothing without who listens: left out, and nobody complains.


def shape(top: Path) -> dict[str, Any]:
    """What matters of every file below."""
    found: dict[str, Any] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode):
            continue
        content: Any = None
        if path.is_symlink():
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = (path.read_bytes(), int(status.st_mtime), status.st_nlink)
        found[str(path.relative_to(top))] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def test_everything_comes_back_as_it_was(instance: state.State, tmp_path: Path):
    about = backup.save(instance, tmp_path / "file", quiet)
    assert (about.objects, about.revision, about.directory) == (3, 4, str(instance.directory))
    restored = state.State(tmp_path / "new")
    assert backup.restore(restored, tmp_path / "file", quiet) == about
    assert shape(restored.volumes) == shape(instance.volumes)
    sparse = restored.volumes / "pvc-1" / "sparse"
    assert sparse.stat().st_size > 64 << 20 and sparse.stat().st_blocks * 512 < 1 << 20
    assert shape(restored.keys) == shape(instance.keys)
    assert restored.read("instance.json") == instance.read("instance.json")
    assert stat.S_IMODE(restored.directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in restored.directory.iterdir()) == [
        *("instance.json", "pki", "store.db", "store.db.witness", "volumes")
    ]


def test_the_objects_are_known_good_at_a_revision_that_nobody_has_seen(instance: state.State, tmp_path: Path):
    backup.save(instance, tmp_path / "file", quiet)
    restored = state.State(tmp_path / "new")
    backup.restore(restored, tmp_path / "file", quiet)
    revision = 4 + recovery.REVISIONS_SKIPPED
    assert witness.read(witness.beside(restored.database)) == revision

    async def opened() -> None:
        store = await sqlite.SqliteStore.open(restored.database)  # Refuses what is not whole and complete.
        entry = store.get(key("a"))
        assert entry is not None and entry.object["data"] == {"value": "after"}
        assert (store.revision, entry.revision, entry.created_revision) == (revision, 2, 1)
        paths = [each.object["spec"]["hostPath"]["path"] for each in store.list("/core/persistentvolumes/")[1]]
        assert paths == ["/srv/elsewhere", str(restored.volumes / "pvc-1")]
        assert (await store.put(key("b"), config_map("b"), 0)).revision == revision + 1
        await store.close()

    asyncio.run(opened())


def test_any_tar_lists_it_and_it_tells_what_it_is(instance: state.State, tmp_path: Path):
    file = tmp_path / "file"
    backup.save(instance, file, quiet)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        told = archive.extractfile(backup.ABOUT)
        assert told is not None and json.load(told)["objects"] == 3
    listed = subprocess.run(["tar", "-tzf", str(file)], capture_output=True, text=True)
    assert "volumes/pvc-1/data" in listed.stdout


def test_an_open_store_is_copied_at_one_revision(tmp_path: Path):
    instance = state.State(tmp_path / "old")
    instance.create()

    async def go_on() -> None:
        store = await sqlite.SqliteStore.open(instance.database)
        with instance.lock():  # As petset holds it while it runs.
            for i in range(20):
                await asyncio.gather(*(store.put(key(f"k{j}"), config_map("k", str(i)), None) for j in range(5)))
                if i % 5 == 0:
                    about = await asyncio.to_thread(backup.save, instance, tmp_path / f"file{i}", quiet)
                    assert about.revision == store.revision == (i + 1) * 5
        await store.close()

    asyncio.run(go_on())
    restored = state.State(tmp_path / "new")
    backup.restore(restored, tmp_path / "file10", quiet)
    contents = recovery.snapshot(restored.database)
    assert [entry.object["data"]["value"] for entry in contents.entries] == ["10"] * 5


def test_nobody_starts_it_meanwhile(instance: state.State, tmp_path: Path):
    tried: list[str] = []

    def tell(what: str, done: int, total: int) -> None:
        with pytest.raises(state.StateError), instance.lock():
            pass
        tried.append(what)

    backup.save(instance, tmp_path / "file", tell)
    assert tried


# -- refusals -----------------------------------------------------------------------------------------------------


def fails(*words: str, capsys: Any) -> str:
    """The one line on standard error."""
    assert main.main([*words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("petset: cannot "), said
    return said[0]


def test_a_file_that_was_cut_or_changed_anywhere_is_refused(instance: state.State, tmp_path: Path, capsys):
    backup.save(instance, tmp_path / "file", quiet)
    whole = (tmp_path / "file").read_bytes()
    spoilt = tmp_path / "spoilt"
    cuts = [0, 1, 10, len(whole) // 2, len(whole) - backup.SEAL_BYTES, len(whole) - 1]
    for cut in cuts:
        spoilt.write_bytes(whole[:cut])
        said = fails("--state", str(tmp_path / "new"), "restore", str(spoilt), capsys=capsys)
        assert "its end is missing" in said
    for place in (3, 100, len(whole) // 2, len(whole) - backup.SEAL_BYTES - 1):
        spoilt.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        said = fails("--state", str(tmp_path / "new"), "restore", str(spoilt), capsys=capsys)
        assert "it was changed since it was made" in said
    spoilt.write_bytes(b"no backup " * 1000)
    assert "its end is missing" in fails("--state", str(tmp_path / "new"), "restore", str(spoilt), capsys=capsys)
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []  # Nothing was begun.


def test_a_restore_never_touches_what_is_there(instance: state.State, tmp_path: Path, capsys):
    file = tmp_path / "file"
    backup.save(instance, file, quiet)
    before = shape(instance.directory)
    assert "it is not empty" in fails("--state", str(instance.directory), "restore", str(file), capsys=capsys)
    assert shape(instance.directory) == before
    (tmp_path / "empty").mkdir()
    assert main.main(["--state", str(tmp_path / "empty"), "restore", str(file)]) == 0
    assert "start it with" in capsys.readouterr().out


def test_a_backup_says_in_a_line_why_there_is_none(instance: state.State, tmp_path: Path, capsys):
    old = str(instance.directory)
    taken = tmp_path / "taken"
    taken.write_text("dear")
    assert "it is there already" in fails("--state", old, "backup", str(taken), capsys=capsys)
    assert taken.read_text() == "dear"
    nowhere = fails("--state", old, "backup", str(tmp_path / "no" / "file"), capsys=capsys)
    assert f"there is no directory {tmp_path / 'no'}; make it, or name another file" in nowhere
    beside = fails("--state", old, "backup", str(taken / "file"), capsys=capsys)
    assert f"there is no directory {taken}" in beside
    inside = fails("--state", old, "backup", str(instance.volumes / "file"), capsys=capsys)
    assert "part of itself" in inside
    absent = fails("--state", str(tmp_path / "none"), "backup", str(tmp_path / "f"), capsys=capsys)
    assert "there is no instance" in absent
    assert not (tmp_path / "none").exists()
    missing = fails("--state", str(tmp_path / "new"), "restore", str(tmp_path / "f"), capsys=capsys)
    assert "No such file or directory" in missing


def test_a_directory_that_cannot_be_written_is_named(instance: state.State, tmp_path: Path, capsys):
    """/proc takes no files, not even root's."""
    backup.save(instance, tmp_path / "file", quiet)
    said = fails("--state", str(instance.directory), "backup", "/proc/self/file", capsys=capsys)
    assert "cannot back up to /proc/self/file: nothing can be made in /proc/self: " in said
    assert "; name a file in another directory" in said
    said = fails("--state", "/proc/self/new", "restore", str(tmp_path / "file"), capsys=capsys)
    assert "cannot restore into /proc/self/new: nothing can be made in /proc/self: " in said
    assert "; name another with --state" in said


def test_a_damaged_store_is_not_backed_up_as_if_it_were_whole(instance: state.State, tmp_path: Path, capsys):
    witness.create(witness.beside(instance.database), 9)
    said = fails("--state", str(instance.directory), "backup", str(tmp_path / "file"), capsys=capsys)
    assert "the last 5 of 9 acknowledged writes are missing" in said
    assert not (tmp_path / "file").exists()


@contextlib.contextmanager
def small_files(bytes_max: int) -> Iterator[None]:
    """What is written beyond fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_behind(instance: state.State, tmp_path: Path, capsys):
    (instance.volumes / "pvc-1" / "noise").write_bytes(os.urandom(1 << 20))
    file = tmp_path / "file"
    with small_files(100_000):
        said = fails("--state", str(instance.directory), "backup", str(file), capsys=capsys)
    assert "free some space" in said
    backup.save(instance, file, quiet)
    with small_files(500_000):
        said = fails("--state", str(tmp_path / "new"), "restore", str(file), capsys=capsys)
    assert "cannot restore into" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "old"]


def test_a_backup_of_a_newer_petset_is_refused(instance: state.State, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(backup, "FORMAT", 2)
    backup.save(instance, tmp_path / "file", quiet)
    monkeypatch.undo()
    said = fails("--state", str(tmp_path / "new"), "restore", str(tmp_path / "file"), capsys=capsys)
    assert "use that or a newer one" in said
    assert not (tmp_path / "new").exists()


def test_a_mount_point_is_told_as_what_it_is(instance: state.State, tmp_path: Path, monkeypatch):
    backup.save(instance, tmp_path / "file", quiet)

    def busy(source: Path, target: Path) -> None:
        raise OSError(16, "Device or resource busy", str(source), None, str(target))

    monkeypatch.setattr(backup.os, "rename", busy)
    with pytest.raises(backup.BackupError, match="new is a mount point; name a directory in it"):
        backup.restore(state.State(tmp_path / "new"), tmp_path / "file", quiet)


def test_progress_is_told_to_whoever_shows_it_and_nothing_of_it_is_left(instance: state.State, tmp_path: Path, capsys):
    (instance.volumes / "pvc-1" / "more").write_bytes(os.urandom(3 << 20))
    told: list[tuple[str, int, int]] = []
    backup.save(instance, tmp_path / "told", lambda *said: told.append(said))
    assert {what for what, _, _ in told} == {"saved"} and len(told) >= 3
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told) and told[-1][2] >= 3 << 20
    assert main.main(["--state", str(instance.directory), "backup", str(tmp_path / "file")]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "3 objects at revision 4, keys and volumes" in said.out
