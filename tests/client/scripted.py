"""A server that answers as it was told to, request by request, and remembers what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from petset.client import client as api
from petset.objects import encoding
from petset.wire import http

USER = http.User("somebody")


def config_map(name: str, revision: int, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid of {name}", "resourceVersion": str(revision)},
        "data": data,
    }


def json(obj: Any, code: int = 200) -> http.Response:
    return http.Response(code, (("content-type", "application/json"),), encoding.dumps(obj))


def status(code: int, reason: str, message: str = "no") -> http.Response:
    return json({"kind": "Status", "code": code, "reason": reason, "message": message}, code)


def listing(revision: int, *items: Any) -> http.Response:
    return json({"kind": "ConfigMapList", "metadata": {"resourceVersion": str(revision)}, "items": list(items)})


def frame(type_: str, obj: Any) -> bytes:
    return encoding.dumps({"type": type_, "object": obj}) + b"\n"


def stream(*parts: bytes, then: Exception | None = None, closed: list[str] | None = None) -> http.Response:
    """A streaming answer: the parts, then an error, or its end; `closed` hears of its being closed."""

    async def body() -> AsyncIterator[bytes]:
        try:
            for part in parts:
                yield part
            if then is not None:
                raise then
        finally:
            if closed is not None:
                closed.append("closed")

    return http.Response(200, (), body())


def open_stream(*parts: bytes) -> http.Response:
    """The parts, and then nothing for ever."""

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        await asyncio.Event().wait()

    return http.Response(200, (), body())


class Server:
    """Each request gets the next answer; after the last one, requests wait for ever."""

    def __init__(self, *answers: http.Response | Exception | Callable[[http.Request], http.Response]):
        self.answers = list(answers)
        self.asked: list[http.Request] = []

    async def handle(self, request: http.Request) -> http.Response:
        self.asked.append(request)
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, http.Response) else answer(request)

    def client(self) -> api.Client:
        return api.Client(api.InProcess(self.handle, USER))

    def targets(self) -> Sequence[str]:
        return [f"{request.method} {request.target}" for request in self.asked]
