"""The remote command: one exec or attach between a client, whatever the transport, and a session in a container.

Stdin and resizes (JSON) come in on their channels; stdout, stderr and, at the end, how it ended on the error channel go
out. A client that can close a channel closes the input so, and a program that reads to its end can end. A process's
exit code travels as the Status' cause ExitCode. Whichever side ends first ends the other; the session is closed in
any case. How channels are framed is the transport's business: streaming.Transport.
Protocol: the remote command's subprotocols 1 to 5 of k8s.io/apimachinery.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from petset.base import tasks
from petset.objects import encoding
from petset.wire import streaming

log = logging.getLogger("petset.server")

TERMINAL_CELLS_MAX = 65535


async def serve(
    transport: streaming.Transport,
    start: Callable[[], Awaitable[streaming.Session]],
    options: streaming.ExecOptions,
) -> None:
    """Run the session for the client until either side has ended."""
    try:
        session = await start()
    except streaming.StreamError as error:
        await _end(transport, refused(error))
        return
    try:
        status = await _run(transport, session, options)
    finally:
        with tasks.best_effort("close an exec session"):
            await session.close()
    if status is not None:
        await _end(transport, status)


async def _run(
    transport: streaming.Transport, session: streaming.Session, options: streaming.ExecOptions
) -> dict[str, Any] | None:
    """The Status of the ended process; None when the client left first."""
    output: asyncio.Task[dict[str, Any]] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            output = tasks.spawn(group, _send_output(transport, session, options), "exec output")
            reading = tasks.spawn(group, _read_input(transport, session, options), "exec input")
            await asyncio.wait((output, reading), return_when=asyncio.FIRST_COMPLETED)
            output.cancel()
            reading.cancel()
    except* (ConnectionError, streaming.StreamError) as broken:
        log.info("an exec session broke off: %s", broken.exceptions)  # The caller closes the container's side.
    return _result(output)


async def _send_output(
    transport: streaming.Transport, session: streaming.Session, options: streaming.ExecOptions
) -> dict[str, Any]:
    async for channel, data in session.output():
        await transport.send(channel, data)
    try:
        return ended(await session.exit_code() if options.command else 0)
    except streaming.StreamError as error:
        return refused(error)


async def _read_input(
    transport: streaming.Transport, session: streaming.Session, options: streaming.ExecOptions
) -> None:
    """Until the client leaves; what it sends on other channels than it asked for is ignored, as upstream does."""
    while (incoming := await transport.receive()) is not None:
        channel, data = incoming
        if channel == streaming.STDIN and data is None:
            session.close_input()
        elif channel == streaming.STDIN and options.stdin:
            if data:
                await session.write(data)
        elif channel == streaming.RESIZE and options.tty and data is not None and (size := terminal_size(data)):
            session.resize(*size)


async def _end(transport: streaming.Transport, status: dict[str, Any]) -> None:
    """Say how it ended, and close."""
    try:
        if said := _said(status, transport.tells_status):
            await transport.send(streaming.ERROR, said)
    except ConnectionError:
        return
    await transport.end()


def _said(status: dict[str, Any], tells_status: bool) -> bytes:
    if tells_status:
        return encoding.dumps(status)
    return b"" if status["status"] == "Success" else status["message"].encode()


def _result(task: asyncio.Task[dict[str, Any]] | None) -> dict[str, Any] | None:
    whole = task is not None and task.done() and not task.cancelled() and task.exception() is None
    return task.result() if task is not None and whole else None


def first_channel(options: streaming.ExecOptions) -> int:
    """The channel of the empty message that tells a WebSocket's client that it is connected, before any output."""
    return streaming.STDOUT if options.stdout else streaming.STDERR if options.stderr else streaming.ERROR


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
