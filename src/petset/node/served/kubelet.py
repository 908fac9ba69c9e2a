"""What a kubelet serves over HTTP, as far as a node here has it: health, metrics, the summary, its pods, its log.

Nothing listens: the API server asks in process for what is below .../nodes/NAME/proxy/. The containers' groups are read
when somebody asks, in the runtime's threads; how busy they are is told from two such looks, so the last one is kept.
Of the files only the instance's log is served, by its own name: no path is ever made of what was asked for.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from petset.base import tasks, telemetry
from petset.net import failures
from petset.node.runtime import Runtime, Usages
from petset.node.served import figures
from petset.node.volumes.space import Space
from petset.objects import encoding, errors
from petset.objects.meta import Object
from petset.wire import http

Pods = Callable[[], Awaitable[Sequence[Object]]]
JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"


class Kubelet:
    """`pods` are the node's by the API; `log` the instance's, beside which older ones have a number; `space` knows how
    full the claims' volumes are."""

    def __init__(self, name: str, runtime: Runtime, pods: Pods, log: Path | None, space: Space | None = None):
        self._name, self._runtime, self._pods, self._log = name, runtime, pods, log
        self._space = space or Space(None)
        self._before: figures.Rates | None = None
        self._last: figures.Rates | None = None
        self._answers: Mapping[str, Callable[[str], Awaitable[http.Response]]] = {
            "/healthz": self._healthz,
            "/metrics": self._metrics,
            "/metrics/cadvisor": self._cadvisor,
            "/metrics/resource": self._resource,
            "/stats/summary": self._summary,
            "/pods": self._all_pods,
            "/runningpods": self._running_pods,
            "/logs": self._logs,
        }

    async def answer(self, path: str, accept: str) -> http.Response:
        """The answer to a GET of a decoded path."""
        found = self._answers.get(path.rstrip("/"))
        if found is not None:
            return await found(accept)
        if path.startswith("/logs/"):
            return await self._log_file(path.removeprefix("/logs/"))
        return failures.failure(errors.ApiError(404, "NotFound", f"a node serves {', '.join(sorted(self._answers))}"))

    async def _healthz(self, accept: str) -> http.Response:
        return _answer(TEXT, b"ok")

    async def _metrics(self, accept: str) -> http.Response:
        await self._space.fresh()
        return await _rendered(figures.kubelet(self._name, self._runtime.observe(), self._space.of_pod), accept)

    async def _cadvisor(self, accept: str) -> http.Response:
        _, pods = await self._looked()
        return await _rendered(figures.cadvisor(pods, tasks.now()), accept)

    async def _resource(self, accept: str) -> http.Response:
        usages, pods = await self._looked()
        return await _rendered(figures.resource(usages.node, pods), accept)

    async def _summary(self, accept: str) -> http.Response:
        await self._space.fresh()
        usages, pods = await self._looked()
        now = usages.at
        if self._last is not None and now - self._last.at >= figures.RATE_SECONDS_MIN:
            self._before = self._last
        shown = figures.summary(self._name, usages, pods, now, self._before, self._space.of_pod)
        if self._last is None or now - self._last.at >= figures.RATE_SECONDS_MIN:
            self._last = figures.rates(usages, now)
        return _answer(JSON, encoding.dumps(shown))

    async def _looked(self) -> tuple[Usages, list[figures.Running]]:
        usages = await self._runtime.usages()
        return usages, figures.running(self._runtime.observe(), usages)

    async def _all_pods(self, accept: str) -> http.Response:
        items = list(await self._pods())
        return _answer(JSON, encoding.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))

    async def _running_pods(self, accept: str) -> http.Response:
        _, pods = await self._looked()
        return _answer(JSON, encoding.dumps(figures.pods_that_run(pods)))

    async def _logs(self, accept: str) -> http.Response:
        names = [html.escape(name) for name in await tasks.in_thread(_files, self._log)]
        lines = "".join(f'<a href="{name}">{name}</a>\n' for name in names)
        return _answer(HTML, f"<pre>\n{lines}</pre>\n".encode())

    async def _log_file(self, name: str) -> http.Response:
        found = (await tasks.in_thread(_files, self._log)).get(name)
        if found is None:
            return failures.failure(errors.ApiError(404, "NotFound", "there is no such log"))
        return _answer(TEXT, await tasks.in_thread(found.read_bytes))


def _files(log: Path | None) -> dict[str, Path]:
    """By name: the log, and the older ones."""
    return {one.name: one for one in sorted(log.parent.glob(f"{log.name}*")) if one.is_file()} if log else {}


def _answer(content_type: str, content: bytes) -> http.Response:
    headers = (("content-type", content_type), ("x-content-type-options", "nosniff"))
    return http.Response(200, headers, content)


async def _rendered(taken: telemetry.Taken, accept: str) -> http.Response:
    content_type, text = await tasks.in_thread(taken.render, accept)
    return _answer(content_type, text)
