"""Whom a front proxy says that it asks for: believed of its certificate alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from petset.base import pki
from petset.net import dialer, listener
from petset.server.access import front_proxy
from petset.wire import http
from tests.server.conftest import Server, configmap

REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
PROXY = http.Peer("10.0.0.9", None, front_proxy.ALLOWED)
AS_JANE = (("x-remote-user", "jane"), ("x-remote-group", "developers"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def who(server: Server, *headers: tuple[str, str], peer: http.Peer = PROXY) -> Any:
    """The user info that the server tells, or the code of its refusal."""
    given = (*headers, ("content-type", "application/json"))
    response = server.send(http.Request("POST", REVIEWS, given, REVIEW, peer))
    assert isinstance(response.body, bytes)
    return json.loads(response.body)["status"]["userInfo"] if response.code == 201 else response.code


def test_a_proxy_says_who_asks(server: Server) -> None:
    said = (("x-remote-user", "jane"), ("x-remote-uid", "7"), ("x-remote-group", "a"), ("x-remote-group", "b"))
    extra = (("x-remote-extra-scopes", "x"), ("x-remote-extra-scopes", "y"), ("x-remote-extra-acme%2fkey", "z"))
    assert who(server, *said, *extra) == {
        "username": "jane",
        "uid": "7",
        "groups": ["a", "b", "system:authenticated"],
        "extra": {"scopes": ["x", "y"], "acme/key": ["z"]},
    }


@pytest.mark.parametrize(
    ("name", "groups", "all_groups"),
    [
        ("jane", ("",), ("system:authenticated",)),
        ("jane", ("system:unauthenticated", "a"), ("system:unauthenticated", "a")),
        ("jane", ("a", "system:authenticated"), ("a", "system:authenticated")),
        ("system:anonymous", (), ()),
    ],
)
def test_who_is_not_said_to_be_in_one_is_authenticated(name: str, groups: Any, all_groups: Any) -> None:
    headers = (("x-remote-user", name), *(("x-remote-group", group) for group in groups))
    request = http.Request("GET", "/", headers, peer=PROXY)
    assert front_proxy.user(request, front_proxy.ALLOWED, (front_proxy.ALLOWED,)) == http.User(name, all_groups)


def test_what_the_proxy_asks_for_is_judged_by_whom_it_names(server: Server) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    server.create(configmap("a"))
    assert server.send(http.Request("GET", maps, AS_JANE, peer=PROXY)).code == 403
    masters = (("x-remote-user", "root"), ("x-remote-group", "system:masters"))
    assert server.send(http.Request("GET", maps, masters, peer=PROXY)).code == 200
    assert who(server, *masters, ("impersonate-user", "bob"))["username"] == "bob"
    assert who(server, *AS_JANE, ("impersonate-user", "bob")) == 403


def test_without_a_name_the_proxy_is_nobody(server: Server) -> None:
    for said in ((), (("x-remote-group", "system:masters"),), (("x-remote-user", "  "),)):
        assert who(server, *said) == 401
    body: Any = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = server.ok("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", body)["status"]["token"]
    token = ("authorization", f"Bearer {made}")
    assert who(server, token)["username"] == "system:serviceaccount:default:default"
    assert who(server, *AS_JANE, token)["username"] == "jane"
    assert who(server, *AS_JANE, ("authorization", "Bearer x"))["username"] == "jane"


def test_a_certificate_of_another_name_is_refused_whatever_it_says(server: Server) -> None:
    for name in ("", "other", "front-proxy-client2"):
        assert who(server, *AS_JANE, peer=http.Peer("10.0.0.9", None, name)) == 401


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (http.Peer("10.0.0.9", http.User("admin", ("system:masters",))), "admin"),
        (http.Peer("10.0.0.9", http.User(front_proxy.ALLOWED)), front_proxy.ALLOWED),
        (http.Peer("10.0.0.9"), 401),
    ],
)
def test_anybody_elses_headers_are_passed_over(server: Server, peer: http.Peer, name: Any) -> None:
    found = who(server, *AS_JANE, peer=peer)
    assert (found if isinstance(found, int) else found["username"]) == name


def test_the_certificate_counts_that_was_shown_over_tls(server: Server, tmp_path: Any) -> None:
    directories = {name: tmp_path / name for name in ("clients", "proxies", "others")}
    for directory in directories.values():
        directory.mkdir()
    clients = pki.authority(directories["clients"])
    proxies = pki.authority(directories["proxies"], "front-proxy-ca", "proxies-ca")
    stranger = pki.authority(directories["others"], "front-proxy-ca", "proxies-ca")
    believed = clients.certificate_pem + proxies.certificate_pem
    tls = pki.server_context(clients.server("api", ["127.0.0.1"]), believed)
    shown: list[tuple[pki.Issued, Any]] = [
        (proxies.client("p", front_proxy.ALLOWED), "jane"),
        (proxies.client("wrong", "somebody", ["system:masters"]), 401),
        (clients.client("c", front_proxy.ALLOWED), front_proxy.ALLOWED),
        (stranger.client("s", front_proxy.ALLOWED), None),
    ]

    async def ask(issued: pki.Issued, port: int) -> Any:
        context = pki.client_context(clients.certificate_pem, issued)
        headers = (*AS_JANE, ("content-type", "application/json"))
        async with dialer.Dialer(f"https://127.0.0.1:{port}", context) as there:
            try:
                answer = await there.send(http.Request("POST", REVIEWS, headers, REVIEW))
            except OSError:
                return None  # Not let in.
        assert isinstance(answer.body, bytes)
        return json.loads(answer.body)["status"]["userInfo"]["username"] if answer.code == 201 else answer.code

    async def all_of_them() -> list[Any]:
        async with listener.serve(server.api.handle, tls=tls, front_proxies=proxies.name) as serving:
            return [await ask(issued, serving.port) for issued, _ in shown]

    assert server.run(all_of_them()) == [name for _, name in shown]
    assert asyncio.all_tasks(server.loop) == set()
