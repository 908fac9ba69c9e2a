"""Flow control: how much of the server requests may have at once, answered 429 with Retry-After beyond that.

Each request from outside belongs to a FlowSchema (fairness/matching.py) and so to a priority level, of which it needs a
seat (fairness/levels.py) while it is carried out: it gets one at once, waits in a queue for up to WAIT_SECONDS_MAX, or
is refused. A watch gives its seat back when it has begun; logs, execs and the like need none. Its answer names both in
headers. What is made of the objects is kept until one of them changes, and of each sort of request what it belongs to.

Beneath that each user has bounds of his own: requests under way, those that wait for a seat too; answers that stream
(watches, logs, execs). And there is one for the bytes of all writes that wait for their commit. Clients know the
answer: client-go waits and asks again. Who comes through the process itself (controllers, the scheduler, nodes) needs
no seat and is not counted; administrators have ten times as much, so that they can look while somebody else misbehaves.
The bounds are of who authenticated, the level is of whom he impersonates.
Follows: "API Priority and Fairness" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass

from petset.base import telemetry
from petset.kinds.flowcontrol.flow_schema import FLOWSCHEMAS
from petset.kinds.flowcontrol.priority_level import PRIORITYLEVELCONFIGURATIONS
from petset.kinds.namespace import NAMESPACES
from petset.objects import errors
from petset.objects.meta import Object
from petset.server import endings
from petset.server.access import users
from petset.server.fairness import levels, matching
from petset.server.live import LiveView
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http

SEATS = 600  # Of all levels together, as upstream: 400 that read and 200 that write.
WAIT_SECONDS_MAX = 15.0  # For a seat.
SORTS_KEPT_MAX = 4000  # Of requests.
REQUESTS_IN_FLIGHT_MAX = 200  # A user.
STREAMS_MAX = 1_000  # A user.
ADMINISTRATORS_FACTOR = 10
STORE_WAITING_BYTES_MAX = 64 * 1024 * 1024  # Of everybody: a slow disk must not fill the memory.
RETRY_AFTER_SECONDS = 1
STREAMING_SUBRESOURCES = ("attach", "exec", "log", "portforward", "proxy")
_WRITING = ("POST", "PUT", "PATCH")
_PREFIX = "apiserver_flowcontrol"

Ticket = asyncio.Future[None]  # Done when who waits has a seat.


class Flow:
    def __init__(self, store: stores.Store, metrics: telemetry.Telemetry):
        self._store = store
        self._requests: dict[str, int] = {}
        self._streams: dict[str, int] = {}
        self._schemas, self._levels = matching.Schemas(), levels.Levels[Ticket](SEATS)
        self._sorts: dict[tuple[object, ...], Sort] = {}
        self._figures: dict[tuple[str, str], Figures] = {}  # By level and schema.
        self._view = LiveView(store, f"/{FLOWSCHEMAS.group}/", self._told)
        metrics.source(self._samples)

    async def catch_up(self) -> None:
        """Read what is stored, before anybody is served."""
        await self._view.catch_up()
        self._view.refresh()

    def entered(self, request: http.Request, user: http.User) -> Place | None:
        """One request of the user, until its place is left; None: it is not counted. Raises ApiError 429."""
        if request.user is not None:
            return None
        if request.method in _WRITING and self._store.waiting_bytes > STORE_WAITING_BYTES_MAX:
            raise _later("the disk is slower than what is written to it")
        most = _share(user, REQUESTS_IN_FLIGHT_MAX)
        if self._requests.get(user.name, 0) >= most:
            raise _later(f"{most} requests of this user are under way, which is the most")
        return Place(self._requests, user.name, self._levels)

    def require_stream(self, request: http.Request, user: http.User) -> None:
        """That the user may have one more answer that streams. Raises ApiError 429."""
        most = _share(user, STREAMS_MAX)
        if request.user is None and self._streams.get(user.name, 0) >= most:
            raise _later(f"{most} watches and streams of this user are open, which is the most")

    def streamed(self, request: http.Request, user: http.User, response: http.Response) -> http.Response:
        """The answer; one that streams is counted until it ends."""
        if request.user is not None:
            return response
        return endings.followed(response, lambda: Place(self._streams, user.name, self._levels).leave)

    def seated(self, place: Place, call: Call, request: http.Request) -> Awaitable[None] | None:
        """A seat for a request, which it has until its place is left, or else what to wait for until it has one.

        `request` is told what its answer's headers say. Raises ApiError 429, as waiting does.
        """
        if self._view.has_news:
            self._view.refresh()
        user, verb, route, kind = call.user, call.verb, call.route, call.route.resource
        if kind is None or kind is NAMESPACES:
            key = (user.name, user.groups, verb, kind, route.subresource, route.path)
        else:
            key = (user.name, user.groups, verb, kind.group, kind.plural, route.subresource, route.namespace)
        sort = self._sorts.get(key) or self._sort_of(key, call)
        request.answer_headers = sort.headers
        if not self._levels.take(sort.level):
            return self._waited(place, sort)
        sort.figures.at_once += 1
        place.sort, place.began = sort, asyncio.get_running_loop().time()
        return None

    def _sort_of(self, key: tuple[object, ...], call: Call) -> Sort:
        route, user, kind = call.route, call.user, call.route.resource
        if kind is None:
            asked = matching.Asked(user.name, user.groups, call.verb, path=route.path)
        else:
            space = route.name if kind is NAMESPACES else route.namespace
            resource = f"{kind.plural}/{route.subresource}" if route.subresource else kind.plural
            asked = matching.Asked(user.name, user.groups, call.verb, kind.group, resource, space)
        schema = self._schemas.of(asked, self._levels.__contains__)
        level = self._levels.named(schema.level)
        headers = (
            ("x-kubernetes-pf-flowschema-uid", schema.uid),
            ("x-kubernetes-pf-prioritylevel-uid", level.terms.uid),
        )
        figures = self._figures.get((level.name, schema.name))
        if figures is None:
            figures = self._figures[level.name, schema.name] = Figures()
        seconds = figures.watch_seconds if call.verb == "watch" else figures.seconds
        flow = schema.flow(user.name, asked.namespace)
        if len(self._sorts) >= SORTS_KEPT_MAX:
            self._sorts.clear()
        sort = self._sorts[key] = Sort(schema, level, flow, headers, figures, seconds)
        return sort

    async def _waited(self, place: Place, sort: Sort) -> None:
        """Until the request has a seat. Raises ApiError 429."""
        loop, level, figures = asyncio.get_running_loop(), sort.level, sort.figures
        ticket: Ticket = loop.create_future()
        queue = self._levels.wait(level, sort.schema.name, sort.flow, ticket)
        if queue is None:
            raise _refused(sort, "queue-full" if level.terms.queues else "concurrency-limit")
        figures.lengths.observe(level.waiting.waiting_of(queue))
        began = loop.time()
        figures.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await ticket
        except TimeoutError:
            if self._levels.give_up(level, queue, ticket):
                figures.waits_in_vain.observe(loop.time() - began)
                raise _refused(sort, "time-out") from None
        except asyncio.CancelledError:
            if self._levels.give_up(level, queue, ticket):
                figures.refused["cancelled"] = figures.refused.get("cancelled", 0) + 1
            else:  # It had its seat already.
                _call(self._levels.leave(level))
            raise
        finally:
            figures.waiting -= 1
        figures.waits.observe(loop.time() - began)
        place.sort, place.began = sort, loop.time()

    def _told(self, key: str, obj: Object | None) -> None:
        """What stands at a key of the group now."""
        self._sorts.clear()
        name = key.rpartition("/")[2]
        if key.startswith(PRIORITYLEVELCONFIGURATIONS.key()):
            _call(self._levels.put(name, obj))
        elif key.startswith(FLOWSCHEMAS.key()):
            self._schemas.put(name, obj)
        if obj is None:
            self._figures = {
                of: one for of, one in self._figures.items() if name not in of or one.executing or one.waiting
            }

    def _samples(self) -> Iterator[telemetry.Sample]:
        for level in self._levels:
            limits = level.limits
            yield f"{_PREFIX}_nominal_limit_seats", (level.name,), limits.nominal
            yield f"{_PREFIX}_lower_limit_seats", (level.name,), limits.lower
            yield f"{_PREFIX}_upper_limit_seats", (level.name,), limits.upper
            yield f"{_PREFIX}_current_limit_seats", (level.name,), self._levels.within_reach(level)
        for of, figures in self._figures.items():
            for name, value in figures.samples():
                yield f"{_PREFIX}_{name}", of, value
            for reason, count in figures.refused.items():
                yield f"{_PREFIX}_rejected_requests_total", (*of, reason), count
            for executed, waits in (("true", figures.all_waits()), ("false", figures.waits_in_vain)):
                yield f"{_PREFIX}_request_wait_duration_seconds", (*of, executed), waits
            for type_, seconds in (("regular", figures.seconds), ("watch", figures.watch_seconds)):
                yield f"{_PREFIX}_request_execution_seconds", (*of, type_), seconds


def _call(tickets: Iterable[Ticket]) -> None:
    """Those that have a seat now."""
    for ticket in tickets:
        if not ticket.done():  # Else it was cancelled, which gives the seat back in its turn.
            ticket.set_result(None)


def _refused(sort: Sort, reason: str) -> errors.ApiError:
    sort.figures.refused[reason] = sort.figures.refused.get(reason, 0) + 1
    return _later(f"priority level {sort.level.name} is at its limit ({reason})")


def _share(user: http.User, most: int) -> int:
    return most * ADMINISTRATORS_FACTOR if users.MASTERS in user.groups else most


def _later(why: str) -> errors.ApiError:
    return errors.too_many_requests(f"cannot serve the request now: {why}; try again", RETRY_AFTER_SECONDS)


def _histogram(name: str) -> telemetry.Histogram:
    return telemetry.Histogram(telemetry.TABLE[f"{_PREFIX}_{name}"].bounds)


class Figures:
    """What is counted of the requests of one schema at one level."""

    def __init__(self) -> None:
        self.at_once = self.waiting = 0  # Those that had a seat at once; that wait now.
        self.refused: dict[str, int] = {}  # By reason.
        self.waits, self.waits_in_vain = (
            _histogram("request_wait_duration_seconds"),
            _histogram("request_wait_duration_seconds"),
        )
        self.seconds, self.watch_seconds = (
            _histogram("request_execution_seconds"),
            _histogram("request_execution_seconds"),
        )
        self.lengths = _histogram("request_queue_length_after_enqueue")

    @property
    def dispatched(self) -> int:
        return self.at_once + sum(self.waits.counts)

    @property
    def executing(self) -> int:
        return self.dispatched - sum(self.seconds.counts) - sum(self.watch_seconds.counts)

    def all_waits(self) -> telemetry.Histogram:
        """Also of those that had a seat at once."""
        counted = self.waits.copied()
        if self.at_once:
            counted.observe(0.0)
            counted.counts[0] += self.at_once - 1
        return counted

    def samples(self) -> Iterator[tuple[str, float | telemetry.Histogram]]:
        yield "dispatched_requests_total", self.dispatched
        yield "current_executing_requests", self.executing
        yield "current_executing_seats", self.executing
        yield "current_inqueue_requests", self.waiting
        yield "current_inqueue_seats", self.waiting
        yield "request_queue_length_after_enqueue", self.lengths


@dataclass(frozen=True, slots=True)
class Sort:
    """Requests that differ in nothing that flow control asks about."""

    schema: matching.Schema
    level: levels.Level[Ticket]
    flow: str  # Which of the schema's.
    headers: http.Headers
    figures: Figures
    seconds: telemetry.Histogram  # How long they are carried out.


class Place:
    """One of a user's, and a seat once it has one, taken until it is left."""

    __slots__ = ("_left", "_levels", "_name", "_taken", "began", "sort")

    def __init__(self, taken: dict[str, int], name: str, levels: levels.Levels[Ticket]):
        self._taken, self._name, self._left, self._levels = taken, name, False, levels
        self.sort: Sort | None = None  # Whose seat it has, and since when.
        taken[name] = taken.get(name, 0) + 1

    def leave(self) -> None:
        if self._left:
            return
        self._left = True
        self._taken[self._name] -= 1
        if not self._taken[self._name]:
            del self._taken[self._name]
        if self.sort is not None:
            self.sort.seconds.observe(asyncio.get_running_loop().time() - self.began)
            if called := self._levels.leave(self.sort.level):
                _call(called)
