"""PodCertificateRequests: what may be asked for, by which node, and what a signer may answer, once."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from petset.base import certificates, tasks
from petset.wire import http
from tests import signing
from tests.server.conftest import Server, pod

PATH = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests"
NODE = http.User("system:node:n1", ("system:nodes",))
KEY, DER = certificates.key_and_empty_request("ECDSAP256")
OTHER = signing.key().public_key()
STUB = base64.b64encode(DER).decode()


def asking(name: str = "x", **spec: Any) -> dict[str, Any]:
    given = {
        "signerName": "example.com/signer",
        "podName": "p",
        "podUID": "1",
        "serviceAccountName": "default",
        "serviceAccountUID": "2",
        "nodeName": "n1",
        "nodeUID": "3",
        "maxExpirationSeconds": 7200,
        "stubPKCS10Request": STUB,
        **spec,
    }
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest"}
    return {**kind, "metadata": {"name": name}, "spec": given}


@pytest.mark.parametrize("kind", ["ED25519", "ECDSAP256", "ECDSAP384", "ECDSAP521", "RSA3072"])
def test_a_key_of_any_kind_may_be_asked_for(kind: str) -> None:
    key, request = certificates.key_and_empty_request(kind)
    assert key.startswith("-----BEGIN PRIVATE KEY") and certificates.check_key_of_request(request)


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"signerName": "x"}, "spec.signerName", "example.com/signer-name"),
        ({"podName": "X"}, "spec.podName", "RFC 1123"),
        ({"nodeUID": ""}, "spec.nodeUID", "must not be empty"),
        ({"podUID": "x" * 129}, "spec.podUID", "Too long"),
        ({"maxExpirationSeconds": 3599}, "spec.maxExpirationSeconds", "in the range [3600, 7862400]"),
        ({"maxExpirationSeconds": 7862401}, "spec.maxExpirationSeconds", "in the range [3600, 7862400]"),
        ({"signerName": "a.kubernetes.io/x", "maxExpirationSeconds": 86401}, "spec.maxExpirationSeconds", "86400]"),
        ({"stubPKCS10Request": "AAAA"}, "spec.stubPKCS10Request", ""),
        ({"stubPKCS10Request": STUB[:-8] + "AAAAAAA="}, "spec.stubPKCS10Request", ""),
        ({"stubPKCS10Request": "A" * 16_000}, "spec.stubPKCS10Request", "Too long"),
    ],
)
def test_what_cannot_be_asked_for(server: Server, spec: dict[str, Any], field: str, says: str) -> None:
    answer = server("POST", PATH, asking(**spec))
    (cause,) = answer.body["details"]["causes"]
    assert (answer.code, cause["field"]) == (422, field) and says in cause["message"]


def answered(server: Server, status: dict[str, Any]) -> Any:
    return server("PUT", f"{PATH}/x/status", {**server.get(f"{PATH}/x"), "status": status})


def test_a_request_is_answered_once(server: Server) -> None:
    made = server.ok("POST", PATH, asking())
    assert server("PUT", f"{PATH}/x", {**made, "spec": {**made["spec"], "podName": "q"}}).code == 422
    status = signing.issued_status(made, tasks.now())
    assert answered(server, {**status, "conditions": []}).code == 422, "only with its end"
    assert answered(server, status).code == 200
    rows = server.get(PATH, headers={"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})["rows"]
    assert rows[0]["cells"][1:6] == ["p", "default", "n1", "example.com/signer", "Issued"]
    assert answered(server, {**status, "notAfter": status["notBefore"]}).code == 422


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (lambda s, r: signing.issued_status(r, tasks.now(), of=OTHER), "not issued to the requested"),
        (lambda s, r: signing.issued_status(r, tasks.now(), 7201), "must be <= spec.maxExpirationSeconds"),
        (lambda s, r: signing.issued_status(r, tasks.now(), 3599), "must be >= 1 hour"),
        (lambda s, r: signing.issued_status(r, tasks.now() - 400), "within 5 minutes"),
        (lambda s, r: {**s, "notAfter": s["beginRefreshAt"]}, "NotAfter time encoded"),
        (lambda s, r: {**s, "beginRefreshAt": s["notBefore"]}, "10 minutes after"),
        (lambda s, r: {**s, "beginRefreshAt": s["notAfter"]}, "10 minutes before"),
        (lambda s, r: {**s, "beginRefreshAt": None}, "must be present"),
        (lambda s, r: {**s, "certificateChain": "x"}, "CERTIFICATE PEM block"),
        (lambda s, r: {**s, "conditions": [{**s["conditions"][0], "type": "Denied"}]}, "must be empty when denying"),
        (lambda s, r: {**s, "conditions": [{**s["conditions"][0], "status": "False"}]}, "Unsupported value"),
        (lambda s, r: {**s, "conditions": s["conditions"] + [{**s["conditions"][0], "type": "Failed"}]}, "at most one"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered(server: Server, of: Any, says: str) -> None:
    made = server.ok("POST", PATH, asking())
    refused = answered(server, of(signing.issued_status(made, tasks.now()), made))
    assert refused.code == 422 and says in refused.message


def test_a_node_asks_for_its_own_pods_and_reads_what_it_asked(server: Server) -> None:
    node = server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}, "")
    server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
    account = server.get("/api/v1/namespaces/default/serviceaccounts/robot")
    server.create(pod("p", nodeName="n1", serviceAccountName="robot"))
    server.create(pod("q", nodeName="n2"))
    its = server.get("/api/v1/namespaces/default/pods/p")
    real = {
        "podUID": its["metadata"]["uid"],
        "serviceAccountName": "robot",
        "serviceAccountUID": account["metadata"]["uid"],
        "nodeUID": node["metadata"]["uid"],
    }
    assert server("POST", PATH, asking("a", **real), user=NODE).code == 201
    for wrong in ({"podName": "q"}, {"nodeName": "n2"}, {"podUID": "x"}, {"serviceAccountName": "default"}):
        assert server("POST", PATH, asking("b", **{**real, **wrong}), user=NODE).code == 403, wrong
    server.ok("POST", PATH, asking("c", **{**real, "nodeName": "n2"}))
    assert server("GET", f"{PATH}/a", user=NODE).code == 200
    assert len(server.ok("GET", f"{PATH}?fieldSelector=metadata.name%3Da", user=NODE)["items"]) == 1
    for target in (f"{PATH}/c", PATH, f"{PATH}?fieldSelector=metadata.name%3Dc"):
        assert server("GET", target, user=NODE).code == 403
