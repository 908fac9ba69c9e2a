"""CertificateSigningRequests: what may be asked for, who asks, and who approves and signs."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from petset.base import well_known
from petset.wire import http
from tests import signing
from tests.server.access.test_access import binding, role, rule, user

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
GROUP = "certificates.k8s.io"
PEM = signing.request_pem("jane", ["developers"])
BOB = http.User("bob", ("developers",), "u-1", (("scopes", ("a", "b")),))


def csr(name: str = "x", pem: bytes = PEM, **spec: Any) -> dict[str, Any]:
    return signing.request(name, pem, **spec)


def let(server, name: str, *rules: dict[str, Any]) -> None:
    server.create(role(f"of-{name}", *rules, namespace=""), "")
    server.create(binding(f"of-{name}", f"of-{name}", user(name), kind="ClusterRole", namespace=""), "")


def condition(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "Tested", **more}


def test_who_asks_is_written_into_it_and_nothing_of_its_spec_changes(server):
    let(server, "bob", rule("create get update", "certificatesigningrequests", GROUP))
    claimed = csr(username="root", groups=["system:masters"], uid="0", extra={"x": ["y"]})
    made = server.ok("POST", PATH, {**claimed, "status": {"certificate": "eA=="}}, user=BOB)
    spec = made["spec"]
    assert (spec["username"], spec["uid"], spec["groups"]) == ("bob", "u-1", ["developers", "system:authenticated"])
    assert spec["extra"] == {"scopes": ["a", "b"]} and not made.get("status")
    changed = server.ok("PUT", f"{PATH}/x", {**made, "spec": {**spec, "usages": ["any"], "username": "root"}}, user=BOB)
    assert changed["spec"] == spec
    rows = server.get(PATH, headers={"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})["rows"]
    assert rows[0]["cells"][2:] == [well_known.CLIENT_SIGNER, "bob", "<none>", "Pending"]
    assert server.get(f"{PATH}?fieldSelector=spec.signerName=example.com/x")["items"] == []


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"request": "eA=="}, "spec.request", "PEM block type must be CERTIFICATE REQUEST"),
        ({"request": base64.b64encode(PEM[:60] + b"AAAA" + PEM[64:]).decode()}, "spec.request", ""),
        ({"usages": []}, "spec.usages", "usages must be provided"),
        ({"usages": ["client auth", "flying"]}, "spec.usages[1]", 'Unsupported value: "flying"'),
        ({"usages": ["client auth", "client auth"]}, "spec.usages[1]", "Duplicate value"),
        ({"signerName": "x"}, "spec.signerName", "example.com/signer-name"),
        ({"signerName": "x/y"}, "spec.signerName", "at least two segments"),
        ({"signerName": "a.b/c/d"}, "spec.signerName", "example.com/signer-name"),
        ({"signerName": well_known.LEGACY_SIGNER}, "spec.signerName", "legacy signerName is not allowed"),
        ({"expirationSeconds": 599}, "spec.expirationSeconds", "less than 600 seconds"),
    ],
)
def test_what_cannot_be_asked_for(server, spec, field, says):
    answer = server("POST", PATH, csr(**spec))
    (cause,) = answer.body["details"]["causes"]
    assert (answer.code, cause["field"]) == (422, field) and says in cause["message"]


def test_a_request_that_is_no_base64_is_of_a_wrong_type(server):
    answer = server("POST", PATH, csr(request="?"))
    assert answer.code == 400 and "spec.request" in answer.message


def test_a_request_is_signed_with_the_key_that_it_names(server):
    other = signing.request_pem("jane")
    lines, more = PEM.splitlines(), other.splitlines()
    forged = b"\n".join([*lines[:-3], *more[-3:]])
    assert server("POST", PATH, csr(pem=forged)).code == 422
    huge = server("POST", PATH, csr(pem=PEM + b"#" * 100_000))
    assert huge.code == 422 and "limit" in huge.message


def test_nobody_asks_for_a_certificate_of_those_who_may_everything(server):
    masters = signing.request_pem("jane", ["system:masters"])
    answer = server("POST", PATH, csr(pem=masters))
    assert answer.code == 403 and "system:masters group is not allowed" in answer.message
    assert server("POST", PATH, csr(pem=masters, signer="example.com/x")).code == 201


# -- Approving and signing


def approved(server, name: str = "x", kind: str = "Approved", who: http.User | None = None) -> Any:
    obj = server.get(f"{PATH}/{name}")
    body = {**obj, "status": {"conditions": [condition(kind)], "certificate": "eA=="}}
    return server("PUT", f"{PATH}/{name}/approval", body, **({"user": who} if who else {}))


def test_approving_needs_the_verb_on_the_signer_or_its_domain(server):
    server.ok("POST", PATH, csr())
    let(server, "bob", rule("get update", "certificatesigningrequests/approval", GROUP))
    refused = approved(server, who=BOB)
    assert refused.code == 403
    assert f'not permitted to approve requests with signerName "{well_known.CLIENT_SIGNER}"' in refused.message
    let(server, "bo", rule("get update", "certificatesigningrequests/approval", GROUP))
    server.create(role("a", rule("approve", "signers", GROUP, resourceNames=["kubernetes.io/*"]), namespace=""), "")
    server.create(binding("a", "a", user("bob"), kind="ClusterRole", namespace=""), "")
    done = approved(server, who=BOB)
    assert done.code == 200
    (found,) = done.body["status"]["conditions"]
    assert found["type"] == "Approved" and found["lastUpdateTime"] == found["lastTransitionTime"]
    assert "certificate" not in done.body["status"], "an approval writes conditions only"
    assert server("GET", f"{PATH}/x/approval").code == 200
    assert approved(server, who=http.User("bo")).code == 403


def test_a_decision_is_never_taken_back(server):
    server.ok("POST", PATH, csr())
    assert approved(server).code == 200
    obj = server.get(f"{PATH}/x")
    before = obj["status"]["conditions"][0]

    def refused(path: str, **status: Any) -> str:
        answer = server("PUT", f"{PATH}/x/{path}", {**obj, "status": status})
        assert answer.code == 422, answer
        return answer.message

    assert "may not remove a condition" in refused("approval", conditions=[])
    assert "mutually exclusive" in refused("approval", conditions=[before, condition("Denied")])
    assert "may not add a condition" in refused("approval", conditions=[before, condition("Failed")])
    assert "may not remove a condition" in refused("status", conditions=[])
    assert "may not modify a condition" in refused("status", conditions=[{**before, "reason": "Other"}])
    assert "may not add a condition" in refused("status", conditions=[before, condition("Denied")])
    assert "Duplicate" in refused("approval", conditions=[before, before])
    assert "Unsupported" in refused("approval", conditions=[{**before, "status": "False"}])
    assert "CERTIFICATE PEM block" in refused("status", conditions=[before], certificate="eA==")


def test_signing_needs_the_verb_on_the_signer_and_happens_once(server, tmp_path):
    from petset.base import certificates, pki

    authority = pki.authority(tmp_path)
    server.ok("POST", PATH, csr(signer="example.com/mine"))
    assert approved(server).code == 200
    obj = server.get(f"{PATH}/x")

    def signed(who: http.User | None, pem: str) -> Any:
        status = {**obj["status"], "certificate": base64.b64encode(pem.encode()).decode()}
        return server("PUT", f"{PATH}/x/status", {**obj, "status": status}, **({"user": who} if who else {}))

    first, second = (certificates.issue(authority, PEM, ("client auth",), 3600) for _ in range(2))
    let(server, "bob", rule("update", "certificatesigningrequests/status", GROUP))
    refused = signed(BOB, first)
    assert refused.code == 403 and 'sign requests with signerName "example.com/mine"' in refused.message
    server.create(role("s", rule("sign", "signers", GROUP, resourceNames=["example.com/mine"]), namespace=""), "")
    server.create(binding("s", "s", user("bob"), kind="ClusterRole", namespace=""), "")
    assert signed(BOB, first).code == 200
    obj = server.get(f"{PATH}/x")
    assert "may not change a certificate" in signed(None, second).message
    assert signed(BOB, first).code == 200, "the same again is nothing new"
