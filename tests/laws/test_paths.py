"""Laws of paths: while somebody exchanges a directory for a link a thousand times, nothing of ours ever gets out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from petset.node import paths
from petset.node.containers import stillness
from petset.node.paths import LeadsOut
from petset.node.volumes import claims, hostpath
from tests.swapping import swapping

TIMES = 1000
ATTEMPTS_MAX = 200_000  # Each outcome is waited for, since a machine may be too busy to swap.


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The host's: a directory with a file, of which nothing may be touched."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "file").write_text("the host's")
    (outside / "file").chmod(0o600)
    return outside


@pytest.fixture
def volume(tmp_path: Path, outside: Path) -> Path:
    """A volume in which `d` is a directory and `link` leads to the host; swapping makes it the other way round."""
    volume = tmp_path / "volume"
    (volume / "d").mkdir(parents=True)
    (volume / "d" / "file").write_text("the pod's")
    (volume / "link").symlink_to(outside)
    return volume


def untouched(outside: Path) -> bool:
    """Whether the host's directory is as it was made."""
    file = outside / "file"
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (outside, file)]
    groups = [one.stat().st_gid for one in (outside, file)]
    return (
        os.listdir(outside) == ["file"]
        and file.read_text() == "the host's"
        and (modes, groups) == ([0o700, 0o600], [os.getegid()] * 2)
    )


def outcomes(of: Iterator[str], *wanted: str) -> Counter[str]:
    """How often each outcome came, until all that are wanted came and TIMES is over."""
    found: Counter[str] = Counter()
    for number, outcome in enumerate(of):
        found[outcome] += 1
        if number >= TIMES and all(found[one] for one in wanted):
            return found
        assert number < ATTEMPTS_MAX, found
    raise AssertionError(found)


@pytest.mark.parametrize("path", ["d", "d/file", "./d/../d/file"])
def test_what_is_opened_is_inside(volume: Path, outside: Path, path: str):
    hosts = [one.stat().st_ino for one in (outside, outside / "file")]

    def attempts(place: int) -> Iterator[str]:
        while True:
            try:
                found = paths.beneath(place, path)
            except LeadsOut:
                yield "leads out"
            except OSError:  # Renamed too often while it was looked up.
                yield "busy"
            else:
                yield "outside" if os.fstat(found).st_ino in hosts else "inside"
                os.close(found)

    with swapping(volume, "d", "link"), paths.opened(volume) as place:
        assert "outside" not in outcomes(attempts(place), "leads out", "inside")


def test_what_is_made_is_inside(volume: Path, outside: Path):
    def attempts(place: int) -> Iterator[str]:
        for number in range(sys.maxsize):
            try:
                os.close(paths.made_beneath(place, f"d/{number % 100}/deep"))
                yield "made"
            except LeadsOut:
                yield "leads out"
            except OSError:
                yield "busy"

    with swapping(volume, "d", "link"), paths.opened(volume) as place:
        outcomes(attempts(place), "made", "leads out")
    assert untouched(outside)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change groups")
def test_what_is_given_to_a_group_is_inside(volume: Path, outside: Path):
    for number in range(20):
        (volume / "d" / str(number)).mkdir()
        (volume / "d" / str(number) / "file").touch()

    def attempts() -> Iterator[str]:
        for number in range(sys.maxsize):
            claims._give_to_group(volume, 4000 + number % 2)
            with contextlib.suppress(FileNotFoundError):  # `d` is the link now.
                if (volume / "d" / "7" / "file").stat().st_gid == 4000 + number % 2:
                    yield "given"
                    continue
            yield "left out"

    with swapping(volume, "d", "link"):
        outcomes(attempts(), "given", "left out")
    assert untouched(outside)


def test_what_is_removed_is_inside(tmp_path: Path, outside: Path):
    for number in range(TIMES // 10):
        doomed = tmp_path / "volumes" / f"pvc-{number}"
        (doomed / "d" / "deep" / "deeper").mkdir(parents=True)
        (doomed / "link").symlink_to(outside)
        with swapping(doomed, "d", "link") if number % 10 == 0 else contextlib.nullcontext():
            with contextlib.suppress(OSError):  # It was renamed under our hands.
                paths.remove_tree(doomed)
        paths.remove_tree(doomed)
        assert not doomed.exists()
    assert untouched(outside)


def test_what_is_read_of_an_image_is_inside(tmp_path: Path, outside: Path):
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (image / "etc" / "file").write_text("the image's")
    (image / "link").symlink_to(outside)

    def attempts() -> Iterator[str]:
        while True:
            yield paths.text_in_root(image, "etc/file", 100)

    with swapping(image, "etc", "link"):
        assert dict.fromkeys(outcomes(attempts(), "", "the image's")).keys() == {"", "the image's"}


# ---- what links mean


@pytest.mark.parametrize(
    ("link", "to", "path", "found"),
    [
        ("inner", "d", "inner/file", "the pod's"),
        ("inner", "./d/../d", "inner/file", "the pod's"),
        ("inner", "d/file", "inner", "the pod's"),
        ("up", "../outside", "up/file", LeadsOut),
        ("absolute", "/etc", "absolute/passwd", LeadsOut),
        ("magic", "/proc/self/root/etc", "magic/passwd", LeadsOut),
        ("loop", "loop", "loop", OSError),
    ],
)
def test_a_link_beneath_a_place(volume: Path, link: str, to: str, path: str, found: str | type[OSError]):
    (volume / link).symlink_to(to)
    with paths.opened(volume) as place:
        if not isinstance(found, str):
            with pytest.raises(found):
                paths.beneath(place, path)
            return
        with open(paths.beneath(place, path, os.O_RDONLY)) as file:
            assert file.read() == found


@pytest.mark.parametrize("to", ["/real/passwd", "../real/passwd", "../../../../real/passwd"])
def test_a_link_of_an_image_means_what_it_means_in_a_container(tmp_path: Path, to: str):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "passwd").write_text("the image's")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").symlink_to(to)
    assert paths.text_in_root(tmp_path, "etc/passwd", 100) == "the image's"
    assert paths.text_in_root(tmp_path, "etc/passwd", 3) == "the"


def test_what_is_no_file_of_an_image_is_as_if_it_were_not_there(tmp_path: Path):
    (tmp_path / "etc").symlink_to("/etc")  # The host's own, read by nobody.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    before = os.listdir("/proc/self/fd")
    for path in ("etc/passwd", "pipe", "directory", "absent"):
        assert paths.text_in_root(tmp_path, path, 100) == ""
    assert os.listdir("/proc/self/fd") == before


def test_a_file_of_petset_s_own_is_read_only_where_it_is_one(tmp_path: Path, outside: Path):
    (tmp_path / "log").write_text("a line")
    (tmp_path / "link").symlink_to(outside / "file")
    os.mkfifo(tmp_path / "pipe")
    with paths.regular(tmp_path / "log") as file:
        assert file.read() == b"a line"
    for name in ("link", "pipe", "outside", "absent"):
        with pytest.raises(OSError):
            paths.regular(tmp_path / name)


def test_what_is_made_has_its_mode_and_is_never_behind_a_link(tmp_path: Path, outside: Path):
    before = os.umask(0o077)
    try:
        paths.make_directory(tmp_path / "d", 0o755)
        paths.make_file(tmp_path / "f", 0o644)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "df"] == [0o755, 0o644]
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "nowhere").symlink_to(outside / "made")
    for act in (paths.make_directory, paths.make_file):
        for name in ("link", "nowhere"):
            with pytest.raises(OSError):
                act(tmp_path / name, 0o777)
    assert untouched(outside)


# ---- depth


DEEP = 2200


def a_deep_tree(volume: Path) -> None:
    """Deeper than the stack, the open files and the longest path; every level holds a file."""
    place = os.open(volume, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=place)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path):
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    a_deep_tree(doomed)
    (doomed / "to-nothing").symlink_to("nowhere")
    paths.remove_tree(doomed)
    paths.remove_tree(doomed)  # Absent is fine.
    assert os.listdir(tmp_path) == []


def test_a_tree_deeper_than_a_path_can_be_is_refused_to_a_group(tmp_path: Path):
    (tmp_path / "v").mkdir()
    a_deep_tree(tmp_path / "v")
    try:
        with pytest.raises(OSError, match="name too long"):
            claims._give_to_group(tmp_path / "v", os.getegid() + 1)
    finally:
        paths.remove_tree(tmp_path / "v")


# ---- the directories of provisioned volumes


NO_VOLUMES = ("{v}/..", "{v}/.", "{v}", "{v}/", "{v}/a/b", "{v}/../etc", "/etc", "a", "", "{v}/a/..")


@pytest.mark.parametrize("path", NO_VOLUMES)
def test_only_a_name_in_the_directory_of_volumes_is_a_volume(tmp_path: Path, path: str):
    (tmp_path / "volumes" / "a").mkdir(parents=True)
    there = hostpath.HostPath(tmp_path / "volumes", tmp_path / "snapshots", stillness.Stillness(tmp_path / "still"))
    named = path.format(v=tmp_path / "volumes")
    for act in (there.make(named, 1), there.remove(named)):
        with pytest.raises(OSError, match="is not a volume of this instance"):
            asyncio.run(act)
    assert (tmp_path / "volumes" / "a").is_dir()


def test_a_volume_is_made_for_everybody_and_removed_with_all_that_is_in_it(tmp_path: Path, outside: Path):
    there = hostpath.HostPath(tmp_path / "volumes", tmp_path / "snapshots", stillness.Stillness(tmp_path / "still"))
    one = tmp_path / "volumes" / "pvc-1"
    for _ in range(2):  # The second time after a crash.
        asyncio.run(there.make(str(one), 1 << 30))
        assert stat.S_IMODE(one.stat().st_mode) == 0o777
    (one / "link").symlink_to(outside)
    for _ in range(2):
        asyncio.run(there.remove(str(one)))
        assert not one.exists()
    assert untouched(outside)
    (tmp_path / "volumes" / "pvc-2").symlink_to(outside)
    for act in (there.make(str(tmp_path / "volumes" / "pvc-2"), 1), there.remove(str(tmp_path / "volumes" / "pvc-2"))):
        with pytest.raises(OSError):
            asyncio.run(act)
    assert untouched(outside)
