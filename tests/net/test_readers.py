"""What waits for slow readers is bounded, and who reads is never the one that is cut off for it."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from petset.net import listener, readers
from tests.net.serving import Echo, Raw, get, serving
from tests.net.test_listener import loops
from tests.waiting import until

CLIENTS = ("jane", "joe", "jim")


class Connection:
    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def waiting(held: readers.Readers, client: str, *sizes: int) -> list[Connection]:
    found = [Connection() for _ in sizes]
    for one, size in zip(found, sizes, strict=True):
        held.wait(one, client, size)
    return found


def test_of_one_client_those_go_that_have_waited_longest():
    held = readers.Readers(1000, 100)
    (other,) = waiting(held, "joe", 90)
    first, second, third = waiting(held, "jane", 40, 40, 40)
    assert [one.aborted for one in (other, first, second, third)] == [False, True, False, False]
    assert held.bytes == 170


def test_of_all_those_go_that_have_waited_longest():
    held = readers.Readers(100, 100)
    (first,), (second,), (third,) = (waiting(held, client, 40) for client in CLIENTS)
    assert [one.aborted for one in (first, second, third)] == [True, False, False]


def test_who_reads_begins_to_wait_anew():
    held = readers.Readers(100, 100)
    first, second = waiting(held, "jane", 40, 40)
    held.went_on(first)
    held.wait(first, "jane", 40)
    waiting(held, "jane", 40)
    assert (first.aborted, second.aborted) == (False, True)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(CLIENTS), st.one_of(st.none(), st.integers(1, 60)))))
def test_never_more_than_the_limits_and_nothing_is_counted_that_is_gone(steps):
    held = readers.Readers(100, 50)
    known: dict[tuple[int, str], Connection] = {}
    for number, client, size in steps:
        one = known.setdefault((number, client), Connection())
        if one.aborted:
            one = known[number, client] = Connection()
        held.wait(one, client, size) if size is not None else held.went_on(one)
        assert held.bytes <= 100
        assert all(bytes_ <= 50 for bytes_ in held._by_client.values())
    for one in known.values():
        held.went_on(one)
    assert (held.bytes, held._by_client, held._waiting) == (0, {}, {})


@loops
def test_connections_that_do_not_read_are_cut_off_and_the_last_gets_its_answer(runner: Any) -> None:
    async def check(echo: Echo, server: listener.Listener) -> None:
        clients = [await Raw.open(server.port) for _ in range(5)]
        try:
            for number, client in enumerate(clients):
                client.send(get("/huge"))
                await until(lambda number=number: len(echo.requests) == number + 1)
            await until(lambda: len(server.connections) == 2)
            assert 0 < server.readers.bytes <= 40_000_000
            for client in clients[3:]:
                assert await client.answer() == (200, echo.huge)
            for client in clients[:3]:
                with contextlib.suppress(ConnectionError):
                    assert len(await client.rest()) < len(echo.huge)
        finally:
            for client in clients:
                client.close()
        await until(lambda: server.readers.bytes == 0)

    serving(check, runner, limits=listener.Limits(client_unread_bytes_max=40_000_000))
