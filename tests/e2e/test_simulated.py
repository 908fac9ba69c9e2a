"""`petset up --simulate`: the whole control plane for tests of operators and charts, and nothing on the machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.e2e.leftovers import leftovers

NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")


def test_pods_get_ready_without_containers(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    cluster.kubectl("create", "-f", NGINX)
    cluster.wait_ready("web-0", "web-1")
    refused = cluster.kubectl.run("exec", "web-0", "--", "true")
    assert refused.returncode != 0 and "simulated" in refused.stderr
    cluster.down()
    assert leftovers(cluster.state) == []
    cluster.up("--simulate")
    cluster.wait_ready("web-0", "web-1")


PORT = 21017


def test_a_pet_whose_port_is_taken_fails_and_is_made_anew_until_the_port_is_free(make_cluster):
    """As upstream's "Should recreate evicted statefulset" does it; and not in a circle as fast as it goes."""
    cluster = make_cluster()
    cluster.up("--simulate")
    kubectl = cluster.kubectl
    node = kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    container = {"name": "c", "image": "nginx", "ports": [{"containerPort": PORT, "hostPort": PORT}]}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
    kubectl("create", "-f", "-", stdin=manifest("v1", "Pod", "blocker", spec))
    cluster.wait_ready("blocker")
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    of_set = {"serviceName": "web", "replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    with kubectl.start("get", "pods", "--watch", "--output-watch-events", "-o", "json", "-l", "app=web") as watching:
        try:
            kubectl("create", "-f", "-", stdin=manifest("apps/v1", "StatefulSet", "web", of_set))
            assert watching.stdout is not None
            made: dict[str, str] = {}
            refused: dict[str, str] = {}
            for event in documents(watching.stdout):
                pod = event["object"]
                made.setdefault(pod["metadata"]["uid"], pod["metadata"]["creationTimestamp"])
                if pod.get("status", {}).get("phase") == "Failed":
                    refused[pod["metadata"]["uid"]] = pod["status"]["reason"]
                if len(refused) == 4:
                    break
        finally:
            watching.kill()
    assert list(refused.values()) == ["NodePorts"] * 4
    assert len(dict.fromkeys(made.values())) == len(made)  # No two in one second.
    kubectl("delete", "pod", "blocker")
    cluster.wait_ready("web-0")


def manifest(api_version: str, kind: str, name: str, spec: dict) -> str:
    return json.dumps({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})


def documents(lines: Iterable[str]) -> Iterator[dict]:
    """The JSON documents that kubectl prints one after another, each as soon as it is whole."""
    text, decoder = "", json.JSONDecoder()
    for line in lines:
        text += line
        with contextlib.suppress(ValueError):
            found, end = decoder.raw_decode(text.lstrip())
            text = text.lstrip()[end:]
            yield found
