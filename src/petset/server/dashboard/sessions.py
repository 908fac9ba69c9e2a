"""Who has signed in to the dashboard: links that are used once, and the sessions that they become.

`petset open` gets a link over the instance's own socket; the page behind it redeems it for a session, whose secret the
browser keeps in a cookie and whose user is the instance's administrator. Kept in this process alone, so that all end
with it, and by digest, so that what is in memory opens nothing.
Invariants: a link opens one session at most and none after LINK_SECONDS_MAX; a session ends after SESSION_SECONDS_MAX.
A cookie counts only for requests that the dashboard's own pages make: those that write, or take a connection over,
must name their origin; those that another page makes are anonymous. It never counts for what pods serve, whose pages
would be of the same origin. Follows: RFC 6265bis (cookies), Fetch Metadata.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from petset.base import tasks
from petset.objects import errors
from petset.server import routes
from petset.server.access import users
from petset.wire import http

LINK_SECONDS_MAX = 120.0
SESSION_SECONDS_MAX = 12 * 3600.0
LINKS_MAX = 16  # The oldest goes.
SESSIONS_MAX = 64
SECRET_BITS = 256
SECRET_CHARACTERS_MAX = 200
HTTPS_PORT = "443"
STATISTICS = ["stats", "summary"]
ORIGIN_REFUSED = (
    "cannot do this by the dashboard's session: the request does not come from the dashboard's own pages; "
    "use a kubeconfig"
)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _secret() -> str:
    return f"{tasks.rng().getrandbits(SECRET_BITS):064x}"


@dataclass(slots=True)
class Sessions:
    user: http.User = users.ADMINISTRATOR
    _links: dict[bytes, float] = field(default_factory=dict[bytes, float])  # When each ends, by digest.
    _sessions: dict[bytes, float] = field(default_factory=dict[bytes, float])

    def link(self) -> str:
        """The secret of a new link."""
        return _added(self._links, LINK_SECONDS_MAX, LINKS_MAX)

    def redeem(self, link: str) -> str | None:
        """The secret of the session that a link becomes; None for one that is none, or was used."""
        ends = self._links.pop(_digest(link), 0.0) if len(link) <= SECRET_CHARACTERS_MAX else 0.0
        return _added(self._sessions, SESSION_SECONDS_MAX, SESSIONS_MAX) if ends > tasks.now() else None

    def ends(self, request: http.Request) -> float | None:
        """When the session ends that the request's cookie names; None: it names none."""
        ends = self._sessions.get(_digest(secret)) if self._sessions and (secret := cookie(request)) else None
        return ends if ends is not None and ends > tasks.now() else None

    def end(self, request: http.Request) -> None:
        self._sessions.pop(_digest(cookie(request)), None)

    def user_of(self, request: http.Request) -> http.User | None:
        """Whom a request's cookie lets ask; None: nobody. Raises ApiError 403 for a change that another page asks."""
        if self.ends(request) is None or is_of_others(request.target):
            return None
        if is_from_own_page(request):
            return self.user
        if changes(request):
            raise errors.ApiError(403, "Forbidden", ORIGIN_REFUSED)
        return None


def _added(kept: dict[bytes, float], seconds: float, most: int) -> str:
    now, secret = tasks.now(), _secret()
    for digest in [digest for digest, ends in kept.items() if ends <= now]:
        del kept[digest]
    while len(kept) >= most:
        del kept[next(iter(kept))]
    kept[_digest(secret)] = now + seconds
    return secret


def cookie_name(request: http.Request) -> str:
    """Of the session's cookie: cookies know no ports, and two instances share a host."""
    port = request.header("host").rpartition("]")[2].rpartition(":")[2]
    return f"__Host-petset-{port if port.isascii() and port.isdigit() and len(port) < 6 else HTTPS_PORT}"


def cookie(request: http.Request) -> str:
    """The session's secret as the browser keeps it, "" for none."""
    if not request.header("cookie"):
        return ""
    name = cookie_name(request)
    for header in request.header_values("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name and len(value) <= SECRET_CHARACTERS_MAX:
                return value
    return ""


def kept_by_browser(request: http.Request, secret: str) -> str:
    """The Set-Cookie of a session; of one that has ended for ""."""
    seconds = int(SESSION_SECONDS_MAX) if secret else 0
    return f"{cookie_name(request)}={secret}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict"


def changes(request: http.Request) -> bool:
    """Whether a request does more than read: it writes, or takes the connection over (a terminal)."""
    return request.method not in ("GET", "HEAD") or bool(request.header("upgrade"))


def is_from_own_page(request: http.Request) -> bool:
    """Whether the browser says that a page of this origin asks; of what only reads, that no other does."""
    origin, site = request.header("origin"), request.header("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (origin and origin != own_origin(request)):
        return False
    return bool(origin) or not changes(request)


def own_origin(request: http.Request) -> str:
    return f"https://{request.header('host')}"


def is_of_others(target: str) -> bool:
    """Whether others than this server answer at a path: pods, services, and nodes but for their statistics."""
    parts = routes.path(target).parts
    own = routes.own_parts(parts)
    return bool(own) and not (routes.is_of_node(parts) and parts[own:] == STATISTICS)
