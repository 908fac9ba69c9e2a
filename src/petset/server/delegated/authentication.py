"""Who asks an extension server: the cluster's front proxy says it, a certificate of the cluster, or a token.

In this order, as upstream's: whom a front proxy asks for; a client certificate's user; the user of a bearer token,
which the cluster is asked about (TokenReview), and whose answer counts for some seconds; else system:anonymous. By
which authorities certificates are judged is `certificates`, replaced as a whole when the cluster's ConfigMap changes,
so that also connections that are open already are judged by the newest. Credentials that are none are 401.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass, field

from petset.base import tasks, telemetry
from petset.client.client import Client
from petset.kinds.reviews import TOKENREVIEWS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server.access import front_proxy, reviews, users
from petset.server.delegated import trust
from petset.server.delegated.answers import Answers
from petset.wire import http

USERS_JOINED_MAX = 2_000
COUNTED = "apiserver_delegated_authn_request_total"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What is kept of it."""
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Whose:
    user: http.User | None  # None: the token is no good.


class Authenticator:
    def __init__(self, client: Client, metrics: telemetry.Telemetry):
        self.certificates: trust.Certificates | None = None  # Until the cluster's ConfigMap is read.
        self._client = client
        self._tokens = Answers(
            "cannot tell whose the token is",
            self._reviewed,
            lambda code: metrics.count(COUNTED, code),
            lambda token: token.digest,
        )
        self._joined = functools.lru_cache(USERS_JOINED_MAX)(users.with_everybody)

    def pending(self, request: http.Request) -> Awaitable[None] | None:
        if request.user is not None or (token := _bearer(request)) is None or self._tokens.known(token) is not None:
            return None
        return None if self._by_certificate(request) is not None else self._learnt(token)

    async def _learnt(self, token: _Token) -> None:
        await self._tokens.of(token)

    def identify(self, request: http.Request) -> http.User:
        if request.user is not None:
            return self._joined(request.user)
        user = self._by_certificate(request)
        if user is not None:
            return user
        token = _bearer(request)
        if token is not None and (known := self._tokens.known(token)) is not None and known.user is not None:
            return self._joined(known.user)
        if token is not None or request.header("authorization") or request.peer.certificate:
            raise errors.unauthorized()
        return users.ANONYMOUS

    def _by_certificate(self, request: http.Request) -> http.User | None:
        """None where the connection has none that names anybody."""
        if not request.peer.certificate:
            return None
        if self.certificates is None:
            raise errors.unavailable("cannot tell who asks: the cluster's authorities are not known yet; try again")
        shown = self.certificates.shown(request.peer.certificate)
        if shown.not_after < tasks.now():
            return None
        if shown.front_proxy is not None:
            by = self.certificates.trust
            return front_proxy.user(request, shown.front_proxy, by.allowed or (shown.front_proxy,), by.told)
        return self._joined(shown.user) if shown.user is not None else None

    async def _reviewed(self, token: _Token) -> _Whose:
        """Raises ApiError, OSError."""
        answer = await self._client.create({**_REVIEW, "metadata": {}, "spec": {"token": token.text}}, TOKENREVIEWS)
        status = meta.part(answer, "status")
        user = reviews.user_of(meta.part(status, "user"))
        return _Whose(user if status.get("authenticated") is True and user.name else None)


_REVIEW: Object = {"apiVersion": TOKENREVIEWS.api_version, "kind": TOKENREVIEWS.kind}


def _bearer(request: http.Request) -> _Token | None:
    scheme, _, token = request.header("authorization").partition(" ")
    return _Token(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
