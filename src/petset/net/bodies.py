"""How many bytes of request bodies a listener holds: of those that are coming in and of those that are being answered.

Nobody has said yet who they are when a body comes in, so a client is its certificate's user or its address. The first
bytes of each connection are not counted: small requests go on, whatever others hold.
Who sends more than those reads on in turn, one connection in a turn of the loop, and clients one after another: to
decipher what many send at once would hold up everybody. Who has nothing to read has no turn, and holds none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from petset.base import round_robin
from petset.objects import errors

UNCOUNTED_BYTES_MAX = 16 << 10  # A connection.
RETRY_AFTER_SECONDS = 1


class Bodies:
    def __init__(self, bytes_max: int, client_bytes_max: int):
        self._bytes_max, self._client_bytes_max = bytes_max, client_bytes_max
        self._by_client: dict[str, int] = {}
        self.bytes = 0  # Of all.

    def change(self, client: str, more: int) -> None:
        self.bytes += more
        held = self._by_client.pop(client, 0) + more
        if held:
            self._by_client[client] = held

    def excess(self, client: str) -> errors.ApiError | None:
        """Why a client may send no more of a body now."""
        if self._by_client.get(client, 0) > self._client_bytes_max:
            return _later(f"this client's bodies that are being read or answered exceed {self._client_bytes_max} bytes")
        if self.bytes > self._bytes_max:
            return _later(f"the bodies that are being read or answered exceed {self._bytes_max} bytes")
        return None


class Turns:
    """Who waits to read on, by client."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._waiting = round_robin.RoundRobin[Callable[[], None]]()

    def wait(self, client: str, read_on: Callable[[], None]) -> None:
        """Call `read_on` in a turn of the loop that is only this one's."""
        if not self._waiting:
            self._loop.call_soon(self._next)
        self._waiting.add(client, read_on)

    def _next(self) -> None:
        read_on = self._waiting.take()
        if self._waiting:
            self._loop.call_soon(self._next)
        read_on()


def counted(size: int) -> int:
    """How much of a connection's body counts."""
    return max(0, size - UNCOUNTED_BYTES_MAX)


def _later(why: str) -> errors.ApiError:
    return errors.too_many_requests(f"cannot read the request now: {why}; try again", RETRY_AFTER_SECONDS)
