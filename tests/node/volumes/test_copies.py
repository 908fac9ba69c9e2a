"""Copies of volumes on a real disk: whole or not there, with everything a file has, and pods let go in any case."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from petset.node.containers import stillness
from petset.node.volumes import copies, hostpath


class Still:
    """Notes who stands still, and says no when it is told to."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.refuses = False

    @contextlib.asynccontextmanager
    async def of(self, pods: Sequence[str]) -> AsyncGenerator[None, None]:
        if self.refuses:
            raise OSError("they go on")
        self.log.append(f"still {' '.join(pods)}")
        try:
            yield
        finally:
            self.log.append("go on")

    def end_all(self) -> None:
        self.log.append("all go on")


async def told(done: int) -> None: ...


@pytest.fixture
def place(tmp_path: Path) -> tuple[hostpath.HostPath, Still, Path]:
    still = Still()
    (tmp_path / "volumes" / "pvc-a").mkdir(parents=True)
    return hostpath.HostPath(tmp_path / "volumes", tmp_path / "snapshots", still), still, tmp_path


def test_a_snapshot_holds_what_was_there_when_it_was_taken_and_a_volume_of_it_does_too(
    place: tuple[hostpath.HostPath, Still, Path],
) -> None:
    there, still, tmp_path = place
    data = tmp_path / "volumes" / "pvc-a"
    (data / "file").write_text("before")
    os.chmod(data / "file", 0o640)
    os.link(data / "file", data / "again")
    (data / "link").symlink_to("file")
    (data / "deep" / "er").mkdir(parents=True)
    with (data / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    os.chmod(data, 0o2777)

    async def scene() -> None:
        await there.take_snapshot(str(data), "snapshot-1", 1 << 30, ["pod-1"], told)
        (data / "file").write_text("after")
        await there.take_snapshot(str(data), "snapshot-1", 1 << 30, [], told)  # It is there: nothing is taken again.
        created, size = await there.snapshot("snapshot-1")
        assert created > 10**18 and size == 1 << 30
        await there.restore("snapshot-1", str(tmp_path / "volumes" / "pvc-b"), 1 << 30, told)
        await there.clone(str(data), str(tmp_path / "volumes" / "pvc-c"), 1 << 30, ["pod-1"], told)

    asyncio.run(scene())
    made = tmp_path / "volumes" / "pvc-b"
    assert (made / "file").read_text() == "before" and (data / "file").read_text() == "after"
    assert (made / "file").stat().st_mode & 0o777 == 0o640 and made.stat().st_mode & 0o7777 == 0o2777
    assert (made / "file").stat().st_ino == (made / "again").stat().st_ino
    assert os.readlink(made / "link") == "file" and (made / "deep" / "er").is_dir()
    assert (made / "sparse").stat().st_size == 1 << 30 and (made / "sparse").stat().st_blocks < 100
    assert (tmp_path / "volumes" / "pvc-c" / "file").read_text() == "after"
    assert still.log == ["still pod-1", "go on", "still ", "go on", "still pod-1", "go on"]
    asyncio.run(there.remove_snapshot("snapshot-1"))
    assert os.listdir(tmp_path / "snapshots") == []


def test_what_failed_or_was_killed_leaves_nothing_under_a_volumes_name(
    place: tuple[hostpath.HostPath, Still, Path],
) -> None:
    there, still, tmp_path = place
    target = tmp_path / "volumes" / "pvc-b"

    async def scene() -> None:
        shutil.rmtree(tmp_path / "volumes" / "pvc-a")
        with pytest.raises(OSError, match="cannot copy pvc-a: cp: cannot stat"):
            await there.clone(str(tmp_path / "volumes" / "pvc-a"), str(target), 1, [], told)
        still.refuses = True
        with pytest.raises(OSError, match="they go on"):
            await there.take_snapshot(str(tmp_path / "volumes" / "pvc-a"), "s", 1, ["pod-1"], told)
        assert [*os.listdir(tmp_path / "volumes"), *os.listdir(tmp_path / "snapshots")] == []
        half = tmp_path / "volumes" / f"{copies.UNFINISHED}half"  # As a kill leaves it.
        half.mkdir()
        (half / "file").write_text("half")
        await there.begin()

    asyncio.run(scene())
    assert os.listdir(tmp_path / "volumes") == []
    assert still.log[-1] == "all go on"


@pytest.mark.parametrize("handle", ["", ".", "..", "a/b", "../volumes/pvc-a", ".still", "a" * 300])
def test_a_handle_is_a_name(place: tuple[hostpath.HostPath, Still, Path], handle: str) -> None:
    there, _, tmp_path = place
    for act in (there.snapshot(handle), there.remove_snapshot(handle), there.restore(handle, str(tmp_path), 1, told)):
        with pytest.raises(OSError):
            asyncio.run(act)
    assert (tmp_path / "volumes" / "pvc-a").is_dir()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_whom_a_killed_petset_made_to_stand_still_goes_on(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "cgroup" / "petset_x" / "pod1"
    group.mkdir(parents=True)
    name, frozen, going = ("freezer.state", "FROZEN", "THAWED") if version == "v1" else ("cgroup.freeze", "1", "0")
    (group / name).write_text(going)
    (group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    where = "freezer" if version == "v1" else "unified"
    found = stillness.cgroups.Cgroups(version, {where: str(tmp_path / "cgroup")})
    monkeypatch.setattr(stillness.cgroups, "detect", lambda: found)
    still = stillness.Stillness(tmp_path / "still")

    async def killed() -> None:
        async with still.of(["1"]):
            assert (group / name).read_text() == frozen
            assert os.listdir(tmp_path / "still") == ["1"]
            (tmp_path / "kept").mkdir()
            (tmp_path / "kept" / "1").touch()  # What a kill at this moment leaves behind.

    asyncio.run(killed())
    assert (group / name).read_text() == going and os.listdir(tmp_path / "still") == []
    (group / name).write_text(frozen)
    stillness.Stillness(tmp_path / "kept").end_all()
    assert (group / name).read_text() == going and os.listdir(tmp_path / "kept") == []
