"""The remote-command protocol over WebSocket: one exec or attach between a client and a session in a container.

Stdin and resizes (JSON) come in on their channels; stdout, stderr and, at the end, how it ended on the error channel go
out. An empty message opens it. A client that may close a channel closes the input so, and a program that reads to its
end can end. A process's exit code travels as the Status' cause ExitCode. Whichever side ends first ends the other; the
session is closed in any case. Protocol: the remote command's *.channel.k8s.io, see wire/channels.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from petset.base import tasks
from petset.objects import encoding
from petset.wire import channels, http, streaming, websocket

log = logging.getLogger("petset.server")


TERMINAL_CELLS_MAX = 65535


class RemoteCommand:
    def __init__(
        self,
        socket: websocket.Connection,
        start: Callable[[], Awaitable[streaming.Session]],
        options: streaming.ExecOptions,
    ):
        self._socket, self._start, self._options = socket, start, options
        self._dialect = channels.SESSIONS[socket.subprotocol]

    async def serve(self, stream: http.ByteStream) -> None:
        """Run the session over the upgraded connection until either side has ended."""
        options = self._options
        first = streaming.STDOUT if options.stdout else streaming.STDERR if options.stderr else streaming.ERROR
        stream.write(self._message(first, b""))  # Tells the client that it is connected, before there is output.
        try:
            session = await self._start()
        except streaming.StreamError as error:
            await self._end(stream, refused(error))
            return
        try:
            status = await self._run(stream, session)
        finally:
            with tasks.best_effort("close an exec session"):
                await session.close()
        if status is not None:
            await self._end(stream, status)

    async def _run(self, stream: http.ByteStream, session: streaming.Session) -> dict[str, Any] | None:
        """The Status of the ended process; None when the client left first."""
        output: asyncio.Task[dict[str, Any]] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                output = tasks.spawn(group, self._send_output(stream, session), "exec output")
                reading = tasks.spawn(group, self._read_input(stream, session), "exec input")
                await asyncio.wait((output, reading), return_when=asyncio.FIRST_COMPLETED)
                output.cancel()
                reading.cancel()
        except* (ConnectionError, streaming.StreamError) as broken:
            log.info("an exec session broke off: %s", broken.exceptions)  # The caller closes the container's side.
        return _result(output)

    async def _send_output(self, stream: http.ByteStream, session: streaming.Session) -> dict[str, Any]:
        async for channel, data in session.output():
            stream.write(self._message(channel, data))
            await stream.drain()
        try:
            return ended(await session.exit_code() if self._options.command else 0)
        except streaming.StreamError as error:
            return refused(error)

    async def _read_input(self, stream: http.ByteStream, session: streaming.Session) -> None:
        """Until the client leaves."""
        while True:
            data = await stream.read()
            for event in self._socket.feed(data):
                if isinstance(event, websocket.Closed):
                    stream.write(self._socket.outgoing())
                    return
                await self._take(session, event.data)
            if answer := self._socket.outgoing():
                stream.write(answer)
                await stream.drain()
            if not data:
                return

    async def _take(self, session: streaming.Session, message: bytes) -> None:
        """One message of the client; what is not of the protocol is ignored, as upstream does."""
        decoded = channels.decode(self._dialect, message)
        if decoded is None:
            return
        channel, data = decoded
        if channel == streaming.STDIN and self._options.stdin:
            if data:
                await session.write(data)
        elif channel == streaming.RESIZE and self._options.tty:
            if size := terminal_size(data):
                session.resize(*size)
        elif self._dialect.can_close and channel == streaming.CLOSE and data[:1] == bytes([streaming.STDIN]):
            session.close_input()

    async def _end(self, stream: http.ByteStream, status: dict[str, Any]) -> None:
        """Say how it ended and close; wait for the client a moment, or unread input would reset the answer away."""
        try:
            if said := self._said(status):
                stream.write(self._message(streaming.ERROR, said))
            stream.write(self._socket.send_close())
            async with asyncio.timeout(websocket.CLOSE_SECONDS_MAX):
                await stream.drain()
                while not self._socket.is_over:
                    data = await stream.read()
                    self._socket.feed(data)
                    if not data:
                        return
        except (TimeoutError, ConnectionError):
            return

    def _said(self, status: dict[str, Any]) -> bytes:
        if self._dialect.tells_status:
            return encoding.dumps(status)
        return b"" if status["status"] == "Success" else status["message"].encode()

    def _message(self, channel: int, data: bytes) -> bytes:
        message = channels.encode(self._dialect, channel, data)
        return self._socket.send(message, self._dialect.is_base64)


def _result(task: asyncio.Task[dict[str, Any]] | None) -> dict[str, Any] | None:
    whole = task is not None and task.done() and not task.cancelled() and task.exception() is None
    return task.result() if task is not None and whole else None


def terminal_size(data: bytes) -> tuple[int, int] | None:
    """(columns, rows) of a resize message, None when it is not one."""
    try:
        tree = encoding.loads(data)
        columns, rows = tree["Width"], tree["Height"]
    except (ValueError, KeyError, TypeError):
        return None
    good = all(type(cells) is int and 0 < cells <= TERMINAL_CELLS_MAX for cells in (columns, rows))
    return (columns, rows) if good else None


def ended(exit_code: int) -> dict[str, Any]:
    if exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def refused(error: streaming.StreamError) -> dict[str, Any]:
    reason = {400: "BadRequest", 404: "NotFound"}.get(error.code, "InternalError")
    return {"metadata": {}, "status": "Failure", "message": error.message, "reason": reason, "code": error.code}
