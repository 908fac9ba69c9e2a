"""A connection to a port inside a pod, from a client of petset's own: bytes both ways over a WebSocket.

The dialect is v4.channel.k8s.io with one port in the query, which has two channels: 0 its data, 1 what goes wrong, and
the first message on each is the port's number. The dialect has no half-closed connections: the pod's end is the end.
"""

from __future__ import annotations

import asyncio
import contextlib

from petset.base import tasks
from petset.client import remote
from petset.kinds.pod import PODS
from petset.net.dialer import Dialer
from petset.wire import channels, websocket

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
PIECE_BYTES = 64 << 10


class Refused(ConnectionError):
    """Nobody listens on the port, or the pod cannot be reached."""


async def connect(
    dialer: Dialer, namespace: str, pod: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Carry what `reader` says to the port and what that answers to `writer`, until one of them ends.

    Raises ApiError when the pod cannot be asked, Refused when nobody listens there.
    """
    asked = websocket.Client(f"{PODS.path(namespace, pod, 'portforward')}?ports={port}", (PROTOCOL,))
    response, stream = await dialer.open(asked.request)
    if stream is None:
        raise await remote.refusal(response)
    connection = asked.accepted(response)

    async def carry() -> None:
        while data := await reader.read(PIECE_BYTES):
            stream.write(connection.send_binary(bytes([DATA]) + data))
            await stream.drain()

    async def bring() -> str:
        """Until the pod's end; what went wrong there."""
        begun: dict[int, bool] = {}
        while not connection.is_over:
            data = await stream.read()
            for event in connection.feed(data):
                if isinstance(event, websocket.Message) and (found := channels.decode(_NUMBERED, event.data)):
                    channel, said = found
                    if not begun.get(channel):
                        begun[channel], said = True, said[2:]  # The port's number.
                    if channel == ERROR and said:
                        return said.decode(errors="replace").strip()
                    if channel == DATA and said:
                        writer.write(said)
                        await writer.drain()
            stream.write(connection.outgoing())
            if not data:
                break
        return ""

    wrong = ""
    try:
        async with asyncio.TaskGroup() as group:
            carrying = tasks.spawn(group, carry(), "to the pod")
            wrong = await tasks.spawn(group, bring(), "from the pod")
            carrying.cancel()
    except* ConnectionError:
        pass  # One of the ends has gone.
    finally:
        with contextlib.suppress(ConnectionError):
            stream.close()
    if wrong:
        raise Refused(wrong)


_NUMBERED = channels.PORTS[PROTOCOL]
