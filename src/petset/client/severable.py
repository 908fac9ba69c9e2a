"""A way to the server that can be cut and mended while its client lives, as a machine's network can.

While it is cut every request fails at once, and so does what is under way when its answer comes: whether it was done
nobody can say, as after any broken connection. A watch breaks at the first piece that would come through the cut, so
that none is lost unseen; one that nothing came for in the meantime goes on, as an idle connection does.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

from petset.wire import http


class Severable:
    """A transport over another one."""

    def __init__(self, transport: http.Transport):
        self._transport = transport
        self.is_cut = False

    async def send(self, request: http.Request) -> http.Response:
        self._pass()
        response = await self._transport.send(request)
        self._pass()
        if hasattr(response.objects, "__aiter__"):
            return dataclasses.replace(response, objects=self._passing(response.objects))
        if not isinstance(response.body, bytes):
            return dataclasses.replace(response, body=self._passing(response.body))
        return response

    def _pass(self) -> None:
        if self.is_cut:
            raise ConnectionResetError("the network is cut")

    async def _passing(self, pieces: Any) -> AsyncGenerator[Any, None]:
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                self._pass()
                yield piece
                piece = None  # Who waits for the next one keeps nothing of the last.
