"""What a container is: isolation, limits, signals, exit codes, back-off, images that cannot be had."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

BASE = "debian:jessie"


def manifest(name: str, *command: str, restart: str = "Always", grace: int = 1, **container) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": restart,
                "terminationGracePeriodSeconds": grace,
                "containers": [{"name": "main", "image": BASE, "command": list(command), **container}],
            },
        }
    )


def create(cluster, namespace: str, text: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=text)


def state(cluster, namespace: str, name: str) -> dict:
    return cluster.pod(name, namespace)["status"]["containerStatuses"][0]


def execute(cluster, namespace: str, *command: str) -> str:
    return cluster.kubectl("exec", "-n", namespace, "main", "--", *command)


@pytest.fixture
def sleeper(cluster, namespace):
    create(cluster, namespace, manifest("main", "sleep", "infinity"))
    cluster.wait_ready("main", namespace=namespace)
    return namespace


def test_a_container_sees_only_itself(cluster, sleeper):
    assert execute(cluster, sleeper, "sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l").split()[1] <= "4"
    assert execute(cluster, sleeper, "hostname").strip() == "main"
    interfaces = execute(cluster, sleeper, "sh", "-c", "ls /sys/class/net").split()
    assert sorted(interfaces) == ["eth0", "lo"]
    assert execute(cluster, sleeper, "sh", "-c", "cat /proc/1/comm").strip() == "sleep"


def test_default_capabilities_are_not_all(cluster, sleeper):
    said = execute(
        cluster,
        sleeper,
        "sh",
        "-c",
        "grep CapEff /proc/1/status; grep NoNewPrivs /proc/1/status; grep ^Seccomp: /proc/1/status",
    )
    fields = dict(line.split(":\t") for line in said.splitlines())
    assert int(fields["CapEff"], 16) == 0xA80425FB, "the fourteen that containers have by default, no more and no fewer"
    assert fields["NoNewPrivs"] == "0" and fields["Seccomp"] == "0"


def test_security_context(cluster, namespace):
    text = json.loads(manifest("main", "sleep", "infinity"))
    text["spec"]["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 1234, "fsGroup": 4321}
    text["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    create(cluster, namespace, json.dumps(text))
    cluster.wait_ready("main", namespace=namespace)
    said = execute(cluster, namespace, "sh", "-c", "grep -E '^(CapEff|NoNewPrivs|Seccomp|Uid|Groups):' /proc/1/status")
    fields = {line.split(":")[0]: line.split(":")[1].split() for line in said.splitlines()}
    assert int(fields["CapEff"][0], 16) == 0
    assert fields["NoNewPrivs"] == ["1"] and fields["Seccomp"] == ["2"]
    assert fields["Uid"][0] == "1234" and "4321" in fields["Groups"]
    refused = cluster.kubectl.run("exec", "-n", namespace, "main", "--", "sh", "-c", "echo x > /etc/x")
    assert refused.returncode != 0 and "Read-only" in refused.stderr


def test_exit_codes_and_phases(cluster, namespace):
    create(cluster, namespace, manifest("ok", "true", restart="Never"))
    create(cluster, namespace, manifest("bad", "sh", "-c", "echo why > /dev/termination-log; exit 3", restart="Never"))
    cluster.wait(lambda: cluster.pod("ok", namespace)["status"]["phase"] == "Succeeded", "success")
    cluster.wait(lambda: cluster.pod("bad", namespace)["status"]["phase"] == "Failed", "failure")
    ended = state(cluster, namespace, "bad")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")


def test_out_of_memory(cluster, namespace):
    hungry = ("sh", "-c", "head -c 200m /dev/zero | tail")
    create(cluster, namespace, manifest("main", *hungry, restart="Never", resources={"limits": {"memory": "32Mi"}}))
    ended = cluster.wait(lambda: state(cluster, namespace, "main")["state"].get("terminated"), "the end")
    assert ended["reason"] == "OOMKilled" and ended["exitCode"] == 137


def test_limits_are_applied(cluster, namespace):
    limits = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    create(cluster, namespace, manifest("main", "sleep", "infinity", resources=limits))
    cluster.wait_ready("main", namespace=namespace)
    uid = cluster.pod("main", namespace)["metadata"]["uid"]
    names = ("memory.limit_in_bytes", "memory.max", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    groups = [path for path in Path("/sys/fs/cgroup").rglob(f"*{uid}*/*") if path.is_dir()]
    found = {name: (group / name).read_text().split() for group in groups for name in names if (group / name).exists()}
    memory = found.get("memory.limit_in_bytes") or found["memory.max"]
    assert memory == [str(64 * 1024 * 1024)]
    quota = found.get("cpu.max") or found["cpu.cfs_quota_us"] + found["cpu.cfs_period_us"]
    assert int(quota[0]) / int(quota[1]) == 0.5


def test_a_crashing_container_backs_off(cluster, namespace):
    create(cluster, namespace, manifest("main", "false"))
    cluster.wait(
        lambda: state(cluster, namespace, "main")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff",
        "CrashLoopBackOff",
    )
    cluster.wait(lambda: state(cluster, namespace, "main")["restartCount"] >= 2, "two restarts", 60)
    reasons = cluster.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}").split()
    assert "BackOff" in reasons
    assert state(cluster, namespace, "main")["lastState"]["terminated"]["exitCode"] == 1


def test_an_image_that_cannot_be_had(cluster, namespace):
    text = json.loads(manifest("main", "true"))
    text["spec"]["containers"][0]["image"] = "127.0.0.1:1/no/such:image"
    create(cluster, namespace, json.dumps(text))
    seen = set()

    def both() -> bool:
        seen.add(state(cluster, namespace, "main")["state"].get("waiting", {}).get("reason"))
        reasons = cluster.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].reason}").split()
        return "Failed" in reasons and "BackOff" in reasons and "ImagePullBackOff" in seen

    cluster.wait(both, "ErrImagePull and ImagePullBackOff")
    messages = cluster.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].message}")
    assert "ErrImagePull" in messages and "ImagePullBackOff" in messages


def test_sigterm_then_sigkill(cluster, namespace):
    polite = ("sh", "-c", "trap 'echo polite; exit 0' TERM; while :; do sleep 0.1; done")
    stubborn = ("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    create(cluster, namespace, manifest("polite", *polite, grace=30))
    create(cluster, namespace, manifest("stubborn", *stubborn, grace=2))
    cluster.wait_ready("polite", "stubborn", namespace=namespace)
    cluster.kubectl("delete", "pod", "polite", "-n", namespace, timeout=15)
    cluster.kubectl("delete", "pod", "stubborn", "-n", namespace, timeout=15)


def test_a_stop_hook_comes_before_the_signal(cluster, namespace):
    """What it wrote stands in the log before what the container says to SIGTERM."""
    main = "trap 'echo signal; exit 0' TERM; echo up; while true; do sleep 0.1; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 2; echo hook > /proc/1/fd/1"]}}}
    create(cluster, namespace, manifest("main", "sh", "-c", main, grace=30, lifecycle=hook))
    cluster.wait(lambda: "up" in cluster.kubectl("logs", "-n", namespace, "main"), "the container to be up")
    following = cluster.kubectl.start("logs", "-f", "-n", namespace, "main")
    cluster.kubectl("delete", "pod", "main", "-n", namespace)
    said, _ = following.communicate(timeout=60)
    assert said.split() == ["up", "hook", "signal"]


def test_exec_over_websocket(cluster, sleeper):
    """Whatever subprotocol the client speaks."""
    target = f"/api/v1/namespaces/{sleeper}/pods/main/exec?command=echo&command=hello&stdout=1&stderr=1"
    for protocol in ("channel.k8s.io", "base64.channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"):
        messages = cluster.websocket(target, protocol)
        if protocol.startswith("base64"):
            messages = [bytes([int(one[:1])]) + base64.b64decode(one[1:]) for one in messages]
        assert b"".join(one[1:] for one in messages if one[0] == 1) == b"hello\n", protocol
        ends = [one[1:] for one in messages if one[0] == 3]
        assert b"Success" in ends[0] if protocol.startswith("v") else ends == [], protocol


def test_a_log_over_websocket(cluster, namespace):
    create(cluster, namespace, manifest("main", "echo", "container is alive", restart="Never"))
    cluster.wait(lambda: cluster.pod("main", namespace)["status"]["phase"] == "Succeeded", "it to end")
    messages = cluster.websocket(f"/api/v1/namespaces/{namespace}/pods/main/log", "binary.k8s.io")
    assert messages[0] == b"" and b"".join(messages) == b"container is alive\n"


def test_zombies_are_reaped(cluster, sleeper):
    """What ends outside a container's own process namespace (runtimes, supervisors, execs) leaves no zombie behind."""
    for _ in range(5):
        execute(cluster, sleeper, "sh", "-c", "(sleep 0.1 &) ; exit 0")
    create(cluster, sleeper, manifest("short", "true", restart="Never"))
    cluster.wait(lambda: cluster.pod("short", sleeper)["status"]["phase"] == "Succeeded", "the short pod to end")
    petset = cluster.process
    cluster.wait(lambda: not zombies_of(petset), "no zombies", 10)


def zombies_of(process: int) -> list[str]:
    """Ended children that the process has not waited for."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == process:
            found.append(path.parent.name)
    return found
