"""Several nodes of real containers in one petset: one network each, one API and DNS for all, nothing left of any."""

from __future__ import annotations

import json
import os
from pathlib import Path

from petset.base import well_known
from tests.e2e.leftovers import leftovers, nodes_of

IMAGE = "gcr.io/google_containers/nginx-slim:0.8"
NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")


def test_an_instance_whose_plan_has_two_nodes(make_cluster):
    cluster = make_cluster()
    assert "node: " in (said := cluster.up("--nodes", "2").stdout) and " are ready" in said
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

    # One falls silent, and one is cut off: what they run goes on, and both are so after a kill, too.
    quiet, cut = (pod["spec"]["nodeName"] for pod in pods)
    cluster.petset("node", "stop", quiet)
    refused = cluster.kubectl.run("exec", "web-0", "--", "true")
    assert refused.returncode != 0 and f"node {quiet} is not up" in refused.stderr
    assert _answers(cluster, "web-1", pods[0])  # It still serves.
    cluster.petset("node", "partition", cut)
    cluster.kill()
    said = cluster.up().stdout
    assert f"node {quiet} is stopped" in said and f"node {cut} is partitioned" in said and "none is ready" in said
    listed = [line.split()[:2] for line in cluster.petset("node", "ls").stdout.splitlines()[1:]]
    assert sorted(listed) == sorted([[quiet, "stopped"], [cut, "partitioned"]])
    assert "cannot turn node other to stopped" in cluster.petset("node", "stop", "other", check=False).stderr
    cluster.petset("node", "start", quiet)
    cluster.wait(lambda: cluster.exec("web-0", "echo", "here"), "web-0 to be reached")
    assert not _answers(cluster, "web-0", pods[1])  # Its packets do not get there.
    cluster.petset("node", "start", cut)
    cluster.wait(lambda: cluster.exec("web-1", "echo", "here"), "web-1 to be reached")
    assert _answers(cluster, "web-0", pods[1])
    again = [cluster.pod(name) for name in ("web-0", "web-1")]
    assert ran == {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in again}

    # A node less: what a killed petset has left on it is stopped, its data stays, and the other's pod goes on.
    cluster.kill()
    said = cluster.up("--nodes", "1").stdout
    lost = plans[1]
    [stays] = [pod for pod in pods if not pod["spec"]["nodeName"].endswith("-1")]
    [gone] = [pod for pod in pods if pod["spec"]["nodeName"].endswith("-1")]
    assert f"node {gone['spec']['nodeName']} is gone" in said and nodes_of(cluster.state) == plans[:1]
    cluster.wait_ready(stays["metadata"]["name"])
    now = cluster.pod(stays["metadata"]["name"])["status"]["containerStatuses"][0]["containerID"]
    assert now == ran[stays["metadata"]["uid"]]
    assert not os.path.exists(f"/sys/class/net/{lost.bridge}") and not lost.reservation.exists()
    assert (lost.directory(cluster.state) / "pods" / gone["metadata"]["uid"]).is_dir()
    still = cluster.pod(gone["metadata"]["name"])  # Nobody has said that the node will not come back.
    assert still["metadata"]["uid"] == gone["metadata"]["uid"]

    cluster.kill()
    cluster.up("--nodes", "2")
    cluster.wait_ready("web-0", "web-1")
    assert cluster.pod(gone["metadata"]["name"])["metadata"]["uid"] == gone["metadata"]["uid"]

    cluster.kill()
    said = cluster.down().stdout  # Of a killed petset, too.
    assert "2 containers" in said and leftovers(cluster.state) == []


def test_simulated_nodes_beside_real_ones_take_pods_that_tolerate_it(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulated-nodes", "2")
    [real, *simulated] = sorted(node["metadata"]["name"] for node in cluster.kubectl.json("get", "nodes")["items"])
    assert simulated == [f"{real}-simulated-1", f"{real}-simulated-2"]
    taint = {"key": well_known.SIMULATED_NODE, "operator": "Exists"}
    for name, spec in (("real", {}), ("toy", {"tolerations": [taint], "nodeSelector": {taint["key"]: "true"}})):
        spec |= {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": IMAGE}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    cluster.wait_ready("real", "toy")
    assert [cluster.pod(name)["spec"]["nodeName"] in simulated for name in ("real", "toy")] == [False, True]


def _answers(cluster, asking: str, asked: dict) -> bool:
    connect = f"timeout 1 bash -c '</dev/tcp/{asked['status']['podIP']}/80'"
    return cluster.kubectl.run("exec", asking, "--", "bash", "-c", connect).returncode == 0


def _ready_nodes(cluster) -> int:
    nodes = cluster.kubectl.json("get", "nodes")["items"]
    return sum(
        condition["status"] == "True"
        for node in nodes
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready"
    )


def test_nodes_are_drained_as_the_budget_allows(make_cluster):
    """One after the other, until all pods are on the last: those that must be there are there at every moment."""
    cluster = make_cluster()
    cluster.up("--nodes", "3")
    kubectl = cluster.kubectl
    kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=3")
    kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=2")
    kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    first, second, last = sorted(meta["name"] for meta in (one["metadata"] for one in _nodes(kubectl)))
    assert {one["spec"]["nodeName"] for one in _web(kubectl)} == {first, second, last}
    kubectl("wait", "pdb/web", "--for=jsonpath={.status.disruptionsAllowed}=1", "--timeout=60s")
    with kubectl.start(
        "get", "deployment", "web", "--watch", "-o", "jsonpath={.status.availableReplicas}{'\\n'}"
    ) as told:
        for node in (first, second):
            done = kubectl("drain", node, "--ignore-daemonsets", "--grace-period=1", "--timeout=120s")
            assert f"node/{node} drained" in done
            assert all(one["spec"]["nodeName"] != node for one in _web(kubectl))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        told.terminate()
        numbers = [int(line) for line in told.stdout.read().split()]
    assert min(numbers) >= 2, numbers
    assert {one["spec"]["nodeName"] for one in _web(kubectl)} == {last}
    assert "SchedulingDisabled" in kubectl("get", "node", first)
    kubectl("uncordon", first, second)

    # Nodes tell which images they have.
    names = [name for one in _nodes(kubectl) for image in one["status"].get("images", ()) for name in image["names"]]
    assert any(name.startswith("petset.local/nginx") for name in names), names


def _nodes(kubectl) -> list[dict]:
    return kubectl.json("get", "nodes")["items"]


def _web(kubectl) -> list[dict]:
    found = kubectl.json("get", "pods", "-l", "app=web")["items"]
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]
