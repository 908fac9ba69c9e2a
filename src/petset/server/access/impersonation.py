"""Acting as somebody else (kubectl --as): whom a request wishes to be, and whether its caller may.

Two ways lead there. By the newer one a caller needs two rights, both for the mode that the wished one is in (the node
that the caller's pod runs on, any node, a service account, any other user): to be him (`impersonate:MODE` in group
authentication.k8s.io), and to do this very thing as somebody (`impersonate-on:MODE:VERB` on what is asked for). By the
older one, the verb `impersonate` on each part of the identity, he may do all that the other may. The newer is tried
first; a refusal is told in the words of the older. Follows: "User Impersonation" of the Kubernetes documentation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from petset.kinds import reviews
from petset.objects import errors
from petset.server.access import rbac, users
from petset.server.access.auth import NODE_NAME, Authorizes
from petset.wire import http

_IMPERSONATE = "impersonate-"
_EXTRA = f"{_IMPERSONATE}extra-"
_GROUP = reviews.AUTHENTICATION_GROUP


def impersonates(request: http.Request) -> bool:
    """Whether the request asks to act as somebody else."""
    names = " ".join(request.first or request.first_values())  # One look, however many headers there are.
    return _IMPERSONATE in names and any(key.startswith(_IMPERSONATE) for key, _ in request.headers)


async def impersonated(
    request: http.Request, user: http.User, authorizer: Authorizes, asked_for: Callable[[], rbac.Attributes]
) -> http.User:
    """The user the request asks to act as, when the caller may. Raises ApiError."""
    name = request.header("impersonate-user")
    groups = tuple(request.header_values("impersonate-group"))
    uid = request.header("impersonate-uid")
    extra = users.extras_in(request, _EXTRA)
    if not (name or groups or uid or extra):
        return user
    if not name:
        raise errors.bad_request("cannot impersonate: the header Impersonate-User is missing; name a user")
    wanted = http.User(name, _with_implied(name, groups), uid, users.extra_of(extra))
    has_more = bool(groups or uid or extra)
    parts = _impersonations(name, groups, uid, extra)
    for mode, identity in _modes(user, name, has_more, parts):
        one = asked_for()
        if not await authorizer.allowed(user, dataclasses.replace(one, verb=f"impersonate-on:{mode}:{one.verb}")):
            continue
        verb = f"impersonate:{mode}"
        wished = [dataclasses.replace(part, verb=verb, group=_GROUP) for part in identity]
        if all([await authorizer.allowed(user, part) for part in wished]):
            is_node = mode.endswith("-node")
            return http.User(name, (users.NODES, users.AUTHENTICATED)) if is_node else wanted
    for asked in parts:
        await authorizer.required(user, asked)
    return wanted


def _modes(
    user: http.User, name: str, has_more: bool, parts: list[rbac.Attributes]
) -> Iterator[tuple[str, list[rbac.Attributes]]]:
    """The modes that are for somebody of this name, and the parts of his identity that each asks about."""
    node = users.node_name(http.User(name))
    if node:
        if not has_more:  # Nodes and accounts are what they are.
            itself = [rbac.Attributes("", _GROUP, "nodes", name=node)]
            if users.service_account(user.name) is not None and (node,) in [v for k, v in user.extra if k == NODE_NAME]:
                yield "associated-node", itself
            yield "arbitrary-node", itself
    elif users.service_account(name) is not None:
        if not has_more:
            yield "serviceaccount", parts
    elif not any(part.resource == "groups" and part.name == users.MASTERS for part in parts):
        yield "user-info", parts  # Who may everything is nobody to be without all rights.


def _with_implied(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups asked for, and those a user of that name is in anyway."""
    account = users.service_account(name)
    if account is not None and not groups:
        groups = users.service_account_groups(account[0])
    if users.AUTHENTICATED in groups or users.UNAUTHENTICATED in groups:
        return groups
    return (*groups, users.UNAUTHENTICATED if name == users.ANONYMOUS.name else users.AUTHENTICATED)


def _impersonations(
    name: str, groups: tuple[str, ...], uid: str, extra: list[tuple[str, str]]
) -> list[rbac.Attributes]:
    """What the caller must be allowed: the verb impersonate on each part of the identity."""
    account = users.service_account(name)
    if account is not None:
        wanted = [rbac.Attributes("impersonate", "", "serviceaccounts", namespace=account[0], name=account[1])]
    else:
        wanted = [rbac.Attributes("impersonate", "", "users", name=name)]
    wanted += [rbac.Attributes("impersonate", "", "groups", name=group) for group in groups]
    if uid:
        wanted.append(rbac.Attributes("impersonate", _GROUP, "uids", name=uid))
    wanted += [rbac.Attributes("impersonate", _GROUP, "userextras", key, name=value) for key, value in extra]
    return wanted
