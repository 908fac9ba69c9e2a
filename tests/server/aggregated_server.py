"""An extension API server for tests: HTTPS in the loop of the API, with its own authority and one kind, flunders."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Sized
from pathlib import Path
from typing import Any

from petset.base import pki
from petset.net import listener
from petset.wire import http

GROUP, VERSION = "wardle.example.com", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"
RESOURCES = [
    {
        "name": "flunders",
        "singularName": "flunder",
        "namespaced": True,
        "kind": "Flunder",
        "shortNames": ["fl"],
        "verbs": ["create", "delete", "get", "list", "watch"],
    },
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
]


class ExtensionServer:
    """Keeps flunders; what it was asked, and by whom, is in `asked`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path, hosts: tuple[str, ...], client_ca: str = ""):
        self.loop, self.asked = loop, list[http.Request]()
        self.flunders: dict[str, Any] = {}
        self.say: Any = None  # Something else to answer with.
        self.silent: tuple[str, ...] = ()  # Paths that are never answered.
        self.openapi: dict[str, Any] = {}  # By path: other documents than its own.
        authority = pki.authority(directory)
        self.bundle = base64.b64encode(authority.certificate_pem.encode()).decode()
        self._tls = pki.server_context(authority.server("extension", hosts), client_ca)
        self._stop, self.port = asyncio.Event(), 0
        self.connections: Sized = ()  # That are open.
        self._changed = asyncio.Event()
        self.begin()

    def begin(self) -> None:
        """Serve, at the same port as before."""
        self._stop = asyncio.Event()
        started = asyncio.Event()
        self._task = self.loop.create_task(self._serve(started))
        self.loop.run_until_complete(started.wait())

    async def _serve(self, started: asyncio.Event) -> None:
        async with listener.serve(self._handle, "127.0.0.1", self.port, self._tls) as serving:
            self.port, self.connections = serving.port, serving.connections
            started.set()
            await self._stop.wait()

    def close(self) -> None:
        self._stop.set()
        self.loop.run_until_complete(self._task)

    async def _handle(self, request: http.Request) -> http.Response:
        if (
            request.header("x-remote-user") != "system:aggregator"
        ):  # Who reads what it says of itself, whenever he likes.
            self.asked.append(request)
        if self.say is not None:
            return self.say(request)
        if request.path in self.silent:
            await self._stop.wait()
        if request.path.startswith("/openapi/"):
            return self._described(request)
        if request.path == ROOT:
            about = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
            return _json(200, {**about, "resources": RESOURCES})
        if "watch" in dict(request.query):
            return http.Response(200, (("content-type", "application/json"),), self._watch())
        name = request.path.removeprefix(FLUNDERS).strip("/")
        if request.method == "POST":
            made = json.loads(request.body)
            made["metadata"] |= {"namespace": "default", "uid": "u", "creationTimestamp": "2016-01-01T00:00:00Z"}
            self.flunders[made["metadata"]["name"]] = made
            self._changed.set()
            return _json(201, made)
        if not name:
            about = {"kind": "FlunderList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {"resourceVersion": "1"}}
            return _json(200, {**about, "items": list(self.flunders.values())})
        found = self.flunders.get(name)
        if found is None:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            return _json(404, {**status, "message": f'flunders "{name}" not found'})
        if request.method == "DELETE":
            del self.flunders[name]
        return _json(200, found)

    def _described(self, request: http.Request) -> http.Response:
        """What it says of itself, in both versions; `openapi` in place of any of it."""
        own = {
            "/openapi/v2": swagger("Flunder"),
            "/openapi/v3": {"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=F00"}, "version": {}}},
            f"/openapi/v3{ROOT}": {"openapi": "3.0.0", "info": {"title": "wardle", "version": "1"}, "paths": {}},
        }
        found = {**own, **self.openapi}.get(request.path)
        if isinstance(found, http.Response):
            return found
        if found is None:
            return http.Response(404, (), b"")
        data = json.dumps(found).encode()
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        if request.header("if-none-match") == tag:
            return http.Response(304, (("etag", tag),))
        return http.Response(200, (("content-type", "application/json"), ("etag", tag)), data)

    async def _watch(self) -> AsyncGenerator[bytes, None]:
        told = 0
        while True:
            for obj in list(self.flunders.values())[told:]:
                told += 1
                yield json.dumps({"type": "ADDED", "object": obj}).encode() + b"\n"
            self._changed.clear()
            await self._changed.wait()


def _json(code: int, tree: Any) -> http.Response:
    return http.Response(code, (("content-type", "application/json"),), json.dumps(tree).encode())


def swagger(kind: str, **definitions: Any) -> dict[str, Any]:
    """A document of version 2 about one kind, and about what is nobody's business."""
    name = f"com.example.wardle.v1alpha1.{kind}"
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    about = [{"group": GROUP, "version": VERSION, "kind": kind}]
    schema = {
        "description": f"A {kind}.",
        "type": "object",
        "properties": {
            "metadata": {"$ref": f"#/definitions/{meta}"},
            "size": {"type": "string", "enum": ["small", "large"], "description": "How large it is."},
        },
        "x-kubernetes-group-version-kind": about,
    }
    operation = {
        "operationId": f"read{kind}",
        "parameters": [{"$ref": "#/parameters/pretty"}],
        "responses": {"200": {"description": "OK", "schema": {"$ref": f"#/definitions/{name}"}}},
        "x-kubernetes-group-version-kind": about[0],
    }
    return {
        "swagger": "2.0",
        "info": {"title": "wardle", "version": "1"},
        "parameters": {"pretty": {"name": "pretty", "in": "query", "type": "string", "uniqueItems": True}},
        "paths": {f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}": {"get": operation}, "/version/": {}},
        "definitions": {
            name: schema,
            meta: {"description": "Another one than this server's.", "type": "object"},
            "com.example.Unused": {"type": "object"},
            **definitions,
        },
    }


def flunder(name: str) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Flunder", "metadata": {"name": name}}


def api_service(bundle: str, port: int, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 1000,
            "versionPriority": 15,
            "caBundle": bundle,
            "service": {"namespace": "default", "name": "extension", "port": port},
            **spec,
        },
    }


# A Service that leads out of the cluster: to this machine, where the extension server is.
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "extension"},
    "spec": {"type": "ExternalName", "externalName": "localhost"},
}
