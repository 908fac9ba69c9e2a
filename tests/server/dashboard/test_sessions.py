"""Signing in to the dashboard: links used once, cookies that count for its own pages alone, and what its files may."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from petset.base import tasks
from petset.objects import package_data
from petset.server.access import users
from petset.server.dashboard import backend, sessions
from petset.wire import http
from tests.server.conftest import Server, configmap

HOST = "127.0.0.1:6443"
OWN = f"https://{HOST}"
ORIGIN = ("origin", OWN)
SITE = ("sec-fetch-site", "same-origin")
PODS = "/api/v1/namespaces/default/pods"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
STATIC = Path(backend.__file__).parents[2] / "dashboard" / "static"


def request(method: str, target: str, *headers: tuple[str, str], body: bytes = b"") -> http.Request:
    return http.Request(method, target, (("host", HOST), *headers), body)


def cookie(secret: str) -> tuple[str, str]:
    return "cookie", f"other=1; __Host-petset-6443={secret}"


@pytest.fixture
def kept() -> sessions.Sessions:
    return sessions.Sessions()


@pytest.fixture
def clock(monkeypatch):
    """The wall clock, to be moved."""
    now = [1_000_000.0]
    monkeypatch.setattr(tasks, "now", lambda: now[0])
    return now


# -- Links and sessions


def test_a_link_opens_one_session(kept):
    link = kept.link()
    assert kept.redeem("0" * 64) is None
    secret = kept.redeem(link)
    assert secret is not None and kept.redeem(link) is None
    assert kept.user_of(request("GET", PODS, cookie(secret))) == users.ADMINISTRATOR
    assert kept.user_of(request("GET", PODS, cookie(link))) is None


def test_links_and_sessions_end_with_time(kept, clock):
    old, link = kept.link(), kept.link()
    clock[0] += sessions.LINK_SECONDS_MAX - 1
    secret = kept.redeem(link)
    assert secret is not None
    clock[0] += 2
    assert kept.redeem(old) is None
    clock[0] += sessions.SESSION_SECONDS_MAX - 3
    assert kept.ends(request("GET", "/", cookie(secret))) is not None
    clock[0] += 2
    assert kept.user_of(request("GET", PODS, cookie(secret))) is None


def test_what_is_kept_is_bounded_and_opens_nothing_by_itself(kept):
    links = [kept.link() for _ in range(sessions.LINKS_MAX + 1)]
    assert kept.redeem(links[0]) is None
    opened = [kept.redeem(link) for link in links[1:]]
    assert all(opened) and len(dict.fromkeys(opened)) == sessions.LINKS_MAX
    assert not any(secret.encode() in digest for digest in kept._sessions for secret in opened if secret)
    for _ in range(sessions.SESSIONS_MAX):
        kept.redeem(kept.link())
    assert len(kept._sessions) == sessions.SESSIONS_MAX


def test_the_cookie_is_kept_from_scripts_and_other_sites():
    said = sessions.kept_by_browser(request("POST", "/"), "s")
    assert said.split("; ") == [
        "__Host-petset-6443=s", "Max-Age=43200", "Path=/", "Secure", "HttpOnly", "SameSite=Strict",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1:6444", "6444"), ("localhost", "443"), ("[::1]:7", "7"), ("[::1]", "443"), ("a:b;c", "443")],
)
def test_the_cookie_has_the_port_in_its_name_for_cookies_know_none(host, name):
    assert sessions.cookie_name(http.Request("GET", "/", (("host", host),))) == f"__Host-petset-{name}"


# -- Whose requests count

UPGRADE = ("upgrade", "websocket")


@pytest.mark.parametrize(
    ("method", "headers", "outcome"),
    [
        ("GET", (), "user"),  # A browser that says nothing of where it comes from: others cannot read the answer.
        ("GET", (SITE,), "user"),
        ("GET", (ORIGIN, SITE), "user"),
        ("GET", (("sec-fetch-site", "none"),), "user"),
        ("GET", (("sec-fetch-site", "same-site"),), "nobody"),  # Another port of this host.
        ("GET", (("sec-fetch-site", "cross-site"),), "nobody"),
        ("GET", (("origin", "https://127.0.0.1:8443"),), "nobody"),
        ("POST", (ORIGIN,), "user"),
        ("PATCH", (ORIGIN, SITE), "user"),
        ("POST", (), "refused"),
        ("DELETE", (SITE,), "refused"),
        ("POST", (("origin", "null"),), "refused"),
        ("POST", (("origin", "http://127.0.0.1:6443"),), "refused"),
        ("POST", (("origin", "https://127.0.0.1:8443"), ("sec-fetch-site", "same-site")), "refused"),
        ("GET", (UPGRADE, ORIGIN), "user"),
        ("GET", (UPGRADE,), "refused"),
        ("GET", (UPGRADE, ("origin", "https://evil.example")), "refused"),
    ],
)
def test_a_cookie_counts_for_the_dashboards_own_pages(kept, method, headers, outcome):
    secret = kept.redeem(kept.link()) or ""
    asked = request(method, PODS, cookie(secret), *headers)
    if outcome == "refused":
        with pytest.raises(sessions.errors.ApiError, match="own pages") as raised:
            kept.user_of(asked)
        assert raised.value.code == 403
    else:
        assert kept.user_of(asked) == (users.ADMINISTRATOR if outcome == "user" else None)


@pytest.mark.parametrize(
    ("target", "counts"),
    [
        (f"{PODS}/web-0/log", True),
        (f"{PODS}/web-0/proxy/", False),
        (f"{PODS}/web-0:80/proxy/a?b=c", False),
        ("/api/v1/namespaces/default/services/web/proxy/", False),
        ("/api/v1/nodes/n1/proxy/stats/summary", True),
        ("/api/v1/nodes/n1/proxy/stats/summary/x", False),
        ("/api/v1/nodes/n1/proxy/logs/", False),
    ],
)
def test_a_cookie_never_counts_for_what_pods_serve(kept, target, counts):
    """A page of theirs would be of the dashboard's origin."""
    secret = kept.redeem(kept.link()) or ""
    assert (kept.user_of(request("GET", target, cookie(secret))) is not None) == counts


# -- Over the API


def signed_in(server: Server) -> tuple[str, str]:
    """The cookie of a browser that has opened a link."""
    body = json.dumps({"link": server.api.sessions.link()}).encode()
    answer = server.send(request("POST", backend.SESSION, ORIGIN, body=body))
    assert answer.code == 201, answer
    return "cookie", answer.header("set-cookie").partition(";")[0]


def test_a_browser_signs_in_reads_writes_and_signs_out(server):
    assert server.send(request("GET", CONFIGMAPS)).code == 401
    browser = signed_in(server)
    told = server.send(request("GET", backend.SESSION, browser))
    assert json.loads(told.body)["user"] == "petset-admin"
    kind = ("content-type", "application/json")
    body = json.dumps(configmap("a")).encode()
    assert server.send(request("POST", CONFIGMAPS, browser, kind, body=body)).code == 403
    assert server.send(request("POST", CONFIGMAPS, browser, kind, ORIGIN, body=body)).code == 201
    assert server.send(request("GET", f"{CONFIGMAPS}/a", browser)).code == 200
    assert server.send(request("DELETE", backend.SESSION, browser)).code == 403
    assert server.send(request("DELETE", backend.SESSION, browser, ORIGIN)).code == 200
    assert server.send(request("GET", f"{CONFIGMAPS}/a", browser)).code == 401


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ((ORIGIN,), b'{"link": "0"}', 401),
        ((ORIGIN,), b'{"link": 1}', 400),
        ((ORIGIN,), b"[", 400),
        ((ORIGIN,), b"[]", 400),
        ((ORIGIN,), b'{"link": "' + b"0" * 2000 + b'"}', 400),
        ((), b'{"link": "0"}', 403),
        ((("origin", "https://evil.example"),), b'{"link": "0"}', 403),
    ],
)
def test_what_is_no_link_signs_nobody_in(server, headers, body, code):
    answer = server.send(request("POST", backend.SESSION, *headers, body=body))
    assert answer.code == code and not answer.header("set-cookie")
    assert json.loads(answer.body)["kind"] == "Status"


def test_a_used_link_says_what_to_do(server):
    link = server.api.sessions.link()
    for code in (201, 401):
        body = json.dumps({"link": link}).encode()
        answer = server.send(request("POST", backend.SESSION, ORIGIN, body=body))
        assert answer.code == code
    assert "run `petset open`" in json.loads(answer.body)["message"]


def test_who_is_not_signed_in_gets_a_page_that_says_how(server):
    answer = server.send(request("GET", "/dashboard/", ("accept", "text/html,*/*;q=0.8")))
    assert answer.code == 401 and answer.header("content-type").startswith("text/html")
    assert b"petset open" in answer.body and b"begin.js" not in answer.body
    assert b"begin.js" in server.send(request("GET", "/dashboard/", signed_in(server))).body
    assert server.send(request("GET", "/dashboard")).header("location") == "/dashboard/"


@pytest.mark.parametrize("name", sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.*")))
def test_every_file_is_served_or_a_page_and_protected(server, name):
    answer = server.send(request("GET", f"/dashboard/{name}"))
    if name in (backend.INDEX, backend.SIGN_IN) or name.endswith((".txt", ".json")):
        assert answer.code == 404
        return
    assert answer.code == 200 and answer.body == (STATIC / name).read_bytes()
    policy = answer.header("content-security-policy")
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
    assert f"script-src {OWN}/dashboard/;" in policy
    assert answer.header("x-content-type-options") == "nosniff"
    again = server.send(request("GET", f"/dashboard/{name}", ("if-none-match", answer.header("etag"))))
    assert again.code == 304 and again.body == b""


@pytest.mark.parametrize(
    "name", ["none.js", "../sessions.py", "%2e%2e/app.js", "vendor/", "vendor/../app.js", "a/b.js"]
)
def test_there_are_no_other_files(server, name):
    assert server.send(request("GET", f"/dashboard/{name}")).code == 404


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_files_are_read_only(server, method):
    assert server.send(request(method, "/dashboard/app.js", ORIGIN)).code == 405
    assert server.send(request("PUT", backend.SESSION, ORIGIN)).code in (401, 403, 405)


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.html")), ids=lambda path: path.name)
def test_pages_have_no_scripts_or_styles_of_their_own(path):
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)


def test_what_others_serve_at_this_origin_is_kept_from_the_session(server):
    """A pod's page, asked for by a browser: it may run nothing that could use the cookie."""
    plain = backend.others_answer(request("GET", "/"), http.User("jane"))
    assert plain == ()
    with_cookie = backend.others_answer(request("GET", "/", ("cookie", "a=b")), http.User("jane"))
    assert with_cookie == backend.others_answer(request("GET", "/"), users.ANONYMOUS) == backend.SANDBOX
    server.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    asked = request("GET", "/api/v1/namespaces/default/services/s/proxy/", signed_in(server))
    assert server.send(asked).code == 401


def test_what_is_of_others_is_what_versions_json_says():
    for package, says in json.loads((STATIC / "vendor" / "versions.json").read_text()).items():
        assert says["integrity"].startswith("sha512-") and says["licence"], package
        for name, digest in says["files"].items():
            assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest, name
    assert package_data.dashboard("none") is None
