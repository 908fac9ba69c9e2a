"""A watch over WebSocket: each event is a message of text, as browsers can have many of at once.

What the client sends is read and forgotten; when it leaves, the watch is closed. Follows: "Efficient detection of
changes" of the Kubernetes documentation, whose servers answer a watch so for who asks to upgrade.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from petset.server.pods import websocket_channels
from petset.server.pods.websocket_channels import Messages
from petset.server.routes import Call
from petset.wire import channels, http


def accept(call: Call, pieces: AsyncGenerator[bytes, None]) -> http.Response:
    """The answer that tells the pieces, lines of events, by the message. Raises ApiError 400."""
    return websocket_channels.accept(
        call, channels.EVENTS, lambda messages: websocket_channels.tell(messages, pieces, _send(messages, pieces))
    )


async def _send(messages: Messages, pieces: AsyncGenerator[bytes, None]) -> None:
    async for piece in pieces:
        for event in piece.splitlines():
            await messages.send(event)
