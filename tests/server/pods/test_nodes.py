"""nodes/proxy: what a kubelet serves, asked of a node of this process, by who may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import parser

from petset import cluster
from petset.base import networks
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.wire import http
from tests.server.conftest import JANE, Server, pod
from tests.waiting import until

NODE = "n1"
PROXY = f"/api/v1/nodes/{NODE}/proxy"
PLAN = networks.NodePlan(networks.ClusterPlan("t", "10.9.4.0/22"), "10.9.0.0/22")


@pytest.fixture(scope="module")
def noded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a simulated node, on which pod p runs."""
    directory = tmp_path_factory.mktemp("instance")
    for name in ("petset.log", "petset.log.1", "kubeconfig"):
        (directory / name).write_text(f"of {name}\n")
    server = Server()
    config = cluster.node_config(NODE, PLAN, directory / "node", may_mount=False, on_disk=False)
    node, stop = cluster.SimulatedMachine(config, directory / "petset.log").node(), asyncio.Event()

    async def live() -> None:
        async with server.plane.running(), server.plane.nodes(node):
            await stop.wait()

    living = server.loop.create_task(live())
    try:
        server.create(pod("p", automountServiceAccountToken=False))

        def runs() -> bool:
            found = server.store.get(PODS.key("default", "p"))
            return found is not None and meta.is_pod_ready(found.object)

        server.run(until(runs))
        yield server
    finally:
        stop.set()
        server.run(living)
        server.close()


def allow(server: Server, name: str, *resources: str) -> None:
    """Let the user of this name get these."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": list(resources)}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    server.create(role)
    server.create(binding)


def families(server: Server, path: str) -> dict[str, list[dict[str, str]]]:
    answer = server("GET", PROXY + path)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        family.name: [sample.labels for sample in family.samples]
        for family in parser.text_string_to_metric_families(answer.body.decode())
    }


def test_what_a_node_serves(noded: Server) -> None:
    assert noded("GET", f"{PROXY}/healthz").body == b"ok"
    cadvisor = families(noded, "/metrics/cadvisor")
    (used,) = cadvisor["container_memory_working_set_bytes"]
    assert (used["namespace"], used["pod"], used["container"]) == ("default", "p", "c")
    assert {"container_cpu_usage_seconds", "container_start_time_seconds"} <= set(cadvisor)
    resource = families(noded, "/metrics/resource")
    assert resource["pod_cpu_usage_seconds"] == [{"namespace": "default", "pod": "p"}]
    assert families(noded, "/metrics")["kubelet_node_name"] == [{"node": NODE}]
    assert [one["metadata"]["name"] for one in noded.get(f"{PROXY}/pods")["items"]] == ["p"]
    assert [one["metadata"]["name"] for one in noded.get(f"{PROXY}/runningpods/")["items"]] == ["p"]


def test_a_summary_of_what_is_simulated_is_truthfully_nothing(noded: Server) -> None:
    shown = noded.get(f"{PROXY}/stats/summary")
    assert shown["node"]["nodeName"] == NODE and shown["node"]["cpu"]["usageCoreNanoSeconds"] == 0
    (one,) = shown["pods"]
    assert one["podRef"]["name"] == "p" and one["memory"]["workingSetBytes"] == 0
    assert [container["name"] for container in one["containers"]] == ["c"]


def test_logs_of_containers_are_those_of_pods(noded: Server) -> None:
    path = f"{PROXY}/containerLogs/default/p/c"
    assert noded("GET", path).body == noded("GET", "/api/v1/namespaces/default/pods/p/log").body != b""
    assert noded("GET", f"{path}?tailLines=x").code == 400
    assert noded("GET", f"{PROXY}/containerLogs/default/p/other").code == 400
    assert noded("GET", f"{PROXY}/containerLogs/default/absent/c").code == 404
    assert noded("GET", f"{PROXY}/containerLogs/default/p").code == 400


def test_the_log_and_nothing_beside_it(noded: Server) -> None:
    listed = noded("GET", f"{PROXY}/logs/").body.decode()
    assert "petset.log.1" in listed and "kubeconfig" not in listed
    assert noded("GET", f"{PROXY}/logs/petset.log").body == b"of petset.log\n"
    assert noded("GET", f"{PROXY}/logs/petset.log.1").body == b"of petset.log.1\n"
    for name in (
        *("kubeconfig", "../kubeconfig", "..%2Fkubeconfig", "petset.log/../kubeconfig", "%2Fetc%2Fpasswd", "*"),
        *("petset.log%00", ".", "..", "//etc/passwd"),
    ):
        answer = noded("GET", f"{PROXY}/logs/{name}")
        assert answer.code == 404, name


@pytest.mark.parametrize(
    ("method", "target", "code", "says"),
    [
        ("GET", "/api/v1/nodes/absent/proxy/healthz", 404, 'nodes "absent" not found'),
        ("GET", "/api/v1/nodes/n1:10250/proxy/healthz", 200, ""),
        ("GET", "/api/v1/nodes/https:n1:10250/proxy/healthz", 200, ""),
        ("HEAD", "/api/v1/nodes/n1/proxy/healthz", 200, ""),
        ("GET", "/api/v1/nodes/n1:9100/proxy/metrics", 503, "serves port 10250 only"),
        ("GET", "/api/v1/nodes/a:b:c:d/proxy/metrics", 400, "invalid node request"),
        ("GET", "/api/v1/nodes/n1%2F/proxy/metrics", 404, ""),
        ("GET", f"{PROXY}/configz", 404, "a node serves /healthz"),
        ("GET", PROXY, 404, "a node serves"),
        ("GET", f"{PROXY}/exec/default/p/c", 404, "a node serves"),
        ("POST", f"{PROXY}/run/default/p/c", 405, ""),
        ("DELETE", f"{PROXY}/pods", 405, ""),
    ],
)
def test_other_requests(noded: Server, method: str, target: str, code: int, says: str) -> None:
    answer = noded(method, target)
    assert answer.code == code, answer
    assert not says or says in answer.message


def test_a_node_that_is_not_up_says_so(noded: Server) -> None:
    noded.ok("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "away"}})
    answer = noded("GET", "/api/v1/nodes/away/proxy/healthz")
    assert answer.code == 503 and "node away is not up" in answer.message


REACHABLE: dict[str, tuple[str, ...]] = {
    "nodes/proxy": ("/metrics", "/stats/summary", "/logs/", "/pods", "/healthz", "/containerLogs/default/p/c"),
    "nodes/metrics": ("/metrics", "/metrics/cadvisor", "/metrics/resource"),
    "nodes/stats": ("/stats/summary",),
    "nodes/log": ("/logs/", "/logs/petset.log"),
    "nodes/pods": ("/pods", "/runningpods"),
    "nodes/healthz": ("/healthz",),
    "nodes": (),
    "pods/proxy": (),
}


@pytest.mark.parametrize("right", REACHABLE)
def test_who_may_ask_what(noded: Server, right: str) -> None:
    user = http.User(f"of-{right.replace('/', '-')}")
    allow(noded, user.name, right)
    paths = dict.fromkeys(path for some in REACHABLE.values() for path in some)
    reached = [path for path in paths if noded("GET", PROXY + path, user=user).code == 200]
    wanted = list(paths) if right == "nodes/proxy" else list(REACHABLE[right])
    assert sorted(reached) == sorted(wanted)
    assert noded("GET", f"{PROXY}/metrics", user=JANE).code == 403
