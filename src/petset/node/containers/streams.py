"""Exec, attach, logs and ports of this node's containers: NodeStreams on real processes.

An exec is the OCI runtime run by petset itself: with pipes, or with a terminal whose master the runtime hands over
through a socket. It need not survive petset, and is killed when its session is closed early. An attach is a connection
to the container's conmon, which copies output to every client and takes input from any.

Back-pressure is the kernel's: a descriptor is read only when somebody waits for output, so a slow client makes the
process wait. A session's output ends when the process has ended and its output is drained (a background child that
keeps the pipe open is waited for only as long as it writes).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petset.base import state, tasks
from petset.node.containers import attempts, logs, ports
from petset.node.containers.records import ContainerRecord
from petset.objects import encoding
from petset.wire.streaming import STDERR, STDOUT, ExecOptions, LogOptions, PortConnection, Session, StreamError

READ_BYTES = 32 * 1024
DRAIN_SECONDS_MAX = 0.5  # How long output is waited for after the process, or the input of who attached, has ended.
TERMINAL_SECONDS_MAX = 10.0
ATTACH_MESSAGE_BYTES = 8192 + 1  # conmon's: the pipe it came from, and the data.
CONMON_STDOUT, CONMON_STDERR = 2, 3
CANNOT_RUN, NOT_FOUND = 126, 127
END_OF_TRANSMISSION = b"\x04"


@dataclass(frozen=True, slots=True)
class Found:
    record: ContainerRecord
    directory: Path


class Streams:
    """NodeStreams over what `find` knows: (pod uid, container, previous) -> the attempt, or None."""

    def __init__(
        self,
        tools: Callable[[], attempts.Tools],
        find: Callable[[str, str, bool], Found | None],
        watcher: logs.Watcher,
        network_of: Callable[[str], Path | None],
    ):
        """`network_of` a pod's uid: where its network namespace is pinned; raises StreamError."""
        self._tools, self._find, self._watcher, self._network_of = tools, find, watcher, network_of
        self._count = 0

    async def exec(self, pod_uid: str, container: str, options: ExecOptions) -> Session:
        found = self._running(pod_uid, container)
        if not options.command:
            raise StreamError(400, "cannot run a command: none was given; name it after --")
        self._count += 1
        session = Exec(found.directory, f"exec-{os.getpid()}-{self._count}", options, found.record.users)
        await session.start(self._tools().of(found.record), found.record.id)
        return session

    async def attach(self, pod_uid: str, container: str, options: ExecOptions) -> Session:
        found = self._running(pod_uid, container)
        session = Attach(found.directory, options, found.record)
        session.start()
        return session

    async def logs(self, pod_uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        found = self._find(pod_uid, container, options.previous)
        if found is None:
            if options.previous:
                raise StreamError(400, f'previous terminated container "{container}" in pod "{pod_uid}" not found')
            raise StreamError(400, f'container "{container}" in pod "{pod_uid}" is waiting to start')
        attempt = found.record.attempt

        def has_ended() -> bool:
            now = self._find(pod_uid, container, options.previous)
            return now is None or now.record.attempt != attempt or now.record.state == "exited"

        try:
            async with contextlib.aclosing(
                logs.read(found.record.log_path, options, self._watcher, has_ended)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        except FileNotFoundError:
            raise StreamError(404, f'the log of container "{container}" is no longer there') from None
        except ValueError as error:
            raise StreamError(400, f"cannot read the log: {error}") from None

    async def connect(self, pod_uid: str, port: int) -> PortConnection:
        return await ports.connect(self._network_of(pod_uid), port)

    def _running(self, pod_uid: str, container: str) -> Found:
        found = self._find(pod_uid, container, False)
        if found is None:
            raise StreamError(404, f'container not found ("{container}")')
        if found.record.state != "running":
            raise StreamError(500, f'cannot reach container "{container}": it is not running')
        return found


class Exec:
    """One exec'd process."""

    def __init__(self, directory: Path, name: str, options: ExecOptions, users: int = 0):
        """`users` is the machine's id of the container's root, where it is not 0."""
        self._directory, self._name, self._options, self._users = directory, name, options, users
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._input = -1
        self._outputs: dict[int, int] = {}  # descriptor -> channel
        self._refused = b""  # Why the runtime could not start it.
        self._closed = False

    async def start(self, tools: attempts.Tools, container_id: str) -> None:
        try:
            listening = await tasks.in_thread(self._launch, tools, container_id)
            assert self._process is not None
            descriptor = os.pidfd_open(self._process.pid)
            asyncio.get_running_loop().add_reader(descriptor, self._on_end, descriptor)
            if listening is not None:
                with listening:
                    await self._receive_terminal(listening)
        except OSError as error:
            await self.close()
            raise StreamError(500, f"cannot run a command: {error}") from error
        except BaseException:
            await self.close()
            raise

    def _launch(self, tools: attempts.Tools, container_id: str) -> socket.socket | None:
        options = self._options
        config = encoding.loads((self._directory / "config.json").read_bytes())
        process: dict[str, Any] = {**config["process"], "args": list(options.command), "terminal": options.tty}
        if options.tty and not any(entry.startswith("TERM=") for entry in process["env"]):
            process["env"] = [*process["env"], "TERM=xterm"]
        self._file("json").write_bytes(encoding.dumps(process))
        arguments = [
            tools.runtime,
            *tools.flags,
            f"--log={self._name}.log",
            "exec",
            f"--process={self._name}.json",
            f"--pid-file={self._name}.pid",
        ]
        listening = None
        mine: list[int] = []
        theirs: list[int] = []
        stdio = [subprocess.DEVNULL] * 3
        try:
            if options.tty and os.path.basename(tools.runtime) == "runc":
                # runc hands its terminal over only to who does not wait for it; so it gets one, and copies.
                arguments = ["setsid", "--ctty", *arguments, "--tty"]
                master, slave = os.openpty()
                mine, theirs, stdio = [master], [slave], [slave] * 3
            elif options.tty:
                listening = self._listen()
                arguments += ["--tty", f"--console-socket={self._name}.sock"]
            else:
                for number, wanted in enumerate((options.stdin, options.stdout, options.stderr)):
                    if wanted:
                        reading, writing = os.pipe()
                        mine.append(writing if number == 0 else reading)
                        theirs.append(reading if number == 0 else writing)
                        stdio[number] = theirs[-1]
                        if self._users:  # So that /dev/stdout can be opened inside.
                            os.fchown(theirs[-1], self._users, self._users)
            self._process = subprocess.Popen(
                [*arguments, container_id],
                stdin=stdio[0],
                stdout=stdio[1],
                stderr=stdio[2],
                cwd=self._directory,  # Relative names: a socket's path may have 107 bytes.
                env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")},
                start_new_session=arguments[0] != "setsid",
            )
        except BaseException:
            for descriptor in mine:
                os.close(descriptor)
            if listening is not None:
                listening.close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        for descriptor in mine:
            os.set_blocking(descriptor, False)
        if options.tty:
            self._outputs, self._input = ({mine[0]: STDOUT}, mine[0]) if mine else ({}, -1)
        else:
            if options.stdin:
                self._input = mine.pop(0)
            self._outputs = dict(zip(mine, [c for c, on in ((STDOUT, options.stdout), (STDERR, options.stderr)) if on]))
        return listening

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        with state.reachable(self._file("sock")) as short:
            listening.bind(short)
        listening.listen(1)
        listening.setblocking(False)
        return listening

    async def _receive_terminal(self, listening: socket.socket) -> None:
        """The runtime connects once the process has its terminal, or ends without."""
        descriptors = array.array("i")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERMINAL_SECONDS_MAX):
                if not await self._either(listening.fileno()):
                    return  # It ended first: the reason is in its log.
                connection, _ = listening.accept()
                with connection:
                    connection.setblocking(False)
                    if not await self._either(connection.fileno()):
                        return
                    _, ancillary, _, _ = connection.recvmsg(256, socket.CMSG_SPACE(descriptors.itemsize))
                    for _, _, data in ancillary:
                        descriptors.frombytes(data[: descriptors.itemsize])
        if not descriptors:
            raise StreamError(500, "cannot run a command: the OCI runtime handed over no terminal")
        terminal = descriptors[0]
        os.set_blocking(terminal, False)
        os.set_inheritable(terminal, False)
        self._outputs = {terminal: STDOUT}
        self._input = terminal

    async def _either(self, descriptor: int) -> bool:
        """Wait until a descriptor is readable (True) or the process has ended with nothing more to read (False)."""
        return bool(await _readable([descriptor], self._ended)) or _readable_now(descriptor)

    def _on_end(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        assert self._process is not None
        self._process.wait()
        if not self._file("pid").exists():
            with contextlib.suppress(OSError):
                self._refused = self._file("log").read_bytes()
        for suffix in ("json", "pid", "log", "sock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file(suffix))
        if not self._ended.done():
            self._ended.set_result(None)

    async def _until_ended(self) -> None:
        await asyncio.shield(self._ended)

    def _file(self, suffix: str) -> Path:
        return self._directory / f"{self._name}.{suffix}"

    # ---- the session

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._input >= 0:
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                if not await _writable(self._input, self._ended):
                    return
            except OSError:  # The process reads no more.
                if not self._options.tty:
                    self.close_input()
                return

    def close_input(self) -> None:
        if self._input < 0:
            return
        if self._options.tty:
            with contextlib.suppress(OSError):
                os.write(self._input, END_OF_TRANSMISSION)
        else:
            os.close(self._input)
        self._input = -1

    def resize(self, columns: int, rows: int) -> None:
        for terminal in self._outputs if self._options.tty else ():
            with contextlib.suppress(OSError):
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while self._outputs:
            if self._ended.done():
                ready = await _readable(list(self._outputs), None, DRAIN_SECONDS_MAX)
                if not ready:
                    break
            else:
                ready = await _readable(list(self._outputs), self._ended)
            for descriptor in ready:
                channel = self._outputs.get(descriptor)
                if channel is None:
                    continue
                try:
                    data = os.read(descriptor, READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError as error:  # A terminal's master says EIO when nobody has it open any more.
                    if error.errno != errno.EIO:
                        raise
                    data = b""
                if data:
                    yield channel, data
                else:
                    self._close_output(descriptor)
        await self._until_ended()
        if self._refused and self._options.tty:  # With pipes the runtime has said it there.
            yield STDOUT, _plain(self._refused) + b"\r\n"

    async def exit_code(self) -> int:
        await self._until_ended()
        assert self._process is not None
        code = self._process.returncode
        if self._refused:
            return NOT_FOUND if b"not found" in self._refused or b"No such file" in self._refused else CANNOT_RUN
        return code if code >= 0 else 128 - code

    async def close(self) -> None:
        """Kill the process if it has not ended, and let go of everything. May be called again."""
        if self._closed:
            return
        self._closed = True
        for descriptor in list(self._outputs):
            if descriptor != self._input:
                self._close_output(descriptor)
        if self._process is not None and not self._ended.done():
            self._kill(self._process)
            await asyncio.wait([self._ended], timeout=TERMINAL_SECONDS_MAX)
        for descriptor in dict.fromkeys([*self._outputs, self._input]):
            if descriptor >= 0:
                os.close(descriptor)
        self._outputs, self._input = {}, -1

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """The process inside the container; the runtime's own, outside it, then ends by itself."""
        pid = process.pid
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._file("pid").read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _close_output(self, descriptor: int) -> None:
        del self._outputs[descriptor]
        if descriptor == self._input:
            self._input = -1
        os.close(descriptor)


class Attach:
    """A connection to a container's conmon."""

    def __init__(self, directory: Path, options: ExecOptions, record: ContainerRecord):
        self._directory, self._options, self._tty = directory, options, record.tty
        self._outlasts_input = record.stdin_once and not record.tty  # Else the end of its input detaches the client.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        try:
            with state.reachable(self._directory / "attach") as short:
                self._socket.connect(short)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise StreamError(500, f"cannot attach: the container's supervisor does not answer: {error}") from error

    async def write(self, data: bytes) -> None:
        if not self._options.stdin:
            return
        view = memoryview(data)
        while view and not self._done.done():
            try:
                view = view[self._socket.send(view[:ATTACH_MESSAGE_BYTES]) :]
            except BlockingIOError:
                if not await _writable(self._socket.fileno(), self._done):
                    return
            except OSError:
                return

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if self._options.stdin and not self._outlasts_input:
            asyncio.get_running_loop().call_later(DRAIN_SECONDS_MAX, self._end)

    def resize(self, columns: int, rows: int) -> None:
        if not self._tty:
            return
        with contextlib.suppress(OSError):
            control = os.open(self._directory / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(control, f"1 {rows} {columns}\n".encode())
            finally:
                os.close(control)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        wanted: dict[int, int] = {}
        if self._options.stdout:
            wanted[CONMON_STDOUT] = STDOUT
        if self._options.stderr and not self._tty:
            wanted[CONMON_STDERR] = STDERR
        while not self._done.done():
            if not await _readable([self._socket.fileno()], self._done):
                return
            try:
                message = self._socket.recv(ATTACH_MESSAGE_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                message = b""
            if not message:
                self._end()
            elif (channel := wanted.get(message[0])) is not None:
                yield channel, message[1:]

    async def exit_code(self) -> int:
        """0: what the container ended with is told by the pod's status."""
        await asyncio.shield(self._done)
        return 0

    async def close(self) -> None:
        self._end()
        self._socket.close()

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


def _plain(text: bytes) -> bytes:
    return b"; ".join(line.strip() for line in text.splitlines() if line.strip())


# ---- waiting for descriptors


async def _readable(
    descriptors: Sequence[int], ended: asyncio.Future[None] | None, seconds: float | None = None
) -> list[int]:
    """Those that can be read, as soon as there are any; [] when `ended` is done or the time is over first."""
    loop = asyncio.get_running_loop()
    return await _ready(descriptors, loop.add_reader, loop.remove_reader, ended, seconds)


async def _writable(descriptor: int, ended: asyncio.Future[None]) -> bool:
    loop = asyncio.get_running_loop()
    return bool(await _ready([descriptor], loop.add_writer, loop.remove_writer, ended, None))


async def _ready(
    descriptors: Sequence[int],
    add: Callable[..., Any],
    remove: Callable[[int], Any],
    ended: asyncio.Future[None] | None,
    seconds: float | None,
) -> list[int]:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()
    ready: list[int] = []

    def wake(_: object = None) -> None:
        if not first.done():
            first.set_result(None)

    def on_ready(descriptor: int) -> None:
        ready.append(descriptor)
        remove(descriptor)
        wake()

    for descriptor in descriptors:
        add(descriptor, on_ready, descriptor)
    if ended is not None:
        ended.add_done_callback(wake)
    timer = None if seconds is None else loop.call_later(seconds, wake)
    try:
        await first
    finally:
        for descriptor in descriptors:
            remove(descriptor)
        if ended is not None:
            ended.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()
    return ready


def _readable_now(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
