"""Why real containers do not get on: the registry's answer, an exit code with the last lines, a probe's output, ..."""

from __future__ import annotations

import yaml

DEBIAN = "debian:jessie"


def pod(name: str, **of_container) -> dict:
    container = {"name": "c", "image": DEBIAN, **of_container}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def test_each_is_told_of_in_its_own_words(cluster):
    probe = {"periodSeconds": 1, "exec": {"command": ["sh", "-c", "echo not yet; exit 1"]}}
    pods = {
        "image": (pod("image", image="127.0.0.1:1/no/such:1"), "nothing answers there (connection refused)"),
        "crash": (pod("crash", command=["sh", "-c", "echo no table; exit 3"]), "it ended with exit code 3"),
        "probe": (pod("probe", command=["sleep", "1000"], readinessProbe=probe), "its last answer: not yet."),
        "config": (pod("config", envFrom=[{"configMapRef": {"name": "gone"}}]), "cannot start without ConfigMap gone"),
        "command": (pod("command", command=["nosuch"]), "executable file `nosuch` not found"),
    }
    cluster.kubectl("create", "-f", "-", stdin="---\n".join(yaml.safe_dump(one) for one, _ in pods.values()))
    for name, (_, said) in pods.items():
        cluster.wait(lambda: said in cluster.petset("why", name, check=False).stdout, f"{name} to be told of")  # noqa: B023
    told = cluster.petset("why", "pod/crash", check=False)
    assert told.returncode == 3 and "| no table\n" in told.stdout
    cluster.kubectl("create", "configmap", "gone")
    cluster.wait(
        lambda: "create ConfigMap gone" not in cluster.petset("why", "config", check=False).stdout, "it to go on"
    )
