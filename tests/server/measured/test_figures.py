"""metrics.k8s.io: made of what nodes say when somebody asks, by those who may; another server of it takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from petset import cluster
from petset.base import networks, well_known
from petset.kinds.metrics import usage
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.server.measured import windows
from tests.server.conftest import JANE, Server, pod
from tests.waiting import until

GROUP = "/apis/metrics.k8s.io/v1beta1"
PODS_PATH = f"{GROUP}/namespaces/default/pods"
NODE = "n1"
PLAN = networks.NodePlan(networks.ClusterPlan("t", "10.9.4.0/22"), "10.9.0.0/22")
BUSY = {well_known.SIMULATED_CPU_ANNOTATION: "250m", well_known.SIMULATED_MEMORY_ANNOTATION: "64Mi"}
TABLE = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a simulated node that runs a busy pod and an idle one; a third pod is for a node that is not up."""
    server = Server()
    config = cluster.node_config(NODE, PLAN, tmp_path_factory.mktemp("node"), may_mount=False, on_disk=False)
    stop = asyncio.Event()

    async def live() -> None:
        async with server.plane.running(), server.plane.nodes(cluster.SimulatedMachine(config).node()):
            await stop.wait()

    living = server.loop.create_task(live())
    try:
        busy: Any = pod("busy", automountServiceAccountToken=False)
        busy["metadata"] |= {"labels": {"app": "web"}, "annotations": BUSY}
        server.create(busy)
        server.create(pod("idle", automountServiceAccountToken=False))
        server.create(pod("lost", automountServiceAccountToken=False, nodeName="nowhere"))

        def run() -> bool:
            found = [server.store.get(PODS.key("default", name)) for name in ("busy", "idle")]
            return all(one is not None and meta.is_pod_ready(one.object) for one in found)

        server.run(until(run))
        yield server
    finally:
        stop.set()
        server.run(living)
        server.close()


def names(answer: Any) -> list[str]:
    return [one["metadata"]["name"] for one in answer["items"]]


def test_a_pod_says_what_each_container_uses(measured: Server) -> None:
    found = measured.get(f"{PODS_PATH}/busy")
    assert (found["kind"], found["apiVersion"]) == ("PodMetrics", "metrics.k8s.io/v1beta1")
    assert (found["metadata"]["namespace"], found["metadata"]["labels"]) == ("default", {"app": "web"})
    (used,) = found["containers"]
    assert used["name"] == "c"
    assert used["usage"]["memory"] == "64Mi"
    assert float(usage.of(used["usage"], "cpu")) == pytest.approx(0.25, rel=0.01)
    assert found["timestamp"] == found["metadata"]["creationTimestamp"]
    assert found["window"].endswith("s")


def test_lists_have_what_is_known(measured: Server) -> None:
    assert names(measured.get(PODS_PATH)) == ["busy", "idle"]
    assert names(measured.get(f"{GROUP}/pods?labelSelector=app%3Dweb")) == ["busy"]
    assert names(measured.get(f"{GROUP}/pods?fieldSelector=metadata.name%3Didle")) == ["idle"]
    assert names(measured.get(f"{GROUP}/namespaces/other/pods")) == []
    (node,) = measured.get(f"{GROUP}/nodes")["items"]
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert node["usage"]["memory"] == "64Mi"


def test_tables_are_as_metrics_server_prints_them(measured: Server) -> None:
    table = measured.get(PODS_PATH, headers=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    busy, idle = (row["cells"] for row in table["rows"])
    assert (busy[0], busy[2], idle[:3]) == ("busy", "64Mi", ["idle", "0", "0"])


@pytest.mark.parametrize(
    ("method", "target", "code", "message"),
    [
        ("GET", f"{PODS_PATH}/lost", 404, 'podmetrics.metrics.k8s.io "default/lost" not found'),
        ("GET", f"{PODS_PATH}/nobody", 404, 'podmetrics.metrics.k8s.io "default/nobody" not found'),
        ("GET", f"{GROUP}/nodes/nobody", 404, 'nodemetrics.metrics.k8s.io "nobody" not found'),
        ("GET", f"{PODS_PATH}?labelSelector=%3D%3D", 400, ""),
        ("GET", f"{PODS_PATH}?fieldSelector=spec.nodeName%3Dn1", 400, ""),
        ("GET", f"{PODS_PATH}?watch=1", 405, ""),
        ("DELETE", f"{PODS_PATH}/busy", 405, ""),
        ("POST", PODS_PATH, 405, ""),
        ("GET", f"{PODS_PATH}/busy/log", 404, ""),
    ],
)
def test_what_cannot_be_asked(measured: Server, method: str, target: str, code: int, message: str) -> None:
    answer = measured(method, target, {} if method == "POST" else None)
    assert answer.code == code
    assert message in answer.message


def test_looks_are_shared_by_those_who_ask_at_once(measured: Server) -> None:
    """One look a second, whoever asks; and none while nobody does."""
    asked: list[str] = []
    server_of = measured.plane._server_of(NODE)  # type: ignore[reportPrivateUsage]
    answer = server_of.answer

    async def counted(path: str, accept: str) -> Any:
        asked.append(path)
        return await answer(path, accept)

    server_of.answer = counted
    try:
        for _ in range(20):
            measured.get(PODS_PATH)
        assert len(asked) <= 20 * windows.WINDOW_SECONDS_MIN
        assert len(asked) < 20
    finally:
        server_of.answer = answer


def test_whoever_may_view_may_ask(measured: Server) -> None:
    assert measured("GET", PODS_PATH, user=JANE).code == 403
    measured.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "jane"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        }
    )

    async def may() -> bool:
        return (await measured.api.authorizer.catch_up(JANE)) is None

    measured.run(may())
    assert measured("GET", PODS_PATH, user=JANE).code == 200
    assert measured("GET", f"{GROUP}/nodes", user=JANE).code == 403  # Of the cluster, not of the namespace.


def test_discovery_and_explain_know_the_group(measured: Server) -> None:
    listed = measured.get(GROUP)["resources"]
    assert [(one["name"], one["kind"], one["namespaced"], one["verbs"]) for one in listed] == [
        ("nodes", "NodeMetrics", False, ["get", "list"]),
        ("pods", "PodMetrics", True, ["get", "list"]),
    ]
    schemas = measured.get("/openapi/v3/apis/metrics.k8s.io/v1beta1")["components"]["schemas"]
    name = "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics"
    assert schemas[name]["properties"]["usage"]["additionalProperties"] == {
        "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"
    }


def test_another_server_of_the_group_takes_its_place_and_gives_it_back(measured: Server) -> None:
    services = "/apis/apiregistration.k8s.io/v1/apiservices"
    name = "v1beta1.metrics.k8s.io"
    assert measured("GET", f"{services}/{name}").code == 404  # So that it can be created by whoever installs it.
    measured.create(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "service": {"name": "metrics-server", "namespace": "kube-system"},
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
            },
        },
        "",
    )

    def is_handed_on() -> bool:
        return ("metrics.k8s.io", "v1beta1") in measured.api.backends.of_groups

    measured.run(until(is_handed_on))
    assert measured("GET", PODS_PATH).code == 503  # It is not there, and nobody else speaks for it.
    groups = measured.get("/apis")["groups"]
    assert [one["name"] for one in groups].count("metrics.k8s.io") == 1
    measured.ok("DELETE", f"{services}/{name}")
    measured.run(until(lambda: not is_handed_on()))
    assert measured("GET", PODS_PATH).code == 200
