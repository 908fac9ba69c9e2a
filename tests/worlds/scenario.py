"""What a seed's world begins with: how many nodes, which sets, how long the monkey plays, in which weather."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from petset.objects.meta import Object
from petset.world import faults

NAMESPACE = "default"
REAL_AGENTS_SHARE = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    nodes: int
    real_agents: bool  # Or nodes by script, which cost less.
    weather: faults.Faults
    objects: tuple[Object, ...]
    sets: tuple[Object, ...]
    monkey_steps: int

    def told(self) -> str:
        sets = ", ".join(
            f"{obj['kind']} {obj['metadata']['name']} x{obj['spec']['replicas']}"
            f" {obj['spec'].get('podManagementPolicy', '')}"
            f" {'with' if obj['spec'].get('volumeClaimTemplates') else 'without'} claims"
            for obj in self.sets
        )
        return f"{self.nodes} {'real' if self.real_agents else 'scripted'} nodes; {sets}; {self.weather}"


def of(chance: random.Random) -> Plan:
    names = ["web"]
    if chance.random() < 0.2:
        # A name that reads like one of the other's pets.
        names.append(chance.choice(("db", "web-1")))
    services = [service(name, chance) for name in names]
    sets = [a_set(name, chance) for name in names]
    return Plan(
        nodes=chance.choice((1, 1, 1, 2, 2, 3)),
        real_agents=chance.random() < REAL_AGENTS_SHARE,
        weather=faults.Faults.some(chance),
        objects=(*services, *sets),
        sets=tuple(sets),
        monkey_steps=chance.randint(3, 8),
    )


def service(name: str, chance: random.Random) -> dict[str, Any]:
    annotations = {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            **({"annotations": annotations} if chance.random() < 0.5 else {}),
        },
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80, "name": "web"}]},
    }


def a_set(name: str, chance: random.Random) -> dict[str, Any]:
    is_petset = chance.random() < 0.4
    with_claims = chance.random() < 0.6
    spec: dict[str, Any] = {
        "serviceName": name,
        "replicas": chance.randint(1, 3),
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(chance, with_claims)},
    }
    if chance.random() < 0.2:
        spec["podManagementPolicy"] = "Parallel"
    if chance.random() < 0.15:
        spec["ordinals"] = {"start": 2}
    if not is_petset and chance.random() < 0.2:
        spec["minReadySeconds"] = 5
    if is_petset and chance.random() < 0.5:
        spec["template"]["metadata"]["annotations"] = {"pod.alpha.kubernetes.io/initialized": "true"}
    if with_claims:
        spec["volumeClaimTemplates"] = [claim_template()]
    return {
        "apiVersion": "apps/v1alpha1" if is_petset else "apps/v1",
        "kind": "PetSet" if is_petset else "StatefulSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def pod_spec(chance: random.Random, with_claims: bool) -> dict[str, Any]:
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]} if with_claims else {}
    container: dict[str, Any] = {"name": "main", "image": "example/server:1", **mounts}
    if chance.random() < 0.4:
        container["readinessProbe"] = {"exec": {"command": ["ready"]}, "periodSeconds": 5}
    spec: dict[str, Any] = {
        "automountServiceAccountToken": chance.random() < 0.2,
        "terminationGracePeriodSeconds": chance.choice((0, 1, 30)),
        "containers": [container],
    }
    if chance.random() < 0.3:
        spec["initContainers"] = [{"name": "install", "image": "example/install:1"}]
    return spec


def claim_template() -> dict[str, Any]:
    return {
        "metadata": {"name": "data", "annotations": {"volume.alpha.kubernetes.io/storage-class": "anything"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
