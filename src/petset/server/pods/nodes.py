"""Requests to nodes: .../nodes/[SCHEME:]NAME[:PORT]/proxy/PATH, answered by the node in this process.

A node serves what a kubelet does (node/served), and reads only. Who asks needs the subresource proxy, or the finer one
that a kubelet has for the path: metrics, stats, log, pods, healthz, configz. Logs of containers are those that
pods/log has. Follows: "Kubelet authentication/authorization" of the Kubernetes documentation.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from petset.kinds import transient
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import errors, meta
from petset.objects.registry import Kinds
from petset.server import writes
from petset.server.admission.asking import Others
from petset.server.pods import proxy, streams
from petset.server.routes import Call, Path, Route
from petset.store import store as stores
from petset.wire import http, streaming

PORT = "10250"  # A kubelet's.
FINER = {
    "metrics": "metrics",
    "stats": "stats",
    "logs": "log",
    "pods": "pods",
    "runningpods": "pods",
    "healthz": "healthz",
    "configz": "configz",
}
CONTAINER_LOGS = "containerLogs"


class NodeProxy:
    """The backend of everything below a node's /proxy."""

    def __init__(self, store: stores.Store, servers_of: streaming.ServersOf, pods: streams.Streams, others: Others):
        self._store, self._servers_of, self._pods, self._others = store, servers_of, pods, others

    def route(self, path: Path, kinds: Kinds) -> Route:
        _, _, _, name, _, *below = path.parts
        finer = FINER.get(below[0], "") if below else ""
        return Route(path.raw, NODES, "", name, proxy.SUBRESOURCE, finer)

    async def answer(self, call: Call) -> http.Response:
        if call.request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed(call.request.method, call.route.path)
        of = proxy.named(call.route.name)
        if of is None:
            raise errors.bad_request(f"invalid node request {call.route.name[:100]!r}")
        if self._store.get(NODES.key("", of.name)) is None:
            raise errors.not_found(NODES.plural, of.name)
        if of.port not in ("", PORT):
            raise errors.unavailable(f"error trying to reach service: a node here serves port {PORT} only")
        below = [unquote(part) for part in call.route.path.split("/")[6:]]
        path = "/" + "/".join(below)
        await self._others.connected(writes.of_connection(call, of.name), transient.NODE_PROXY, {"path": path})
        if below and below[0] == CONTAINER_LOGS:
            return await self._container_log(call, of.name, below[1:])
        try:
            server = self._servers_of(of.name)
        except streaming.StreamError as error:
            raise streams.stream_failure(error) from None
        return await server.answer(path, call.request.header("accept"))

    async def _container_log(self, call: Call, node: str, below: list[str]) -> http.Response:
        if len(below) != 3 or not all(below):
            raise errors.bad_request(f"name a container: {CONTAINER_LOGS}/NAMESPACE/POD/CONTAINER")
        namespace, name, container = below
        found = self._store.get(PODS.key(namespace, name))
        if found is None or meta.get(found.object, "spec", "nodeName") != node:
            raise errors.not_found(PODS.plural, name)
        route = Route(call.route.path, PODS, namespace, name, "log")
        return await self._pods.log(replace(call, route=route, query={**call.query, "container": [container]}))
