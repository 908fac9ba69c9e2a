"""A log over WebSocket: a message a piece, after an empty one that says the connection stands.

What the client sends is read and forgotten; when it leaves, the log is closed. Subprotocols: wire/channels.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from petset.base import tasks
from petset.server.pods.websocket_channels import Messages
from petset.wire import channels

log = logging.getLogger("petset.server")


async def serve(messages: Messages, pieces: AsyncGenerator[bytes, None]) -> None:
    """Until the log has ended, or the client has left."""
    await tell(messages, pieces, _send(messages, pieces))


async def tell(messages: Messages, pieces: AsyncGenerator[bytes, None], telling: Coroutine[Any, Any, None]) -> None:
    """Until what sends the pieces is done, or the client has left; the pieces are closed then."""
    try:
        async with asyncio.TaskGroup() as group:
            sending = tasks.spawn(group, telling, "messages")
            reading = tasks.spawn(group, _wait_for_end(messages), "the reader of messages")
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            sent = sending.done() and not sending.exception()
            sending.cancel()
            reading.cancel()
        if sent:
            await messages.end()
    except* ConnectionError as broken:
        log.info("a reader of messages broke off: %s", broken.exceptions)
    finally:
        await pieces.aclose()


async def _send(messages: Messages, pieces: AsyncGenerator[bytes, None]) -> None:
    await messages.send(b"")
    async for piece in pieces:
        await messages.send(channels.encode_bare(messages.dialect, piece))


async def _wait_for_end(messages: Messages) -> None:
    while await messages.receive() is not None:
        pass
