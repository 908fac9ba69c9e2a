"""Owners of pods that are all alike, in short form, for cases and laws: what `given` in tests/cases/replicas says.

An owner is in the namespace default, named web, and selects app=web; its pods have names of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.workloads import replicas, templates
from petset.objects import meta
from petset.objects.meta import Object

NOW = 1_470_000_000.0


def time(ago: float) -> str:
    return tasks.rfc3339(NOW - ago)


def owner_of(kind: str = "ReplicaSet", **given: Any) -> Object:
    """{name, replicas, minReadySeconds, deleting, failing: reason, labels: the template's, owner: a uid}."""
    name, labels = given.get("name", "web"), {"app": "web"}
    selector: Object = {"matchLabels": labels}
    spec = {
        "replicas": given.get("replicas", 1),
        "minReadySeconds": given.get("minReadySeconds", 0),
        "selector": labels if kind == "ReplicationController" else selector,
        "template": {
            "metadata": {"labels": {**labels, **given.get("labels", {})}},
            "spec": {"containers": [{"name": "main", "image": "example/server:1"}]},
        },
    }
    above = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": given.get("owner"),
        "controller": True,
    }
    failure = {"type": "ReplicaFailure", "status": "True", "reason": given.get("failing"), "message": "no"}
    return {
        "apiVersion": "v1" if kind == "ReplicationController" else "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid of {name}",
            "generation": 1,
            "resourceVersion": "7",
            **({"ownerReferences": [above]} if "owner" in given else {}),
            **({"deletionTimestamp": time(0)} if given.get("deleting") else {}),
        },
        "spec": spec,
        "status": {"conditions": [failure]} if "failing" in given else {},
    }


def pod_of(owner: Object, given: Mapping[str, Any]) -> Object:
    """{name, ready, ready_since, phase, node, deleting, cost, restarts, made, labels, owner: none | other}."""
    name = given["name"]
    pod: Object = templates.pod_for(owner, owner["spec"]["template"])
    metadata = {
        **pod["metadata"],
        "name": name,
        "uid": f"uid of {name}",
        "resourceVersion": "11",
        "creationTimestamp": time(given.get("made", 1000)),
        **({"deletionTimestamp": time(0)} if given.get("deleting") else {}),
    }
    if "cost" in given:
        metadata["annotations"] = {well_known.POD_DELETION_COST_ANNOTATION: given["cost"]}
    if "labels" in given:
        metadata["labels"] = given["labels"]
    if given.get("owner") == "none":
        del metadata["ownerReferences"]
    elif given.get("owner") == "other":
        other = {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "uid of other", "controller": True}
        metadata["ownerReferences"] = [other]
    ready = {"type": "Ready", "status": "True" if given.get("ready") else "False"}
    ready["lastTransitionTime"] = time(given.get("ready_since", 1000))
    status = {
        "phase": given.get("phase", "Running" if "ready" in given else "Pending"),
        "conditions": [ready],
        "containerStatuses": [{"name": "main", "restartCount": given.get("restarts", 0)}],
    }
    spec = {**pod["spec"], **({"nodeName": node} if (node := given.get("node", "n1")) else {})}
    return {**pod, "metadata": metadata, "spec": spec, "status": status}


def world_of(given: Mapping[str, Any]) -> tuple[replicas.Variant, Object, Snapshot]:
    """(the kind, the owner, everything there is) of a case."""
    kind = replicas.REPLICATIONCONTROLLER if "replicationcontroller" in given else replicas.REPLICASET
    owner = owner_of(kind.resource.kind, **(given.get("replicaset") or given.get("replicationcontroller") or {}))
    others = [owner_of("ReplicaSet", **other) for other in given.get("others", ())]
    by_name = {meta.name(one): one for one in (owner, *others)}
    pods = [pod_of(by_name[pod.get("of", meta.name(owner))], pod) for pod in given.get("pods", ())]
    return kind, owner, Snapshot([owner, *others, *pods])


def reconciled(given: Mapping[str, Any]) -> list[actions.Action]:
    kind, owner, view = world_of(given)
    return replicas.reconcile(kind, meta.key(owner), view, NOW)


def told(steps: list[actions.Action]) -> list[str]:
    """What each step does, in a line; side by side on one line, reports of status left out."""
    lines: list[str] = []
    for step in steps:
        match step:
            case actions.UpdateStatus():
                continue
            case actions.Together(branches):
                inner = [line for branch in branches for line in told(list(branch))]
                whole = all(len(branch) == 1 and not isinstance(branch[0], actions.Attempt) for branch in branches)
                lines += [", ".join(inner)] if whole and inner else inner
            case actions.Attempt(branch):
                lines += told(list(branch))
            case actions.Create(obj):
                metadata = obj["metadata"]
                lines.append(f"create {obj['kind']} {metadata.get('name') or metadata['generateName']}")
            case actions.Update(obj) | actions.Delete(obj) | actions.StillThere(obj):
                verb = {"StillThere": "check"}.get(type(step).__name__, type(step).__name__.lower())
                lines.append(f"{verb} {obj['kind']} {meta.name(obj)}")
            case actions.RequeueAfter(seconds):
                lines.append(f"look again in {seconds:g} s")
            case _:
                lines.append(str(step))
    return lines
