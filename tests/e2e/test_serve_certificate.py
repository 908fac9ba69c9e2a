"""Replicas of `petset serve` that keep one certificate in the cluster, whose APIService they have believe it."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from pathlib import Path

from tests.e2e.extension import NAMESPACE, Replica, install

SECRET = "petset-serving"


def test_replicas_are_believed_by_a_certificate_that_they_keep_together(make_cluster) -> None:
    there = make_cluster()
    there.up("--simulate", "--runtime-config=apps/v1alpha1=false")
    directory = Path(tempfile.mkdtemp(prefix="petset-serve-", dir="/tmp"))
    replicas = [Replica(directory / name, there, name, f"--serving-secret={SECRET}") for name in "ab"]
    kubectl = there.kubectl

    def kept() -> dict[str, bytes]:
        found = json.loads(kubectl("get", "secret", SECRET, "-n", NAMESPACE, "-o", "json"))
        return {name: base64.b64decode(part) for name, part in found["data"].items()}

    def shown(replica: Replica) -> bytes:
        return (replica.directory / "pki" / "tls.crt").read_bytes()

    def believed() -> bytes:
        found = kubectl("get", "apiservice", "v1alpha1.apps", "-o", "jsonpath={.spec.caBundle}")
        return base64.b64decode(found)

    try:
        kubectl("create", "namespace", NAMESPACE)
        for replica in replicas:
            replica.start()
        there.wait(lambda: shown(replicas[0]) == shown(replicas[1]) == kept()["tls.crt"], "they agree")
        install(there, replicas[0], authority=b"")
        there.wait(lambda: believed() == kept()["ca.crt"], "the APIService is told")
        assert kubectl("get", "petsets", "-A", "-o", "name") == ""
        before = shown(replicas[0])
        kubectl("delete", "secret", SECRET, "-n", NAMESPACE)
        there.wait(lambda: shown(replicas[0]) == shown(replicas[1]) != before, "there is another one")
        there.wait(lambda: believed() == kept()["ca.crt"], "the APIService is told again")
        assert kubectl("get", "petsets", "-A", "-o", "name") == ""
        for replica in replicas:
            assert replica.stop() == 0, replica.log
            assert "Traceback" not in replica.log
    finally:
        for replica in replicas:
            replica.kill()
        shutil.rmtree(directory)
