"""Certificates that are asked for: what each signer signs, what approves itself, how long what is kept."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from petset.base import certificates as base
from petset.base import pki, tasks, well_known
from petset.base.certificates import Request
from petset.controllers import actions, certificates
from petset.kinds.certificate_signing_request import CERTIFICATESIGNINGREQUESTS
from petset.objects import meta
from tests import signing

USAGES = list(signing.CLIENT_USAGES)
SERVING = ["digital signature", "key encipherment", "server auth"]
CLIENT, KUBELET = well_known.CLIENT_SIGNER, well_known.KUBELET_CLIENT_SIGNER
KUBELET_SERVING = well_known.KUBELET_SERVING_SIGNER
NODE = Request("system:node:n1", ("system:nodes",))
SERVER = Request("system:node:n1", ("system:nodes",), ("n1",), ("10.0.0.1",))


@pytest.mark.parametrize(
    ("signer", "request_", "usages", "wrong"),
    [
        (CLIENT, Request("jane"), USAGES, ""),
        (CLIENT, Request("jane"), ["client auth"], ""),
        (CLIENT, Request("jane"), ["digital signature"], "missing required usage"),
        (CLIENT, Request("jane"), ["client auth", "server auth"], "invalid usage for client certificate: server auth"),
        (KUBELET, NODE, USAGES, ""),
        (KUBELET, NODE, ["client auth", "digital signature"], ""),
        (KUBELET, NODE, ["client auth"], "usages did not match"),
        (KUBELET, SERVER, USAGES, "DNS subjectAltNames are not allowed"),
        (KUBELET, Request("n1", ("system:nodes",)), USAGES, "common name does not begin"),
        (KUBELET, Request("system:node:n1", ("system:nodes", "x")), USAGES, "organization is not"),
        (KUBELET_SERVING, SERVER, SERVING, ""),
        (KUBELET_SERVING, NODE, SERVING, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, SERVER, USAGES, "usages did not match"),
        (KUBELET_SERVING, Request(*("system:node:n1", ("system:nodes",), ("n1",)), uris=("x:y",)), SERVING, "URI"),
    ],
)
def test_what_each_signer_signs(signer, request_, usages, wrong):
    found = certificates.fit(signer, request_, usages)
    assert wrong in found if wrong else not found


@pytest.mark.parametrize(
    ("username", "request_", "rights"),
    [
        ("system:node:n1", NODE, ["selfnodeclient", "nodeclient"]),
        ("system:bootstrap:x", NODE, ["nodeclient"]),
        ("system:node:n1", SERVER, []),
    ],
)
def test_what_approves_itself(username, request_, rights):
    csr = signing.request("x", b"", KUBELET, username=username)
    assert certificates.kubelet_rights(csr, request_) == rights


NOW = 1_800_000_000.0


def at(seconds: float) -> str:
    return tasks.rfc3339(NOW + seconds)


def decided(kind: str, seconds: float, certificate: str = "", **spec: Any) -> dict[str, Any]:
    csr = signing.request("x", b"", **spec)
    condition = {"type": kind, "status": "True", "lastUpdateTime": at(seconds)}
    status = {"conditions": [condition], **({"certificate": certificate} if certificate else {})}
    return {**csr, "metadata": {"name": "x", "creationTimestamp": at(-99_999)}, "status": status}


PENDING = meta.changed(signing.request("x", b""), ("metadata", "creationTimestamp"), at(-3600))


@pytest.mark.parametrize(
    ("csr", "left"),
    [
        (PENDING, 23 * 3600),
        (decided("Denied", -600), 3000),
        (decided("Failed", -3600), 0),
        (decided("Approved", -600), None),
        (decided("Approved", -600, "eA=="), 3000),
        (decided("Approved", -600, "eA==", expirationSeconds=900), 300),
        (decided("Approved", -600, "eA==", expirationSeconds=86400), 3000),
    ],
)
def test_how_long_it_is_kept(csr, left):
    assert certificates.seconds_left(csr, NOW) == left


class Only:
    def __init__(self, csr: Any):
        self._csr = csr

    def get(self, *place: Any) -> Any:
        return self._csr


def test_what_is_next():
    def steps(csr: Any, signs: bool = True) -> list[Any]:
        return certificates.reconcile(signs, "x", Only(csr), NOW)  # type: ignore[arg-type]

    pending = meta.changed(PENDING, ("spec", "signerName"), KUBELET)
    assert steps(pending) == [actions.RequeueAfter(23 * 3600), certificates.ApproveKubelet(pending)]
    assert steps(PENDING) == [actions.RequeueAfter(23 * 3600)]
    approved = decided("Approved", -600)
    assert steps(approved) == [certificates.Sign(approved)] and steps(approved, signs=False) == []
    assert steps(decided("Approved", -600, signer="example.com/x")) == []
    assert steps(decided("Denied", -60)) == [actions.RequeueAfter(3540)]
    old = decided("Denied", -3600)
    assert steps(old) == [actions.Delete(old)]


@pytest.mark.parametrize(("asked", "seconds"), [(None, 365 * 86400), (600, 600), (86400, 86400), (2**31, 365 * 86400)])
def test_how_long_a_certificate_lasts(asked, seconds):
    spec = {} if asked is None else {"expirationSeconds": asked}
    assert certificates.lifetime(signing.request("x", b"", **spec)) == seconds


def test_a_certificate_says_what_was_asked_for_and_is_the_authoritys(tmp_path):
    authority = pki.authority(tmp_path)
    key = signing.key()
    pem = signing.request_pem("system:node:n1", ["system:nodes"], ["n1", "10.0.0.1"], of=key)
    read = base.read_request(pem)
    assert (read.common_name, read.organizations) == ("system:node:n1", ("system:nodes",))
    assert (read.dns_names, read.ip_addresses) == (("n1",), ("10.0.0.1",))
    made = x509.load_pem_x509_certificate(base.issue(authority, pem, SERVING, 600).encode())
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_pem.encode()))
    assert made.public_key() == key.public_key()
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    left = made.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert 590 < left.total_seconds() <= 600, "a short one lasts as long as was asked for"
    ever = x509.load_pem_x509_certificate(base.issue(authority, pem, SERVING, 1e9).encode())
    assert (
        ever.not_valid_after_utc
        == x509.load_pem_x509_certificate(authority.certificate_pem.encode()).not_valid_after_utc
    )


# -- In a cluster


def test_a_node_renews_its_certificate_by_itself_and_others_wait(tmp_path):
    """From the request to the certificate, through the server, with rights as kubeadm gives them."""
    from petset import cluster
    from petset.store import memory

    async def play() -> None:
        authority = pki.authority(tmp_path)
        plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(authority=authority))
        await plane.begin()
        async with plane.running():
            admin = plane.client(cluster.ADMINISTRATOR)
            node = plane.client(cluster.users.of_node("n1"))
            group = {"apiGroup": "rbac.authorization.k8s.io"}
            role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
            await admin.create(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": "renew"},
                    "roleRef": {**group, "kind": "ClusterRole", "name": role},
                    "subjects": [{**group, "kind": "Group", "name": "system:nodes"}],
                }
            )
            own = signing.request_pem("system:node:n1", ["system:nodes"])
            others = signing.request_pem("system:node:n2", ["system:nodes"])
            await node.create(signing.request("others", others, KUBELET))
            await admin.create(signing.request("wrong", signing.request_pem("jane"), usages=["server auth"]))
            wrong = await admin.get(CERTIFICATESIGNINGREQUESTS, "wrong")
            await admin.update(certificates.with_condition(wrong, "Approved", "Tested", ""), "approval")
            await node.create(signing.request("own", own, KUBELET, expirationSeconds=7200))
            found = await until(admin, "own", lambda csr: meta.get(csr, "status", "certificate"))
            assert signing.certificate(found).subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
            assert meta.condition(found, "Approved")["reason"] == "AutoApproved"
            failed = await until(admin, "wrong", lambda csr: meta.condition(csr, "Failed"))
            assert meta.condition(failed, "Failed")["message"] == "invalid usage for client certificate: server auth"
            assert "certificate" not in failed["status"]
            assert not meta.parts(await admin.get(CERTIFICATESIGNINGREQUESTS, "others"), "status", "conditions")

    async def until(client: Any, name: str, condition: Any) -> Any:
        async for _, csr in client.watch(CERTIFICATESIGNINGREQUESTS, since="0"):
            if meta.name(csr) == name and condition(csr):
                return csr
        raise AssertionError("the watch ended")

    asyncio.run(asyncio.wait_for(play(), 30))
