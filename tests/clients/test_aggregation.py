"""kubectl works with a kind that another server has: an extension API server in HTTPS on this machine."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from petset.base import pki
from tests import waiting
from tests.server.aggregated_server import GROUP, RESOURCES, ROOT, VERSION, api_service, flunder

_KIND = {"group": GROUP, "version": VERSION, "kind": "Flunder"}
_SCHEMA = {"type": "object", "description": "A flat fish.", "x-kubernetes-group-version-kind": [_KIND]}
_DOCUMENTS = {
    "/openapi/v3": {"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=F00"}}},
    f"/openapi/v3{ROOT}": {
        "openapi": "3.0.0",
        "paths": {f"{ROOT}/flunders": {"get": {"responses": {}, "x-kubernetes-group-version-kind": _KIND}}},
        "components": {"schemas": {"com.example.wardle.v1alpha1.Flunder": _SCHEMA}},
    },
}


class _Flunders(http.server.BaseHTTPRequestHandler):
    kept: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        path, name = self.path.partition("?")[0], self.path.partition("?")[0].rpartition("/")[2]
        about = {"apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
        if path == ROOT:
            self.say(200, {"kind": "APIResourceList", **about, "resources": RESOURCES})
        elif path in _DOCUMENTS:
            self.say(200, _DOCUMENTS[path])
        elif name == "flunders":
            items = list(self.kept.values())
            listed = {"kind": "FlunderList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {"resourceVersion": "1"}}
            self.say(200, {**listed, "items": items})
        else:
            self.say(200, self.kept[name]) if name in self.kept else self.say(404, {"kind": "Status", "code": 404})

    def do_POST(self) -> None:
        obj = json.loads(self.rfile.read(int(self.headers["content-length"])))
        obj["metadata"] |= {"namespace": "default", "creationTimestamp": "2016-01-01T00:00:00Z"}
        obj["metadata"]["annotations"] = {"by": self.headers["x-remote-user"]}
        self.kept[obj["metadata"]["name"]] = obj
        self.say(201, obj)

    def say(self, code: int, tree: Any) -> None:
        body = json.dumps(tree).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def extension(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """(the bundle of its authority, its port)."""
    authority = pki.authority(tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Flunders)
    context = pki.server_context(authority.server("extension", ["extension.default.svc"]))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield base64.b64encode(authority.certificate_pem.encode()).decode(), server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_kubectl_with_a_kind_of_another_server(served: Any, extension: tuple[str, int]) -> None:
    kubectl = served.admin
    kubectl("wait", "--for=create", "apiservice/v1.apps", "--timeout=20s")
    assert kubectl("get", "apiservice", "v1.apps", "--no-headers").split()[1] == "Local"
    kubectl("create", "service", "externalname", "extension", "--external-name", "localhost")
    kubectl("create", "-f", "-", stdin=json.dumps(api_service(*extension)))
    name = f"{VERSION}.{GROUP}"
    kubectl("wait", "--for=condition=Available", f"apiservice/{name}", "--timeout=20s")
    assert kubectl("get", "apiservice", name, "--no-headers").split()[:3] == [name, "default/extension", "True"]
    assert "flunders" in kubectl("api-resources", "--api-group", GROUP, "-o", "name")
    assert "created" in kubectl("create", "-f", "-", stdin=json.dumps(flunder("a")))
    assert kubectl("get", "fl", "-o", "name").split() == [f"flunder.{GROUP}/a"]
    assert kubectl("get", "fl", "a", "-o", "jsonpath={.metadata.annotations.by}")
    asyncio.run(waiting.until(lambda: ROOT[1:] in kubectl("get", "--raw", "/openapi/v3")))
    assert "A flat fish." in kubectl("explain", "flunders")
    kubectl("delete", "apiservice", name)
    kubectl("delete", "service", "extension")
