"""Exec, attach and port-forward as both ends see them: a session with input, resizes, output by channel, and an end.

The server's streams speak the remote-command protocol to the client, over a `Transport` that frames it, and `Session`
to the node, whose containers implement it. Channel numbers are those of the protocol.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from petset.wire import http

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class ExecOptions:
    command: tuple[str, ...]  # Empty for attach.
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str | None = None
    limit_bytes: int | None = None


class StreamError(Exception):
    """A session that cannot start or broke: becomes the answer's Status. `code` is an HTTP status."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code, self.message = code, message


class Session(Protocol):
    """One running exec or attach. Closing it early ends the process's input and detaches; an exec is killed."""

    async def write(self, data: bytes) -> None: ...

    def close_input(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(STDOUT or STDERR, bytes) until the process has ended."""
        ...

    async def exit_code(self) -> int: ...

    async def close(self) -> None: ...


Incoming = tuple[int, bytes | None]  # A channel and bytes; None: the client has closed that channel.


class Transport(Protocol):
    """The client's end of a session: channels in, channels out, and the end."""

    @property
    def tells_status(self) -> bool:
        """Whether the client reads how it ended as a Status in JSON; otherwise as a sentence, or nothing."""
        ...

    async def send(self, channel: int, data: bytes) -> None:
        """Waits while the client does not read. Raises ConnectionError when it is gone."""
        ...

    async def receive(self) -> Incoming | None:
        """What the client sends next; None when it has left. Raises ConnectionError."""
        ...

    async def end(self) -> None:
        """Close after everything that was sent; the client is waited for a moment. Raises nothing."""
        ...


class PortConnection(Protocol):
    """One connection to a port inside a pod."""

    async def read(self) -> bytes:
        """What the pod sends next; b"" at its end, also when that comes roughly."""
        ...

    async def write(self, data: bytes) -> None:
        """Waits while the pod does not read; what it will not read any more is dropped."""
        ...

    def end_input(self) -> None: ...

    async def close(self) -> None: ...


class NodeStreams(Protocol):
    """What the server asks of a node's containers; cluster.py hands it in (in process) or a dialer does."""

    async def exec(self, pod_uid: str, container: str, options: ExecOptions) -> Session: ...

    async def attach(self, pod_uid: str, container: str, options: ExecOptions) -> Session: ...

    def logs(self, pod_uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Raw log bytes; raises StreamError at the first step when there is no such log."""
        ...

    async def connect(self, pod_uid: str, port: int) -> PortConnection:
        """To what listens on the pod's own loopback. Raises StreamError when nothing does."""
        ...


class NodeServer(Protocol):
    """What a node serves as a kubelet does."""

    async def answer(self, path: str, accept: str) -> http.Response:
        """To a GET of a path, decoded, with this Accept header."""
        ...


ServersOf = Callable[[str], NodeServer]  # By a node's name; raises StreamError when it is not to be reached.
StreamsOf = Callable[[str], NodeStreams]  # By a node's name; raises StreamError when it is not to be reached.
