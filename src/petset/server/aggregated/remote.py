"""A group version that another server has: its requests are handed on to him, and he is told who asks.

Who asks was authenticated and authorized here. His name, groups, uid and extra go along in headers that nobody else may
set, over a connection on which this server shows the certificate of the front proxy: by that the other one believes
them. Where he is the APIService says by its service, whose certificate must be of NAME.NAMESPACE.svc and of its
caBundle. A watch or another long answer comes through piece by piece, an upgrade as two joined connections; each of
these has a connection of its own, all else shares those that are kept.
Follows: "Kubernetes API Aggregation Layer" of the Kubernetes documentation.
"""

from __future__ import annotations

import base64
import functools
import ssl
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from petset.base import pki
from petset.net import dialer
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kinds
from petset.server import routes
from petset.server.access import front_proxy
from petset.server.elsewhere import calling, handing_on
from petset.server.elsewhere.service_targets import Targets
from petset.server.routes import Call, Path, Route
from petset.wire import http

ANSWER_SECONDS_MAX = 60.0  # From the request to the answer's head.
CONTEXTS_KEPT_MAX = 64
DIALERS_KEPT_MAX = 8  # Of one group version: as many addresses are asked over connections that are kept.
_HEADER_CHARACTERS = "!#$&'*+-.^_`|~"  # Of a header's name, beside letters and digits.


class Remote:
    """The backend of one group version."""

    def __init__(self, targets: Targets, obj: Object, front_proxy: pki.Issued | None):
        self._targets, self._front_proxy = targets, front_proxy
        self.spec = meta.part(obj, "spec")
        self.is_available = False
        self._dialers: dict[tuple[Any, ...], dialer.Dialer] = {}  # By whom they reach, and how; used last at the end.

    def retire(self) -> None:
        """It is asked no more; what is under way goes on."""
        for one in self._dialers.values():
            one.retire()
        self._dialers.clear()

    def route(self, path: Path, kinds: Kinds) -> Route:
        return routes.of_strangers(path)

    async def answer(self, call: Call) -> http.Response:
        if not self.is_available:
            raise errors.unavailable("service unavailable")
        return await self.ask(call.request, call.user, ANSWER_SECONDS_MAX)

    async def ask(self, request: http.Request, user: http.User, seconds: float) -> http.Response:
        """His answer, to be read or closed. Raises ApiError 503."""
        try:
            place = await calling.place_of(self._targets, {"service": self.spec["service"]})
            tls = _context(
                self.spec.get("caBundle") or "", bool(self.spec.get("insecureSkipTLSVerify")), self._front_proxy
            )
        except (calling.NoAnswer, OSError) as error:
            raise errors.unavailable(f"error trying to reach service: {error}") from None
        asked = http.Request(request.method, request.target, headers(request, user), request.body)
        if asked.header("upgrade") or is_watch(request):
            answer = await handing_on.exchange(_dialer(place, tls, seconds), asked)
        else:
            answer = await handing_on.over_kept(self._kept(place, tls, seconds), asked)
        back = tuple((name, value) for name, value in answer.headers if name not in handing_on.NOT_HANDED_BACK)
        return replace(answer, headers=back)

    def _kept(self, place: calling.Place, tls: ssl.SSLContext, seconds: float) -> dialer.Dialer:
        key = place.base_url, place.address, id(tls), seconds
        found = self._dialers.pop(key, None) or _dialer(place, tls, seconds)
        self._dialers[key] = found
        if len(self._dialers) > DIALERS_KEPT_MAX:
            self._dialers.pop(next(iter(self._dialers))).retire()
        return found


def is_watch(request: http.Request) -> bool:
    """Whether its answer goes on for as long as somebody reads it."""
    return any(name == "watch" and value not in ("false", "0") for name, value in request.query)


def _dialer(place: calling.Place, tls: ssl.SSLContext, seconds: float) -> dialer.Dialer:
    return dialer.Dialer(
        place.base_url,
        tls,
        connect_seconds_max=min(seconds, dialer.CONNECT_SECONDS_MAX),
        answer_seconds_max=seconds,
        whole_bytes_max=calling.ANSWER_BYTES_MAX,
        address=place.address,
    )


def headers(request: http.Request, user: http.User) -> http.Headers:
    """A request's headers as they are handed on, with who asks."""
    told = ("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-uri", "x-forwarded-proto")
    added = [
        ("x-forwarded-for", handing_on.forwarded(request)),
        ("x-forwarded-host", request.header("host")),
        ("x-forwarded-uri", request.target.partition("?")[0]),
        ("x-forwarded-proto", "https"),
        (front_proxy.USER, user.name),
        (front_proxy.UID, user.uid),
        *((front_proxy.GROUP, group) for group in user.groups),
        *(
            (front_proxy.EXTRA + quote(key.lower(), safe=_HEADER_CHARACTERS), value)
            for key, values in user.extra
            for value in values
        ),
    ]
    return (*handing_on.kept(request, told), *((name, value) for name, value in added if value))


@functools.lru_cache(CONTEXTS_KEPT_MAX)
def _context(bundle: str, believes: bool, issued: pki.Issued | None) -> ssl.SSLContext:
    """Whom to trust, and what to show of oneself. Raises OSError."""
    if believes:
        return pki.unverified_context(issued)
    if not bundle:
        context = ssl.create_default_context()
        if issued is not None:
            context.load_cert_chain(issued.certificate, issued.key)
        return context
    try:
        return pki.client_context(base64.b64decode(bundle).decode(), issued)
    except (ValueError, ssl.SSLError) as error:
        raise OSError(f"unable to load root certificates: {error}") from None
