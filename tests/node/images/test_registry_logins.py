"""Pull secrets: what is in them, and which login is tried for which image."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from petset.node.environment import source
from petset.node.images import registry_logins
from petset.node.images.image_names import parse_reference
from petset.node.images.registry_logins import NotALogin
from petset.node.runtime import Credential, RegistryLogin
from tests.registry import pull_secret


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        (pull_secret("s", {"r.example:5000": {"username": "a", "password": "b"}}), {"r.example:5000": ("a", "b")}),
        (pull_secret("s", {"https://r.example/v2/": {"auth": encoded("a:b:c")}}), {"r.example": ("a", "b:c")}),
        (
            pull_secret("s", {"https://index.docker.io/v1/": {"auth": encoded("a:b"), "username": "x"}}),
            {"docker.io": ("a", "b")},
        ),
        (pull_secret("s", {"r.example/team": {"auth": encoded("a:b")}}, ".dockercfg"), {"r.example/team": ("a", "b")}),
        (pull_secret("s", {}), {}),
    ],
)
def test_a_secret_becomes_a_login(secret: Any, found: Any):
    login = registry_logins.from_secret(source("Secret", secret))
    assert login.secret == "s"
    assert login.credentials == {address: Credential(*both) for address, both in found.items()}
    assert "'b" not in repr(login)


@pytest.mark.parametrize(
    "secret",
    [
        {"metadata": {"name": "s"}},
        {"metadata": {"name": "s"}, "data": {"other": ""}},
        {"metadata": {"name": "s"}, "data": {".dockerconfigjson": "not base64"}},
        {"metadata": {"name": "s"}, "data": {".dockerconfigjson": encoded("not json")}},
        {"metadata": {"name": "s"}, "data": {".dockerconfigjson": encoded("[" * 100_000)}},
        {"metadata": {"name": "s"}, "data": {".dockerconfigjson": encoded('{"r.example": {}}')}},
        pull_secret("s", 3),
        pull_secret("s", {"r.example": 3}),
        pull_secret("s", {"r.example": {}}),
        pull_secret("s", {"r.example": {"auth": "!"}}),
        pull_secret("s", {"r.example": {"auth": encoded("nobody")}}),
    ],
)
def test_what_is_no_login_says_so(secret: Any):
    with pytest.raises(NotALogin, match="secret s holds no registry logins: "):
        registry_logins.from_secret(source("Secret", secret))


@pytest.mark.parametrize(
    ("address", "image", "matches"),
    [
        ("docker.io", "nginx", True),
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io/library", "nginx", True),
        ("docker.io/other", "nginx", False),
        ("r.example", "r.example/a/b:1", True),
        ("r.example", "r.example:5000/a", False),
        ("r.example:5000", "r.example:5000/a", True),
        ("r.example:5000", "r.example/a", False),
        ("*.example", "r.example/a", True),
        ("*.example", "q.r.example/a", False),
        ("*.*.example", "q.r.example/a", True),
        ("*.example", "example/a", False),
        ("r[0-9].example/team", "r7.example/team/a", True),
        ("r[0-9].example/team", "r7.example/a", False),
        ("[::1]:5000", "[::1]:5000/a", True),
        ("localhost:5000", "localhost:5000/a", True),
    ],
)
def test_an_address_is_a_host_and_the_beginning_of_a_path(address: str, image: str, matches: bool):
    login = registry_logins.from_secret(
        source("Secret", pull_secret("s", {address: {"username": "a", "password": "b"}}))
    )
    assert bool(registry_logins.credentials([login], parse_reference(image))) is matches


def test_the_most_specific_login_is_tried_first_then_the_order_of_the_secrets():
    def login(**users: str) -> RegistryLogin:
        secret = pull_secret("s", {PLACES[key]: {"username": user, "password": ""} for key, user in users.items()})
        return registry_logins.from_secret(source("Secret", secret))

    logins = [login(host="first", deep="deep", other="never"), login(host="second"), login(host="first")]
    found = registry_logins.credentials(logins, parse_reference("r.example/team/a"))
    assert [one.user for one in found] == ["deep", "first", "second"]


PLACES = {"host": "r.example", "deep": "r.example/team", "other": "q.example"}
