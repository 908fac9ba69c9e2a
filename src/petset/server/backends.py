"""Who answers a request: a backend, chosen by the path before it is known who asks.

The kinds that this server keeps are one, the paths that are no kinds (health, discovery, OpenAPI, ...) another; a
group version that another server keeps can have one of its own in `Backends.of_groups`; what pods serve is asked of
them. A backend says what a path means to it, which is what authorization is asked about; the way there
(authentication, flow control, authorization) is the same for all, and whoever is refused on it never reaches a backend.
The tables below say which handler a verb, a subresource or a path has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from petset.base import telemetry
from petset.kinds.metrics.node_metrics import NODEMETRICS
from petset.kinds.metrics.pod_metrics import PODMETRICS
from petset.kinds.reviews import AUTHENTICATION_GROUP, AUTHORIZATION_GROUP
from petset.objects import encoding, errors
from petset.objects.meta import Object
from petset.objects.registry import Kinds
from petset.server import answers, components, health, rest, routes, scales, subresources, unknown
from petset.server import watch as watches
from petset.server.access import reviews, tokens
from petset.server.dashboard import backend as dashboard
from petset.server.described import discovery, openapi, remotes
from petset.server.measured import figures
from petset.server.pods import streams
from petset.server.routes import Call, Path, Route
from petset.wire import http

Answer = Callable[[Call], Awaitable[http.Response]]
OfSubresources = Mapping[tuple[str, str], Answer]  # By name and verb.
PathAnswer = Callable[[Call], "http.Response | Awaitable[http.Response | None] | None"]


WAYS_KEPT_MAX = 200
WAY_CHARACTERS_MAX = 200


class Backend(Protocol):
    def route(self, path: Path, kinds: Kinds) -> Route:
        """What the path means. Raises ApiError 404."""
        ...

    def answer(self, call: Call) -> Awaitable[http.Response]:
        """The answer to one who may ask. Raises ApiError, now or when it is awaited."""
        ...


class NothingThere:
    """Where a server has nothing."""

    def route(self, path: Path, kinds: Kinds) -> Route:
        raise unknown.path(path.raw)

    def answer(self, call: Call) -> Awaitable[http.Response]:
        raise unknown.path(call.route.path)


NOTHING_THERE = NothingThere()


@dataclass(slots=True)
class Backends:
    kinds: Backend
    paths: Backend
    proxy: Backend = NOTHING_THERE
    node_proxy: Backend = NOTHING_THERE
    dashboard: Backend = NOTHING_THERE
    why: Backend = NOTHING_THERE
    # Others, by (group, version): for all below /apis/<group>/<version>. Replaced as a whole.
    of_groups: Mapping[tuple[str, str], Backend] = field(default_factory=dict[tuple[str, str], Backend])
    # The ways of the paths asked for lately: of these kinds, and of these groups.
    _ways: dict[str, tuple[Backend, Route]] = field(default_factory=dict[str, "tuple[Backend, Route]"])
    _ways_of: tuple[object, object] = (None, None)

    def way(self, path: str, kinds: Kinds) -> tuple[Backend, Route]:
        """Who answers a path as it was asked for, and what it means to him. Raises ApiError 404."""
        if self._ways_of[0] is not kinds or self._ways_of[1] is not self.of_groups or len(self._ways) > WAYS_KEPT_MAX:
            self._ways.clear()
            self._ways_of = (kinds, self.of_groups)
        known = self._ways.get(path)
        if known is None:
            of, _, name = path.rpartition("/")
            collection = self._ways.get(of)
            if collection is not None and collection[0] is self.kinds and "%" not in name:
                route = routes.of_one(collection[1], path, name)
                if route is not None:
                    return self.kinds, route
            split = routes.path(path)
            backend = self.of(split)
            known = backend, backend.route(split, kinds)
            if len(path) <= WAY_CHARACTERS_MAX:
                self._ways[path] = known
        return known

    def are_ours(self, backend: Backend) -> bool:
        """Whether what it answers is made by this server, and not handed on."""
        return backend is self.kinds or backend is self.paths or backend is self.dashboard

    def of(self, path: Path) -> Backend:
        match path.parts:
            case ["apis", group, version, *_] if (group, version) in self.of_groups:
                return self.of_groups[group, version]
            case ["petset", "why", *_]:
                return self.why
            case parts if routes.is_of_pod(parts):
                return self.proxy
            case parts if routes.is_of_node(parts):
                return self.node_proxy
            case [dashboard.NAME, *_]:
                return self.dashboard
            case ["api", _, _, *_] | ["apis", _, _, _, *_]:
                return self.kinds
            case _:
                return self.paths


class LocalKinds:
    """The kinds that this server keeps: handlers by verb, by subresource and verb, and of kinds never stored."""

    def __init__(
        self, verbs: Mapping[str, Answer], subresources: OfSubresources, unstored: Mapping[tuple[str, str], Answer]
    ):
        """`unstored`, by group and plural: a question, or what is made when it is asked for."""
        self._verbs, self._subresources, self._unstored = verbs, subresources, unstored

    def route(self, path: Path, kinds: Kinds) -> Route:
        return routes.of_kind(path, kinds)

    def answer(self, call: Call) -> Awaitable[http.Response]:
        resource, route, verb = call.resource, call.route, call.verb
        if route.subresource:
            found = self._subresources.get((route.subresource, verb))
        elif verb not in resource.verbs:
            found = None
        else:
            found = self._unstored.get((resource.group, resource.plural)) or self._verbs[verb]
        names_one = bool(route.name) == (verb not in ("create", "list", "watch", "deletecollection"))
        if found is None or not (names_one or route.subresource):
            raise errors.method_not_allowed(call.request.method, route.path)
        if resource.custom is not None and resource.custom.warning:
            call.warnings.append(resource.custom.warning)
        return found(call)


# -- The tables of a whole cluster, of which a server of a few kinds takes what they need.


def verbs(objects: rest.Rest, watching: watches.Watches) -> Mapping[str, Answer]:
    """Of a collection or an object."""
    return {
        "get": objects.get,
        "list": objects.list,
        "watch": watching.answer,
        "create": objects.post,
        "update": objects.put,
        "patch": objects.patch,
        "delete": objects.delete,
        "deletecollection": objects.delete_collection,
    }


def parts_of(objects: rest.Rest, *names: str) -> OfSubresources:
    """Of subresources that are a part of the object and nothing else."""
    ways = {"get": objects.get, "update": objects.put, "patch": objects.patch}
    return {(name, verb): answer for name in names for verb, answer in ways.items()}


def scale(sizes: scales.Scales) -> OfSubresources:
    return {("scale", "get"): sizes.get, ("scale", "update"): sizes.put, ("scale", "patch"): sizes.patch}


def of_pods(subs: subresources.Subresources, pods: streams.Streams) -> OfSubresources:
    """And of what else is a cluster's alone: accounts, namespaces."""
    return {
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


def unstored(
    reviewer: reviews.Reviews, parts: components.Components, measured: figures.Figures
) -> Mapping[tuple[str, str], Answer]:
    return {
        (AUTHORIZATION_GROUP, "selfsubjectaccessreviews"): reviewer.self_access,
        (AUTHORIZATION_GROUP, "subjectaccessreviews"): reviewer.access,
        (AUTHORIZATION_GROUP, "localsubjectaccessreviews"): reviewer.local_access,
        (AUTHORIZATION_GROUP, "selfsubjectrulesreviews"): reviewer.self_rules,
        (AUTHENTICATION_GROUP, "selfsubjectreviews"): reviewer.self_review,
        (AUTHENTICATION_GROUP, "tokenreviews"): reviewer.token,
        ("", "componentstatuses"): parts.answer,
        (NODEMETRICS.group, NODEMETRICS.plural): measured.nodes,
        (PODMETRICS.group, PODMETRICS.plural): measured.pods,
    }


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


class LocalPaths:
    """What is no kind; it is read only."""

    def __init__(
        self,
        issuer: tokens.Tokens | None,
        metrics: telemetry.Telemetry | None,
        checks: Mapping[str, Callable[[], str]] | None,
    ):
        """Without an issuer nothing is said for those who verify tokens."""
        self.remotes = remotes.NOBODY  # What other servers have, for discovery. Replaced as a whole.
        self.openapi = openapi.OpenApi()
        self._health = health.Health(dict(checks or {}))
        # By the path.
        self._paths: dict[str, PathAnswer] = {
            "/": lambda call: answers.json(200, {"paths": ROOT_PATHS}),
            "/version": self._discovery,
        }
        if issuer is not None:
            self._paths[tokens.DISCOVERY_PATH] = lambda call: _for_verifiers("application/json", issuer.discovery())
            self._paths[tokens.KEY_SET_PATH] = lambda call: _key_set(issuer)
        if metrics is not None:
            metrics.source(self._health.samples)
            metrics.source(lambda: [("kubernetes_build_info", discovery.build(), 1)])
            self._paths["/metrics"] = lambda call: _metrics(call, metrics)
        # By its first part.
        self._below: Mapping[str, PathAnswer] = {
            "api": self._discovery,
            "apis": self._discovery,
            "openapi": self.openapi.answer,
            **dict.fromkeys(health.PROBES, self._health.answer),
        }

    def route(self, path: Path, kinds: Kinds) -> Route:
        return Route("/" + "/".join(path.parts))

    async def answer(self, call: Call) -> http.Response:
        path, request = call.route.path, call.request
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed(request.method, path)
        find = self._paths.get(path) or self._below.get(path.split("/")[1])
        response = find(call) if find is not None else None
        if isinstance(response, Awaitable):
            response = await response
        if response is None:
            raise unknown.path(path, ROOT_PATHS)
        return response

    def _discovery(self, call: Call) -> http.Response | None:
        return discovery.answer(call.kinds, call.route.path, call.request, self.remotes)


async def _metrics(call: Call, metrics: telemetry.Telemetry) -> http.Response:
    """All of them as they are now, made text beside the loop."""
    content_type, text = await call.work.in_turn(metrics.taken().render, call.request.header("accept"))
    return http.Response(200, (("content-type", content_type),), text)


async def _key_set(issuer: tokens.Tokens) -> http.Response:
    await issuer.ready()
    return _for_verifiers("application/jwk-set+json", issuer.key_set())


def _for_verifiers(content_type: str, tree: Object) -> http.Response:
    headers = (("content-type", content_type), ("cache-control", "public, max-age=3600"))
    return http.Response(200, headers, encoding.dumps(tree))
