"""A user of one's own: a key, a request, an approval, and kubectl with the certificate that comes of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests import signing
from tests.kubectl import Kubectl


def test_a_user_gets_a_certificate_and_uses_it(make_cluster, tmp_path):
    cluster = make_cluster()
    cluster.up("--simulate")
    admin = cluster.kubectl
    key = signing.key()
    (tmp_path / "ann.key").write_bytes(signing.key_pem(key))
    pem = signing.request_pem("ann", ["developers"], of=key)
    asked = signing.request("ann", pem, expirationSeconds=3600, usages=["client auth"])  # As the documentation asks.
    admin("create", "-f", "-", stdin=json.dumps(asked))
    assert "Pending" in admin("get", "csr")
    assert "ann" in admin("describe", "csr", "ann")
    assert "approved" in admin("certificate", "approve", "ann")
    admin("wait", "csr/ann", "--for=jsonpath={.status.certificate}", "--timeout=30s")
    name, _, _, requestor, seconds, state = admin("get", "csr", "ann", "--no-headers").split()
    assert (name, requestor, seconds, state) == ("ann", "petset-admin", "60m", "Approved,Issued")
    issued = base64.b64decode(admin("get", "csr", "ann", "-o", "jsonpath={.status.certificate}"))
    (tmp_path / "ann.crt").write_bytes(issued)

    ann = user(admin, tmp_path)
    assert json.loads(ann("auth", "whoami", "-o", "json"))["status"]["userInfo"] == {
        "username": "ann",
        "groups": ["developers", "system:authenticated"],
    }
    refused = ann.run("get", "pods")
    assert refused.returncode == 1 and 'User "ann" cannot list resource "pods"' in refused.stderr
    admin("create", "rolebinding", "ann", "--clusterrole=view", "--user=ann")
    assert "No resources found" in ann.run("get", "pods").stderr

    admin("create", "-f", "-", stdin=json.dumps(signing.request("not", signing.request_pem("eve"))))
    assert "denied" in admin("certificate", "deny", "not")
    assert admin("get", "csr", "not", "--no-headers").split()[-1] == "Denied"
    again = admin.run("certificate", "approve", "not")
    assert again.returncode == 1 and "already Denied" in again.stderr


def user(admin: Kubectl, directory: Path) -> Kubectl:
    """kubectl with the key and the certificate in the directory, for the cluster that the administrator's is for."""
    config = admin.json("config", "view", "--raw", "--minify")
    files = {"client-certificate": str(directory / "ann.crt"), "client-key": str(directory / "ann.key")}
    config["users"] = [{"name": "ann", "user": files}]
    config["contexts"][0]["context"]["user"] = "ann"
    (directory / "kubeconfig").write_text(json.dumps(config))
    return Kubectl(directory / "kubeconfig", directory / "cache")
