"""Lists as they change, for who waits: whatever ends a watch, the next list tells what was missed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from petset.client import following
from petset.kinds.config_map import CONFIGMAPS
from petset.objects import errors
from petset.wire import http
from petset.world import loop
from petset.world import world as worlds
from tests.client.scripted import Server, config_map, frame, listing, open_stream, status, stream


async def seen(server: Server, count: int) -> list[dict[str, str]]:
    """The first states: of each object its data."""
    found: list[dict[str, str]] = []
    async with contextlib.aclosing(following.states(server.client(), CONFIGMAPS, "default")) as states:
        async for there in states:
            found.append({key.partition("/")[2]: one["data"].get("n", "") for key, one in there.items()})
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize(
    "ended",
    [
        stream(frame("MODIFIED", config_map("a", 2, n="2"))),
        stream(frame("MODIFIED", config_map("a", 2, n="2")), then=ConnectionError("the line is cut")),
        stream(
            frame("MODIFIED", config_map("a", 2, n="2")),
            frame("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}),
        ),
    ],
    ids=["ends", "is cut", "is too old"],
)
def test_a_watch_that_ends_begins_anew_with_a_list(ended) -> None:
    server = Server(
        listing(1, config_map("a", 1, n="1")),
        ended,
        listing(5, config_map("b", 5, n="5")),
        open_stream(frame("DELETED", config_map("b", 6, n="5"))),
    )
    assert asyncio.run(seen(server, 4)) == [{"a": "1"}, {"a": "2"}, {"b": "5"}, {}]


def test_what_the_list_raises_is_raised() -> None:
    server = Server(listing(1), stream(), status(403, "Forbidden"))
    with pytest.raises(errors.ApiError, match="no"):
        asyncio.run(seen(server, 2))


def test_a_server_that_ends_each_watch_at_once_is_asked_less_and_less_often() -> None:
    class Ends(Server):
        async def handle(self, request: http.Request) -> http.Response:
            self.asked.append(request)
            return stream() if "watch=true" in request.target else listing(len(self.asked))

    server = Ends()

    async def main(virtual: loop.VirtualLoop) -> None:
        with worlds.environment(1, virtual), contextlib.suppress(TimeoutError):
            await following.until(server.client(), CONFIGMAPS, "default", bool, most_seconds=60.0)

    loop.run(main, 1)
    assert 10 < len(server.asked) <= 2 * 20
