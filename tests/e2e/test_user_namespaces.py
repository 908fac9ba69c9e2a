"""Pods with users of their own by kubectl: their ids, their claims, what they may not, and a petset that is killed."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.e2e.test_containers import BASE, create

SCRIPT = "while [ ! -e /claim/stop ]; do echo alive >/dev/stdout; sleep 0.2; done; rm /claim/stop"


def manifest(name: str, **more: Any) -> str:
    """A pod with users of its own, a claim, and a volume of each kind that petset writes."""
    mounts = [{"name": volume, "mountPath": f"/{volume}"} for volume in ("claim", "scratch", "memory", "all")]
    said = {"fieldRef": {"fieldPath": "metadata.name"}, "path": "name"}
    sources = [
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "key"}},
        {"downwardAPI": {"items": [said]}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    volumes = [
        {"name": "claim", "persistentVolumeClaim": {"claimName": name}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "all", "projected": {"sources": sources}},
    ]
    probe = {"exec": {"command": ["sh", "-c", "test $(id -u) = 0 && test -w /claim"]}, "periodSeconds": 1}
    container = {
        "name": "main",
        "image": BASE,
        "command": ["sh", "-c", SCRIPT],
        "volumeMounts": mounts,
        "readinessProbe": probe,
        **more.pop("container", {}),
    }
    spec = {
        "hostUsers": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": volumes,
        **more,
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def claim(name: str) -> str:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return json.dumps({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})


@pytest.fixture
def pets(cluster, namespace) -> list[str]:
    cluster.kubectl("create", "configmap", "settings", "--from-literal=color=red", "-n", namespace)
    cluster.kubectl("create", "secret", "generic", "key", "--from-literal=secret=s3", "-n", namespace)
    names = ["one", "two"]
    for name in names:
        create(cluster, namespace, claim(name))
    create(cluster, namespace, manifest("one"))
    mine = {"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 2000}
    probe = {"exec": {"command": ["test", "-w", "/claim"]}, "periodSeconds": 1}
    create(cluster, namespace, manifest("two", securityContext=mine, container={"readinessProbe": probe}))
    cluster.wait_ready(*names, namespace=namespace)
    return names


def test_pods_have_users_of_their_own_and_keep_them_when_petset_is_killed(cluster, namespace, pets):
    def run(pod: str, *command: str) -> str:
        return cluster.kubectl("exec", pod, "-n", namespace, "--", *command)

    maps = {pod: [int(number) for number in run(pod, "cat", "/proc/self/uid_map").split()] for pod in pets}
    assert all((inside, count) == (0, 65536) for inside, _, count in maps.values())
    low, high = sorted(outside for _, outside, _ in maps.values())
    assert low >= 65536 and high - low >= 65536

    # Root's files are root's, on disk and inside; the others' read what fsGroup lets them.
    wrote = run("one", "sh", "-c", "for v in claim scratch memory; do echo x >/$v/f; stat -c %u:%g /$v/f; done")
    assert wrote.split() == ["0:0"] * 3
    read = "cat /all/color /all/secret /all/name; test -s /all/token && id -u; touch /claim/f && stat -c %u:%g /claim/f"
    assert run("one", "sh", "-c", read).split() == ["reds3one0", "0:0"]
    assert run("two", "sh", "-c", read).split() == ["reds3two1234", "1234:2000"]
    volume = cluster.kubectl.json("get", "pvc", "one", "-n", namespace)["spec"]["volumeName"]
    path = cluster.kubectl.json("get", "pv", volume)["spec"]["hostPath"]["path"]
    assert os.stat(f"{path}/f").st_uid == 0

    # What the machine's root alone may read is closed to the pod's.
    assert run("one", "sh", "-c", "timeout 5 cat /proc/kmsg 2>/dev/null || echo refused").strip() == "refused"
    assert run("one", "stat", "-c", "%u", "/proc/kmsg").strip() == "65534"
    handlers = cluster.kubectl.json("get", "nodes")["items"][0]["status"]["runtimeHandlers"]
    assert {one.get("name"): one["features"]["userNamespaces"] for one in handlers}["crun"]

    before = {pod: cluster.pod(pod, namespace)["status"]["containerStatuses"][0]["containerID"] for pod in pets}
    cluster.kill()
    cluster.up()
    for pod in pets:
        assert cluster.pod(pod, namespace)["status"]["containerStatuses"][0]["containerID"] == before[pod]
        assert [int(number) for number in run(pod, "cat", "/proc/self/uid_map").split()] == maps[pod]
    assert "alive" in cluster.kubectl("logs", "one", "--tail=1", "-n", namespace)

    # A third one stays apart from those that were adopted, and a container that begins again has its pod's users.
    create(cluster, namespace, claim("three"))
    create(cluster, namespace, manifest("three"))
    cluster.wait_ready("three", namespace=namespace)
    third = int(run("three", "cat", "/proc/self/uid_map").split()[1])
    assert all(abs(third - outside) >= 65536 for _, outside, _ in maps.values())
    run("one", "touch", "/claim/stop")
    cluster.wait(
        lambda: cluster.pod("one", namespace)["status"]["containerStatuses"][0]["restartCount"] == 1, "a new container"
    )
    cluster.wait_ready("one", namespace=namespace)
    assert [int(number) for number in run("one", "cat", "/proc/self/uid_map").split()] == maps["one"]


def test_what_cannot_be_had_is_told(cluster, namespace):
    spec = {"hostUsers": False, "hostNetwork": True, "containers": [{"name": "main", "image": BASE}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "no"}, "spec": spec}
    done = cluster.kubectl.run("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    assert "spec.hostNetwork: Forbidden: when `hostUsers` is false" in done.stderr
    del spec["hostNetwork"]
    spec["volumes"] = [{"name": "sys", "hostPath": {"path": "/sys/kernel"}}]
    spec["containers"][0].update(command=["sleep", "1000"], volumeMounts=[{"name": "sys", "mountPath": "/s"}])
    create(cluster, namespace, json.dumps(pod))
    why = "cannot mount /sys/kernel at /s in a pod with hostUsers false: it lies on sysfs"
    cluster.wait(lambda: why in cluster.kubectl("events", "-n", namespace, "--for=pod/no"), "the reason to be told")
    assert not cluster.pod("no", namespace)["status"]["containerStatuses"][0]["started"]
