"""One more process in a container: the OCI runtime run by petset itself.

It has pipes, or a terminal whose master the runtime hands over through a socket. It need not survive petset, and is
killed when its session is closed early. Its output ends when the process has ended and the output is drained (a
background child that keeps the pipe open is waited for only as long as it writes).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from petset.base import state, tasks
from petset.node.containers import attempts
from petset.node.containers.streams import descriptors
from petset.objects import encoding
from petset.wire.streaming import STDERR, STDOUT, ExecOptions, StreamError

READ_BYTES = 32 * 1024
TERMINAL_SECONDS_MAX = 10.0
CANNOT_RUN, NOT_FOUND = 126, 127
END_OF_TRANSMISSION = b"\x04"


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
        handed = array.array("i")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERMINAL_SECONDS_MAX):
                if not await self._either(listening.fileno()):
                    return  # It ended first: the reason is in its log.
                connection, _ = listening.accept()
                with connection:
                    connection.setblocking(False)
                    if not await self._either(connection.fileno()):
                        return
                    _, ancillary, _, _ = connection.recvmsg(256, socket.CMSG_SPACE(handed.itemsize))
                    for _, _, data in ancillary:
                        handed.frombytes(data[: handed.itemsize])
        if not handed:
            raise StreamError(500, "cannot run a command: the OCI runtime handed over no terminal")
        terminal = handed[0]
        os.set_blocking(terminal, False)
        os.set_inheritable(terminal, False)
        self._outputs = {terminal: STDOUT}
        self._input = terminal

    async def _either(self, descriptor: int) -> bool:
        """Wait until a descriptor is readable (True) or the process has ended with nothing more to read (False)."""
        return bool(await descriptors.readable([descriptor], self._ended)) or descriptors.is_readable_now(descriptor)

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
                if not await descriptors.writable(self._input, self._ended):
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
                ready = await descriptors.readable(list(self._outputs), None, descriptors.DRAIN_SECONDS_MAX)
                if not ready:
                    break
            else:
                ready = await descriptors.readable(list(self._outputs), self._ended)
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


def _plain(text: bytes) -> bytes:
    return b"; ".join(line.strip() for line in text.splitlines() if line.strip())
