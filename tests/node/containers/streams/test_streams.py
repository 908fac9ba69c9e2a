"""Exec and attach on real containers: pipes, terminals, exit codes, back-pressure, and clients that leave."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from petset.node import linux
from petset.wire.streaming import STDERR, STDOUT, ExecOptions, Session, StreamError
from tests import waiting
from tests.node import machine


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


async def everything(session: Session) -> tuple[bytes, bytes, int]:
    """Standard output, standard error and exit code."""
    received = {STDOUT: b"", STDERR: b""}
    async for channel, data in session.output():
        received[channel] += data
    code = await session.exit_code()
    await session.close()
    return received[STDOUT], received[STDERR], code


@machine.on_machine
async def test_exec(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        user = {"securityContext": {"runAsUser": 999}}
        await here.run(pod, "sleep", "1000", container=user, env=[("A", "b")], working_dir="/data")

        async def exec_(*command: str, **options: bool) -> Session:
            return await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(command, **options))

        said = await everything(await exec_("sh", "-c", "echo out; echo err >&2; exit 7"))
        assert said == (b"out\n", b"err\n", 7)
        assert await everything(await exec_("sh", "-c", "echo $A; pwd; id -u; hostname")) == (
            b"b\n/data\n999\nweb-0\n",
            b"",
            0,
        )
        assert await everything(await exec_("sh", "-c", "kill -9 $$")) == (b"", b"", 137)
        assert await everything(await exec_("sh", "-c", "echo x; echo y >&2", stderr=False)) == (b"x\n", b"", 0)
        out, err, code = await everything(await exec_("nosuch"))
        assert (out, code) == (b"", 127) and b"nosuch" in err
        assert (await everything(await exec_("/etc/passwd")))[2] == 126
        with pytest.raises(StreamError) as none:
            await here.runtime.streams.exec("uid-web-0", "other", ExecOptions(("true",)))
        assert none.value.code == 404
        with pytest.raises(StreamError) as empty:
            await exec_()
        assert empty.value.code == 400
        left = [path.name for path in here.runtime._find("uid-web-0", "main", False).directory.iterdir()]
        assert not [name for name in left if name.startswith("exec-")]


@machine.on_machine
async def test_exec_input_and_its_end(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "sleep", "1000")
        session = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(("cat",), stdin=True))
        sent = os.urandom(1 << 20)

        async def feed() -> None:
            for start in range(0, len(sent), 10_000):
                await session.write(sent[start : start + 10_000])
            session.close_input()
            await session.write(b"too late: dropped")

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            out, err, code = await everything(session)
        assert (out == sent, err, code) == (True, b"", 0)
        early = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(("true",), stdin=True))
        for _ in range(50):
            await early.write(b"nobody reads this\n" * 1000)  # The process is gone; the session does not mind.
        assert (await everything(early))[2] == 0


@machine.on_machine
async def test_a_slow_reader_makes_the_process_wait(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "sleep", "1000")
        command = ("sh", "-c", "head -c 4194304 /dev/zero; touch /tmp/done")
        session = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(command))
        pieces = session.output()
        received = len((await anext(pieces))[1])
        marker = Path(here.runtime._find("uid-web-0", "main", False).directory, "upper", "tmp", "done")
        await asyncio.sleep(0.2)
        assert not marker.exists()
        async for _, data in pieces:
            received += len(data)
        assert (received, await session.exit_code(), marker.exists()) == (4194304, 0, True)
        await session.close()


@machine.on_machine
async def test_exec_with_a_terminal(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "sleep", "1000")
        options = ExecOptions(
            ("sh", "-c", "stty size; read x; stty size; tty; echo $TERM; exit 5"), stdin=True, tty=True
        )
        session = await here.runtime.streams.exec("uid-web-0", "main", options)
        session.resize(90, 30)
        seen = b""
        async for channel, data in session.output():
            assert channel == STDOUT
            seen += data
            if seen.count(b"\r\n") == 1:
                session.resize(100, 40)
                await session.write(b"\n")
        assert seen.split(b"\r\n")[2:] == [b"40 100", b"/dev/pts/0", b"xterm", b""]
        assert await session.exit_code() == 5
        await session.close()
        failed = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(("nosuch",), tty=True))
        assert (await everything(failed))[2] == 127
        cat = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(("cat",), stdin=True, tty=True))
        cat.close_input()
        assert (await everything(cat))[2] == 0


@machine.on_machine
async def test_a_client_that_leaves_ends_its_process(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "sleep", "1000")
        for tty in (False, True):
            session = await here.runtime.streams.exec(
                "uid-web-0", "main", ExecOptions(("sh", "-c", "echo up; exec sleep 777"), stdin=True, tty=tty)
            )
            async for _, data in session.output():
                assert data.startswith(b"up")
                break
            assert await here.exec(pod, "pgrep", "-f", "sleep 777") != ""
            await session.close()
            await session.close()
            assert await session.exit_code() == 137
            # The process that looks for it names it too.
            assert (await here.exec(pod, "sh", "-c", "ps | grep -c '[s]leep 777'")).strip() == "0"


@machine.on_machine
async def test_a_background_child_does_not_hold_the_session(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "sleep", "1000")
        command = ("sh", "-c", "sleep 500 & echo started; exit 3")
        session = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(command))
        assert await everything(session) == (b"started\n", b"", 3)


@machine.on_machine
async def test_the_container_s_end_ends_its_sessions(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "sleep", "1000")
        command = ("sh", "-c", "echo up; exec sleep 500")
        session = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(command))
        assert await anext(session.output()) == (STDOUT, b"up\n")
        attached = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions(()))
        await here.runtime.stop_container("uid-web-0", "main", 0)
        assert (await everything(session))[2] == 137
        assert await everything(attached) == (b"", b"", 0)
        with pytest.raises(StreamError, match="not running"):
            await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(("true",)))


@machine.on_machine
async def test_attach(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = "while read line; do echo got $line; echo err >&2; done; echo closed; exit 4"
        container = await here.run(pod, "sh", "-c", script, container={"stdin": True, "stdinOnce": True})
        first = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions((), stdin=True))
        second = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions((), stderr=False))
        await first.write(b"hello\n")
        first.close_input()
        out, err, code = await everything(first)
        assert (out, err, code) == (b"got hello\nclosed\n", b"err\n", 0)
        assert await everything(second) == (b"got hello\nclosed\n", b"", 0)
        await here.until(lambda: here.seen(container).exit_code == 4)
        # Two pipes: which of them conmon reads first is open.
        assert sorted((await here.log(pod)).splitlines()) == ["closed", "err", "got hello"]


@machine.on_machine
async def test_the_end_of_input_that_is_not_once_detaches_the_client_alone(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = "while read line; do echo got $line; done; exit 4"
        container = await here.run(pod, "sh", "-c", script, container={"stdin": True})
        for number in range(2):
            session = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions((), stdin=True))
            await session.write(f"{number}\n".encode())
            session.close_input()
            assert await everything(session) == (f"got {number}\n".encode(), b"", 0)
        assert here.seen(container).state == "running"


@machine.on_machine
async def test_attach_to_a_terminal(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        container = {"stdin": True, "tty": True}
        await here.run(pod, "sh", "-c", "read x; stty size; read y; exit 0", container=container)
        session = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions((), stdin=True, tty=True))
        session.resize(81, 25)
        record = here.runtime._find("uid-web-0", "main", False).record
        await waiting.until(lambda: _size(record.process.pid) == (25, 81))
        await session.write(b"\n")
        seen = b""
        async for channel, data in session.output():
            assert channel == STDOUT
            seen += data
            if b"25 81" in seen:
                break
        await session.close()  # Detached: the container goes on, and another may come.
        again = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions((), stdin=True, tty=True))
        await again.write(b"\n")
        assert (await everything(again))[2] == 0


def _size(pid: int) -> tuple[int, int]:
    """Rows and columns of a process's terminal, read through its own /proc."""
    if linux.process(pid) is None:
        return (0, 0)
    with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as terminal:
        return (os.get_terminal_size(terminal.fileno()).lines, os.get_terminal_size(terminal.fileno()).columns)
