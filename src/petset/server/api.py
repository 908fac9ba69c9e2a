"""The API server: one request's way from bytes to answer.

backend and route -> authenticate -> flow control -> authorize -> the backend's handler (decode, schema, defaults,
admission, validate, store) -> encode. `Api.handle` is an http.Handler for the listener and for clients in the same
process alike; backends.py has the tables of who answers what. Whatever fails expectedly is an ApiError and becomes a
Status here and only here; anything else is a bug, logged with its trace and answered 500 without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from petset.objects import errors
from petset.objects.registry import Catalog, Kinds
from petset.server import (
    answers,
    backends,
    compression,
    flow,
    formats,
    refusals,
    routes,
    weight,
)
from petset.server.access import auth, impersonation
from petset.server.dashboard import backend as dashboard
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http

if TYPE_CHECKING:
    from petset.server.audit import log as audit_log

    Records = list[audit_log.Record] | None  # What the audit log is told of a request; None: it is told nothing.

log = logging.getLogger("petset.server")

QUERY_FIELDS_MAX = 1000
Query = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Whom a request meets on its way: local.py has those of a whole cluster, delegated/ those of an extension."""

    authenticator: auth.Authenticates
    authorizer: auth.Authorizes
    flow: flow.Flow
    backends: backends.Backends
    audit: audit_log.Audit | None = None


class Api:
    def __init__(self, kinds: Catalog, parts: Parts):
        self._kinds, self._refusals, self._line = kinds, refusals.Refusals(), weight.Line()
        self.authenticator, self.authorizer = parts.authenticator, parts.authorizer
        self.flow, self.backends, self.audit = parts.flow, parts.backends, parts.audit

    async def handle(self, request: http.Request) -> http.Response:
        response = await (self._handled(request) if self.audit is None else self._audited(request))
        response.headers += request.answer_headers
        return response

    async def _audited(self, request: http.Request) -> http.Response:
        records: list[audit_log.Record] = []
        response = await self._handled(request, records)
        return records[0].answered(response) if records else response

    async def _handled(self, request: http.Request, records: Records = None) -> http.Response:
        """The answer, and into `records` what the audit log is to be told."""
        warnings: list[str] = []
        wanted = formats.wanted(request)
        try:
            pending = self.authenticator.pending(request)
            if pending is not None:
                await pending
            return await self._answer(request, wanted, warnings, records)
        except errors.ApiError as error:
            self._refusals.note(request, error)
            return formats.failure(wanted, answers.failure(error, warnings))
        except Exception as error:
            return formats.failure(wanted, answers.failure(_translated(request, error), warnings))

    async def _answer(
        self,
        request: http.Request,
        wanted: formats.Wanted | None,
        warnings: list[str],
        records: Records,
    ) -> http.Response:
        path, _, text = request.target.partition("?")
        kinds = self._kinds.now
        try:
            backend, route = self.backends.way(path, kinds)
        except errors.ApiError:
            self._tell(request, routes.Route(path), {}, kinds, records)  # Like any path that is no kind's.
            raise
        original, request.route = request, route
        is_ours = backend is self.backends.kinds or self.backends.are_ours(backend)
        if wanted is not None:
            wanted, request = (wanted, wanted.as_json(request)) if is_ours else (None, request)
        query = _query(text) if text else {}
        try:
            asking = original.asking = self.authenticator.identify(request)
        except errors.ApiError:
            self._tell(request, route, query, kinds, records)
            raise
        place = self.flow.entered(request, asking)
        try:
            user, is_master = asking, auth.is_master(asking)
            if not is_master:
                await self.authorizer.catch_up(user)
            work = weight.Work(self._line, asking.name)
            verb = routes.verb_of(request.method, route, query)
            if impersonation.impersonates(request):
                own = Call(request, route, user, query, work, kinds, verb, warnings)
                user = await impersonation.impersonated(request, user, self.authorizer, lambda: routes.attributes(own))
                await self.authorizer.catch_up(user)
                is_master = auth.is_master(user)
            call = Call(request, route, user, query, work, kinds, verb, warnings)
            if self.audit is not None and records is not None and (record := self.audit.begin(call, asking)):
                records.append(record)
            streams = verb == "watch" or route.subresource in flow.STREAMING_SUBRESOURCES
            is_short = not streams or verb == "watch"  # Or begins within a short time.
            if place is not None and is_short and (seat := self.flow.seated(place, call, original)) is not None:
                await seat
            if not is_master:
                asked = routes.attributes(call)
                if not route.finer or not await self.authorizer.allowed(user, replace(asked, subresource=route.finer)):
                    await self.authorizer.required(user, asked)
            if wanted is not None:
                formats.require(call, wanted)
            if streams:
                self.flow.require_stream(request, asking)
            seconds = call.timeout_seconds() if text and not streams else None
            response = await (backend.answer(call) if seconds is None else _within(seconds, backend.answer(call)))
            if wanted is not None:
                response = await formats.answered(call, wanted, response)
            if not is_ours:
                response.headers += dashboard.others_answer(request, asking)
            if streams:
                return self.flow.streamed(request, asking, response)
            if place is not None and is_ours and answers.is_for_people(call):
                response = await answers.readable(call, response)
            return response if compression.is_short(response) else await compression.answered(call, response)
        finally:
            if place is not None:
                place.leave()

    async def read_as(self, request: http.Request, user: http.User) -> http.Response:
        """A GET that another one of this user is answered out of, which holds its place in flow control for both."""
        path, _, text = request.target.partition("?")
        kinds = self._kinds.now
        try:
            backend, route = self.backends.way(path, kinds)
            query = _query(text) if text else {}
            verb = routes.verb_of(request.method, route, query)
            call = Call(request, route, user, query, weight.Work(self._line, user.name), kinds, verb)
            if not auth.is_master(user):
                await self.authorizer.catch_up(user)
                await self.authorizer.required(user, routes.attributes(call))
            return await backend.answer(call)
        except errors.ApiError as error:
            return answers.failure(error)

    def _tell(self, request: http.Request, route: routes.Route, query: Query, kinds: Kinds, records: Records) -> None:
        """The audit log of what goes no further: a path that means nothing, or credentials that are refused."""
        if self.audit is None or records is None:
            return
        try:
            asking = self.authenticator.identify(request)
        except errors.ApiError:
            from petset.server.audit.log import NOBODY

            asking = NOBODY
        try:
            verb = routes.verb_of(request.method, route, query)
        except errors.ApiError:
            verb = request.method.lower()
        call = Call(request, route, asking, query, weight.Work(self._line, asking.name), kinds, verb, [])
        if record := self.audit.begin(call, asking):
            records.append(record)


async def _within(seconds: float, answer: Awaitable[http.Response]) -> http.Response:
    """Raises ApiError 504 when it takes longer; what it was about to write may be written all the same."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await answer
    except TimeoutError:
        if not limit.expired():
            raise
        raise errors.timeout("request did not complete within the allotted timeout") from None


def _query(text: str) -> dict[str, list[str]]:
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise errors.bad_request(f"cannot read the query: it has more than {QUERY_FIELDS_MAX} parameters") from None


def _translated(request: http.Request, error: Exception) -> errors.ApiError:
    """A failure of a lower layer as the API tells it; a bug as a 500 that says no more than that."""
    if isinstance(error, stores.Unavailable):
        doing = "read" if request.method in ("GET", "HEAD") else "write"
        if isinstance(error, stores.Unknown):
            return errors.timeout(f"cannot tell whether it was written: {error}; {error.advice}")
        return errors.unavailable(f"cannot {doing}: {error}; {error.advice}", retry_after_seconds=1)
    if isinstance(error, stores.TooLarge):
        return errors.too_large(f"Request entity too large: {error}")
    if isinstance(error, stores.Expired):
        return errors.expired(str(error))
    if isinstance(error, stores.Conflict):
        return errors.ApiError(409, "Conflict", f"cannot write {error}: {errors.MODIFIED}")
    if isinstance(error, RecursionError):
        return errors.bad_request("cannot read the body: it is nested too deeply")
    log.error("cannot answer %s %s", request.method, request.target.partition("?")[0], exc_info=error)
    return errors.ApiError(500, "InternalError", "Internal error occurred: this is a bug in petset; see its log")
