"""Logs, exec and attach: the API's side of what happens in a pod's containers."""

from __future__ import annotations

from petset.objects import errors
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http, streaming


class Streams:
    def __init__(self, store: stores.Store, node: streaming.NodeStreams | None):
        self._store, self._node = store, node

    async def log(self, call: Call) -> http.Response:
        raise errors.not_implemented("show logs", "wait")

    async def exec(self, call: Call) -> http.Response:
        raise errors.not_implemented("exec", "wait")

    async def attach(self, call: Call) -> http.Response:
        raise errors.not_implemented("attach", "wait")

    async def portforward(self, call: Call) -> http.Response:
        raise errors.not_implemented("forward ports", "reach the pod by its address from this machine")
