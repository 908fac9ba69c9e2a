"""Answers that stream, told of their end: however they end, by whoever reads them.

A streaming answer is an iterator of pieces (bytes, or objects in this process) that ended, failed or was closed, or a
connection that was taken over. Flow control gives a place back then, the audit log tells of it, and metrics count it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from petset.wire import http

Ended = Callable[[], None]  # Called once.


def streams(response: http.Response) -> bool:
    """Whether the answer goes on after its head."""
    return not isinstance(response.body, bytes) or response.upgraded is not None or _are_pieces(response.objects)


def followed(response: http.Response, begin: Callable[[], Ended]) -> http.Response:
    """The answer; `begin` is called when it begins to stream, and what that returns when it has ended."""
    if response.upgraded is not None:
        upgraded = response.upgraded

        async def told(stream: http.ByteStream) -> None:
            ended = begin()
            try:
                await upgraded(stream)
            finally:
                ended()

        return replace(response, upgraded=told)
    if not isinstance(response.body, bytes):
        return replace(response, body=_Followed(response.body, begin()))
    if _are_pieces(response.objects):
        return replace(response, objects=_Followed(response.objects, begin()))
    return response


def _are_pieces(objects: Any) -> bool:
    return objects is not None and hasattr(objects, "__anext__")


class _Followed:
    """Pieces whose end is told of."""

    def __init__(self, pieces: AsyncIterator[Any], ended: Ended):
        self._pieces, self._ended, self._is_over = pieces, ended, False

    def __aiter__(self) -> _Followed:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._pieces)
        except BaseException:
            self._end()
            raise

    async def aclose(self) -> None:
        self._end()
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._ended()
