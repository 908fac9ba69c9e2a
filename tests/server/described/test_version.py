"""The version that is served is the one that the schema package describes, and all of its fields are taken."""

from __future__ import annotations

from typing import Any

import pytest

import petset
from petset.objects import package_data
from tests.server.conftest import Server, pod


def test_the_version_is_that_of_the_schemas(server: Server):
    assert tuple(package_data.schema_version().split(".")[:2]) == petset.KUBERNETES_VERSION
    assert server.get("/version")["gitVersion"].startswith("v{}.{}.".format(*petset.KUBERNETES_VERSION))


def container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **fields}]}


def mounted(**source: Any) -> dict[str, Any]:
    mount = {"name": "v", "mountPath": "/v"}
    return {**container(volumeMounts=[mount]), "volumes": [{"name": "v", **source}]}


CERTIFICATE = {"keyType": "ED25519", "signerName": "example.com/a", "credentialBundlePath": "bundle"}
# Fields that came after 1.33: they are taken and kept (which of them are acted on: docs/compatibility.md).
NEWER: dict[str, dict[str, Any]] = {
    "bindMountOptions": {
        **mounted(emptyDir={}),
        **container(volumeMounts=[{"name": "v", "mountPath": "/v", "bindMountOptions": ["noexec"]}]),
    },
    "defaultUser": mounted(configMap={"name": "c", "defaultUser": 1}),
    "emptyDir.mode": mounted(emptyDir={"mode": 0o700}),
    "evictionResponders": {"evictionResponders": [{"name": "example.com/a", "priority": 1}]},
    "grpc.mode": container(livenessProbe={"grpc": {"port": 1, "mode": "TLS"}}),
    "hostnameOverride": {"hostnameOverride": "other"},
    "httpGet.protocol": container(livenessProbe={"httpGet": {"port": 1, "protocol": "HTTP/2"}}),
    "items.user": mounted(secret={"secretName": "s", "items": [{"key": "a", "path": "a", "user": 1}]}),
    "podCertificate": mounted(projected={"sources": [{"podCertificate": CERTIFICATE}]}),
    "restartPolicyRules": container(
        restartPolicy="Never",
        restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}],
    ),
    "schedulingGroup": {"schedulingGroup": {"podGroupName": "g"}},
}


@pytest.mark.parametrize("field", NEWER)
def test_a_newer_field_is_taken_and_kept(server: Server, field: str):
    path = "/api/v1/namespaces/default/pods"
    made = server.ok("POST", f"{path}?fieldValidation=Strict", pod("p", **NEWER[field]))
    assert f'"{field.rpartition(".")[2]}"' in repr(made["spec"]).replace("'", '"')
