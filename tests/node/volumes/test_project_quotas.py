"""Capacity kept by the file system: a project for each volume, whose number nobody else has, and its limit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from petset.node import linux
from petset.node.volumes import hostpath, project_quotas
from petset.node.volumes.project_quotas import FIRST, Counted
from tests import quota_disk

MI = 1 << 20


class Remembered:
    """A file system that counts projects, by what it was told."""

    def __init__(self) -> None:
        self.is_on = True
        self.projects: dict[int, int] = {}  # By inode.
        self.limits: dict[int, int] = {}
        self.used: dict[int, int] = {}

    def keeps_limits(self, directory: int) -> bool:
        return self.is_on

    def project(self, directory: int) -> int:
        return self.projects.get(os.fstat(directory).st_ino, 0)

    def set_project(self, directory: int, project: int) -> None:
        assert os.listdir(directory) == [], "what is in there already would not count"
        self.projects[os.fstat(directory).st_ino] = project

    def counted(self, directory: int, project: int) -> Counted:
        used = self.used.get(project, 0)
        return Counted(self.limits.get(project, 0), used, 1 if used else 0)

    def limit(self, directory: int, project: int, bytes_max: int) -> None:
        self.limits[project] = bytes_max


class Forbidding(Remembered):
    def limit(self, directory: int, project: int, bytes_max: int) -> None:
        raise PermissionError(errno.EPERM, "not you")


def made(tmp_path: Path, name: str = "pvc-1") -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_a_volume_has_a_project_of_its_own_and_its_limit_follows_the_claim(tmp_path: Path) -> None:
    disk, place = Remembered(), made(tmp_path)
    assert project_quotas.held(place, disk) is None and not project_quotas.change(place, MI, disk)
    assert project_quotas.bind(place, 64 * MI, disk)
    ((project, limit),) = disk.limits.items()
    assert limit == 64 * MI and project >= FIRST
    disk.used[project] = 5
    assert project_quotas.held(place, disk) == (5, 1)
    assert project_quotas.change(place, 128 * MI, disk) and disk.limits == {project: 128 * MI}


def test_a_number_that_somebody_has_is_passed_over(tmp_path: Path) -> None:
    disk, place = Remembered(), made(tmp_path)
    assert project_quotas.bind(place, MI, disk)
    ((first, _),) = disk.limits.items()
    disk.projects.clear()
    disk.used[first + 1] = 1
    assert project_quotas.bind(place, MI, disk)
    assert list(disk.limits) == [first, first + 2]
    disk.used |= dict.fromkeys(range(FIRST, FIRST + (1 << 20)), 1) | dict.fromkeys(range(first, first + 100), 1)
    assert not project_quotas.bind(place, MI, disk)


def test_a_project_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    disk, place = Remembered(), made(tmp_path)
    disk.projects[place.stat().st_ino] = 17
    assert project_quotas.held(place, disk) is None and not project_quotas.change(place, MI, disk)
    assert disk.limits == {}


def test_where_there_are_none_nothing_is_changed(tmp_path: Path) -> None:
    off, forbidden = Remembered(), Forbidding()
    off.is_on = False
    for disk in (off, forbidden):
        assert not project_quotas.bind(made(tmp_path, type(disk).__name__), MI, disk)
        assert disk.projects == {} and disk.limits == {}


def test_the_kernel_is_asked_in_its_own_words(tmp_path: Path) -> None:
    """Whatever is below the tests: each call is answered or refused, and none is misunderstood."""
    with contextlib.suppress(OSError):
        assert project_quotas.KERNEL.keeps_limits(os.open(tmp_path, os.O_RDONLY)) in (False, True)
    assert linux._ATTRIBUTES.size == 28 and linux._QUOTA.size == 72  # As the kernel's headers have them.
    path = made(tmp_path)
    assert project_quotas.bind(path, MI) == (project_quotas.held(path) is not None)


def test_a_volume_grows_to_what_its_disk_has_and_not_to_what_it_has_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a directory with a project the kernel says the project's size, as if it were the disk's."""
    there = hostpath.HostPath(tmp_path / "volumes", tmp_path / "snapshots", Still())
    volume = tmp_path / "volumes" / "pvc-1"

    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(total=4 * MI if Path(path) == volume else 64 * MI)

    async def scene() -> None:
        await there.make(str(volume), 4 * MI)
        monkeypatch.setattr(hostpath.shutil, "disk_usage", usage)
        await there.resize(str(volume), 64 * MI)
        with pytest.raises(OSError, match=r"has 0\.1Gi in all; ask for less"):
            await there.resize(str(volume), 65 * MI)

    asyncio.run(scene())


# ---- a disk that has them, where the kernel can mount one


class Still:
    @contextlib.asynccontextmanager
    async def of(self, pods: Sequence[str]) -> AsyncGenerator[None, None]:
        yield

    def end_all(self) -> None: ...


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with quota_disk.mounted(tmp_path, 64) as place:
        yield place


async def told(done: int) -> None: ...


def write(place: Path, megabytes: int) -> bool:
    """Whether somebody who is not root can write so much."""
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "dd", "if=/dev/zero", "of=file", "bs=1M"]
    # From within: the way there, below pytest's own directory, is closed to him.
    return subprocess.run([*argv, f"count={megabytes}"], cwd=place, capture_output=True).returncode == 0


def test_a_volume_holds_no_more_than_it_may(disk: Path) -> None:
    there = hostpath.HostPath(disk / "volumes", disk / "snapshots", Still())
    place, copy = disk / "volumes" / "pvc-1", disk / "volumes" / "pvc-2"

    async def scene() -> None:
        await there.make(str(place), 4 * MI)
        assert write(place, 3) and not write(place, 5)
        assert os.statvfs(place).f_blocks * os.statvfs(place).f_frsize == 4 * MI
        held = project_quotas.held(place)
        assert held is not None and held[0] >= 3 * MI and held[1] == 2
        await there.resize(str(place), 8 * MI)
        assert write(place, 6) and not write(place, 9)
        await there.clone(str(place), str(copy), 10 * MI, (), told)
        assert not write(copy, 11) and write(copy, 9)
        await there.remove(str(place))
        await there.make(str(place), 2 * MI)
        assert not write(place, 3)

    asyncio.run(scene())
