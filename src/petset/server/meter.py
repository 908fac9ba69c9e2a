"""Requests counted and timed, by what they ask for, in Kubernetes' own terms.

`Meter.counted(handler)` is the same handler. What a request asks for is known once the server has found its route,
which it leaves in the request; a request that never got there, or that is for nobody here, has no resource. So every
label is one of a bounded set: nothing that a stranger makes up gets a series. Where each is counted is looked up by a
key of what is at hand, and kept.

A watch, a log, an exec is counted when it ends, as upstream does, and is one of those that run long until then. The
loop's lag is measured only when there is something to measure: a request, at most every LAG_SECONDS_MIN, sends a
callback round the loop and sees how long that takes. So an idle process has no timer and no task here.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from petset.base import telemetry
from petset.server import endings, flow, health, request_log, routes
from petset.server.routes import Route
from petset.wire import http

LAG_SECONDS_MIN = 0.1  # Between two measurements of the loop's lag.
KEYS_KEPT_MAX = 4000  # Of what is looked up once.
ROUTES_KEPT_MAX = 256  # Of other servers' group versions.
CONNECTED = ("attach", "exec", "portforward", "proxy")
READ_ONLY = ("GET", "HEAD")
_VERBS = {"GET": "GET", "HEAD": "GET", "POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
_NOWHERE = Route("")
_PROBES = tuple(f"/{probe}" for probe in health.PROBES)


@dataclass(frozen=True, slots=True)
class _Labels:
    """What a request asks for, as it is counted."""

    verb: str
    dry_run: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    scope: str = ""
    component: str = ""

    @property
    def of_stream(self) -> tuple[str, ...]:
        return self.verb, self.group, self.version, self.resource, self.subresource, self.scope, self.component

    @property
    def of_request(self) -> tuple[str, ...]:
        return self.verb, self.dry_run, *self.of_stream[1:]


@dataclass(slots=True)
class _Series:
    """Where requests of one sort are counted."""

    total: telemetry.Count
    seconds: telemetry.Histogram
    sizes: telemetry.Histogram | None  # Of reads.


class Meter:
    def __init__(self, metrics: telemetry.Telemetry, tells_all: bool = False):
        """`tells_all`: each request has a line in the log, not only slow ones."""
        self._metrics, self._tells_all = metrics, tells_all
        self._told_from = -1.0 if tells_all else request_log.SLOW_SECONDS
        self._in_flight = [0, 0]  # That read, and that write.
        self._series: dict[tuple[object, ...], _Series] = {}
        self._lag = metrics.histogram("petset_loop_lag_seconds")
        self._lag_measured = 0.0
        metrics.source(self._now_in_flight)

    def _now_in_flight(self) -> Iterator[telemetry.Sample]:
        for kind, number in zip(("readOnly", "mutating"), self._in_flight, strict=True):
            yield "apiserver_current_inflight_requests", (kind,), number

    def counted(self, handler: http.Handler) -> http.Handler:
        """The same handler, counted and timed."""

        async def count(request: http.Request) -> http.Response:
            loop = asyncio.get_running_loop()
            began = loop.time()
            place = 0 if request.method in READ_ONLY else 1
            self._in_flight[place] += 1
            code, size = 500, -1
            try:
                response = await handler(request)
                code = response.code
                if response.objects is None and isinstance(response.body, bytes) and response.upgraded is None:
                    size = len(response.body)
                elif endings.streams(response):
                    code = 0
                    return self._followed(request, response, began)
                return response
            except asyncio.CancelledError:
                code = 499
                raise
            finally:
                self._in_flight[place] -= 1
                now = loop.time()
                if code:
                    self.ended(request, code, now - began, size)
                if now - self._lag_measured >= LAG_SECONDS_MIN:
                    self._lag_measured = now
                    loop.call_soon(self._came_round, loop, now)

        return count

    def ended(self, request: http.Request, code: int, seconds: float, size: int, streamed: bool = False) -> None:
        """One more; `size` is the answer's, -1 where it has none in bytes."""
        route = _route(request)
        sort = _sort(request, route) if "?" in request.target or request.method == "PATCH" else ""
        resource = route.resource
        path = route.path if resource is None and route.path in _PROBES else ""
        key = (request.method, sort, resource, route.subresource, not route.name, not route.namespace, path, code)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= KEYS_KEPT_MAX:  # Kinds come and go, and have a key each time.
                self._series.clear()
            series = self._series[key] = self._places(_labels(request.method, sort, route, path), code)
        series.total.value += 1
        series.seconds.observe(seconds)
        if size >= 0 and series.sizes is not None:
            series.sizes.observe(size)
        if seconds > self._told_from:
            if self._tells_all:
                request_log.tell(request, code, seconds, size)
            elif not streamed:
                request_log.tell_slow(request, code, seconds)

    def _places(self, labels: _Labels, code: int) -> _Series:
        metrics, reads = self._metrics, labels.verb in ("GET", "LIST")
        return _Series(
            metrics.count("apiserver_request_total", *labels.of_request, str(code)),
            metrics.histogram("apiserver_request_duration_seconds", *labels.of_request),
            metrics.histogram("apiserver_response_sizes", *labels.of_stream) if reads else None,
        )

    def _followed(self, request: http.Request, response: http.Response, began: float) -> http.Response:
        """An answer that streams: counted at its end, and as one that runs long until then."""
        loop, code = asyncio.get_running_loop(), response.code
        route = _route(request)
        labels = _labels(request.method, _sort(request, route), route, "")
        runs_long = labels.verb == "WATCH" or route.subresource in flow.STREAMING_SUBRESOURCES
        running = self._metrics.count("apiserver_longrunning_requests", *labels.of_stream) if runs_long else None

        def begin() -> endings.Ended:
            if running is not None:
                running.value += 1
            return end

        def end() -> None:
            if running is not None:
                running.value -= 1
            self.ended(request, code, loop.time() - began, -1, streamed=True)

        return endings.followed(response, begin)

    def _came_round(self, loop: asyncio.AbstractEventLoop, sent: float) -> None:
        self._lag.observe(loop.time() - sent)


def _route(request: http.Request) -> Route:
    route = request.route
    if not isinstance(route, Route):
        return _NOWHERE
    if route.resource is not None and not route.resource.kind:
        return _of_another(route.resource.group, route.resource.version, bool(route.name), bool(route.namespace))
    return route


@functools.lru_cache(ROUTES_KEPT_MAX)
def _of_another(group: str, version: str, has_name: bool, has_namespace: bool) -> Route:
    """A route of another server, whose kinds are called whatever was asked for: those of a version are one."""
    parts = ["apis", group, version, *(["namespaces", "-"] if has_namespace else ()), "", *(["-"] if has_name else ())]
    return routes.of_strangers(routes.Path("", parts))


def _sort(request: http.Request, route: Route) -> str:
    """What of the query and the headers tells requests of one method apart: apply, watch, dry."""
    _, _, text = request.target.partition("?")
    sort = ""
    if request.method == "PATCH" and request.header("content-type").startswith("application/apply-patch"):
        sort = "apply "
    if "dryRun=" in text and "dryRun" in _query(text):
        sort += "dry "
    if "watch=" in text and request.method in READ_ONLY and not route.name:
        asked = _query(text)
        sort += "watch " if "watch" in asked and routes.verb_of("GET", route, asked) == "watch" else ""
    return sort


def _query(text: str) -> dict[str, list[str]]:
    """What of the query can be read; the server has refused the rest."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return {}


def _labels(method: str, sort: str, route: Route, path: str) -> _Labels:
    verb, dry_run, resource = _VERBS.get(method, "OTHER"), "All" if "dry" in sort else "", route.resource
    if resource is None:
        return _Labels(verb, dry_run, subresource=path)
    if route.subresource in CONNECTED:
        verb = "CONNECT"
    elif "apply" in sort:
        verb = "APPLY"
    elif not route.name:
        verb = {"GET": "WATCH" if "watch" in sort else "LIST", "DELETE": "DELETECOLLECTION"}.get(verb, verb)
    scope = "resource" if route.name or verb == "POST" else "namespace" if route.namespace else "cluster"
    return _Labels(
        verb, dry_run, resource.group, resource.version, resource.plural, route.subresource, scope, "apiserver"
    )
