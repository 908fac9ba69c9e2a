"""The dashboard's paths: its pages and scripts, and who is signed in to it.

`/dashboard/` is the dashboard for who has a session and says how to get one to everybody else; what it shows it asks
of the API like any client. `/dashboard/session` is read (GET), begun with a link's secret (POST) and ended (DELETE).
The files are package data, read when somebody asks and not kept; browsers keep them and ask whether they have changed.
Invariants: no answer lets a page run scripts or styles that are not files of the dashboard, or be shown inside another;
nothing here tells anything of the cluster.
"""

from __future__ import annotations

import hashlib
import re

from petset.base import tasks
from petset.objects import encoding, errors, meta, package_data
from petset.server import answers, unknown
from petset.server.access import users
from petset.server.dashboard import sessions
from petset.server.routes import Call, Path, Route
from petset.wire import http

NAME = "dashboard"
HOME = f"/{NAME}/"
SESSION = f"/{NAME}/session"
INDEX, SIGN_IN = "index.html", "sign-in.html"
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FILE = re.compile(r"(vendor/)?[a-z0-9-]+\.(css|html|js|svg)")
PLAIN_HOST = re.compile(r"[a-z0-9.-]+(:\d{1,5})?")
LINK_CHARACTERS_MAX = 1000
USED = "cannot sign in: the link was used already, or is too old; run `petset open` for another"
# What pages may do that others serve at this origin: nothing that could use the dashboard's session.
SANDBOX = (("content-security-policy", "sandbox"), ("x-content-type-options", "nosniff"))


class Dashboard:
    def __init__(self, kept: sessions.Sessions):
        self.sessions = kept

    def route(self, path: Path, kinds: object) -> Route:
        return Route("/" + "/".join(path.parts))

    async def answer(self, call: Call) -> http.Response:
        request, path = call.request, call.route.path
        if path == SESSION:
            return self._session(request)
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed(request.method, path)
        if path == HOME[:-1]:
            if not request.target.partition("?")[0].endswith("/"):
                return http.Response(308, (("location", HOME),))
            if self.sessions.ends(request) is None:
                return await self._file(call, SIGN_IN, 401)
            return await self._file(call, INDEX)
        name = path.removeprefix(HOME)
        if not FILE.fullmatch(name) or name in (INDEX, SIGN_IN):
            raise unknown.path(path)
        return await self._file(call, name)

    async def _file(self, call: Call, name: str, code: int = 200) -> http.Response:
        body = await tasks.in_thread(package_data.dashboard, name)
        if body is None:
            raise unknown.path(call.route.path)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = (
            ("content-type", MEDIA_TYPES[name.rpartition(".")[2]]),
            ("cache-control", "no-cache" if code == 200 and name != INDEX else "no-store"),
            *((("etag", tag),) if name != INDEX else ()),
            *protection(call.request),
        )
        if code == 200 and tag in call.request.header_items("if-none-match"):
            return http.Response(304, headers)
        return http.Response(code, headers, body)

    def _session(self, request: http.Request) -> http.Response:
        if request.method in ("GET", "HEAD"):
            ends = self.sessions.ends(request)
            if ends is None:
                raise errors.unauthorized()
            return _told(200, {"user": self.sessions.user.name, "ends": tasks.rfc3339(ends)})
        if not sessions.is_from_own_page(request):
            raise errors.ApiError(403, "Forbidden", sessions.ORIGIN_REFUSED)
        if request.method == "DELETE":
            self.sessions.end(request)
            return _told(200, {}, ("set-cookie", sessions.kept_by_browser(request, "")))
        if request.method != "POST":
            raise errors.method_not_allowed(request.method, SESSION)
        secret = self.sessions.redeem(_link(request))
        if secret is None:
            raise errors.ApiError(401, "Unauthorized", USED)
        return _told(201, {}, ("set-cookie", sessions.kept_by_browser(request, secret)))


def _told(code: int, tree: meta.Object, *headers: tuple[str, str]) -> http.Response:
    response = answers.json(code, tree)
    response.headers += (("cache-control", "no-store"), ("x-content-type-options", "nosniff"), *headers)
    return response


def _link(request: http.Request) -> str:
    """Raises ApiError 400."""
    try:
        asked: meta.Json = encoding.loads(request.body) if len(request.body) <= LINK_CHARACTERS_MAX else None
    except ValueError:
        asked = None
    link = asked.get("link") if isinstance(asked, dict) else None
    if not isinstance(link, str):
        raise errors.bad_request('cannot sign in: the body is not {"link": "..."}; run `petset open`')
    return link


def protection(request: http.Request) -> http.Headers:
    """What browsers are told of the dashboard's own files."""
    host = request.header("host")
    place = f"https://{host}{HOME}" if PLAIN_HOST.fullmatch(host) else "'self'"
    policy = (
        f"default-src 'none'; script-src {place}; style-src {place}; img-src {place}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    )


def others_answer(request: http.Request, asking: http.User) -> http.Headers:
    """Of an answer that pods, services or other servers made, when a browser may have asked for it by itself."""
    return SANDBOX if request.header("cookie") or asking is users.ANONYMOUS else ()
