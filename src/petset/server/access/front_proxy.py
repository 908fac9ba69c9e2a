"""Who asks through a front proxy: it has authenticated him, and says so in headers.

Headers are believed only of who shows a certificate of the front proxies' authority in one of the allowed names, which
the listener tells (`Peer.front_proxy`); of everybody else they are passed over, and never handed on. A name is needed;
groups, uid and extra may be missing. What is published in kube-system/extension-apiserver-authentication says the same
of this server to others. Follows: "Authenticating Proxy" of the Kubernetes documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.objects import errors
from petset.server.access import users
from petset.wire import http

ALLOWED = "front-proxy-client"  # The common name that certificates of front proxies have.
USER_HEADER, UID_HEADER, GROUP_HEADER = "X-Remote-User", "X-Remote-Uid", "X-Remote-Group"
EXTRA_HEADERS = "X-Remote-Extra-"
USER, UID, GROUP, EXTRA = USER_HEADER.lower(), UID_HEADER.lower(), GROUP_HEADER.lower(), EXTRA_HEADERS.lower()
_NAMES = (USER, UID, GROUP)


@dataclass(frozen=True, slots=True)
class Told:
    """The headers (in lower case) that tell who asks: of several for the same, the first that says something."""

    users: tuple[str, ...] = (USER,)
    uids: tuple[str, ...] = (UID,)
    groups: tuple[str, ...] = (GROUP,)
    extra_prefixes: tuple[str, ...] = (EXTRA,)


OWN = Told()


def is_told_by(name: str) -> bool:
    """Whether a header (in lower case) is one that tells who asks."""
    return name.startswith("x-remote-") and (name in _NAMES or name.startswith(EXTRA))


def user(request: http.Request, proxy: str | None, allowed: tuple[str, ...], told: Told = OWN) -> http.User | None:
    """Whom a proxy says it asks for; None when it says nobody. Raises ApiError 401 for one that is not allowed to."""
    if proxy not in allowed:
        raise errors.unauthorized()
    name = _first(request, told.users).strip()
    if not name:
        return None
    groups = tuple(group for header in told.groups for group in request.header_values(header) if group)
    extra = users.extra_of(one for prefix in told.extra_prefixes for one in users.extras_in(request, prefix))
    return users.with_everybody(http.User(name, groups, _first(request, told.uids), extra))


def _first(request: http.Request, names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := request.header(name))), "")
