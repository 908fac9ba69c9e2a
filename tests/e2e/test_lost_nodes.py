"""Three nodes of real containers, and what becomes of their pets when one falls silent, and when one is cut off."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.services

IMAGE = "gcr.io/google_containers/nginx-slim:0.8"
LEAVING = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    for key in ("not-ready", "unreachable")
]
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def pets() -> str:
    labels = {"app": "db"}
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    spec = {
        "terminationGracePeriodSeconds": 1,
        "tolerations": LEAVING,
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "containers": [{"name": "c", "image": IMAGE}],
    }
    set_ = {
        "serviceName": "db",
        "replicas": 3,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    return json.dumps({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": set_})


def test_a_pet_is_replaced_when_its_node_is_back_or_said_to_be_out_of_service(make_cluster):
    cluster = make_cluster()
    cluster.up("--nodes", "3", "--node-monitor-grace-period", "12")
    kubectl = cluster.kubectl
    kubectl("create", "-f", "-", stdin=pets())
    names = [f"db-{number}" for number in range(3)]
    cluster.wait_ready(*names)
    pods = {name: cluster.pod(name) for name in names}
    nodes = {name: pod["spec"]["nodeName"] for name, pod in pods.items()}
    assert len(set(nodes.values())) == 3

    def is_going(name: str) -> bool:
        return "deletionTimestamp" in cluster.pod(name)["metadata"]

    def is_same(name: str) -> bool:
        return cluster.pod(name)["metadata"]["uid"] == pods[name]["metadata"]["uid"]

    def answers(name: str) -> bool:
        """Whether it does to somebody on a node that is neither silent nor cut off."""
        connect = f"timeout 1 bash -c '</dev/tcp/{pods[name]['status']['podIP']}/80'"
        return kubectl.run("exec", "db-0", "--", "bash", "-c", connect).returncode == 0

    # Silent: it is marked, and stays, since it runs.
    cluster.petset("node", "stop", nodes["db-1"])
    cluster.wait(lambda: is_going("db-1"), "db-1 to be marked")
    cluster.wait(lambda: kubectl.json("get", "sts", "db")["status"]["readyReplicas"] == 2, "its set to hear of it")
    assert is_same("db-1") and answers("db-1")
    cluster.petset("node", "start", nodes["db-1"])
    cluster.wait(lambda: not is_same("db-1"), "db-1 to be made anew")
    cluster.wait_ready(*names)

    # Cut off: nobody reaches it. What is said of its node is believed, and its node is kept free of its successor.
    cluster.petset("node", "partition", nodes["db-2"])
    assert not answers("db-2")
    cluster.wait(lambda: is_going("db-2"), "db-2 to be marked")
    assert is_same("db-2")
    kubectl("taint", "node", nodes["db-2"], f"{OUT_OF_SERVICE}=nodeshutdown:NoExecute")
    cluster.wait(lambda: not is_same("db-2"), "db-2 to be let go of")
    assert "nodeName" not in cluster.pod("db-2")["spec"]  # The other nodes have a pet each.
    cluster.petset("node", "start", nodes["db-2"])
    kubectl("taint", "node", nodes["db-2"], f"{OUT_OF_SERVICE}:NoExecute-")
    cluster.wait_ready(*names)
    assert cluster.pod("db-2")["spec"]["nodeName"] == nodes["db-2"]
