"""DaemonSets: the cases of tests/cases/daemons, their history, and a cluster where nodes come and templates change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from petset.base import well_known
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.workloads import daemons, revisions
from petset.kinds.apps.daemon_set import DAEMONSETS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import encoding, meta
from petset.objects.meta import Object
from tests import case_files
from tests.controllers import cluster, owners


def daemon_set(image: str = "b", **given: Any) -> Object:
    """{missing, surge, strategy, minReadySeconds, nodeSelector, deleting}."""
    rolling = {"maxUnavailable": given.get("missing", 1), "maxSurge": given.get("surge", 0)}
    strategy = given.get("strategy", "RollingUpdate")
    spec = {"containers": [{"name": "main", "image": image}], "nodeSelector": given.get("nodeSelector", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": "web",
            "namespace": "default",
            "uid": "uid of web",
            "generation": 1,
            "resourceVersion": "7",
            **({"deletionTimestamp": owners.time(0)} if given.get("deleting") else {}),
        },
        "spec": {
            "minReadySeconds": given.get("minReadySeconds", 0),
            "updateStrategy": {"type": strategy, **({"rollingUpdate": rolling} if strategy != "OnDelete" else {})},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }


def world_of(given: Mapping[str, Any]) -> tuple[Object, Snapshot]:
    owner = daemon_set(**given.get("daemonset", {}))
    known = [
        {**revisions.history(one, [], []).update, "revision": number}
        for number, one in enumerate((daemon_set("a", **given.get("daemonset", {})), owner), 1)
    ]
    hashes = [meta.labels(one)[well_known.CONTROLLER_HASH_LABEL] for one in known]
    assert hashes == [meta.labels(one)[well_known.REVISION_LABEL] for one in known]
    assert all(encoding.dumps(one["data"]) == revisions.encoded(one["data"]) for one in known)
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node["name"], "labels": node.get("labels", {})},
            "spec": {"taints": node.get("taints", [])},
        }
        for node in given["nodes"]
    ]
    pods: list[Object] = []
    for one in given.get("pods", ()):
        labels = {"app": "web", "controller-revision-hash": hashes[0 if one.get("old") else 1]}
        pod = owners.pod_of(owner, {**one, "labels": labels, "node": one.get("node", "")})
        if "for" in one:
            terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [one["for"]]}]}]
            required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
            pod = meta.changed(pod, ("spec", "affinity"), {"nodeAffinity": required})
        pods.append(pod)
    return owner, Snapshot([owner, *known, *nodes, *pods])


def told(steps: Sequence[actions.Action]) -> list[str]:
    lines: list[str] = []
    for step in steps:
        match step:
            case actions.Together(branches):
                inner = [line for branch in branches for line in told(branch)]
                lines += [", ".join(inner)] if inner else []
            case actions.Create(obj) if obj["kind"] == "Pod":
                lines.append(f"create on {daemons.target(obj)}")
            case actions.Delete(obj):
                lines.append(f"delete {meta.name(obj)}")
            case actions.RequeueAfter(seconds):
                lines.append(f"look again in {seconds:g} s")
            case _:
                pass
    return lines


@pytest.mark.parametrize("case", case_files.cases("daemons"))
def test_case(case: dict[str, Any]) -> None:
    owner, view = world_of(case["given"])
    steps = daemons.reconcile(meta.key(owner), view, owners.NOW)
    assert ", ".join(told(steps)) == ", ".join(case["then"])
    if "status" in case:
        (report,) = [step for step in actions.flat(steps) if isinstance(step, actions.UpdateStatus)]
        status = report.object["status"]
        assert {field: status.get(field) for field in case["status"]} == case["status"]


def test_what_a_template_says_of_nodes_stays_and_its_pod_is_for_one_node() -> None:
    owner, view = world_of({"daemonset": {"nodeSelector": {"disk": "fast"}}, "nodes": []})
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"disk": "fast"}}}
    view.of(NODES).put(node)
    (made,) = [s for s in actions.flat(daemons.reconcile("default/web", view, 0)) if isinstance(s, actions.Create)]
    spec = made.object["spec"]
    assert spec["nodeSelector"] == {"disk": "fast"} and "nodeName" not in spec
    tolerated = {(one["key"].rpartition("/")[2], one["effect"]) for one in spec["tolerations"]}
    assert {("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("unschedulable", "NoSchedule")} <= tolerated
    assert len(spec["tolerations"]) == 6 and owner["spec"]["template"]["spec"].get("tolerations") is None


def test_a_daemon_set_in_a_cluster() -> None:
    """Made, updated, undone: each time one pod is on the node, placed by the scheduler, and the history is kept."""

    async def main() -> None:
        async with cluster.running() as it:

            def images() -> list[str]:
                live = [pod for pod in it.all(PODS) if meta.is_pod_ready(pod) and not meta.is_deleting(pod)]
                return [pod["spec"]["containers"][0]["image"] for pod in live if pod["spec"].get("nodeName")]

            def is_done() -> bool:
                found = it.get(DAEMONSETS, "web") or {}
                status, generation = meta.part(found, "status"), meta.get(found, "metadata", "generation")
                fields = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
                return status.get("observedGeneration") == generation and all(status.get(f) == 1 for f in fields)

            made = daemon_set()
            await it.create({**made, "metadata": {"name": "web"}})
            await it.until(lambda: images() == ["b"] and is_done())
            for image in ("c", "b"):
                patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
                await it.client.patch(DAEMONSETS, "web", "default", patch)
                await it.until(lambda image=image: images() == [image] and is_done())
            numbers = sorted(one["revision"] for one in it.all(CONTROLLERREVISIONS))
            assert numbers == [2, 3]

    asyncio.run(main())
