"""Who asks, and whether they may: authentication, impersonation, and the chain of authorizers.

A caller is, in this order: the user an in-process transport vouches for, a verified client certificate's, whom a front
proxy says that it asks for, a service-account token's whose account (and what it is bound to) still lives, whom a
session of the dashboard lets ask, or system:anonymous. Everybody else joins system:authenticated. Then the chain is
asked: system:masters may everything, the node authorizer speaks for nodes, RBAC for all. A refusal is 403 in the form
Kubernetes' users know, or 401 for the anonymous, who would be told nothing useful otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from petset.base import tasks
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.secret import SECRETS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.objects import errors, meta
from petset.server.access import front_proxy, nodes, rbac, tokens, users
from petset.store import store as stores
from petset.wire import http

log = logging.getLogger("petset.server")

USERS_JOINED_MAX = 2_000
TERMINATING_SECONDS_MAX = 60  # An object that should be gone for longer is, for its tokens.
BOUND = "authentication.kubernetes.io/"
CREDENTIAL_ID = f"{BOUND}credential-id"
NODE_NAME = f"{BOUND}node-name"  # Of the extra of a token that is bound to a pod or a node.


SessionUser = Callable[[http.Request], http.User | None]  # Whom a request's cookie lets ask.


class Authenticates(Protocol):
    def pending(self, request: http.Request) -> Awaitable[None] | None:
        """What is to be awaited before `identify`; None: nothing. Raises ApiError, as awaiting does."""
        ...

    def identify(self, request: http.Request) -> http.User:
        """The caller. Raises ApiError 401, 403 for credentials that are wrong; having none is being anonymous."""
        ...


class Authenticator:
    def __init__(self, store: stores.Store, issuer: tokens.Tokens, session_user: SessionUser = lambda request: None):
        self.issuer, self._session_user = issuer, session_user
        self._front_proxies = (front_proxy.ALLOWED,)
        self._store = store
        self._joined: dict[http.User, http.User] = {}
        self._joined_last: tuple[http.User, http.User] | None = None  # To know a user again takes longer than this.

    def pending(self, request: http.Request) -> Awaitable[None] | None:
        """The key that a token was signed by may have to be read first."""
        if not self.issuer.is_away or request.user or request.peer.certificate_user:
            return None
        return self.issuer.ready() if request.header("authorization") else None

    def identify(self, request: http.Request) -> http.User:
        user = request.user or request.peer.certificate_user
        if user is None:
            proxy = request.peer.front_proxy
            is_proxy = proxy is not None
            if is_proxy and (said := front_proxy.user(request, proxy, self._front_proxies)) is not None:
                return said
            header = request.header("authorization")
            if not header and is_proxy:
                raise errors.unauthorized()  # Its certificate is good for nothing else.
            if not header:
                signed_in = self._session_user(request) if request.header("cookie") else None
                return users.ANONYMOUS if signed_in is None else self._with_everybody(signed_in)
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise errors.unauthorized()
            user = self.token_user(token.strip(), (self.issuer.issuer,))
        return self._with_everybody(user)

    def _with_everybody(self, user: http.User) -> http.User:
        if users.AUTHENTICATED in user.groups:
            return user
        last = self._joined_last
        if last is not None and last[0] is user:
            return last[1]
        joined = self._joined.get(user)
        if joined is None:
            if len(self._joined) > USERS_JOINED_MAX:
                self._joined.clear()
            joined = self._joined[user] = users.with_everybody(user)
        self._joined_last = (user, joined)
        return joined

    def token_user(self, token: str, audiences: tuple[str, ...]) -> http.User:
        """The user of a service-account token. Raises ApiError 401."""
        return self.token_review(token, audiences)[0]

    def token_review(self, token: str, audiences: tuple[str, ...]) -> tuple[http.User, tuple[str, ...]]:
        """(its user, those of the audiences it is for). Raises ApiError 401."""
        try:
            claims = self.issuer.verify(token, audiences, tasks.now())
            self._check_alive(claims, tasks.now())
        except (tokens.InvalidToken, KeyError, TypeError, ValueError, AttributeError) as error:
            log.debug("refused a bearer token: %s", error)
            raise errors.unauthorized() from None
        return _account_user(claims), tuple(audience for audience in audiences if audience in claims.audiences)

    def _check_alive(self, claims: tokens.Claims, now: float) -> None:
        """A token dies with its account and with what it is bound to. Raises InvalidToken."""
        space = claims.namespace
        bound = [(SERVICEACCOUNTS, claims.account), (SECRETS, claims.secret)]
        bound.append((PODS, claims.pod) if claims.pod else (NODES, claims.node))
        for resource, named in bound:
            if not named:
                continue
            found = self._store.get(resource.key(space if resource.namespaced else "", named.name))
            if found is None or meta.uid(found.object) != named.uid:
                raise tokens.InvalidToken(f"its {resource.singular} is gone")
            ends = found.object["metadata"].get("deletionTimestamp")
            if ends and now > tasks.parse_rfc3339(ends) + TERMINATING_SECONDS_MAX:
                raise tokens.InvalidToken(f"its {resource.singular} should have gone by now")


def _account_user(claims: tokens.Claims) -> http.User:
    extra = [(CREDENTIAL_ID, (f"JTI={claims.identifier}",))]
    for kind, named in (("node", claims.node), ("pod", claims.pod)):
        if named:
            extra += [(f"{BOUND}{kind}-name", (named.name,)), (f"{BOUND}{kind}-uid", (named.uid,))]
    groups = (*users.service_account_groups(claims.namespace), users.AUTHENTICATED)
    return http.User(claims.subject, groups, claims.account.uid, tuple(extra))


class Authorizes(Protocol):
    """Who says whether a request may; one that must ask somebody else takes its time."""

    async def catch_up(self, user: http.User) -> None:
        """To be awaited before the first question about a user."""
        ...

    async def allowed(self, user: http.User, asked: rbac.Attributes) -> bool:
        """Raises ApiError where nobody can tell now."""
        ...

    async def required(self, user: http.User, asked: rbac.Attributes) -> None:
        """Raises ApiError 403, or 401 when nobody said who they are."""
        ...


class Authorizer:
    """The chain: masters, nodes, RBAC."""

    def __init__(self, store: stores.Store):
        self.rbac = rbac.Rbac(store)
        self._nodes = nodes.NodeAuthorizer(store)

    async def catch_up(self, user: http.User) -> None:
        """To be awaited before the first question about a user, so that none has much to read (after a start, say)."""
        if users.MASTERS in user.groups:
            return
        if users.NODES in user.groups:
            await self._nodes.catch_up()
        await self.rbac.catch_up()

    def allows(self, user: http.User, asked: rbac.Attributes) -> bool:
        if users.MASTERS in user.groups:
            return True
        if users.NODES in user.groups and self._nodes.allows(user, asked):
            return True
        return self.rbac.allows(user, asked)

    async def allowed(self, user: http.User, asked: rbac.Attributes) -> bool:
        return self.allows(user, asked)

    async def required(self, user: http.User, asked: rbac.Attributes) -> None:
        self.require(user, asked)

    def reason(self, user: http.User, asked: rbac.Attributes, is_allowed: bool = True) -> str:
        """Why it allows or refuses what it does, for people; "" where there is nothing to name."""
        if not is_allowed:
            return self.rbac.missing(user, asked.namespace)
        if users.MASTERS in user.groups or (users.NODES in user.groups and self._nodes.allows(user, asked)):
            return ""
        return self.rbac.allowed_by(user, asked)

    def require(self, user: http.User, asked: rbac.Attributes) -> None:
        """Raises ApiError 403, or 401 when nobody said who they are."""
        if users.MASTERS in user.groups or self.allows(user, asked):
            return
        raise refused(user, asked, self.reason(user, asked, is_allowed=False))


def is_master(user: http.User) -> bool:
    """Whether the user may everything, so that nothing need be asked about him."""
    return users.MASTERS in user.groups


def refused(user: http.User, asked: rbac.Attributes, reason: str = "") -> errors.ApiError:
    """403, or 401 when nobody said who they are."""
    return errors.unauthorized() if user.name == users.ANONYMOUS.name else refusal(user, asked, reason)


def refusal(user: http.User, asked: rbac.Attributes, reason: str = "") -> errors.ApiError:
    reason = f": {reason}" if reason else ""
    if asked.path:
        why = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"{reason}'
        return errors.ApiError(403, "Forbidden", why, {})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = (
        f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" in API group "{asked.group}" {where}'
        f"{reason}"
    )
    return errors.forbidden(asked.resource, asked.name, why, asked.group)
