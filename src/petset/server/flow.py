"""Flow control: how much of the server one user may have at once, answered 429 with Retry-After beyond that.

Counted are requests under way, answers that stream (watches, logs, execs), and the bytes of all writes that wait for
their commit. Clients know the answer: client-go waits and asks again. Who comes through the process itself
(controllers, the scheduler, nodes) is not counted, as Kubernetes' priority levels exempt the control plane's own;
administrators have ten times as much, so that they can look while somebody else misbehaves. A user is who
authenticated, not whom they impersonate.
Follows: "API Priority and Fairness" of the Kubernetes documentation, with one level for everybody.
"""

from __future__ import annotations

from petset.objects import errors
from petset.server import endings
from petset.server.access import users
from petset.store import store as stores
from petset.wire import http

REQUESTS_IN_FLIGHT_MAX = 200  # A user.
STREAMS_MAX = 1_000  # A user.
ADMINISTRATORS_FACTOR = 10
STORE_WAITING_BYTES_MAX = 64 * 1024 * 1024  # Of everybody: a slow disk must not fill the memory.
RETRY_AFTER_SECONDS = 1
STREAMING_SUBRESOURCES = ("attach", "exec", "log", "portforward", "proxy")
_WRITING = ("POST", "PUT", "PATCH")


class Flow:
    def __init__(self, store: stores.Store):
        self._store = store
        self._requests: dict[str, int] = {}
        self._streams: dict[str, int] = {}

    def entered(self, request: http.Request, user: http.User) -> Place | None:
        """One request of the user, until its place is left; None: it is not counted. Raises ApiError 429."""
        if request.user is not None:
            return None
        if request.method in _WRITING and self._store.waiting_bytes > STORE_WAITING_BYTES_MAX:
            raise _later("the disk is slower than what is written to it")
        most = _share(user, REQUESTS_IN_FLIGHT_MAX)
        if self._requests.get(user.name, 0) >= most:
            raise _later(f"{most} requests of this user are under way, which is the most")
        return Place(self._requests, user.name)

    def require_stream(self, request: http.Request, user: http.User) -> None:
        """That the user may have one more answer that streams. Raises ApiError 429."""
        most = _share(user, STREAMS_MAX)
        if request.user is None and self._streams.get(user.name, 0) >= most:
            raise _later(f"{most} watches and streams of this user are open, which is the most")

    def streamed(self, request: http.Request, user: http.User, response: http.Response) -> http.Response:
        """The answer; one that streams is counted until it ends."""
        if request.user is not None:
            return response
        return endings.followed(response, lambda: Place(self._streams, user.name).leave)


def _share(user: http.User, most: int) -> int:
    return most * ADMINISTRATORS_FACTOR if users.MASTERS in user.groups else most


def _later(why: str) -> errors.ApiError:
    return errors.too_many_requests(f"cannot serve the request now: {why}; try again", RETRY_AFTER_SECONDS)


class Place:
    """One of a user's, taken until it is left."""

    __slots__ = ("_left", "_name", "_taken")

    def __init__(self, taken: dict[str, int], name: str):
        self._taken, self._name, self._left = taken, name, False
        taken[name] = taken.get(name, 0) + 1

    def leave(self) -> None:
        if self._left:
            return
        self._left = True
        self._taken[self._name] -= 1
        if not self._taken[self._name]:
            del self._taken[self._name]
