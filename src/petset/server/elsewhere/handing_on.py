"""A request handed on to somebody else, and his answer handed back: piece by piece, upgrades as two joined connections.

Who is asked, what is left out of the headers and what is added is the caller's; here is what all of them share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import replace

from petset.base import tasks
from petset.net import dialer
from petset.objects import errors
from petset.server.access import front_proxy
from petset.wire import http

# A request's headers that are about the way to this server; and an answer's, about the way back to it.
NOT_HANDED_ON = ("authorization", "te", "trailer", "proxy-authorization", "expect")
NOT_HANDED_BACK = ("keep-alive", "trailer", "proxy-authenticate", "date")


def kept(request: http.Request, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """A request's headers, but for those of the way to this server and whom its sender wished to be."""
    named_hops = dict.fromkeys(name.lower() for name in request.header_items("connection"))
    is_upgrade = bool(request.header("upgrade"))
    return [
        (name, value)
        for name, value in request.headers
        if name not in NOT_HANDED_ON
        and name not in without
        and not name.startswith("impersonate-")
        and not front_proxy.is_told_by(name)
        and (name not in named_hops or (is_upgrade and name == "upgrade"))
    ]


def forwarded(request: http.Request) -> str:
    """X-Forwarded-For, with who asks here at its end."""
    before = request.header_values("x-forwarded-for")
    return ", ".join([*before, *filter(None, [request.peer.address])])


async def exchange(there: dialer.Dialer, request: http.Request) -> http.Response:
    """The answer of who is dialled; the dialer is closed with it. Raises ApiError 503."""
    try:
        answer, stream = await there.open(request)
    except ConnectionError as error:
        await there.close()
        raise errors.unavailable(f"error trying to reach service: {error}") from None
    except BaseException:
        await there.close()
        raise
    if stream is not None and not request.header("upgrade"):
        await there.close()
        raise errors.unavailable("error trying to reach service: it answers with an upgrade that nobody asked for")
    if stream is not None:
        other = stream

        async def upgraded(client: http.ByteStream) -> None:
            await _joined(client, other, there)

        return replace(answer, upgraded=upgraded)
    if isinstance(answer.body, bytes):
        await there.close()
        return answer
    return replace(answer, body=_until_closed(answer, there))


async def over_kept(there: dialer.Dialer, request: http.Request) -> http.Response:
    """The answer of who is dialled, over connections that stay for the next request. Raises ApiError 503."""
    try:
        return await there.send(request)  # A body that comes by the piece gives its connection back itself.
    except ConnectionError as error:
        raise errors.unavailable(f"error trying to reach service: {error}") from None


async def _until_closed(answer: http.Response, there: dialer.Dialer) -> AsyncGenerator[bytes, None]:
    """The body; whoever closes it closes the connection, too."""
    assert not isinstance(answer.body, bytes)
    async with there:
        async for piece in answer.body:
            yield piece


async def _joined(client: http.ByteStream, other: http.ByteStream, there: dialer.Dialer) -> None:
    """Copy both ways until one side has ended."""
    async with there:
        try:
            async with asyncio.TaskGroup() as group:
                ways = [
                    tasks.spawn(group, _copied(source, sink), "an upgraded connection that is handed on")
                    for source, sink in ((client, other), (other, client))
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        except* ConnectionError:
            pass  # Whichever side it was has left.


async def _copied(source: http.ByteStream, sink: http.ByteStream) -> None:
    while data := await source.read():
        sink.write(data)
        await sink.drain()
