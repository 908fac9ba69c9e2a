"""NodeMetrics and PodMetrics: what nodes say that they use, looked at when somebody asks (kinds/metrics).

A node is asked for its /stats/summary, at most once a second; who asks for the first time in a minute waits for the
second look that a window needs. Nothing looks while nobody asks. Nodes that cannot be asked, and pods of which nothing
is known, are left out of lists and not found by name, as upstream's metrics-server does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from petset.base import memory, tasks
from petset.kinds.metrics import usage
from petset.kinds.metrics.node_metrics import NODEMETRICS
from petset.kinds.metrics.pod_metrics import PODMETRICS
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import durations, encoding, errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import answers, lists
from petset.server.measured import windows
from petset.server.measured.windows import Look, Window
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http, streaming

SUMMARY = "/stats/summary"
NODES_AT_ONCE_MAX = 16
CLOCKS_DIFFER_SECONDS = 0.05  # The one that wakes us and the one by which looks are dated.
Windows = Mapping[str, Window]  # By node.


class Figures:
    def __init__(self, store: stores.Store, servers_of: streaming.ServersOf):
        self._store, self._servers_of = store, servers_of
        self._looks: dict[str, tuple[Look, ...]] = {}  # By node: the last ones, of a minute at most.
        self._asking: dict[str, asyncio.Lock] = {}  # By node: one look at a time.
        memory.at_rest.add(self._forget)

    def _forget(self) -> None:
        now = tasks.now()
        self._looks = {node: left for node, looks in self._looks.items() if (left := windows.recent(looks, now))}
        self._asking = {node: lock for node, lock in self._asking.items() if lock.locked()}

    async def nodes(self, call: Call) -> http.Response:
        return await self._answer(call, NODES)

    async def pods(self, call: Call) -> http.Response:
        return await self._answer(call, PODS)

    async def _answer(self, call: Call, of: Kind) -> http.Response:
        name, namespace = call.route.name, call.route.namespace
        if name:
            found = self._store.get(of.key(namespace, name))
            entries = [found] if found is not None else []
        else:
            wanted = lists.selection(call)
            _, everything = await self._store.snapshot(of.key(namespace))
            runs = call.work.in_runs(everything, answers.size, wanted.among)
            entries = [entry async for run in runs for entry in run]
        found = await self._windows(call, [_node_of(entry.object, of) for entry in entries])
        make = _of_nodes if of is NODES else _of_pods
        made = [one async for run in call.work.in_runs(entries, answers.size, make, found) for one in run]
        if not name:
            return await answers.object_list(call, made, {})
        if not made:
            where = f"{namespace}/{name}" if namespace else name
            raise errors.not_found(call.resource.kind.lower(), where, usage.GROUP)
        return answers.entry(call, made[0])

    async def _windows(self, call: Call, nodes: Sequence[str]) -> Windows:
        found: dict[str, Window] = {}

        async def ask(node: str) -> None:
            window = await self._window(call, node)
            if window is not None:
                found[node] = window

        named = [node for node in dict.fromkeys(nodes) if node]
        await tasks.side_by_side(named, ask, NODES_AT_ONCE_MAX, "look at a node's figures")
        return found

    async def _window(self, call: Call, node: str) -> Window | None:
        async with self._asking.setdefault(node, asyncio.Lock()):
            last = self._looks.get(node, ())[-1:]
            if last and 0 <= tasks.now() - last[0].at < windows.WINDOW_SECONDS_MIN:
                found = windows.window(self._looks[node])
            else:
                found = await self._looked(call, node)
            if found is None and node in self._looks:
                await asyncio.sleep(windows.WINDOW_SECONDS_MIN + CLOCKS_DIFFER_SECONDS)
                found = await self._looked(call, node)
            return found

    async def _looked(self, call: Call, node: str) -> Window | None:
        """One more look; none is kept of a node that cannot be asked."""
        try:
            answer = await self._servers_of(node).answer(SUMMARY, "application/json")
        except streaming.StreamError:
            answer = None
        if answer is None or answer.code != 200 or not isinstance(answer.body, bytes):
            self._looks.pop(node, None)
            return None
        new = await call.work.beside(len(answer.body), _look, answer.body)
        self._looks[node] = windows.kept(self._looks.get(node, ()), new)
        return windows.window(self._looks[node])


def _look(summary: bytes) -> Look:
    return windows.look(encoding.loads(summary))


def _node_of(obj: Object, of: Kind) -> str:
    if of is NODES:
        return meta.name(obj)
    return meta.get(obj, "spec", "nodeName", default="") if meta.get(obj, "status", "phase") == "Running" else ""


def _of_nodes(entries: Sequence[stores.Entry], found: Windows) -> list[stores.Entry]:
    made: list[stores.Entry] = []
    for entry in entries:
        window = found.get(meta.name(entry.object))
        used = window.node() if window is not None else None
        if window is not None and used is not None:
            figures = {"usage": usage.usage(used.cores, used.memory_bytes)}
            made.append(_entry(NODEMETRICS, entry.object, window.now.at, used.seconds, figures))
    return made


def _of_pods(entries: Sequence[stores.Entry], found: Windows) -> list[stores.Entry]:
    made: list[stores.Entry] = []
    for entry in entries:
        window = found.get(_node_of(entry.object, PODS))
        used = window.pod(meta.uid(entry.object)) if window is not None else None
        if window is not None and used is not None:
            containers = [
                {"name": name, "usage": usage.usage(one.cores, one.memory_bytes)} for name, one in used.items()
            ]
            seconds = min(one.seconds for one in used.values())
            made.append(_entry(PODMETRICS, entry.object, window.now.at, seconds, {"containers": containers}))
    return made


def _entry(kind: Kind, about: Object, at: float, seconds: float, figures: Object) -> stores.Entry:
    moment, labels = tasks.rfc3339(at), meta.labels(about)
    namespace = meta.namespace(about) if kind.namespaced else ""
    obj = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": meta.name(about),
            **({"namespace": namespace} if namespace else {}),
            "creationTimestamp": moment,
            **({"labels": dict(labels)} if labels else {}),
        },
        "timestamp": moment,
        "window": durations.text_of(seconds),
        **figures,
    }
    return stores.Entry(kind.key(namespace, meta.name(about)), 0, 0, encoding.dumps(obj), obj)
