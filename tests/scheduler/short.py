"""Nodes and pods in short form, for the cases of tests/cases/scheduling and for laws.

Node: {zone, labels, cpu, memory, pods, resources, taints, unschedulable, ready, images: {name: bytes}}.
Pod: {name, namespace, at: its node, labels, cpu, memory, resources, image, ports, priority, phase, deleting, started,
preempted, nominated, claim, claims, tolerations, prefers: {label: value}, requires: [{label: value}], called: a node,
near, apart, rather_near, rather_apart: [{label: value, by, namespaces, chosen, weight}],
spread: [{by, max, domains, affinity, taints, soft}], spec: more of it}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petset.kinds.pod_spec.placement import PREFERRED, REQUIRED
from petset.objects.meta import Object

HOST = "kubernetes.io/hostname"
MADE = "2016-08-03T00:00:00Z"
OF_A_TERM = ("by", "namespaces", "chosen", "weight")


def node(name: str, given: Mapping[str, Any]) -> Object:
    zone = {"zone": given["zone"]} if "zone" in given else {}
    room = {"cpu": given.get("cpu", "4"), "memory": given.get("memory", "8Gi"), "pods": given.get("pods", "110")}
    images = [{"names": [image], "sizeBytes": size} for image, size in given.get("images", {}).items()]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {HOST: name, **zone, **given.get("labels", {})}},
        "spec": {"taints": given.get("taints", []), "unschedulable": given.get("unschedulable", False)},
        "status": {
            "allocatable": {**room, **given.get("resources", {})},
            "conditions": [{"type": "Ready", "status": given.get("ready", "True")}],
            "images": images,
        },
    }


def pod(given: Mapping[str, Any]) -> Object:
    name, on = given.get("name", "p"), given.get("at", "")
    requests = {key: given[key] for key in ("cpu", "memory") if key in given}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": given.get("namespace", "default"),
        "uid": f"u-{given.get('namespace', '')}-{name}",
        "labels": given.get("labels", {}),
        "creationTimestamp": given.get("made", MADE),
    }
    if given.get("deleting"):
        metadata["deletionTimestamp"] = MADE
    container = {
        "name": "c",
        "image": given.get("image", "example/server:1"),
        "resources": {"requests": {**requests, **given.get("resources", {})}},
        "ports": [{"containerPort": 80, "hostPort": port} for port in given.get("ports", ())],
    }
    claims = [*given.get("claims", ()), *([given["claim"]] if "claim" in given else [])]
    volumes = [{"name": f"v-{name}", "persistentVolumeClaim": {"claimName": name}} for name in claims]
    status: dict[str, Any] = {"phase": given.get("phase", "Running" if on else "Pending")}
    if "started" in given:
        status["startTime"] = f"2016-08-03T00:00:{given['started']:02d}Z"
    if given.get("preempted"):
        reason = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
        status["conditions"] = [reason]
    if "nominated" in given:
        status["nominatedNodeName"] = given["nominated"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [container],
            "volumes": volumes,
            "tolerations": given.get("tolerations", []),
            "affinity": _affinity(given),
            "topologySpreadConstraints": [_spread(one, given.get("selects")) for one in given.get("spread", ())],
            **({"nodeName": on} if on else {}),
            **({"priority": given["priority"]} if "priority" in given else {}),
            **given.get("spec", {}),
        },
        "status": status,
    }


def _affinity(given: Mapping[str, Any]) -> Object:
    called = {"key": "metadata.name", "operator": "In", "values": [given.get("called")]}
    terms = [{"matchExpressions": _labels(labels)} for labels in given.get("requires", ())]
    terms += [{"matchFields": [called]}] if "called" in given else []
    preferred = [
        {"weight": 10, "preference": {"matchExpressions": _labels({label: value})}}
        for label, value in given.get("prefers", {}).items()
    ]
    return {
        "nodeAffinity": {**({REQUIRED: {"nodeSelectorTerms": terms}} if terms else {}), PREFERRED: preferred},
        "podAffinity": _pod_terms(given.get("near", ()), given.get("rather_near", ())),
        "podAntiAffinity": _pod_terms(given.get("apart", ()), given.get("rather_apart", ())),
    }


def _labels(labels: Mapping[str, str]) -> list[Object]:
    return [{"key": label, "operator": "In", "values": [value]} for label, value in labels.items()]


def _pod_terms(required: Iterable[Mapping[str, Any]], preferred: Iterable[Mapping[str, Any]]) -> Object:
    weighted = [{"weight": one.get("weight", 50), "podAffinityTerm": _term(one)} for one in preferred]
    found = {REQUIRED: [_term(one) for one in required], PREFERRED: weighted}
    return {key: terms for key, terms in found.items() if terms}


def _term(given: Mapping[str, Any]) -> Object:
    labels = {label: value for label, value in given.items() if label not in OF_A_TERM}
    chosen = {"namespaceSelector": {"matchLabels": given["chosen"]}} if "chosen" in given else {}
    named = {"namespaces": given["namespaces"]} if "namespaces" in given else {}
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": given.get("by", HOST), **named, **chosen}


def _spread(given: Mapping[str, Any], selects: Mapping[str, str] | None) -> Object:
    fields = {"domains": "minDomains", "affinity": "nodeAffinityPolicy", "taints": "nodeTaintsPolicy"}
    return {
        "topologyKey": given["by"],
        "maxSkew": given["max"],
        "whenUnsatisfiable": "ScheduleAnyway" if given.get("soft") else "DoNotSchedule",
        "labelSelector": {"matchLabels": selects or {"app": "web"}},
        **{field: given[key] for key, field in fields.items() if key in given},
    }


def claim(given: Mapping[str, Any]) -> Object:
    volume = {"volumeName": given["volume"]} if "volume" in given else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": given["name"], "namespace": "default"},
        "spec": {
            "accessModes": given.get("modes", ["ReadWriteOnce"]),
            "resources": {"requests": {"storage": given.get("size", "1Gi")}},
            **({"storageClassName": given["class"]} if "class" in given else {}),
            **volume,
        },
        "status": {"phase": "Bound" if volume else "Pending"},
    }


def volume(given: Mapping[str, Any]) -> Object:
    where = {"nodeSelectorTerms": [{"matchExpressions": _labels({"zone": given["zone"]})}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": given["name"]},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": given.get("size", "1Gi")},
            "storageClassName": given.get("class", ""),
            "nodeAffinity": {"required": where},
            **({"claimRef": {"namespace": "default", "name": given["of"]}} if "of" in given else {}),
        },
        "status": {"phase": "Bound" if "of" in given else "Available"},
    }


def storage_class(given: Mapping[str, Any]) -> Object:
    """One that waits for the first consumer."""
    zones = {"matchLabelExpressions": [{"key": "zone", "values": given.get("zones")}]}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": given["name"]},
        "provisioner": given["provisioner"],
        "volumeBindingMode": "WaitForFirstConsumer",
        **({"allowedTopologies": [zones]} if "zones" in given else {}),
    }


def namespace(name: str, labels: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def budget(given: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": given["name"], "namespace": "default"},
        "spec": {"selector": {"matchLabels": given["selects"]}},
        "status": {"disruptionsAllowed": given["allowed"]},
    }


def objects(given: Mapping[str, Any]) -> list[Object]:
    """All of a case: {namespaces, nodes, claims, classes, volumes, budgets, pods, pending, pod}."""
    spaces = {"default": {}, **given.get("namespaces", {})}
    pending = [{"made": "2016-08-02T00:00:00Z", **one} for one in given.get("pending", ())]
    return [
        *(namespace(name, labels) for name, labels in spaces.items()),
        *(node(name, one) for name, one in given.get("nodes", {}).items()),
        *map(claim, given.get("claims", ())),
        *map(storage_class, given.get("classes", ())),
        *map(volume, given.get("volumes", ())),
        *map(budget, given.get("budgets", ())),
        *map(pod, given.get("pods", ())),
        *map(pod, pending),
        *given.get("objects", ()),
        pod(given.get("pod", {})),
    ]
