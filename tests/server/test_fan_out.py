"""One change and many watchers over connections: what is made once for all, and how little each one more takes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.net import listener
from petset.server import watch as watches
from petset.store import feed as feeds
from petset.wire import http, http1
from tests.server.conftest import ADMIN, Server, configmap
from tests.steps import counted

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
ONE_MORE_STEPS_MAX = 66  # Of petset's own, for one more watcher of one change.


class Connection:
    """As the listener has it: parts go out by the iterator, or past it as long as the client keeps up."""

    def __init__(self, response: http.Response, keeps_up: Callable[[], bool] = lambda: True):
        self.pushed: list[bytes] = []
        self.parts: list[bytes] = []  # In the order in which they went out, however they did.
        self._keeps_up, self._body = keeps_up, response.body
        assert response.begun is not None
        response.begun(self)

    def push(self, chunks: bytes) -> bool:
        self.pushed.append(chunks)
        self.parts.append(chunks)
        return self._keeps_up()

    async def run(self) -> None:
        assert not isinstance(self._body, bytes)
        async for part in self._body:
            if part:
                self.parts.append(http1.chunk(part))

    def told(self) -> list[str]:
        """The objects' names, as the client reads them."""
        frames: list[bytes] = []
        rest = b"".join(self.parts)
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            frames += rest[: int(size, 16)].splitlines()
            rest = rest[int(size, 16) + 2 :]
        return [json.loads(frame)["object"]["metadata"]["name"] for frame in frames]


@contextlib.asynccontextmanager
async def watching(server: Server, count: int, selector: str = "", **how: Any) -> AsyncIterator[list[Connection]]:
    target = f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}{selector}"
    opened = [Connection(await server.api.handle(http.Request("GET", target, user=ADMIN)), **how) for _ in range(count)]
    running = [asyncio.ensure_future(one.run()) for one in opened]
    await turns()
    try:
        yield opened
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def create(server: Server, name: str) -> None:
    body = json.dumps(configmap(name, {"watched": "yes"})).encode()
    answer = await server.api.handle(http.Request("POST", CONFIGMAPS, (), body, user=ADMIN))
    assert answer.code == 201, answer.body
    await turns()


def steps_of_one_more(server: Server, selector: str) -> int:
    async def steps(count: int) -> int:
        async with watching(server, count, selector) as opened:
            await create(server, f"first{count}{len(selector)}")  # What is looked up once is known then.
            with counted() as counting:
                await create(server, f"second{count}{len(selector)}")
            assert all(len(one.pushed) == 2 for one in opened)
        return counting.count

    few, many = server.run(steps(10)), server.run(steps(60))
    return (many - few) // 50


def test_one_more_watcher_of_a_change_takes_few_steps_and_a_selector_adds_none(server: Server) -> None:
    plain, selecting = steps_of_one_more(server, ""), steps_of_one_more(server, "&labelSelector=watched%3Dyes")
    assert plain <= ONE_MORE_STEPS_MAX
    assert selecting <= plain + 1


def test_what_goes_out_is_decided_encoded_and_framed_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def noting(where: Any, name: str) -> None:
        real = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *args: made.append(name) or real(*args))

    noting(watches, "encode")
    noting(watches.Viewer, "decide")
    noting(http1, "chunk")

    async def main() -> set[int]:
        async with watching(server, 20, "&labelSelector=watched") as opened:
            await create(server, "a")
            return {id(one.pushed[0]) for one in opened}

    assert len(server.run(main())) == 1, "all are handed the same bytes"
    assert sorted(made) == ["chunk", "decide", "encode"]


def test_the_bytes_kept_for_others_have_a_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "FRAMES_CACHED_BYTES_MAX", 1500)

    async def main() -> None:
        async with watching(server, 1) as opened:
            for number in range(8):
                await create(server, f"c{number}")
            assert opened[0].told() == [f"c{number}" for number in range(8)]

    server.run(main())
    frames = server.api.watches._frames
    assert frames._chunks_bytes == sum(len(made) for made, _ in frames._chunks.values()) <= 1500


@given(st.lists(st.booleans(), max_size=12), st.lists(st.integers(1, 3), min_size=1, max_size=6))
def test_who_does_not_keep_up_is_told_by_the_iterator_all_the_same(keeps_up: list[bool], together: list[int]) -> None:
    server = Server()
    answers = iter(keeps_up)

    async def main() -> tuple[list[str], list[str]]:
        names: list[str] = []
        async with watching(server, 2, keeps_up=lambda: next(answers, True)) as opened:
            for size in together:
                some = [f"c{len(names) + number}" for number in range(size)]
                names += some
                await asyncio.gather(*(create(server, name) for name in some))
            return names, [*opened[0].told(), *opened[1].told()]

    names, told = server.run(main())
    assert told == [*names, *names]
    server.close()


def test_much_at_once_is_not_handed_but_taken_in_pieces(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "HANDED_BYTES_MAX", 10)

    async def main() -> None:
        async with watching(server, 2) as opened:
            await create(server, "a")
            await create(server, "b")
            assert [(one.pushed, one.told()) for one in opened] == [([], ["a", "b"])] * 2

    server.run(main())


def test_many_are_told_in_several_turns_of_the_loop(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "HANDED_AT_ONCE", 3)
    at_once: list[int] = []
    real = feeds.Handing._hand

    def noting(self: feeds.Handing) -> None:
        before = len(self._waiting)
        real(self)
        at_once.append(before - len(self._waiting))

    monkeypatch.setattr(feeds.Handing, "_hand", noting)

    async def main() -> None:
        async with watching(server, 8) as opened:
            await create(server, "a")
            assert [one.told() for one in opened] == [["a"]] * 8

    server.run(main())
    assert at_once == [3, 3, 2]


def test_a_client_that_reads_late_gets_every_event_once_and_in_order(server: Server) -> None:
    """Over a real connection, whose buffers fill meanwhile."""

    async def main() -> list[str]:
        async def handle(request: http.Request) -> http.Response:
            request.user = ADMIN
            return await server.api.handle(request)

        async with listener.serve(handle) as listening:
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port, limit=1 << 14)
            writer.write(f"GET {CONFIGMAPS}?watch=true HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            for number in range(200):
                body = json.dumps(configmap(f"c{number}", k="v" * 30_000)).encode()
                await server.api.handle(http.Request("POST", CONFIGMAPS, (), body, user=ADMIN))
                await asyncio.sleep(0)
            names: list[str] = []
            while len(names) < 200:
                size = int(await reader.readuntil(b"\r\n"), 16)
                data = await reader.readexactly(size + 2)
                names += [json.loads(line)["object"]["metadata"]["name"] for line in data[:-2].splitlines()]
            writer.close()
            return names

    assert server.run(main()) == [f"c{number}" for number in range(200)]


@pytest.mark.parametrize("accept", ["application/cbor", "application/json;as=Table;g=meta.k8s.io;v=v1"])
def test_what_goes_out_at_once_is_in_the_form_that_was_asked_for(server: Server, accept: str) -> None:
    async def main() -> None:
        target, headers = f"{CONFIGMAPS}?watch=true", (("accept", accept),)
        response = await server.api.handle(http.Request("GET", target, headers, user=ADMIN))
        if response.begun is None:  # Only JSON is shared as it is: other forms come by the iterator.
            assert "cbor" in response.header("content-type")
            assert not isinstance(response.body, bytes)
            await response.body.aclose()  # type: ignore[attr-defined]
            return
        connection = Connection(response)
        running = asyncio.ensure_future(connection.run())
        await turns()
        await create(server, "a")
        assert json.loads(connection.pushed[0].splitlines()[1])["object"]["kind"] == "Table"
        running.cancel()
        await asyncio.wait([running])

    server.run(main())
