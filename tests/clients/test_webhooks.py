"""kubectl shows what an admission webhook has to say."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.base import pki


class _Denies(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = {"code": 403, "reason": "Forbidden", "message": "not on a Friday"}
        response = {"uid": review["request"]["uid"], "allowed": False, "status": status, "warnings": ["it is Friday"]}
        about = {"apiVersion": review["apiVersion"], "kind": "AdmissionReview"}
        body = json.dumps({**about, "response": response}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def denying(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The clientConfig of a webhook that denies everything."""
    authority = pki.authority(tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Denies)
    context = pki.server_context(authority.server("webhook", ["127.0.0.1"]))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    bundle = base64.b64encode(authority.certificate_pem.encode()).decode()
    yield {"url": f"https://127.0.0.1:{server.server_port}/deny", "caBundle": bundle}
    server.shutdown()
    thread.join()
    server.server_close()


def test_kubectl_shows_why_a_webhook_denies(served: Any, space: str, denying: dict[str, str]) -> None:
    kubectl = served.admin
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
    webhook = {
        "name": "friday.hooks.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": denying,
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}},
    }
    manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "friday"},
        "webhooks": [webhook],
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    refused = kubectl.run("create", "configmap", "a", "-n", space)
    assert refused.returncode == 1
    said = 'admission webhook "friday.hooks.example" denied the request: not on a Friday'
    assert said in refused.stderr and "Warning: it is Friday" in refused.stderr
    assert "created" in kubectl("create", "secret", "generic", "a", "-n", space)
    assert kubectl("get", "validatingwebhookconfigurations").split()[:3] == ["NAME", "WEBHOOKS", "AGE"]
    kubectl("delete", "validatingwebhookconfiguration", "friday")
    assert "created" in kubectl("create", "configmap", "a", "-n", space)
