"""`kubectl debug`: a container beside those of a pod, with its own tools and their processes; a pod on the node."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.test_containers import BASE, manifest


def test_a_container_is_added_that_sees_its_targets_processes(cluster, namespace):
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=manifest("main", "sleep", "infinity"))
    cluster.wait_ready("main", namespace=namespace)
    own = cluster.pod("main", namespace)["status"]["containerStatuses"]
    look = "cat /proc/1/comm; hostname; read line; echo got $line"
    debug = ("debug", "-i", "main", f"--image={BASE}", "--target=main", "-c", "look", "-n", namespace)
    said = cluster.kubectl(*debug, "--", "sh", "-c", look, stdin="hello\n")
    assert said.splitlines()[-1] == "got hello"

    def ended() -> dict:
        (one,) = cluster.pod("main", namespace)["status"]["ephemeralContainerStatuses"]
        return one["state"]["terminated"]

    assert cluster.wait(ended, "the debugger's end")["exitCode"] == 0
    log = cluster.kubectl("logs", "main", "-c", "look", "-n", namespace)
    assert log.splitlines() == ["sleep", "main", "got hello"]
    assert cluster.pod("main", namespace)["status"]["containerStatuses"] == own
    rest = (f"--image={BASE}", "-c", "rest", "-n", namespace, "--attach=false", "--", "tail", "-f", "/dev/null")
    cluster.kubectl("debug", "main", *rest)

    def runs() -> bool:
        found = cluster.pod("main", namespace)["status"]["ephemeralContainerStatuses"]
        return [list(one["state"]) for one in found if one["name"] == "rest"] == [["running"]]

    cluster.wait(runs, "the second one")
    alone = cluster.kubectl("exec", "main", "-c", "rest", "-n", namespace, "--", "cat", "/proc/1/comm")
    assert alone.strip() == "tail"  # Without a target it has its own processes.
    cluster.kubectl("delete", "pod", "main", "-n", namespace, "--timeout=60s")


def test_a_target_that_does_not_run_is_told(cluster, namespace):
    two = json.loads(manifest("two", "sleep", "infinity", restart="Never"))
    two["spec"]["containers"].append({"name": "ended", "image": BASE, "command": ["true"]})
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(two))

    def of(field: str, name: str) -> dict:
        return next(one["state"] for one in cluster.pod("two", namespace)["status"][field] if one["name"] == name)

    cluster.wait(lambda: "terminated" in of("containerStatuses", "ended"), "its end")
    debug = ("debug", "two", f"--image={BASE}", "--target=ended", "-c", "look", "-n", namespace, "--attach=false")
    cluster.kubectl(*debug, "--", "true")
    why = "unable to find target container ended"
    cluster.wait(lambda: why in of("ephemeralContainerStatuses", "look")["waiting"]["message"], "the reason")


def test_a_pod_on_the_node_has_the_machine(cluster, namespace):
    (node,) = cluster.kubectl.json("get", "nodes")["items"]
    debug = ("debug", "-i", f"node/{node['metadata']['name']}", f"--image={BASE}", "-n", namespace)
    cluster.kubectl(*debug, "--", "sh", "-c", "cat /proc/1/comm /host/etc/hostname; read x", stdin="x\n")
    (pod,) = cluster.kubectl.json("get", "pods", "-n", namespace)["items"]
    assert pod["spec"]["hostPID"] and pod["spec"]["nodeName"] == node["metadata"]["name"]
    log = cluster.kubectl("logs", pod["metadata"]["name"], "-n", namespace)
    assert log == Path("/proc/1/comm").read_text() + Path("/etc/hostname").read_text()
