"""The API server: one request's way from bytes to answer.

route -> authenticate -> flow control -> authorize -> the verb's handler (decode, schema, defaults, admission, validate,
store) -> encode. `Api.handle` is an http.Handler for the listener and for clients in the same process alike; the tables
below say which handler a path, a verb or a subresource has. Whatever fails expectedly is an ApiError and becomes a
Status here and only here; anything else is a bug, logged with its trace and answered 500 without it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from petset.base import pki
from petset.objects import encoding, errors
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kinds
from petset.server import (
    admission,
    answers,
    auth,
    discovery,
    flow,
    openapi,
    rbac,
    refusals,
    rest,
    reviews,
    routes,
    streams,
    subresources,
    tokens,
    unknown,
    watch,
    weight,
)
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http, streaming

log = logging.getLogger("petset.server")

QUERY_FIELDS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Options:
    token_key: pki.SigningKey  # Signs service-account tokens.
    former_token_secret: bytes = b""  # Signed them before; those that have not expired stay good.
    issuer: str = tokens.DEFAULT_ISSUER
    metrics: Callable[[], bytes] | None = None  # The text of /metrics.
    checks: Mapping[str, Callable[[], str]] | None = None  # /readyz, /healthz: name -> "" or why it is not ready.


class Api:
    def __init__(self, store: stores.Store, options: Options, streams_of: streaming.StreamsOf, kinds: Catalog):
        self._options, self._kinds = options, kinds
        self.tokens = tokens.Tokens(options.token_key, options.issuer, options.former_token_secret)
        self.authenticator = auth.Authenticator(store, self.tokens)
        self.authorizer = auth.Authorizer(store)
        self._refusals = refusals.Refusals()
        self.rest = rest.Rest(store, admission.Admission(store, self.authorizer))
        self.watches = watch.Watches(store, kinds)
        self._flow = flow.Flow(store)
        self._line = weight.Line()
        reviewer = reviews.Reviews(self.authenticator, self.authorizer)
        subs = subresources.Subresources(store, self.rest, self.tokens)
        pods = streams.Streams(store, streams_of)
        # Of a collection or an object, by verb.
        self._verbs: Mapping[str, Answer] = {
            "get": self.rest.get,
            "list": self.rest.list,
            "watch": self.watches.answer,
            "create": self.rest.post,
            "update": self.rest.put,
            "patch": self.rest.patch,
            "delete": self.rest.delete,
            "deletecollection": self.rest.delete_collection,
        }
        # Of a subresource, by name and verb.
        self._subresources: Mapping[tuple[str, str], Answer] = {
            ("status", "get"): self.rest.get,
            ("status", "update"): self.rest.put,
            ("status", "patch"): self.rest.patch,
            ("scale", "get"): subs.get_scale,
            ("scale", "update"): subs.put_scale,
            ("scale", "patch"): subs.patch_scale,
            ("binding", "create"): subs.bind,
            ("eviction", "create"): subs.evict,
            ("token", "create"): subs.request_token,
            ("finalize", "update"): subs.finalize,
            ("log", "get"): pods.log,
            ("exec", "get"): pods.exec,
            ("exec", "create"): pods.exec,
            ("attach", "get"): pods.attach,
            ("attach", "create"): pods.attach,
            ("portforward", "get"): pods.portforward,
            ("portforward", "create"): pods.portforward,
        }
        # Of a kind that is a question and never stored.
        self._reviews: Mapping[str, Answer] = {
            "selfsubjectaccessreviews": reviewer.self_access,
            "subjectaccessreviews": reviewer.access,
            "selfsubjectrulesreviews": reviewer.self_rules,
            "selfsubjectreviews": reviewer.self_review,
            "tokenreviews": reviewer.token,
        }

    async def handle(self, request: http.Request) -> http.Response:
        warnings: list[str] = []
        try:
            return await self._answer(request, warnings)
        except errors.ApiError as error:
            self._refusals.note(request, error)
            return answers.failure(error, warnings)
        except Exception as error:
            return answers.failure(_translated(request, error), warnings)

    async def _answer(self, request: http.Request, warnings: list[str]) -> http.Response:
        kinds = self._kinds.now
        route = routes.parse(request.target, kinds)
        query = _query(request.target)
        asking = self.authenticator.identify(request)
        with self._flow.request(request, asking):
            return await self._answer_to(request, asking, route, kinds, query, warnings)

    async def _answer_to(
        self,
        request: http.Request,
        asking: http.User,
        route: routes.Route,
        kinds: Kinds,
        query: dict[str, list[str]],
        warnings: list[str],
    ) -> http.Response:
        user = asking
        await self.authorizer.catch_up(asking)
        if any(key.startswith("impersonate-") for key, _ in request.headers):
            user = auth.impersonated(request, user, self.authorizer)
            await self.authorizer.catch_up(user)
        call = Call(request, route, user, query, weight.Work(self._line, asking.name), kinds, warnings=warnings)
        if route.resource is None:
            call.check_timeout()
            return self._path(call)
        call.verb = routes.verb_of(request.method, route, query)
        self.authorizer.require(user, routes.attributes(call))
        streams_ = call.verb == "watch" or route.subresource in flow.STREAMING_SUBRESOURCES
        if streams_:
            self._flow.require_stream(request, asking)
        else:
            call.check_timeout()
        response = await self._handler(call)(call)
        return self._flow.streamed(request, asking, response) if streams_ else response

    def _handler(self, call: Call) -> Answer:
        resource, route, verb = call.resource, call.route, call.verb
        if route.subresource:
            found = self._subresources.get((route.subresource, verb))
        elif verb not in resource.verbs:
            found = None
        else:
            found = self._reviews.get(resource.plural) or self._verbs[verb]
        names_one = bool(route.name) == (verb not in ("create", "list", "watch", "deletecollection"))
        if found is None or not (names_one or route.subresource):
            raise errors.method_not_allowed(call.request.method, route.path)
        return found

    def _path(self, call: Call) -> http.Response:
        """The answer to a path that names no resource. Raises ApiError."""
        path, request = call.route.path, call.request
        self.authorizer.require(call.user, rbac.Attributes(_PATH_VERBS.get(request.method, "post"), path=path))
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed(request.method, path)
        response: http.Response | None = None
        if path.startswith("/openapi/"):
            response = openapi.answer(call.kinds, path, request)
        elif path == "/" or path == "":
            response = answers.json(200, {"paths": ROOT_PATHS})
        elif path == tokens.DISCOVERY_PATH:
            response = _for_verifiers("application/json", self.tokens.discovery())
        elif path == tokens.KEY_SET_PATH:
            response = _for_verifiers("application/jwk-set+json", self.tokens.key_set())
        elif path == "/metrics" and self._options.metrics is not None:
            response = http.Response(200, (("content-type", "text/plain; version=0.0.4"),), self._options.metrics())
        elif path.split("/")[1] in ("healthz", "livez", "readyz"):
            response = self._health(call)
        else:
            response = discovery.answer(call.kinds, path, request)
        if response is None:
            raise unknown.path(path, ROOT_PATHS)
        return response

    def _health(self, call: Call) -> http.Response | None:
        """/healthz, /livez and /readyz, each check's own path, all by name with ?verbose, but for those to ?exclude."""
        _, probe, *named = call.route.path.split("/")
        checks = {"ping": lambda: ""} | dict(self._options.checks or {})
        if named and (len(named) > 1 or named[0] not in checks):
            return None
        asked = named or (["ping"] if probe == "livez" else checks)  # A full disk is no reason to restart the server.
        left_out = frozenset(call.query.get("exclude", ()))
        results = {name: checks[name]() for name in asked if name not in left_out}
        healthy = not any(results.values())
        if healthy and "verbose" not in call.query:
            text = "ok"
        else:
            lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in results.items()]
            text = "\n".join([*lines, f"{probe} check {'passed' if healthy else 'failed'}", ""])
        return http.Response(200 if healthy else 500, (("content-type", "text/plain; charset=utf-8"),), text.encode())


Answer = Callable[[Call], Awaitable[http.Response]]

_PATH_VERBS = {"GET": "get", "HEAD": "get", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}
ROOT_PATHS = [
    "/api",
    "/api/v1",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/version",
]


def _for_verifiers(content_type: str, tree: Object) -> http.Response:
    headers = (("content-type", content_type), ("cache-control", "public, max-age=3600"))
    return http.Response(200, headers, encoding.dumps(tree))


def _query(target: str) -> dict[str, list[str]]:
    text = target.partition("?")[2]
    if not text:
        return {}
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise errors.bad_request(f"cannot read the query: it has more than {QUERY_FIELDS_MAX} parameters") from None


def _translated(request: http.Request, error: Exception) -> errors.ApiError:
    """A failure of a lower layer as the API tells it; a bug as a 500 that says no more than that."""
    if isinstance(error, stores.Unavailable):
        return errors.unavailable(f"cannot write: {error}; free space in the state directory and retry")
    if isinstance(error, stores.Expired):
        return errors.expired(str(error))
    if isinstance(error, stores.Conflict):
        return errors.ApiError(409, "Conflict", f"cannot write {error}: {errors.MODIFIED}")
    if isinstance(error, RecursionError):
        return errors.bad_request("cannot read the body: it is nested too deeply")
    log.error("cannot answer %s %s", request.method, request.target.partition("?")[0], exc_info=error)
    return errors.ApiError(500, "InternalError", "Internal error occurred: this is a bug in petset; see its log")
