"""An autoscaler by metrics of other APIs: a small server of its own has them, registered as two APIServices."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from pathlib import Path
from typing import Any

from petset import cluster
from petset.base import pki
from petset.kinds.api_service import APISERVICES as API_SERVICES
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.horizontal_pod_autoscaler import HORIZONTALPODAUTOSCALERS
from petset.net import listener
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.access import front_proxy
from petset.store import memory
from petset.wire import http
from tests.server.aggregated_server import SERVICE
from tests.waiting import until_so

CUSTOM, EXTERNAL = "/apis/custom.metrics.k8s.io/v1beta2", "/apis/external.metrics.k8s.io/v1beta1"
LABELS = {"app": "web"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def deployment(name: str) -> Object:
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def autoscaler(*metrics: Object) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 9, "metrics": list(metrics)},
    }


def api_service(path: str, bundle: str, port: int) -> Object:
    _, _, group, version = path.split("/")
    spec = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "caBundle": bundle,
        "service": {"namespace": "default", "name": "extension", "port": port},
    }
    about = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    return {**about, "metadata": {"name": f"{version}.{group}"}, "spec": spec}


class Adapter:
    """Values of metrics by their paths; what was asked for."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.asked: dict[str, dict[str, str]] = {}  # By path: the query.

    async def handle(self, request: http.Request) -> http.Response:
        if request.path in (CUSTOM, EXTERNAL):
            return answer(
                {"kind": "APIResourceList", "groupVersion": request.path.removeprefix("/apis/"), "resources": []}
            )
        if request.path not in self.values:
            return http.Response(404, (), b"")
        self.asked[request.path] = dict(request.query)
        moment = "2016-08-03T00:00:00Z"
        return answer({"items": [{"value": value, "timestamp": moment} for value in self.values[request.path]]})


def answer(tree: Any) -> http.Response:
    return http.Response(200, (("content-type", "application/json"),), json.dumps(tree).encode())


def test_an_autoscaler_follows_what_an_adapter_tells(tmp_path: Path) -> None:
    async def main() -> None:
        keys, front = tmp_path / "keys", tmp_path / "front"
        for one in (keys, front):
            one.mkdir()
        authority = pki.authority(keys)
        tls = pki.server_context(authority.server("api", ["extension.default.svc"]), "")
        bundle = base64.b64encode(authority.certificate_pem.encode()).decode()
        shown = pki.authority(front, "front-proxy-ca", "front-proxies").client(
            "front-proxy-client", front_proxy.ALLOWED
        )
        plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(front_proxy=shown))
        client, adapter = plane.client(cluster.ADMINISTRATOR), Adapter()
        hits = f"{CUSTOM}/namespaces/default/services/front/hits"
        queue = f"{EXTERNAL}/namespaces/default/queue"
        await plane.begin()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(plane.running())
            port = (await stack.enter_async_context(listener.serve(adapter.handle, port=0, tls=tls))).port

            async def said() -> list[str]:
                found = await client.get(HORIZONTALPODAUTOSCALERS, "web", "default")
                return [one["message"] for one in meta.parts(found, "status", "conditions")]

            async def measured(hits: str, queue: str) -> bool:
                found = await client.get(HORIZONTALPODAUTOSCALERS, "web", "default")
                said = {one["type"]: one for one in meta.parts(found, "status", "currentMetrics")}
                pairs = (("Object", hits), ("External", queue))
                parts = (meta.part(said.get(kind, {}), kind.lower(), "current") for kind, _ in pairs)
                return [part.get("averageValue") for part in parts] == [value for _, value in pairs]

            async def available() -> bool:
                found, _ = await client.list(API_SERVICES)
                ours = [one for one in found if one["spec"].get("service")]
                return len(ours) == 2 and all(meta.is_condition_true(one, "Available") for one in ours)

            async def sized(size: int) -> bool:
                return (await client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == size

            front_service = {"apiVersion": "v1", "kind": "Service", "name": "front"}
            described = {"metric": {"name": "hits"}, "describedObject": front_service}
            by_hits = {
                "type": "Object",
                "object": {**described, "target": {"type": "AverageValue", "averageValue": "100"}},
            }
            outside = {"metric": {"name": "queue", "selector": {"matchLabels": {"of": "work"}}}}
            by_queue = {
                "type": "External",
                "external": {**outside, "target": {"type": "AverageValue", "averageValue": "10"}},
            }
            await client.create(deployment("web"))
            await until_so(lambda: exists(client, 1))
            made = await client.create(autoscaler(by_hits, by_queue))
            await until_so(lambda: has(said, "no custom metrics API (custom.metrics.k8s.io) registered"))

            adapter.values = {hits: ["300"], queue: ["15", "10"]}
            await client.create(meta.changed(SERVICE, ("metadata", "namespace"), "default"))
            for path in (CUSTOM, EXTERNAL):
                await client.create(api_service(path, bundle, port))
            await until_so(available)
            await client.patch(HORIZONTALPODAUTOSCALERS, "web", "default", {"spec": {"maxReplicas": 8}})
            await until_so(lambda: sized(3))
            assert adapter.asked == {hits: {}, queue: {"labelSelector": "of=work"}}
            assert made["spec"]["maxReplicas"] == 9
            await until_so(lambda: measured("300", "25"))

    async def exists(client: Any, replicas: int) -> bool:
        return meta.get(await client.get(DEPLOYMENTS, "web", "default"), "status", "replicas", default=0) == replicas

    async def has(said: Any, text: str) -> bool:
        return any(text in message for message in await said())

    asyncio.run(main())
