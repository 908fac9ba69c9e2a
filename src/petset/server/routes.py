"""What a URL names: a resource, one of its objects or subresources, or a path that is no resource.

A path is split first and its segments percent-decoded then, so a name can never smuggle in a slash; `of_kind` reads
`/api/v1/...` and `/apis/<group>/<version>/...`. `Call` is one request on its way through the server: who asks, what
for, with which query, and the warnings collected for the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from petset.kinds.namespace import NAMESPACES
from petset.objects import durations, errors, meta
from petset.objects.registry import Kind, Kinds
from petset.server import unknown, weight
from petset.server.access import rbac
from petset.wire import http


@dataclass(frozen=True, slots=True)
class Route:
    path: str
    resource: Kind | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    finer: str = ""  # Another one, the right to which is enough.


@dataclass(slots=True)
class Path:
    raw: str  # As it was asked for.
    parts: list[str]  # Decoded, without an empty one at the end.


def path(target: str) -> Path:
    """The path of a request target. Raises ApiError 404 for one that hides a slash, unless it is a pod's."""
    raw = target.partition("?")[0]
    parts = raw.split("/")[1:]
    if "%" in raw:
        parts = [unquote(part) for part in parts]
        own = parts[: own_parts(parts) or None]
        if any("/" in part for part in own):
            raise unknown.path(raw)
    if parts and parts[-1] == "":
        parts.pop()
    return Path(raw, parts)


def own_parts(parts: list[str]) -> int:
    """How many parts of a path lead to what a pod, service or node serves, whose business the others are; 0: none."""
    return 7 if is_of_pod(parts) else 5 if is_of_node(parts) else 0


def is_of_pod(parts: list[str]) -> bool:
    """Whether a path is one of a pod or service, or below it."""
    match parts:
        case ["api", "v1", "namespaces", _, "pods" | "services", _, "proxy", *_]:
            return True
        case _:
            return False


def is_of_node(parts: list[str]) -> bool:
    """Whether a path is one of a node, or below it."""
    match parts:
        case ["api", "v1", "nodes", _, "proxy", *_]:
            return True
        case _:
            return False


def of_kind(path: Path, kinds: Kinds) -> Route:
    """The route of a path below a group version. Raises ApiError 404 for a resource that is none of these kinds."""
    if path.parts[0] == "api":
        return _resource_route(path.raw, kinds, "", path.parts[1], path.parts[2:])
    return _resource_route(path.raw, kinds, path.parts[1], path.parts[2], path.parts[3:])


def of_one(collection: Route, path: str, name: str) -> Route | None:
    """The route of one object, whose path has its name after that of a collection; None where it is no such path."""
    resource = collection.resource
    if resource is None or collection.name or not name or resource.namespaced != bool(collection.namespace):
        return None
    return Route(path, resource, collection.namespace, name)


def of_strangers(path: Path) -> Route:
    """The route of a path below a group version of another server, whose kinds are known by their place only."""
    _, group, version, *rest = path.parts
    if not rest:
        return Route(path.raw)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = rest[0], "".join(rest[1:2]), "/".join(rest[2:])
    return Route(path.raw, Kind(group, version, plural, "", bool(namespace)), namespace, name, subresource)


def _resource_route(path: str, kinds: Kinds, group: str, version: str, rest: list[str]) -> Route:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACES.subresources:
        namespace, rest = rest[1], rest[2:]
        if not namespace:
            raise unknown.path(path)
    resource = kinds.at(group, version, rest[0])
    if resource is None:
        raise unknown.resource(kinds, group, version, rest[0])
    if len(rest) > 3 or bool(namespace) > resource.namespaced or "" in rest:
        raise unknown.path(path)
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in resource.subresources:
        raise unknown.subresource(resource, subresource)
    if name and resource.namespaced and not namespace:
        raise unknown.path(path)
    return Route(path, resource, namespace, name, subresource)


_PATH_VERBS = {"GET": "get", "HEAD": "get", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(slots=True)
class Call:
    request: http.Request
    route: Route
    user: http.User
    query: dict[str, list[str]]
    work: weight.Work
    kinds: Kinds  # Those that there were when it came: to the end it meets no others.
    verb: str = ""
    warnings: list[str] = field(default_factory=list[str])
    audit_annotations: dict[str, str] = field(default_factory=dict[str, str])  # What admission says for the audit log.

    @property
    def resource(self) -> Kind:
        assert self.route.resource is not None
        return self.route.resource

    def parameter(self, name: str, default: str = "") -> str:
        values = self.query.get(name)
        return values[0] if values else default

    def flag(self, name: str) -> bool:
        """A boolean parameter; given without a value it is true, as in kubectl's own URLs."""
        values = self.query.get(name)
        return bool(values) and _is_on(values[0])

    def number(self, name: str, most: int = 2**62) -> int | None:
        """A parameter that counts something, None when absent. Raises ApiError 400."""
        text = self.parameter(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 30:
            raise errors.bad_request(
                f"cannot read the query parameter {name}: {text[:40]!r} is not a whole number >= 0"
            )
        return min(int(text), most)

    def timeout_seconds(self) -> float | None:
        """How long ?timeout= lets the answer take, None for as long as it takes. Raises ApiError 400."""
        text = self.parameter("timeout")
        if not text:
            return None
        seconds = durations.seconds_of(text)
        if seconds is None:
            raise errors.bad_request(f"invalid timeout specified in the request URL: {text[:40]!r} is not like 30s")
        return seconds if seconds > 0 else None


def _is_on(given: str) -> bool:
    return given == "" or meta.truth(given) is True


def verb_of(method: str, route: Route, query: dict[str, list[str]]) -> str:
    """The API's verb for a method; of a path that is no resource the method's own. Raises ApiError 405."""
    if route.resource is None:
        return _PATH_VERBS.get(method, "post")
    if method in ("GET", "HEAD"):
        if route.name:
            return "get"
        return "watch" if _is_on(query.get("watch", ["false"])[0]) else "list"
    if method == "DELETE":
        return "delete" if route.name else "deletecollection"
    verb = _VERBS.get(method)
    if verb is None and route.subresource == "proxy":
        return method.lower()  # Whoever is asked answers it; only who may do anything may ask.
    if verb is None:
        raise errors.method_not_allowed(method, route.path)
    return verb


def attributes(call: Call) -> rbac.Attributes:
    """What authorization is asked about this call."""
    route, resource, name = call.route, call.route.resource, call.route.name
    if resource is None:
        return rbac.Attributes(call.verb, path=route.path)
    fields = call.parameter("fieldSelector")
    if not name and fields and call.verb in ("list", "watch", "deletecollection"):
        name = _named_by(fields)  # A list of the one object that a selector names asks for no more than a get.
    # Inside a namespace, the namespace object itself counts as of that namespace: a Role there may allow reading it.
    namespace = route.name if resource is NAMESPACES else route.namespace
    return rbac.Attributes(
        call.verb, resource.group, resource.plural, route.subresource, namespace, name, field_selector=fields
    )


def _named_by(field_selector: str) -> str:
    for term in field_selector.split(","):
        path, _, value = term.partition("=")
        if path == "metadata.name" and value:
            return value.removeprefix("=")
    return ""
