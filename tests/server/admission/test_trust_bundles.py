"""ClusterTrustBundles: what they may hold, what they are called, and who may write one of a signer."""

from __future__ import annotations

from typing import Any

import pytest

from petset.wire import http
from tests import signing
from tests.server.access.test_access import binding, role, rule, user
from tests.server.conftest import Server

PATH = "/apis/certificates.k8s.io/v1/clustertrustbundles"
BOB = http.User("bob")
GROUP = "certificates.k8s.io"
SIGNER = "example.com/signer"
ONE, TWO = signing.authority_pem("one"), signing.authority_pem("two")


def bundle(name: str, pem: str = ONE, signer: str = "") -> dict[str, Any]:
    spec = {"trustBundle": pem, **({"signerName": signer} if signer else {})}
    return {"apiVersion": f"{GROUP}/v1", "kind": "ClusterTrustBundle", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        (bundle("x", ""), "spec.trustBundle", "at least one trust anchor must be provided"),
        (bundle("x", ONE + ONE), "spec.trustBundle", "duplicate trust anchor (indices [0 1])"),
        (bundle("x", ONE + ONE.replace("CERTIFICATE", "KEY")), "spec.trustBundle", "entry 1 has bad block type: KEY"),
        (bundle("x", ONE.replace("-----\nMI", "-----\na: b\n\nMI", 1)), "spec.trustBundle", "PEM block headers"),
        (bundle("x", ONE.replace("\nMI", "\nAA", 1)), "spec.trustBundle", "entry 0 does not parse as X.509"),
        (bundle("x", signing.authority_pem("x", False)), "spec.trustBundle", "entry 0 does not have the CA bit set"),
        (bundle("x", ONE + "#" * (1 << 20)), "spec.trustBundle", "Too long"),
        (bundle("a:b:c"), "metadata.name", 'must not have ":" in its name'),
        (bundle("x", signer=SIGNER), "metadata.name", "must be named with prefix example.com:signer:"),
        (bundle("x:signer:x", signer="x/signer"), "spec.signerName", "at least two segments"),
    ],
)
def test_what_a_bundle_cannot_be(server: Server, given: dict[str, Any], field: str, says: str) -> None:
    answer = server("POST", PATH, given)
    (cause,) = answer.body["details"]["causes"]
    assert (answer.code, cause["field"]) == (422, field) and says in cause["message"]


def test_a_bundle_is_kept_chosen_by_its_signer_and_never_changes_it(server: Server) -> None:
    server.ok("POST", PATH, bundle("plain", f"from here\n{ONE}{TWO}"))
    made = server.ok("POST", PATH, bundle("example.com:signer:x", signer=SIGNER))
    chosen = server.get(f"{PATH}?fieldSelector=spec.signerName={SIGNER}")["items"]
    assert [one["metadata"]["name"] for one in chosen] == ["example.com:signer:x"]
    other = {**made, "spec": {**made["spec"], "signerName": "example.com/other"}}
    assert server("PUT", f"{PATH}/example.com:signer:x", other).code == 422
    assert server.ok("PUT", f"{PATH}/example.com:signer:x", {**made, "spec": {**made["spec"], "trustBundle": TWO}})


def test_who_writes_a_signers_bundle_may_attest_for_it(server: Server) -> None:
    def let(name: str, *rules: dict[str, Any]) -> None:
        server.create(role(name, *rules, namespace=""), "")
        server.create(binding(name, name, user("bob"), kind="ClusterRole", namespace=""), "")

    let("writes", rule("create get update", "clustertrustbundles", GROUP))
    assert server("POST", PATH, bundle("plain"), user=BOB).code == 201
    refused = server("POST", PATH, bundle("example.com:signer:x", signer=SIGNER), user=BOB)
    assert refused.code == 403 and 'attest bundles with signerName "example.com/signer"' in refused.message
    let("attests", {**rule("attest", "signers", GROUP), "resourceNames": ["example.com/*"]})
    assert server("POST", PATH, bundle("example.com:signer:x", signer=SIGNER), user=BOB).code == 201
