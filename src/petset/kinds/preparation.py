"""What a write may not set, or must carry over from the version before: one function a kind, attached in resources.py.

`prepare(new, old)` runs after defaults and admission and before validation; `old` is None at create. A status comes
from a controller or the node, never with a create; the server itself keeps it at updates of the spec, and the spec at
updates of the status. A new tree is made only where something must change.
"""

from __future__ import annotations

from collections.abc import Callable

from petset.objects import meta, quantity
from petset.objects.meta import Object


def status_of_new(status: Object) -> Callable[[Object, Object | None], Object]:
    """A new object begins with this status, whatever its creator wrote there."""

    def prepare(new: Object, old: Object | None) -> Object:
        return {**new, "status": status} if old is None and new.get("status") != status else new

    return prepare


def pod(new: Object, old: Object | None) -> Object:
    """A new pod is Pending, in its class of service."""
    if old is not None:
        return new
    return {**new, "status": {"phase": "Pending", "qosClass": quality_of_service(new)}}


def service(new: Object, old: Object | None) -> Object:
    """A service keeps the cluster IP it has when an update leaves it out."""
    if old is None:
        return {**new, "status": {"loadBalancer": {}}}
    given, kept = new.get("spec") or {}, old.get("spec") or {}
    if given.get("clusterIP") or not kept.get("clusterIP") or given.get("type") == "ExternalName":
        return new
    spec = {**given, "clusterIP": kept["clusterIP"], "clusterIPs": kept.get("clusterIPs") or [kept["clusterIP"]]}
    return {**new, "spec": spec}


def quality_of_service(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' cpu and memory."""
    spec = pod.get("spec") or {}
    guaranteed, anything = True, False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        requests = meta.get(container, "resources", "requests", default={})
        limits = meta.get(container, "resources", "limits", default={})
        for name in ("cpu", "memory"):
            request, limit = requests.get(name, "0"), limits.get(name, "0")
            anything = anything or quantity.parse(request).value > 0 or quantity.parse(limit).value > 0
            if quantity.parse(limit).value <= 0 or quantity.compare(requests.get(name, limit), limit) != 0:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
