"""Logs as conmon writes them, read as kubectl asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from petset.base import tasks
from petset.node.containers import logs
from petset.wire.streaming import LogOptions, StreamError
from tests import waiting
from tests.node import machine

LINES = [
    "2016-08-03T10:00:00.000000001+00:00 stdout F one",
    "2016-08-03T10:00:01.000000002+00:00 stderr F two",
    "2016-08-03T10:00:02.000000003+00:00 stdout P thr",
    "2016-08-03T10:00:02.000000004+00:00 stdout F ee",
    "2016-08-03T10:00:03.000000005+00:00 stdout F ",
    "2016-08-03T10:00:04.000000006+00:00 stdout F four  spaces ",
]
ALL = "one\ntwo\nthree\n\nfour  spaces \n"


@pytest.fixture
def path(tmp_path) -> str:
    file = tmp_path / "container.log"
    file.write_text("".join(line + "\n" for line in LINES))
    return str(file)


def text(path: str, **options: object) -> str:
    async def read() -> bytes:
        pieces = logs.read(path, LogOptions(**options), logs.Watcher(), lambda: True)  # type: ignore[arg-type]
        return b"".join([piece async for piece in pieces])

    return asyncio.run(read()).decode()


def append(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def test_the_whole_log(path):
    assert text(path) == ALL


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(0, ""), (1, "four  spaces \n"), (2, "\nfour  spaces \n"), (6, ALL), (100, ALL)],
)
def test_tail(path, tail, expected):
    assert text(path, tail_lines=tail) == expected


def test_tail_over_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "CHUNK_BYTES", 100)
    file = tmp_path / "container.log"
    lines = [f"2016-08-03T10:00:00.000000000+00:00 stdout F line {number}\n" for number in range(50)]
    file.write_text("".join(lines))
    for wanted in (1, 2, 7, 49, 50, 51):
        expected = "".join(f"line {number}\n" for number in range(50))[-0:]
        assert text(str(file), tail_lines=wanted).splitlines() == expected.splitlines()[-wanted:]


def test_timestamps_once_a_line(path):
    assert text(path, timestamps=True).splitlines()[1:4] == [
        "2016-08-03T10:00:01.000000002Z two",
        "2016-08-03T10:00:02.000000003Z three",
        "2016-08-03T10:00:03.000000005Z ",
    ]


def test_since(path):
    assert text(path, since_time="2016-08-03T10:00:03Z") == "\nfour  spaces \n"
    assert text(path, since_time="2016-08-03T12:00:03.000001+02:00") == "four  spaces \n"
    seconds = int(tasks.now() - tasks.parse_rfc3339("2016-08-03T10:00:03Z"))
    assert text(path, since_seconds=seconds + 3) == ALL[len("one\n") :]
    assert text(path, since_seconds=5) == ""


def test_limit(path):
    assert text(path, limit_bytes=6) == "one\ntw"
    assert text(path, limit_bytes=0) == ""


def test_what_is_not_a_whole_line_yet_is_not_shown(path):
    append(path, "2016-08-03T10:00:05.000000006+00:00 stdout F half")
    assert text(path) == ALL


def test_rotated_files_are_read_oldest_first(path):
    Path(path).rename(f"{path}.2")
    Path(f"{path}.1").write_text("2016-08-03T10:00:05.000000000+00:00 stdout F five\n")
    Path(path).write_text("2016-08-03T10:00:06.000000000+00:00 stdout F six\n")
    assert text(path) == ALL + "five\nsix\n"
    assert text(path, tail_lines=2) == "five\nsix\n"
    assert text(path, tail_lines=3) == "four  spaces \nfive\nsix\n"


def test_the_end_of_a_log_for_a_message(path):
    assert logs.last_output(path, 2, 100) == b"\nfour  spaces \n"
    assert logs.last_output(path, 80, 5) == b"ces \n"
    assert logs.last_output(path + "nothing", 80, 5) == b""


def test_following_wakes_when_the_file_grows_and_ends_with_the_container(path):
    async def follow() -> list[bytes]:
        watcher, ended, seen = logs.Watcher(), [False], []

        async def read() -> None:
            options = LogOptions(follow=True, tail_lines=1)
            async for piece in logs.read(path, options, watcher, lambda: ended[0]):
                seen.append(piece)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            await waiting.until(lambda: seen == [b"four  spaces \n"])
            append(path, "2016-08-03T10:00:05.000000006+00:00 stdout F five\n")
            await waiting.until(lambda: seen[1:] == [b"five\n"])
            Path(path).rename(f"{path}.1")  # Rotated: conmon goes on in a new file.
            Path(path).write_text("2016-08-03T10:00:06.000000006+00:00 stdout F six\n")
            await waiting.until(lambda: seen[2:] == [b"six\n"])
            append(path, "2016-08-03T10:00:07.000000006+00:00 stdout F last\n")
            ended[0] = True
            watcher.wake(path)
        watcher.close()
        return seen[3:]

    assert asyncio.run(follow()) == [b"last\n"]


def test_a_follower_that_leaves_leaves_no_watch(path):
    async def leave() -> None:
        watcher = logs.Watcher()
        async with contextlib.aclosing(logs.read(path, LogOptions(follow=True), watcher, lambda: False)) as pieces:
            async for _ in pieces:
                break
        assert (watcher._watches, watcher._by_path) == ({}, {})
        watcher.close()

    asyncio.run(leave())


def test_a_rotation_keeps_the_full_file_and_only_so_many(path):
    def begin_anew(number: int) -> None:
        """As conmon does it."""
        Path(f"{path}.tmp").write_text(f"2016-08-03T10:00:06.000000000+00:00 stdout F begun {number}\n")
        os.replace(f"{path}.tmp", path)

    async def rotate() -> None:
        watcher = logs.Watcher()
        watcher.keep(path)
        for number in range(1, 7):
            begin_anew(number)
            await waiting.until(lambda: os.path.samefile(path, f"{path}.0"))
        watcher.forget(path)
        begin_anew(7)  # Nobody keeps it any more.
        watcher.close()

    asyncio.run(rotate())
    assert text(path).splitlines() == [f"begun {number}" for number in (2, 3, 4, 5, 7)]
    assert sorted(os.listdir(os.path.dirname(path))) == ["container.log", *(f"container.log.{n}" for n in (1, 2, 3, 4))]


def test_a_reader_goes_on_through_every_rotation_that_came_meanwhile(tmp_path):
    """A container that writes fast may begin several files between two looks of who follows."""
    path = str(tmp_path / "container.log")

    def begin(text: str) -> None:
        Path(f"{path}.tmp").write_text(f"2016-08-03T10:00:06.000000000+00:00 stdout F {text}\n")
        os.replace(f"{path}.tmp", path)
        logs.keep_rotated(path)

    def rest(reader: logs.Reader) -> list[str]:
        return b"".join(iter(reader.step, b"")).decode().split()

    begin("one")
    with contextlib.closing(logs.Reader(path, LogOptions())) as reader:
        assert rest(reader) == ["one"]
        for text in ("two", "three", "four"):
            begin(text)
        assert rest(reader) == ["two", "three", "four"]
        for number in range(logs.LOG_FILES_MAX + 2):
            begin(str(number))
        assert rest(reader) == ["2", "3", "4", "5", "6"]  # What was rotated away is lost, and no more.
    with contextlib.closing(logs.Reader(path, LogOptions(tail_lines=2))) as reader:
        begin("seven")
        assert rest(reader) == ["5", "6", "seven"]


def test_a_rotation_that_nobody_saw_is_made_up_for(path):
    logs.keep_rotated(path)
    Path(f"{path}.tmp").write_text("2016-08-03T10:00:06.000000000+00:00 stdout F six\n")
    os.replace(f"{path}.tmp", path)
    logs.keep_rotated(path)
    logs.keep_rotated(path)
    assert text(path) == ALL + "six\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


@machine.on_machine
async def test_logs_of_a_real_container(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = (
            "echo out; echo err >&2; until test -e /tmp/go; do sleep 0.01; done;"
            "head -c 20000 /dev/zero | tr '\\0' x; echo; echo end"
        )
        await here.run(pod, "sh", "-c", script)
        with pytest.raises(StreamError, match="waiting to start"):
            await here.log(pod, "other")
        with pytest.raises(StreamError, match="previous terminated container"):
            await here.log(pod, previous=True)
        followed: list[bytes] = []

        async def follow() -> None:
            pieces = here.runtime.streams.logs("uid-web-0", "main", LogOptions(follow=True))
            async for piece in pieces:
                followed.append(piece)

        async with asyncio.TaskGroup() as group:
            group.create_task(follow())
            await waiting.until(lambda: len(b"".join(followed)) == len("out\nerr\n"))
            await here.exec(pod, "touch", "/tmp/go")
        lines = b"".join(followed).decode().splitlines(keepends=True)
        assert sorted(lines[:2]) == ["err\n", "out\n"]  # Two pipes: which is read first is nobody's promise.
        assert lines[2:] == ["x" * 20000 + "\n", "end\n"]
        assert await here.output(pod, "echo", "second", attempt=1) == "second\n"
        assert (await here.log(pod, previous=True)).endswith("x\nend\n")
        assert (await here.log(pod, timestamps=True))[19:20] == "." and "Z second" in await here.log(
            pod, timestamps=True
        )


@machine.on_machine
async def test_a_long_log_is_rotated_and_read_whole(tmp_path, root, monkeypatch):
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 4096)
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = "for i in $(seq 150); do echo line $i; sleep 0.01; done"
        container = await here.run(pod, "sh", "-c", script)
        followed = await here.log(pod, follow=True)
        expected = [f"line {number}" for number in range(1, 151)]
        assert followed.splitlines() == expected
        assert (await here.log(pod)).splitlines() == expected
        assert (await here.log(pod, tail_lines=100)).splitlines() == expected[-100:]
        await here.until(lambda: here.seen(container).state == "exited")
        found = here.runtime._find("uid-web-0", "main", False)
        assert len(logs.files(found.record.log_path)) in (2, 3) and not Path(f"{found.record.log_path}.0").exists()
        await here.runtime.remove_container("uid-web-0", "main", 0)
