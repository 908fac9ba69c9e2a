"""Why an object does not get on, as an answer of the API: `/petset/why` before the path of any object.

    GET /petset/why/apis/apps/v1/namespaces/default/statefulsets/web

is answered what `petset why` says of it (why/finding.py), for those who show it without deciding it anew. Who may get
the object may ask; whatever else the answer is made from is read with the rights of who asks, request by request
through the server's own authorization, and what he may not read is not in it. Only the asking itself takes a place in
flow control: what it reads would else wait for the place that it holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from petset.client.client import Client
from petset.objects import errors
from petset.objects.registry import Kinds
from petset.server import answers, routes, unknown
from petset.server.routes import Call, Path, Route
from petset.wire import http

ROOT = "/petset/why"

# Answers a GET as who asks, without a place in flow control.
ReadAs = Callable[[http.Request, http.User], Awaitable[http.Response]]


class Why:
    def __init__(self, read_as: ReadAs):
        self._read_as = read_as

    def route(self, path: Path, kinds: Kinds) -> Route:
        """That of the object: who may get it may ask why."""
        of = Path(path.raw.removeprefix(ROOT), path.parts[2:])
        if not _names_something(of.parts):
            raise unknown.path(path.raw)
        found = routes.of_kind(of, kinds)
        if found.resource is None or not found.name or found.subresource:
            raise unknown.path(path.raw)
        return found

    async def answer(self, call: Call) -> http.Response:
        if call.request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed(call.request.method, call.route.path)
        from petset.why import finding, reading  # When somebody first asks.

        client = Client(_AsCaller(self._read_as, call.user))
        told = await reading.told(client, call.resource, call.route.name, call.route.namespace)
        return answers.json(200, finding.as_object(told))


class _AsCaller:
    """A transport whose requests are the caller's."""

    def __init__(self, read_as: ReadAs, user: http.User):
        self._read_as, self._user = read_as, user

    async def send(self, request: http.Request) -> http.Response:
        return await self._read_as(request, self._user)


def _names_something(parts: list[str]) -> bool:
    match parts:
        case ["api", _, _, *_] | ["apis", _, _, _, *_]:
            return not (routes.is_of_pod(parts) or routes.is_of_node(parts))
        case _:
            return False
