"""A pod that is busy is seen by kubectl top, and its Deployment gets more of them: real containers, real figures."""

from __future__ import annotations

import json

LABELS = {"app": "busy"}
# As busy as it may be, which the limit says: no more than a fifth of a CPU, so that the test costs others little.
BUSY = {
    "name": "main",
    "image": "debian:jessie",
    "command": ["perl", "-e", "1 while 1"],
    "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}},
}
IDLE = {
    "name": "beside",
    "image": "debian:jessie",
    "command": ["sleep", "600"],
    "resources": {"requests": {"cpu": "50m"}},
}


def test_a_busy_pod_is_seen_and_scaled(make_cluster):
    cluster = make_cluster()
    cluster.up()
    kubectl = cluster.kubectl
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [BUSY, IDLE]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "busy"}, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(whole))
    kubectl("rollout", "status", "deployment/busy", "--timeout=120s")

    def used() -> dict[str, int]:
        """Millicores by container."""
        lines = kubectl("top", "pod", "--containers", "--no-headers").splitlines()
        return {name: int(cores.removesuffix("m")) for _, name, cores, _ in map(str.split, lines)}

    # Of the limit, as far as the machine has the time for it.
    found = cluster.wait(lambda: (now := used()).get("main", 0) > 60 and now, "top to see it")
    assert found["beside"] <= 5 and found["main"] <= 300
    (node,) = kubectl("top", "node", "--no-headers").splitlines()
    assert int(node.split()[1].removesuffix("m")) >= 60
    kubectl("autoscale", "deployment", "busy", "--cpu-percent=40", "--min=1", "--max=2")

    def scaler() -> dict:
        return kubectl.json("get", "hpa", "busy")

    cluster.wait(lambda: scaler()["status"].get("desiredReplicas") == 2, "the autoscaler to want another")
    status = scaler()["status"]
    reasons = {one["type"]: one["reason"] for one in status["conditions"]}
    assert (reasons["AbleToScale"], reasons["ScalingActive"]) == ("SucceededRescale", "ValidMetricFound")
    (current,) = status["currentMetrics"]
    assert current["resource"]["current"]["averageUtilization"] > 44
    cluster.wait(lambda: len(kubectl.json("get", "pods", "-l", "app=busy")["items"]) == 2, "another pod")
    assert "SuccessfulRescale" in kubectl("get", "events", "--field-selector=involvedObject.name=busy")
