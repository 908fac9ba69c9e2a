"""Who one is, what one may do, and tokens, by kubectl."""

from __future__ import annotations

import base64
import json
from typing import Any


def test_can_i_and_whoami_as_somebody_else(served, space):
    admin = served.admin
    admin("create", "rolebinding", "v", "-n", space, "--clusterrole=view", "--user=ann")
    assert admin("auth", "can-i", "list", "pods", "-n", space, "--as=ann") == "yes\n"
    assert admin("auth", "can-i", "get", "pods", "--subresource=log", "-n", space, "--as=ann") == "yes\n"
    denied = admin.run("auth", "can-i", "delete", "pods", "-n", space, "--as=ann")
    assert (denied.returncode, denied.stdout) == (1, "no\n")
    assert admin.run("auth", "can-i", "get", "/metrics", "--as=ann").stdout == "no\n"
    asked = ("auth", "whoami", "--as=ann", "--as-uid=u-7", "--as-group=developers")
    info = admin.json(*asked)["status"]["userInfo"]
    assert info == {"username": "ann", "uid": "u-7", "groups": ["developers", "system:authenticated"]}
    assert "u-7" in admin(*asked)
    refused = served.jane.run("get", "--raw", "/version", "--as=jane", "--as-uid=u-7")
    assert 'User "jane" cannot impersonate resource "users"' in refused.stderr


def test_a_local_review_by_hand(served, space):
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": space},
        "spec": {"user": "ann", "resourceAttributes": {"namespace": space, "verb": "get", "resource": "pods"}},
    }
    answer = served.admin("create", "-f", "-", "-o", "json", stdin=json.dumps(asked))
    assert json.loads(answer)["status"] == {"allowed": False}


def claims(token: str) -> dict[str, Any]:
    text = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_a_token_for_so_long_for_whom_and_bound_to_what(served, space):
    admin = served.admin
    admin("create", "secret", "generic", "s", "-n", space)
    uid = admin.json("get", "secret", "s", "-n", space)["metadata"]["uid"]
    bound = ("--bound-object-kind=Secret", "--bound-object-name=s", f"--bound-object-uid={uid}")
    token = admin("create", "token", "default", "-n", space, "--duration=20m", "--audience=vault", *bound).strip()
    said = claims(token)
    assert (said["aud"], said["exp"] - said["iat"]) == (["vault"], 1200)
    assert said["kubernetes.io"]["secret"] == {"name": "s", "uid": uid}
    short = admin.run("create", "token", "default", "-n", space, "--duration=1m")
    assert "may not specify a duration less than 10 minutes" in short.stderr
    own = admin("create", "token", "default", "-n", space, "--duration=20m").strip()
    server = f"--server=https://127.0.0.1:{(served.directory / 'address').read_text()}"
    alone = ("--kubeconfig=/dev/null", server, "--insecure-skip-tls-verify", f"--token={own}")
    assert f"system:serviceaccount:{space}:default" in admin("auth", "whoami", *alone)
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["vault", "other"]},
    }
    status = json.loads(admin("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))["status"]
    assert status["audiences"] == ["vault"]
    assert status["user"]["username"] == f"system:serviceaccount:{space}:default"


def test_how_to_verify_a_token_is_published(served, space):
    admin = served.admin
    discovery = json.loads(admin("get", "--raw", "/.well-known/openid-configuration"))
    header = admin("create", "token", "default", "-n", space).partition(".")[0]
    named = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    (key,) = json.loads(admin("get", "--raw", "/openid/v1/jwks"))["keys"]
    assert key["kid"] == named["kid"] and key["alg"] in discovery["id_token_signing_alg_values_supported"]
    may = ("auth", "can-i", "get", "/openid/v1/jwks")
    account = f"--as=system:serviceaccount:{space}:default"
    assert admin(*may, account) == "yes\n"
    assert admin.run(*may, "--as=ann").stdout == "no\n"
