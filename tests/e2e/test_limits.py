"""Nobody takes more than there is: host ports, processes, logs, volumes, and the whole disk."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from typing import Any

import pytest

from petset.node import thresholds
from petset.node.containers import logs
from tests.e2e.leftovers import leftovers

BASE = "debian:jessie"


def create(
    cluster: Any, name: str, *command: str, namespace: str = "default", container: Any = None, **spec: Any
) -> None:
    containers = [{"name": "main", "image": BASE, "command": list(command), **(container or {})}]
    whole = {"terminationGracePeriodSeconds": 0, "containers": containers, **spec}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": whole}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))


def ended(cluster: Any, name: str, namespace: str = "default") -> dict:
    """The status of a pod that has failed, as soon as it has."""

    def status() -> dict | None:
        found = cluster.pod(name, namespace)["status"]
        return found if found["phase"] == "Failed" else None

    return cluster.wait(status, f"{name} to fail", 120)


def test_a_host_port_leads_to_its_pod(cluster, namespace):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ports = {"ports": [{"containerPort": 8080, "hostPort": port}]}
    serve = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die;"
    serve += 'while ($c = $s->accept) { print $c "$ENV{HOSTNAME}\n"; close $c }'
    create(cluster, "first", "perl", "-e", serve, namespace=namespace, container=ports)
    cluster.wait_ready("first", namespace=namespace)
    cluster.wait(lambda: said_at(port) == "first", "the port to answer")
    create(cluster, "second", "perl", "-e", serve, namespace=namespace, container=ports)
    why = "node(s) didn't have free ports for the requested pod ports"
    cluster.wait(lambda: why in cluster.kubectl("get", "events", "-n", namespace), "the second to wait for the port")
    cluster.kill()
    cluster.wait(lambda: said_at(port) == "first", "the port to answer without petset")
    cluster.up()
    cluster.kubectl("delete", "pod", "first", "-n", namespace)
    cluster.wait(lambda: said_at(port) == "second", "the second to have the port")


def said_at(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            return client.makefile().readline().strip()
    except OSError:
        return ""


def test_a_container_has_a_limit_of_processes(cluster, namespace):
    crowd = "for i in $(seq 2000); do sleep 1000 & done; sleep 1000"
    create(cluster, "crowd", "sh", "-c", crowd, namespace=namespace, restartPolicy="Never")
    ended(cluster, "crowd", namespace)
    assert "fork" in cluster.kubectl("logs", "crowd", "-n", namespace)


def test_a_volume_beyond_its_limit_evicts_the_pod(cluster, namespace):
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "2Mi"}}]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    fill = "head -c 3000000 /dev/zero > /v/file; sleep 1000"
    create(cluster, "greedy", "sh", "-c", fill, namespace=namespace, container=mounts, volumes=volumes)
    status = ended(cluster, "greedy", namespace)
    assert (status["reason"], status["message"]) == (
        "Evicted",
        'Usage of EmptyDir volume "v" exceeds the limit "2Mi". ',
    )
    events = cluster.kubectl("get", "events", "-n", namespace, "--field-selector", "reason=Evicted")
    assert 'Usage of EmptyDir volume "v" exceeds the limit "2Mi".' in events


def test_a_log_is_bounded_and_followed_over_its_rotations(cluster, namespace):
    lines = 8 * logs.LOG_BYTES_MAX // 1000  # More than all files hold together.
    count = f'for (1..{lines}) {{ printf "%09d %s\\n", $_, "x" x 950 }} sleep 1000'
    create(cluster, "chatty", "perl", "-e", f"$| = 1; {count}", namespace=namespace)
    cluster.wait_ready("chatty", namespace=namespace)
    following = cluster.kubectl.start("logs", "-f", "chatty", "-n", namespace)
    try:
        assert following.stdout is not None
        numbers = []
        for line in following.stdout:
            numbers += numbered(line)
            if numbers[-1:] == [lines]:
                break
    finally:
        following.kill()
        following.wait()
    assert numbers == sorted(numbers) and numbers[-1] == lines
    uid = cluster.pod("chatty", namespace)["metadata"]["uid"]
    place = cluster.state / "pods" / uid / "containers" / "main" / "0"
    files = {path.stat().st_ino: path.stat().st_size for path in place.glob("container.log*")}
    assert sum(files.values()) <= (logs.LOG_FILES_MAX + 1) * (logs.LOG_BYTES_MAX + 4096)
    assert numbered(cluster.kubectl("logs", "--tail=10", "chatty", "-n", namespace))[-1] == lines


def numbered(text: str) -> list[int]:
    """The numbers of lines that are whole: the first part of a long one may have been rotated away."""
    return [int(number) for number in re.findall(r"^(\d{9}) ", text, re.M)]


SMALL_DISK_BYTES = 512 << 20


@pytest.fixture
def small_disk(make_cluster):
    """A cluster whose state directory is a file system of its own, soon full."""
    cluster = make_cluster()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "petset-test", cluster.state], check=True)
    try:
        cluster.up()
        yield cluster
        cluster.down()
        assert [one for one in leftovers(cluster.state) if one != f"mount {cluster.state}"] == []
    finally:
        cluster.destroy()
        subprocess.run(["umount", "--lazy", cluster.state], check=True)


def test_a_disk_that_fills_is_relieved(small_disk):
    cluster, kubectl = small_disk, small_disk.kubectl
    free = os.statvfs(cluster.state)
    least = next(one for one in thresholds.HARD if one.signal == thresholds.NODEFS).least(SMALL_DISK_BYTES)
    fill = free.f_bavail * free.f_frsize - least // 2
    mounts, volumes = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, [{"name": "v", "emptyDir": {}}]
    create(cluster, "modest", "sleep", "1000")
    cluster.wait_ready("modest")
    create(
        cluster, "greedy", "sh", "-c", f"head -c {fill} /dev/zero > /v/f; sleep 1000", container=mounts, volumes=volumes
    )
    cluster.wait(lambda: conditions(cluster)["DiskPressure"] == "True", "the node to say it")
    cluster.wait(lambda: "node.kubernetes.io/disk-pressure" in kubectl("get", "nodes", "-o", "yaml"), "the taint")
    create(cluster, "newcomer", "sleep", "1000")
    status = ended(cluster, "greedy")
    assert status["reason"] == "Evicted"
    assert re.match(r"The node was low on resource: ephemeral-storage\. Threshold quantity: \d+", status["message"])
    why = "had untolerated taint(s)"
    cluster.wait(lambda: why in kubectl("get", "events"), "the newcomer to wait")
    cluster.wait_ready("newcomer", seconds=180)
    assert conditions(cluster)["DiskPressure"] == "False" and cluster.is_ready("modest")
    reasons = kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"EvictionThresholdMet", "NodeHasDiskPressure", "NodeHasNoDiskPressure", "Evicted"} <= set(reasons)


def conditions(cluster: Any) -> dict[str, str]:
    node = cluster.kubectl.json("get", "nodes")["items"][0]
    return {one["type"]: one["status"] for one in node["status"]["conditions"]}


def test_a_grace_of_zero_lets_nothing_linger(cluster, namespace, tmp_path):
    """A process that ignores SIGTERM is killed, and is told nothing before."""
    told = "trap 'echo told > /v/told' TERM; while :; do sleep 0.1; done"
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    volumes = [{"name": "v", "hostPath": {"path": str(tmp_path)}}]
    create(cluster, "deaf", "bash", "-c", told, namespace=namespace, container=mounts, volumes=volumes)
    cluster.wait_ready("deaf", namespace=namespace)
    cluster.kubectl("delete", "pod", "deaf", "-n", namespace)
    cluster.wait(lambda: not list((cluster.state / "pods").glob("*/containers/main")), "its remains to go")
    assert not (tmp_path / "told").exists()
