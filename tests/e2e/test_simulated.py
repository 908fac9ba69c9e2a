"""`petset up --simulate`: the whole control plane for tests of operators and charts, and nothing on the machine."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from petset.base import networks, state, well_known
from petset.cli import proofs
from petset.cli.asking import connection
from petset.cli.given import applying, manifests
from petset.objects import package_data
from tests.e2e.leftovers import leftovers, plan_of

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


def test_top_says_what_annotations_say(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    kubectl = cluster.kubectl
    uses = {well_known.SIMULATED_CPU_ANNOTATION: "300m", well_known.SIMULATED_MEMORY_ANNOTATION: "5Mi"}
    kubectl("run", "busy", "--image", "x", "--overrides", json.dumps({"metadata": {"annotations": uses}}))
    kubectl("run", "idle", "--image", "x")
    cluster.wait_ready("busy", "idle")

    def top() -> list[list[str]]:
        return [line.split() for line in kubectl("top", "pod", "--containers", "--sort-by=cpu").splitlines()]

    cluster.wait(lambda: len(top()) == 3, "figures of both pods")
    heads, *rows = top()
    assert heads == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert [row[:2] for row in rows] == [["busy", "busy"], ["idle", "idle"]]
    assert 290 <= int(rows[0][2].removesuffix("m")) <= 310 and rows[0][3] == "5Mi" and rows[1][2:] == ["0m", "0Mi"]
    assert kubectl("top", "pod", "--sum").splitlines()[-1].split()[1] == "5Mi"
    (node,) = kubectl("top", "node", "--no-headers").splitlines()
    assert node.split()[3] == "5Mi"


def test_a_rollout_its_history_and_its_undoing(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    kubectl = cluster.kubectl
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}
    spec = {"serviceName": "web", "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    kubectl("create", "-f", "-", stdin=manifest("apps/v1", "StatefulSet", "web", spec))

    def rolled_out() -> list[str]:
        assert "complete" in kubectl("rollout", "status", "statefulset/web", "--timeout=30s")
        pods = kubectl.json("get", "pods", "-l", "app=web")["items"]
        return [pod["spec"]["containers"][0]["image"] for pod in pods]

    rolled_out()
    kubectl("set", "image", "statefulset/web", "c=nginx:2")
    assert rolled_out() == ["nginx:2"] * 2
    history = kubectl("rollout", "history", "statefulset/web").splitlines()
    assert [line.split()[0] for line in history if line[:1].isdigit()] == ["1", "2"]
    assert "nginx:1" in kubectl("rollout", "history", "statefulset/web", "--revision=1")
    assert "rolled back" in kubectl("rollout", "undo", "statefulset/web")
    assert rolled_out() == ["nginx:1"] * 2
    kubectl("rollout", "restart", "statefulset/web")
    assert rolled_out() == ["nginx:1"] * 2
    refused = kubectl.run("rollout", "pause", "statefulset/web")
    assert refused.returncode == 1 and "pausing is not supported" in refused.stderr


def test_a_deployment_as_people_use_it(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    kubectl = cluster.kubectl

    def rolled_out() -> list[str]:
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        sets = kubectl.json("get", "replicasets")["items"]
        active = [one for one in sets if one["spec"]["replicas"]]
        return [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in active]

    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    assert rolled_out() == ["nginx:1"]
    kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=to two")
    assert rolled_out() == ["nginx:2"]
    history = kubectl("rollout", "history", "deployment/web")
    assert [line.split(maxsplit=1) for line in history.splitlines()[2:4]] == [["1", "<none>"], ["2", "to two"]]
    assert "nginx:1" in kubectl("rollout", "history", "deployment/web", "--revision=1")
    assert "rolled back" in kubectl("rollout", "undo", "deployment/web")
    assert rolled_out() == ["nginx:1"]
    kubectl("rollout", "restart", "deployment/web")
    assert rolled_out() == ["nginx:1"]
    kubectl("rollout", "pause", "deployment/web")
    kubectl("set", "image", "deployment/web", "nginx=nginx:3")
    kubectl("scale", "deployment/web", "--replicas=5")
    kubectl("wait", "deployment/web", "--for=jsonpath={.status.availableReplicas}=5", "--timeout=60s")
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.status.updatedReplicas}") == ""
    kubectl("rollout", "resume", "deployment/web")
    assert rolled_out() == ["nginx:3"]
    kubectl("expose", "deployment", "web", "--port=80", "--cluster-ip=None")
    kubectl("wait", "endpoints/web", "--for=jsonpath={.subsets[0].addresses[4].ip}", "--timeout=60s")
    described = kubectl("describe", "deployment", "web")
    assert "5 desired | 5 updated | 5 total | 5 available | 0 unavailable" in described
    assert "NewReplicaSetAvailable" in described and "ScalingReplicaSet" in described
    everything = kubectl("get", "all")
    assert all(f"{kind}/web" in everything for kind in ("pod", "service", "deployment.apps", "replicaset.apps"))
    kubectl("delete", "deployment", "web", "--cascade=orphan")
    (kept,) = [one for one in kubectl.json("get", "replicasets")["items"] if one["spec"]["replicas"]]
    assert not kept["metadata"].get("ownerReferences")
    kubectl("delete", "replicasets", "--all", "--cascade=foreground", "--timeout=60s")
    assert "web" not in kubectl("get", "pods", "-o", "name")


def test_a_daemon_set_as_people_use_it(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    kubectl = cluster.kubectl
    labels = {"app": "agent"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    kubectl("create", "-f", "-", stdin=manifest("apps/v1", "DaemonSet", "agent", spec))

    def rolled_out() -> list[str]:
        assert "successfully rolled out" in kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
        pods = kubectl.json("get", "pods", "-l", "app=agent", "--field-selector=status.phase=Running")["items"]
        live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return [pod["spec"]["containers"][0]["image"] for pod in live]

    nodes = len(kubectl.json("get", "nodes")["items"])
    assert rolled_out() == ["nginx:1"] * nodes
    kubectl("set", "image", "daemonset/agent", "c=nginx:2")
    assert rolled_out() == ["nginx:2"] * nodes
    assert "nginx:1" in kubectl("rollout", "history", "daemonset/agent", "--revision=1")
    assert "rolled back" in kubectl("rollout", "undo", "daemonset/agent")
    assert rolled_out() == ["nginx:1"] * nodes
    described = kubectl("describe", "daemonset", "agent")
    assert f"Desired Number of Nodes Scheduled: {nodes}" in described and "SuccessfulCreate" in described
    kubectl("patch", "daemonset", "agent", "-p", '{"spec":{"template":{"spec":{"nodeSelector":{"disk":"fast"}}}}}')
    kubectl("wait", "daemonset/agent", "--for=jsonpath={.status.desiredNumberScheduled}=0", "--timeout=60s")
    kubectl("label", "nodes", "--all", "disk=fast")
    kubectl("wait", "daemonset/agent", f"--for=jsonpath={{.status.numberReady}}={nodes}", "--timeout=60s")


def test_a_drain_waits_for_the_disruption_budget(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    kubectl = cluster.kubectl
    node = kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1")
    kubectl("wait", "pdb/web", "--for=jsonpath={.status.disruptionsAllowed}=1", "--timeout=60s")
    before = kubectl.json("get", "pods", "-l", "app=web")["items"]
    selected = ("--pod-selector=app=web", "--grace-period=1", "--timeout=60s")
    with kubectl.start("drain", node, *selected) as draining:
        # One may go; the one that takes its place finds no node until there is one again.
        kubectl("wait", "pdb/web", "--for=jsonpath={.status.currentHealthy}=1", "--timeout=60s")
        refused = kubectl.run("drain", node, *selected[:2], "--timeout=1s")
        assert "Cannot evict pod as it would violate the pod's disruption budget." in refused.stderr
        assert kubectl("get", "pdb", "web").splitlines()[1].split()[:4] == ["web", "1", "N/A", "0"]
        kubectl("uncordon", node)
        assert draining.wait(60) == 0
    names = [pod["metadata"]["name"] for pod in before]
    left = [pod["metadata"]["name"] for pod in kubectl.json("get", "pods", "-l", "app=web")["items"]]
    assert all(name not in left for name in names)


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


def test_what_the_demo_applied_kubectl_applies_again_without_a_change(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    folder = package_data.place("examples") / proofs.EXAMPLES["redis"].folder

    async def apply() -> list[bool]:
        async with connection.connect(state.State(cluster.state)) as connected:
            objects = manifests.read(sorted(map(str, folder.glob("*.yaml"))))
            return [(await applying.apply(connected.client, obj, "default", force=True)).is_new for obj in objects]

    def generation() -> int:
        return cluster.kubectl.json("get", "petset", "rd")["metadata"]["generation"]

    assert asyncio.run(apply()) == [True, True]
    before = generation()
    done = cluster.kubectl.run("apply", "--server-side", "--field-manager=petset-run", "-f", str(folder))
    assert (done.returncode, generation()) == (0, before), done.stderr
    done = cluster.kubectl.run("apply", "-f", str(folder))
    assert (done.returncode, generation()) == (0, before), done.stderr
    assert (asyncio.run(apply()), generation()) == ([False, False], before)


def test_an_instance_whose_network_is_taken_meanwhile_moves_to_another(make_cluster, tmp_path):
    """Another instance was given it: the node and its pods follow."""
    cluster = make_cluster()
    cluster.up("--simulate")
    cluster.kubectl("create", "-f", NGINX)
    cluster.wait_ready("web-0", "web-1")
    plan = plan_of(cluster.state)
    assert plan is not None
    cluster.down()
    mine = {"pod_cidr": plan.pod_cidr, "service_cidr": plan.cluster.service_cidr}
    taken = networks.RESERVATIONS / "taken.json"
    taken.write_text(json.dumps({**mine, "instance": "taken", "state": str(tmp_path)}))
    try:
        cluster.up("--simulate")
    finally:
        taken.unlink()
    moved = plan_of(cluster.state)
    assert moved is not None and moved.pod_cidr != plan.pod_cidr
    assert cluster.kubectl.json("get", "node")["items"][0]["spec"]["podCIDR"] == moved.pod_cidr

    def addresses() -> list[str]:
        return [cluster.pod(name)["status"]["podIP"] for name in ("web-0", "web-1")]

    pods = ipaddress.ip_network(moved.pod_cidr)
    cluster.wait(lambda: all(ipaddress.ip_address(one) in pods for one in addresses()), "the pods in their new network")
    cluster.wait_ready("web-0", "web-1")
