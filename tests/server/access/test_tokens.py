"""Service-account tokens: what they say, when they die, and how others verify them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from petset.base import pki, tasks
from petset.server.access import tokens
from petset.wire import http
from tests.server.access.test_access import PODS, on_node, token_of
from tests.server.conftest import TOKEN_KEY, pod

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
CORE = "/api/v1/namespaces/default"
CLAIMS = tokens.Claims("ns", tokens.Bound("sa", "u"), "id", ("a",), 200.0, pod=tokens.Bound("p", "v"))


def part(token: str, index: int) -> Any:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def review(server, token: str, *audiences: str) -> Any:
    spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    return server.ok("POST", REVIEWS, body)["status"]


def is_alive(server, token: str) -> bool:
    """As a request finds it, and as a TokenReview does: the two never differ."""
    answered = server("GET", "/version", user=None, headers={"authorization": f"Bearer {token}"}).code
    assert answered in (200, 401)
    reviewed = review(server, token)
    assert bool(reviewed.get("authenticated")) is (answered == 200)
    return answered == 200


# -- What may be asked for


@pytest.mark.parametrize(
    ("seconds", "code", "given"),
    [
        (599, 422, None),
        (600, 201, 600),
        (2**32, 201, tokens.TOKEN_SECONDS_MAX),
        (2**32 + 1, 422, None),
        (10**30, 422, None),
    ],
)
def test_how_long_a_token_may_live(server, seconds, code, given):
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
    answer = server("POST", f"{CORE}/serviceaccounts/default/token", body)
    assert answer.code == code
    if given is None:
        assert [one["field"] for one in answer.body["details"]["causes"]] == ["spec.expirationSeconds"]
    else:
        assert answer.body["spec"]["expirationSeconds"] == given


# -- Signatures


def test_a_token_is_read_by_whoever_has_the_key_only():
    issuer = tokens.Tokens(TOKEN_KEY, "a")
    token = issuer.issue(CLAIMS, 100.0)
    assert issuer.verify(token, ["a"], 150.0) == CLAIMS
    assert issuer.verify(token, ["a"], 150.0) == CLAIMS, "the second time it is remembered"
    for verifier in (tokens.Tokens(pki.SigningKey(), "a"), tokens.Tokens(TOKEN_KEY, "b")):
        with pytest.raises(tokens.InvalidToken):
            verifier.verify(token, ["a"], 150.0)
    for now, audience in ((200.0, "a"), (80.0, "a"), (150.0, "b")):
        with pytest.raises(tokens.InvalidToken):
            issuer.verify(token, [audience], now)
    head, payload, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for changed in (
        f"{head}.{payload[:-2]}AA.{signature}",
        f"{head}.{payload}.",
        f".{payload}.{signature}",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{head}.{payload}.{signature}.",
        "",
        "..",
        "\xff.\xff.\xff",
    ):
        with pytest.raises(tokens.InvalidToken):
            issuer.verify(changed, ["a"], 150.0)


def former_token(secret: bytes, issuer: tokens.Tokens) -> str:
    """As releases before signed it."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    signed = f"{header}.{issuer.issue(CLAIMS, 100.0).split('.')[1]}"
    signature = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_a_token_of_an_older_state_directory_is_good_until_it_expires():
    secret = b"k" * 32
    older, newer = tokens.Tokens(TOKEN_KEY, "a", former_secret=secret), tokens.Tokens(TOKEN_KEY, "a")
    assert older.verify(former_token(secret, older), ["a"], 150.0) == CLAIMS
    for verifier, forged, now in (
        (older, former_token(secret, older), 200.0),
        (older, former_token(b"j" * 32, older), 150.0),
        (newer, former_token(b"", newer), 150.0),
        (newer, former_token(b"".join(TOKEN_KEY.coordinates), newer), 150.0),  # The public key is no secret.
    ):
        with pytest.raises(tokens.InvalidToken):
            verifier.verify(forged, ["a"], now)


def test_anybody_verifies_a_token_by_what_the_server_publishes(server):
    """As a cloud or a vault does: from the issuer in the token to its discovery, to the key, to the signature."""
    token = token_of(server)
    payload, header = part(token, 1), part(token, 0)
    asking = http.User("system:serviceaccount:default:default", ("system:serviceaccounts",))
    discovery = server("GET", "/.well-known/openid-configuration", user=asking)
    assert discovery.body["issuer"] == payload["iss"]
    assert header["alg"] in discovery.body["id_token_signing_alg_values_supported"]
    path = discovery.body["jwks_uri"].removeprefix(payload["iss"])
    published = server("GET", path, user=asking)
    assert published.headers["content-type"] == "application/jwk-set+json"
    (key,) = [key for key in json.loads(published.body)["keys"] if key["kid"] == header["kid"]]
    x, y = (int.from_bytes(base64.urlsafe_b64decode(key[name] + "=")) for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    encoded = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    public.verify(encoded, signed.encode(), ec.ECDSA(hashes.SHA256()))  # Raises when it does not fit.
    assert server("GET", path, user=http.User("jane")).code == 403
    assert server("GET", path, user=None).code == 401


@pytest.mark.parametrize("first", ["asks for one", "has one", "reviews one", "asks for the keys"])
def test_the_key_is_loaded_beside_the_loop_by_the_first_who_needs_it(server, first, monkeypatch):
    """What that imports takes a tenth of a second, which no idle petset spends."""
    token = token_of(server)  # With another key than this one.
    key, loaded_in = pki.SigningKey(), list[bool]()
    monkeypatch.setattr(server.plane.api.tokens, "_key", key)
    monkeypatch.setattr(server.plane.api.tokens, "is_away", True)
    load = key.load
    key.load = lambda: loaded_in.append(threading.current_thread() is threading.main_thread()) or load()  # type: ignore[method-assign]
    server.get(PODS)
    assert loaded_in == []
    match first:
        case "asks for one":
            token_of(server)
        case "has one":
            assert server("GET", PODS, user=None, headers={"authorization": f"Bearer {token}"}).code == 401
        case "reviews one":
            review(server, token)
        case _:
            server.get(tokens.KEY_SET_PATH)
    assert loaded_in == [False]
    token_of(server)
    assert len(loaded_in) == 1


# -- What a token says


def test_a_pods_token_names_its_pod_and_its_node(server):
    server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    on_node(server, "p", "n1")
    made, node = server.get(f"{PODS}/p"), server.get("/api/v1/nodes/n1")
    token = token_of(server, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    said = part(token, 1)["kubernetes.io"]
    assert said["pod"] == {"name": "p", "uid": made["metadata"]["uid"]}
    assert said["node"] == {"name": "n1", "uid": node["metadata"]["uid"]}
    assert said["namespace"] == "default" and said["serviceaccount"]["name"] == "default"
    extra = review(server, token)["user"]["extra"]
    assert extra["authentication.kubernetes.io/node-name"] == ["n1"]
    assert extra["authentication.kubernetes.io/node-uid"] == [node["metadata"]["uid"]]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/credential-id"] == [f"JTI={part(token, 1)['jti']}"]


def test_a_review_says_which_of_the_audiences_it_is_for(server):
    token = token_of(server, audiences=["vault", "db"])
    assert review(server, token, "x", "db", "vault")["audiences"] == ["db", "vault"]
    assert "error" in review(server, token, "x") and "error" in review(server, token)


# -- When a token dies


def bound_to(server, kind: str, name: str) -> str:
    return token_of(server, boundObjectRef={"kind": kind, "apiVersion": "v1", "name": name})


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}


BOUND = [
    ("Pod", pod("x"), f"{PODS}/x"),
    ("Secret", secret("x"), f"{CORE}/secrets/x"),
    ("Node", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}}, "/api/v1/nodes/x"),
]


@pytest.mark.parametrize(("kind", "obj", "path"), BOUND, ids=[kind for kind, _, _ in BOUND])
def test_a_token_dies_with_what_it_is_bound_to(server, kind, obj, path):
    server.create(obj)
    token = bound_to(server, kind, "x")
    assert part(token, 1)["kubernetes.io"][kind.lower()]["name"] == "x"
    assert is_alive(server, token)
    server.ok("DELETE", path)
    assert not is_alive(server, token)
    server.create(obj)
    assert not is_alive(server, token), "another one of that name"


def test_a_token_dies_with_its_account_whatever_it_is_bound_to(server):
    server.create(pod("x"))
    server.create(secret("x"))
    every = [token_of(server), bound_to(server, "Pod", "x"), bound_to(server, "Secret", "x")]
    assert all(is_alive(server, token) for token in every)
    server.ok("DELETE", f"{CORE}/serviceaccounts/default")
    server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})
    assert not any(is_alive(server, token) for token in every)


def test_a_token_of_a_pod_that_should_have_stopped_long_ago_is_dead(server, monkeypatch):
    server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    on_node(server, "p", "n1", terminationGracePeriodSeconds=30)
    token = bound_to(server, "Pod", "p")
    server.ok("DELETE", f"{PODS}/p")
    now = tasks.now()
    for seconds, alive in ((0, True), (80, True), (95, False)):  # The grace, and a minute.
        monkeypatch.setattr(tasks, "now", lambda seconds=seconds: now + seconds)
        assert is_alive(server, token) is alive, seconds


def test_what_a_token_cannot_be_bound_to(server):
    server.create(secret("x"))
    server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}})
    server.create(pod("p"))
    path = f"{CORE}/serviceaccounts/default/token"

    def code(account_path: str, **reference: Any) -> int:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": reference}}
        return server("POST", account_path, body).code

    assert code(path, kind="ConfigMap", name="x") == 400
    assert code(path, kind="Secret", name="absent") == 404
    assert code(path, kind="Secret", name="x", uid="another") == 409
    assert code(path.replace("default/token", "other/token"), kind="Pod", name="p") == 400
