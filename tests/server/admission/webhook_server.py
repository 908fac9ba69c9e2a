"""A webhook for tests: a real HTTPS server in the loop of the API, with its own authority, that does as it is told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from petset.base import pki
from petset.net import listener
from petset.wire import http

Say = Callable[[dict[str, Any]], Any]  # The request of a review -> a response without its uid, or anything else.


class WebhookServer:
    """`say` by path; what is asked is kept in `asked`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path, hosts: tuple[str, ...] = ("127.0.0.1",)):
        self.loop, self.says = loop, dict[str, Say]()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        authority = pki.authority(directory)
        self.bundle = base64.b64encode(authority.certificate_pem.encode()).decode()
        self._tls = pki.server_context(authority.server("webhook", hosts))
        self._stop, self.heard, self.port = asyncio.Event(), asyncio.Event(), 0
        started = asyncio.Event()
        self._task = loop.create_task(self._serve(started))
        loop.run_until_complete(started.wait())

    async def _serve(self, started: asyncio.Event) -> None:
        async with listener.serve(self._handle, "127.0.0.1", 0, self._tls) as serving:
            self.port = serving.port
            started.set()
            await self._stop.wait()

    def close(self) -> None:
        self._stop.set()
        self.loop.run_until_complete(self._task)

    async def never(self) -> dict[str, Any]:
        """No answer while this server lives."""
        await self._stop.wait()
        return {"allowed": False}

    async def _handle(self, request: http.Request) -> http.Response:
        path, review = request.path, json.loads(request.body)
        self.asked.append((path, review["request"]))
        self.heard.set()
        said: Any = self.says[path](review["request"])
        if asyncio.iscoroutine(said):
            said = await said
        if isinstance(said, http.Response):
            return said
        about = {"kind": review["kind"], "apiVersion": review["apiVersion"]}
        answer = {**about, "response": {"uid": review["request"]["uid"], **said}}
        return http.Response(200, (("content-type", "application/json"),), json.dumps(answer).encode())

    def hook(self, path: str, **changes: Any) -> dict[str, Any]:
        """A webhook of that path, about ConfigMaps."""
        return {
            "name": f"{path}.hooks.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{path}", "caBundle": self.bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}],
            **changes,
        }


def configuration(kind: str, *webhooks: dict[str, Any], name: str = "hooks") -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(webhooks),
    }


def patched(*operations: dict[str, Any]) -> dict[str, Any]:
    patch = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}
