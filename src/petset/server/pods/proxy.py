"""Requests handed on to pods and to the pods behind services: .../pods/[SCHEME:]NAME[:PORT]/proxy/PATH.

What is asked for below /proxy/ is asked of the pod, by any verb; its answer comes back as it is, body piece by piece,
and an upgrade (WebSocket) becomes two connections copied into each other. Who asked is authorized for the subresource
proxy, by his verb, and stays unknown to the pod: his credentials are not handed on.

Invariants: only addresses that a pod's own status names are dialled, never this machine's loopback or link-local ones;
no redirect is followed. A Location on the pod's own host is told below the proxy's path, and so are the links of a page
of HTML that is not too long.
"""

from __future__ import annotations

import functools
import ipaddress
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from petset.base import pki
from petset.kinds import endpoint_slice, transient
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.net import dialer
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.server import writes
from petset.server.admission.asking import Others
from petset.server.elsewhere import handing_on, service_targets
from petset.server.elsewhere.service_targets import Targets
from petset.server.pods import links
from petset.server.routes import Call, Path, Route
from petset.store import store as stores
from petset.wire import http

SUBRESOURCE = "proxy"
PAGE_BYTES_MAX = 4 * 1024 * 1024  # Of HTML whose links are looked at.
ANSWER_SECONDS_MAX = 600.0  # From the request to the answer's head.
KINDS: Mapping[str, Kind] = {kind.plural: kind for kind in (PODS, SERVICES)}  # As routes.is_of_pod has them.
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Named:
    """What stands for a pod or service in a path: [SCHEME:]NAME[:PORT]."""

    scheme: str
    name: str
    port: str  # A number or a name; "" for none.


def named(text: str) -> Named | None:
    """None when it is not of that form."""
    match text.split(":"):
        case [name] if name:
            return Named("http", name, "")
        case [name, port] if name:
            return Named("http", name, port)
        case [("" | "http" | "https") as scheme, name, port] if name:
            return Named(scheme or "http", name, port)
        case _:
            return None


class Proxy:
    """The backend of everything below /proxy."""

    def __init__(self, store: stores.Store, targets: Targets, others: Others):
        self._store, self._targets, self._others = store, targets, others

    def route(self, path: Path, kinds: Kinds) -> Route:
        _, _, _, namespace, plural, name, _, *_ = path.parts
        return Route(path.raw, KINDS[plural], namespace, name, SUBRESOURCE)

    async def answer(self, call: Call) -> http.Response:
        raw, question, query = call.request.target.partition("?")
        before, below = _split(raw)
        if not below and call.request.method in ("GET", "HEAD"):
            # A page's links are relative to a folder.
            return http.Response(301, (("location", f"{before}/{question}{query}"),))
        of = named(call.route.name)
        if of is None:
            raise errors.bad_request(f"invalid {call.resource.plural[:-1]} request {call.route.name[:100]!r}")
        shown = transient.POD_PROXY if call.resource is PODS else transient.SERVICE_PROXY
        await self._others.connected(writes.of_connection(call, call.route.name), shown, {"path": below or "/"})
        target = self._of_pod(call, of) if call.resource is PODS else await self._of_service(call, of)
        answer = await ask(call.request, target, (below or "/") + question + query, before)
        return await _with_links_led(call, answer, target, before)

    def _get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._store.get(kind.key(namespace, name))
        if found is None:
            raise errors.not_found(kind.plural, name)
        return found.object

    def _of_pod(self, call: Call, of: Named) -> Target:
        pod = self._get(PODS, call.route.namespace, of.name)
        address = meta.get(pod, "status", "podIP", default="")
        if not address:
            raise errors.unavailable(f"error trying to reach service: pod {of.name} has no address yet")
        _require_proxyable(address)
        declared = [
            port.get("containerPort")
            for container in meta.parts(pod, "spec", "containers")
            for port in meta.parts(container, "ports")
        ]
        port = of.port or str(next(filter(None, declared), DEFAULT_PORTS[of.scheme]))
        if not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise errors.bad_request(f"invalid pod request {call.route.name[:100]!r}: the port must be a number")
        return Target(of.scheme, address, int(port))

    async def _of_service(self, call: Call, of: Named) -> Target:
        namespace, name, port = call.route.namespace, of.name, of.port
        service = self._get(SERVICES, namespace, name)
        try:
            port = service_targets.port_name(service, int(port)) if port.isdigit() else port
            slices = await self._targets.slices(namespace, name)
            address, number = service_targets.chosen(
                service, slices, port, lambda endpoint: self._is_of_its_pod(namespace, endpoint)
            )
        except service_targets.NoTarget as error:
            raise errors.unavailable(str(error)) from None
        _require_proxyable(address)
        return Target(of.scheme, address, number)

    def _is_of_its_pod(self, namespace: str, endpoint: Object) -> bool:
        """EndpointSlices are anybody's to write; what a pod's own status says is its node's."""
        reference = meta.part(endpoint, "targetRef")
        if reference.get("kind") != PODS.kind or reference.get("namespace") != namespace:
            return False
        found = self._store.get(PODS.key(namespace, str(reference.get("name") or "")))
        address = meta.get(found.object, "status", "podIP") if found is not None else None
        return address == endpoint_slice.address_of(endpoint)


def _split(raw: str) -> tuple[str, str]:
    """The path up to and with /proxy, and the rest as it was sent."""
    parts = raw.split("/")
    below = "".join(f"/{part}" for part in parts[8:])
    return "/".join(parts[:8]), below


def _require_proxyable(address: str) -> None:
    """Raises ApiError 400 for an address that no pod has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise errors.bad_request("address not allowed") from None
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        raise errors.bad_request("address not allowed")


async def ask(request: http.Request, target: Target, path: str, prefix: str) -> http.Response:
    """The target's answer to a request, under another path. Raises ApiError 503."""
    # A pod's certificate is of nobody that is known here.
    tls = pki.unverified_context() if target.scheme == "https" else None
    there = dialer.Dialer(target.url, tls, answer_seconds_max=ANSWER_SECONDS_MAX)
    asked = http.Request(request.method, path, _handed_on(request, prefix), request.body)
    answer = await handing_on.exchange(there, asked)
    return replace(answer, headers=_handed_back(answer, target, request.header("host"), prefix))


async def _with_links_led(call: Call, answer: http.Response, target: Target, prefix: str) -> http.Response:
    """A page with its links below the proxy's path; anything else, and a page that is too long, as it is."""
    encoding = answer.header("content-encoding")
    is_page = answer.header("content-type").partition(";")[0].strip().lower() == "text/html"
    if not is_page or encoding not in ("", "gzip") or call.request.method == "HEAD" or answer.upgraded:
        return answer
    try:
        pieces, is_whole = await _begun(answer.body)
    except BaseException:
        await _ended(answer.body)
        raise
    if not is_whole:
        return replace(answer, body=_continued(pieces, answer.body))
    host = call.request.header("host")

    def led() -> bytes | None:
        page = _unpacked(pieces) if encoding else pieces
        # Of whatever character set: the bytes of names and addresses are ASCII's in all that browsers know.
        lead = functools.partial(_relocated, target=target, host=host, prefix=prefix)
        return None if page is None else links.led(page.decode("latin-1"), lead).encode("latin-1")

    page = await call.work.beside(len(pieces) * (10 if encoding else 1), led)
    if page is None:
        return replace(answer, body=pieces)
    headers = tuple(one for one in answer.headers if one[0] not in ("content-length", "content-encoding"))
    return replace(answer, headers=headers, body=page)


async def _begun(body: bytes | AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """The body, or as much of it as a page may have, and whether that is all."""
    if isinstance(body, bytes):
        return body, len(body) <= PAGE_BYTES_MAX
    begun = bytearray()
    async for piece in body:
        begun += piece
        if len(begun) > PAGE_BYTES_MAX:
            return bytes(begun), False
    return bytes(begun), True


async def _continued(begun: bytes, rest: bytes | AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        yield begun
        if not isinstance(rest, bytes):
            async for piece in rest:
                yield piece
    finally:
        await _ended(rest)


async def _ended(body: bytes | AsyncIterator[bytes]) -> None:
    """Whoever sends it need not go on."""
    if isinstance(body, AsyncGenerator):
        await body.aclose()


def _unpacked(data: bytes) -> bytes | None:
    """Without its compression; None where that cannot be, or would be too long."""
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        page = unpacking.decompress(data, PAGE_BYTES_MAX)
    except zlib.error:
        return None
    return page if unpacking.eof else None


def _handed_on(request: http.Request, prefix: str) -> http.Headers:
    told = {
        "x-forwarded-for": handing_on.forwarded(request),
        "x-forwarded-host": request.header("host"),
        "x-forwarded-uri": prefix,
    }
    return (*handing_on.kept(request, told), *((name, value) for name, value in told.items() if value))


def _handed_back(answer: http.Response, target: Target, host: str, prefix: str) -> http.Headers:
    return tuple(
        (name, _relocated(value, target, host, prefix) if name == "location" else value)
        for name, value in answer.headers
        if name not in handing_on.NOT_HANDED_BACK
    )


def _relocated(location: str, target: Target, host: str, prefix: str) -> str:
    """A Location on the pod's own host as a path below the proxy's; any other as it is."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return location
    if parts.netloc not in ("", target.authority, host) or not parts.path.startswith("/"):
        return location
    path = parts.path if parts.path.startswith(prefix) else prefix + parts.path
    rest = (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    return quote(path, safe="/%:@!$&'()*+,;=~") + rest
