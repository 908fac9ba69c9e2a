"""Several nodes of real containers in one petset: one network each, one API and DNS for all, nothing left of any."""

from __future__ import annotations

from pathlib import Path

from petset.base import networks
from tests.e2e.leftovers import leftovers, nodes_of

NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")


def test_an_instance_whose_plan_has_two_nodes(make_cluster):
    cluster = make_cluster()
    networks.choose_networks(cluster.state, nodes=2)
    cluster.up()
    plans = nodes_of(cluster.state)
    cluster.wait(lambda: _ready_nodes(cluster) == len(plans) == 2, "both nodes to be ready")
    cluster.kubectl("create", "-f", NGINX)
    cluster.wait_ready("web-0", "web-1")
    pods = [cluster.pod(name) for name in ("web-0", "web-1")]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    address = pods[1]["status"]["podIP"]
    assert cluster.exec("web-0", "getent", "ahostsv4", "web-1.nginx").split()[0] == address
    for pod in pods:  # Each node's pods reach the API at its Service's address.
        connect = f"timeout 2 bash -c '</dev/tcp/{plans[0].cluster.kubernetes_address}/443' && echo open"
        assert cluster.exec(pod["metadata"]["name"], "bash", "-c", connect).split()[-1] == "open"
    ran = {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in pods}

    cluster.kill()
    cluster.up()
    cluster.wait(lambda: _ready_nodes(cluster) == 2, "both nodes to be ready again")
    cluster.wait_ready("web-0", "web-1")
    again = [cluster.pod(name) for name in ("web-0", "web-1")]  # Both adopted what ran.
    assert ran == {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in again}
    assert nodes_of(cluster.state) == plans

    cluster.kill()
    said = cluster.down().stdout  # Of a killed petset, too.
    assert "2 containers" in said and leftovers(cluster.state) == []


def _ready_nodes(cluster) -> int:
    nodes = cluster.kubectl.json("get", "nodes")["items"]
    return sum(
        condition["status"] == "True"
        for node in nodes
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready"
    )
