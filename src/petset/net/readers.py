"""How many bytes of answers a listener holds for clients that do not read them; who is cut off when they are too many.

An answer is written piece by piece as it is read, but what was written and not taken waits here, a piece a connection.
A slow reader costs nobody anything as long as there is room. When there is none, of one client or in all, those go
that have taken nothing for the longest time: whoever reads, however slowly, begins that time anew. `end` tells a
streaming answer that nobody reads it any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from petset.base import tasks


class Reader(Protocol):
    """A connection whose client has not taken what was written."""

    def abort(self) -> None: ...


class Readers:
    def __init__(self, bytes_max: int, client_bytes_max: int):
        self._bytes_max, self._client_bytes_max = bytes_max, client_bytes_max
        self._waiting: dict[Reader, tuple[str, int]] = {}  # Client and bytes, the longest wait first.
        self._by_client: dict[str, int] = {}
        self.bytes = 0  # Of all.

    def wait(self, reader: Reader, client: str, size: int) -> None:
        """So many bytes wait for this reader from now on."""
        self.went_on(reader)
        self._waiting[reader] = (client, size)
        self._count(client, size)
        while self._by_client.get(client, 0) > self._client_bytes_max:
            self._cut_off(next(one for one, (whose, _) in self._waiting.items() if whose == client))
        while self.bytes > self._bytes_max:
            self._cut_off(next(iter(self._waiting)))

    def went_on(self, reader: Reader) -> None:
        """It has taken what waited, or is gone."""
        if reader in self._waiting:
            client, size = self._waiting.pop(reader)
            self._count(client, -size)

    def _cut_off(self, reader: Reader) -> None:
        self.went_on(reader)
        reader.abort()

    def _count(self, client: str, more: int) -> None:
        self.bytes += more
        left = self._by_client.pop(client, 0) + more
        if left:
            self._by_client[client] = left


async def end(body: AsyncIterator[bytes]) -> None:
    """Close it, if it can be closed, as not only generators can; a failure to is nobody's."""
    close = getattr(body, "aclose", None)
    if close is not None:
        with tasks.best_effort("close a stream"):
            await close()
