"""Is everything as the specs say? The reasons why not, read from the store's objects and the nodes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from petset.objects import meta
from petset.objects.meta import Object
from petset.wire import dns
from petset.world import bounds, evictions, laws, rollouts

if TYPE_CHECKING:
    from petset.world.world import World


def what_is_wrong(world: World) -> list[str]:
    objects = world.laws.objects
    wrong = [f"{process.name} is down" for process in world.processes if not process.is_up]
    expected: dict[str, str] = {}  # Pods that must be there and no others: key -> uid.
    for key, set_ in objects.items():
        if key.startswith(laws.SETS):
            wrong += _of_set(set_, objects, expected)
    wrong += rollouts.what_is_wrong(objects, expected)
    for key, pod in objects.items():
        if key.startswith(laws.PODS) and key not in expected:
            wrong.append(f"{meta.key(pod)} is too many")
    for key, obj in objects.items():
        if key.startswith(laws.CLAIMS):
            wrong += _of_claim(obj, objects)
        elif key.startswith(laws.VOLUMES):
            wrong += _of_volume(obj, objects)
        elif key.startswith(evictions.BUDGETS) and meta.part(obj, "status", "disruptedPods"):
            wrong.append(f"{meta.key(obj)} expects evicted pods to go")
        elif key.startswith("/core/endpoints/default/") and meta.name(obj) != "kubernetes":
            wrong += _of_endpoints(obj, objects)
    wrong += bounds.what_is_wrong(objects)
    wrong += _of_names(world, expected)
    return wrong + _of_nodes(world, expected)


def _of_set(set_: Object, objects: dict[str, Object], expected: dict[str, str]) -> list[str]:
    name, spec = meta.key(set_), set_["spec"]
    status: Object = set_.get("status") or {}
    if meta.is_deleting(set_):
        return [f"{name} is still being deleted"]
    wanted, start = spec.get("replicas", 1), laws.first_ordinal(set_)
    wrong: list[str] = []
    for ordinal in range(start, start + wanted):
        key = f"{laws.PODS}{name}-{ordinal}"
        pod = objects.get(key)
        if pod is None:
            wrong.append(f"{name}-{ordinal} is missing")
            continue
        expected[key] = meta.uid(pod)
        if not laws.is_ready(pod):
            wrong.append(f"{name}-{ordinal} is not ready")
        if meta.controller_uid(pod) != meta.uid(set_):
            wrong.append(f"{name}-{ordinal} is not owned by its set")
        updates = meta.get(spec, "updateStrategy", "type", default="OnDelete") != "OnDelete"
        if updates and meta.labels(pod).get("controller-revision-hash") != status.get("updateRevision"):
            wrong.append(f"{name}-{ordinal} is of an old revision")
        for template in spec.get("volumeClaimTemplates") or ():
            claim = objects.get(f"{laws.CLAIMS}{meta.namespace(set_)}/{meta.name(template)}-{meta.name(pod)}")
            if claim is None or meta.get(claim, "status", "phase") != "Bound":
                wrong.append(f"{name}-{ordinal} has no bound claim {meta.name(template)}")
    counts = {"replicas": wanted, "readyReplicas": wanted, "observedGeneration": set_["metadata"].get("generation")}
    if set_["kind"] == "StatefulSet":
        counts["availableReplicas"] = wanted
    for field, value in counts.items():
        if (status.get(field) or 0) != value:
            wrong.append(f"{name}'s status says {field} {status.get(field)}, not {value}")
    return wrong


def _of_claim(claim: Object, objects: dict[str, Object]) -> list[str]:
    if meta.is_deleting(claim):
        return [f"claim {meta.key(claim)} is still being deleted"]
    volume = objects.get(laws.VOLUMES + meta.get(claim, "spec", "volumeName", default=""))
    reference = meta.get(volume, "spec", "claimRef", "uid")
    if meta.get(claim, "status", "phase") != "Bound" or reference != meta.uid(claim):
        return [f"claim {meta.key(claim)} is not bound to its volume"]
    return []


def _of_volume(volume: Object, objects: dict[str, Object]) -> list[str]:
    reference: Object = meta.get(volume, "spec", "claimRef", default={})
    claim = objects.get(f"{laws.CLAIMS}{reference.get('namespace')}/{reference.get('name')}")
    if claim is None or meta.uid(claim) != reference.get("uid"):
        return [f"volume {meta.name(volume)} is left over"]
    return []


def _of_endpoints(endpoints: Object, objects: dict[str, Object]) -> list[str]:
    """A service lists exactly the pods it selects (all are ready by now), each under its hostname."""
    service = objects.get(f"/core/services/{meta.key(endpoints)}")
    if service is None:
        return [f"endpoints {meta.key(endpoints)} are left over"]
    selector: Object = service["spec"].get("selector") or {}
    wanted = {
        f"{meta.get(pod, 'status', 'podIP')} {meta.get(pod, 'spec', 'hostname')}"
        for key, pod in objects.items()
        if key.startswith(laws.PODS) and selector.items() <= meta.labels(pod).items()
    }
    listed = {
        f"{address['ip']} {address.get('hostname')}"
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
    }
    if wanted != listed:
        return [f"endpoints {meta.key(endpoints)} list {sorted(listed)}, not {sorted(wanted)}"]
    return []


def _of_names(world: World, expected: dict[str, str]) -> list[str]:
    """Every pet is found under its own name, and nowhere else."""
    wrong: list[str] = []
    for key in expected:
        pod = world.laws.objects[key]
        host, service = meta.get(pod, "spec", "hostname"), meta.get(pod, "spec", "subdomain")
        if not host:
            continue
        found = world.zone.answer(f"{host}.{service}.{meta.namespace(pod)}.svc.cluster.local", dns.A)
        addresses = [record.data for record in found.answers] if found else []
        own = dns.packed_address(meta.get(pod, "status", "podIP", default=""))
        if addresses != [own]:
            wrong.append(f"the name of {meta.key(pod)} says {addresses}, not {own}")
    return wrong


def _of_nodes(world: World, expected: dict[str, str]) -> list[str]:
    running = {laws.PODS + identity: uids for identity, uids in world.laws.running().items()}
    wanted = {key: [uid] for key, uid in expected.items()}
    if running != wanted:
        return [f"the nodes run {running}, not {wanted}"]
    return []
