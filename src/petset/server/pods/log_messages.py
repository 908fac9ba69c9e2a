"""A log over WebSocket: a message a piece, after an empty one that says the connection stands.

What the client sends is read and forgotten; when it leaves, the log is closed. Subprotocols: wire/channels.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from petset.server.pods import websocket_channels
from petset.server.pods.websocket_channels import Messages
from petset.wire import channels


async def serve(messages: Messages, pieces: AsyncGenerator[bytes, None]) -> None:
    """Until the log has ended, or the client has left."""
    await websocket_channels.tell(messages, pieces, _send(messages, pieces))


async def _send(messages: Messages, pieces: AsyncGenerator[bytes, None]) -> None:
    await messages.send(b"")
    async for piece in pieces:
        await messages.send(channels.encode_bare(messages.dialect, piece))
