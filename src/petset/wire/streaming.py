"""Exec and attach as both ends see them: a session with input, resizes, output by channel, and an end.

The server's streams speak the remote-command protocol (v5.channel.k8s.io over WebSocket) to the client and this
interface to the node; the node's containers implement it. Channel numbers are those of the protocol.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


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


class NodeStreams(Protocol):
    """What the server asks of a node's containers; cluster.py hands it in (in process) or a dialer does."""

    async def exec(self, pod_uid: str, container: str, options: ExecOptions) -> Session: ...

    async def attach(self, pod_uid: str, container: str, options: ExecOptions) -> Session: ...

    def logs(self, pod_uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Raw log bytes; raises StreamError at the first step when there is no such log."""
        ...


StreamsOf = Callable[[str], NodeStreams]  # By a node's name; raises StreamError when it is not to be reached.
