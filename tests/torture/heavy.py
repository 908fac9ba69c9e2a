# ruff: noqa: E501
"""The heaviest requests there are, one after another, while somebody else asks /readyz and is answered.

Each once stopped or blocked a server: bodies that unfold, that are deeply nested, or that have a list of tens of
thousands. None is a 500, none ends petset, what comes after is served. How long the other client waited at most is
told beside each; it is not judged, since the machine may have much else to do: tests/server/test_cost.py counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from petset.net.dialer import Dialer
from petset.wire import http
from tests.torture.fuzz import whole
from tests.torture.instance import Instance

NAMESPACE = "/api/v1/namespaces/default"
CONFIGMAPS, PODS = f"{NAMESPACE}/configmaps", f"{NAMESPACE}/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
JSON, YAML, STRATEGIC = "application/json", "application/yaml", "application/strategic-merge-patch+json"
AS_EVE = ("impersonate-user", "eve")
AS_ROWS = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
OBJECTS = 5_000
WRITERS = 20
HONEST_BYTES = 1_200_000


@dataclass(frozen=True)
class Heavy:
    name: str
    code: int
    method: str
    target: str
    body: Callable[[], Any] = lambda: b""
    kind: str = JSON
    header: tuple[str, str] = ("accept", JSON)
    at_once: int = 1

    def request(self) -> http.Request:
        body = self.body()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = (self.header, *((("content-type", self.kind),) if data else ()))
        return http.Request(self.method, self.target, headers, data)


@dataclass
class Figures:
    requests: int = 0
    asked: int = 0  # /readyz, meanwhile.
    rows: list[tuple[str, float, float]] = field(default_factory=list)  # Name, its own seconds, the other's longest.
    wrong: list[str] = field(default_factory=list)

    @property
    def worst(self) -> tuple[str, float, float]:
        return max(self.rows, key=lambda row: row[2])


def configmap(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def lines(size: int) -> dict[str, str]:
    """Data of so many bytes, as people have it."""
    return {f"key-{at}": "a line of an honest file, as long as lines are" for at in range(size // 65)}


def honest(name: str) -> dict[str, Any]:
    return {**configmap(name), "data": lines(HONEST_BYTES)}


def honest_yaml() -> bytes:
    data = "".join(f"  {key}: {value}\n" for key, value in lines(HONEST_BYTES).items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: honest-yaml\ndata:\n{data}".encode()


def pod(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i", **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "heavy"}, "spec": spec}


def many_containers() -> dict[str, Any]:
    return {**pod(), "spec": {"containers": [{"name": f"c{at}", "image": "i"} for at in range(20_000)]}}


def doubling() -> dict[str, Any]:
    chain = [{"name": f"A{at + 1}", "value": f"$(A{at})$(A{at})"} for at in range(40)]
    return pod(env=[{"name": "A0", "value": "x" * 64}, *chain])


def owners(count: int) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "Pod", "name": f"o{at}", "uid": f"u{at}"} for at in range(count)]


def order() -> dict[str, Any]:
    uids = [{"uid": f"u{at}"} for at in range(50_000)]
    return {"metadata": {"$setElementOrder/ownerReferences": uids, "ownerReferences": owners(1)}}


def product() -> dict[str, Any]:
    lists = {name: [f"{name}{at}" for at in range(2_000)] for name in ("verbs", "apiGroups", "resources")}
    return {"apiVersion": RBAC.removeprefix("/apis/"), "kind": "Role", "metadata": {"name": "heavy"}, "rules": [lists]}


def merges() -> bytes:
    levels = [b"a0: &a0 {x: 1}"]
    levels += [b"a%d: &a%d {%s}" % (at, at, b", ".join([b"<<: *a%d" % (at - 1)] * 9)) for at in range(1, 8)]
    return b"\n".join(levels)


TABLE = [
    Heavy("500 kB of [ as YAML", 400, "POST", REVIEWS, lambda: b"[" * 500_000, YAML),
    Heavy("500 kB of [ as JSON", 400, "POST", REVIEWS, lambda: b"[" * 500_000),
    Heavy('{"a": 100,000 deep', 400, "POST", REVIEWS, lambda: b'{"a":' * 100_000, YAML),
    Heavy("{ 100,000 deep", 400, "POST", REVIEWS, lambda: b"{" * 100_000, YAML),
    Heavy("1:1:1... 1.2 MB", 400, "POST", CONFIGMAPS, lambda: b"1:" * 600_000 + b"1", YAML),
    Heavy("1:1:...:1.5 4 kB", 400, "POST", CONFIGMAPS, lambda: b"1:" * 2_000 + b"1.5", YAML),
    Heavy("<< at 7 levels", 400, "POST", CONFIGMAPS, merges, YAML),
    Heavy("400,000 x []", 400, "POST", CONFIGMAPS, lambda: b"[" + b"[]," * 400_000 + b"]", YAML),
    Heavy("!!set", 400, "POST", CONFIGMAPS, lambda: b"!!set {" + b"".join(b"k%d, " % n for n in range(100_000)) + b"}", YAML),
    Heavy("an honest ConfigMap of 1.2 MB as YAML", 201, "POST", f"{CONFIGMAPS}?dryRun=All", honest_yaml, YAML),
    Heavy("an honest ConfigMap of 1.2 MB", 200, "PUT", f"{CONFIGMAPS}/honest", lambda: honest("honest")),
    Heavy("16 invalid ones at once", 422, "POST", CONFIGMAPS, lambda: honest("No"), at_once=16),
    Heavy("a line more in it", 200, "PATCH", f"{CONFIGMAPS}/honest", lambda: {"data": {"k": "v"}}, STRATEGIC),
    Heavy("a Role of 2,000 x 2,000 x 2,000", 403, "POST", f"{RBAC}/namespaces/default/roles", product, header=AS_EVE),
    Heavy("variables that double 40 times", 422, "POST", PODS, doubling),
    Heavy("a patch of 15,000 owners", 422, "PATCH", f"{CONFIGMAPS}/small", lambda: {"metadata": {"ownerReferences": owners(15_000)}}, STRATEGIC),
    Heavy("an order of 50,000", 400, "PATCH", f"{CONFIGMAPS}/small", order, STRATEGIC),
    Heavy("a pod of 20,000 containers", 422, "POST", PODS, many_containers),
    Heavy("100,000 labels", 400, "POST", CONFIGMAPS, lambda: configmap("a", labels={f"k{at}": "v" for at in range(100_000)})),
    Heavy("a Table of 5,000 objects", 200, "GET", CONFIGMAPS, header=AS_ROWS),
    Heavy("a Table of half of them", 200, "GET", f"{CONFIGMAPS}?labelSelector=half%3D1", header=AS_ROWS),
    Heavy("a watch that begins with them", 200, "GET", f"{CONFIGMAPS}?watch=1&timeoutSeconds=1", header=AS_ROWS),
]  # fmt: skip


async def run(instance: Instance, times: int = 1) -> Figures:
    figures = Figures()
    if not instance.is_running and not await instance.start():
        raise RuntimeError(instance.said[-1])
    async with contextlib.AsyncExitStack() as opened:
        line, other = [await opened.enter_async_context(instance.dialer(answer_seconds_max=120)) for _ in range(2)]
        await prepare(line)
        for heavy in TABLE * times:
            await measure(heavy, line, other, figures)
    figures.wrong[:0] = await instance.wrong_at_the_end()
    return figures


async def prepare(line: Dialer) -> None:
    """Many small objects, and eve, who may make roles."""
    makes = {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}
    role = {"metadata": {"name": "heavy"}, "rules": [makes]}
    group = "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": "heavy"}
    binding = {**role, "roleRef": reference, "subjects": [{"apiGroup": group, "kind": "User", "name": "eve"}]}
    del binding["rules"]
    posts: list[tuple[str, Any]] = [(f"{RBAC}/clusterroles", role), (f"{RBAC}/clusterrolebindings", binding)]
    posts += [(CONFIGMAPS, configmap("small")), (CONFIGMAPS, configmap("honest"))]
    posts += [(CONFIGMAPS, configmap(f"m{at}", labels={"half": str(at % 2)})) for at in range(OBJECTS)]
    waiting = iter(posts)

    async def write() -> None:
        for target, obj in waiting:
            why = await answered(line, Heavy("", 201, "POST", target, lambda obj=obj: obj).request(), 201)
            assert not why, why

    async with asyncio.TaskGroup() as writing:
        for _ in range(WRITERS):
            writing.create_task(write())


async def answered(line: Dialer, request: http.Request, code: int) -> str:
    """Why the answer is wrong; "" when it is not."""
    response = await line.send(request)
    told = await whole(response)
    return "" if response.code == code else f"{response.code} instead of {code}: {(told or b'')[:300]!r}"


async def measure(heavy: Heavy, line: Dialer, other: Dialer, figures: Figures) -> None:
    made = heavy.request()  # Beforehand: it is no work of petset's.
    async with asking(other, figures) as waits:
        began = time.monotonic()
        said = await asyncio.gather(*(answered(line, made, heavy.code) for _ in range(heavy.at_once)))
        took = time.monotonic() - began
    figures.wrong += [f"{heavy.name}: {why}" for why in said if why]
    figures.requests += heavy.at_once
    figures.rows.append((heavy.name, took, max(waits)))


@contextlib.asynccontextmanager
async def asking(other: Dialer, figures: Figures) -> AsyncIterator[list[float]]:
    """How long each of another client's GET /readyz took."""
    waits: list[float] = []
    is_over = asyncio.Event()

    async def ask() -> None:
        while not (is_over.is_set() and waits):
            began = time.monotonic()
            response = await other.send(http.Request("GET", "/readyz"))
            waits.append(time.monotonic() - began)
            figures.asked += 1
            if response.code != 200:
                figures.wrong.append(f"/readyz says {response.code}")

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        try:
            yield waits
        finally:
            is_over.set()
