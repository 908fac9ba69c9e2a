"""Claims in containers: one that one pod alone may use, and volumes made by hand with what they ask of their mounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.test_snapshots import claim, create, pod


def test_a_claim_for_one_pod_has_one_at_a_time_and_goes_on_to_the_next(cluster):
    create(cluster, claim("alone", accessModes=["ReadWriteOncePod"]), pod("first", "alone"))
    cluster.wait_ready("first")
    by_hand = pod("bound", "alone")
    by_hand["spec"]["nodeName"] = cluster.pod("first")["spec"]["nodeName"]
    create(cluster, pod("second", "alone"), by_hand)
    message = "{.status.conditions[?(@.type=='PodScheduled')].message}"
    why = "unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
    cluster.wait(lambda: why in cluster.kubectl("get", "pod", "second", f"-o=jsonpath={message}"), "the reason", 30)
    refused = 'claim "alone" is ReadWriteOncePod, and another pod of this node uses its volume'
    cluster.wait(lambda: refused in cluster.kubectl("describe", "pod", "bound"), "the node to refuse it", 30)
    cluster.kubectl("delete", "pod/bound", "pod/first", "--now")
    cluster.wait_ready("second")
    cluster.kubectl("delete", "pod/second", "pvc/alone", "--now")


def by_hand(name: str, node: str, path: Path, *options: str, **source: Any) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"of": name}},
        "spec": {
            "capacity": {"storage": "64Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand",
            "mountOptions": list(options),
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            **(source or {"local": {"path": str(path)}}),
        },
    }


def test_volumes_made_by_hand_are_mounted_as_they_ask_or_say_why_not(cluster, tmp_path):
    node = cluster.kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    volumes = (
        by_hand("strict", node, tmp_path, "noexec", "noatime"),
        by_hand("journalled", node, tmp_path, "data=journal"),
        by_hand("socket", node, tmp_path, hostPath={"path": str(tmp_path), "type": "Socket"}),
    )
    for volume in volumes:
        name = volume["metadata"]["name"]
        asks = {"storageClassName": "by-hand", "selector": {"matchLabels": {"of": name}}}
        create(cluster, volume, claim(name, **asks), pod(name, name))
    cluster.wait_ready("strict")
    mounts = cluster.exec("strict", "cat", "/proc/mounts")
    options = next(line.split()[3].split(",") for line in mounts.splitlines() if line.split()[1] == "/data")
    assert {"rw", "noexec", "noatime"} <= set(options)
    for name, why in (
        ("journalled", 'cannot mount volume "journalled" with the options data=journal'),
        ("socket", f"hostPath type check failed: {tmp_path} is not a socket"),
    ):
        cluster.wait(lambda name=name, why=why: why in cluster.kubectl("describe", "pod", name), why, 30)
    cluster.kubectl("delete", "pod", "strict", "journalled", "socket", "--now")
    cluster.kubectl("delete", "pvc", "strict", "journalled", "socket")
    cluster.kubectl("delete", "pv", "strict", "journalled", "socket")


def test_how_full_a_claim_is_stands_in_the_nodes_summary_its_metrics_and_the_claim(cluster):
    create(cluster, claim("full"), pod("filler", "full"))
    cluster.wait_ready("filler")
    node = cluster.pod("filler")["spec"]["nodeName"]
    cluster.exec("filler", "sh", "-c", "head -c 62914560 /dev/zero > /data/file; sync")

    def used() -> int:
        pods = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))["pods"]
        (found,) = (one for one in pods if one["podRef"]["name"] == "filler")
        told = found.get("volume", [])
        assert not told or told[0]["pvcRef"] == {"name": "full", "namespace": "default"}
        assert not told or told[0]["capacityBytes"] == 64 << 20
        return told[0]["usedBytes"] if told else 0

    cluster.wait(lambda: 60 << 20 <= used() < 64 << 20, "the summary to tell what is used", 60)
    metrics = cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics")
    line = 'kubelet_volume_stats_used_bytes{namespace="default",persistentvolumeclaim="full"} '
    assert 60 << 20 <= float(next(one for one in metrics.splitlines() if one.startswith(line)).split()[-1]) < 64 << 20
    described = cluster.wait(lambda: told(cluster, "full"), "the claim to say so", 60)
    assert "60Mi of 64Mi are used (93 %)" in described and "VolumeNearlyFull" in described
    cluster.kubectl("delete", "pod/filler", "pvc/full", "--now")


def told(cluster, name: str) -> str:
    described = cluster.kubectl("describe", "pvc", name)
    return described if "Warning  VolumeNearlyFull" in described else ""
