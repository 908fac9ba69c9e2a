"""What a write may not set, or must carry over from the version before: one function a kind, attached in resources.py.

`prepare(new, old)` runs after defaults and admission and before validation; `old` is None at create. A status comes
from a controller or the node, never with a create; the server itself keeps it at updates of the spec, and the spec at
updates of the status. A new tree is made only where something must change.
"""

from __future__ import annotations

from collections.abc import Callable

from petset.kinds import quality_of_service
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
    return {**new, "status": {"phase": "Pending", "qosClass": quality_of_service.of(new)}}


def service(new: Object, old: Object | None) -> Object:
    """A service keeps the cluster IP it has when an update leaves it out."""
    if old is None:
        return {**new, "status": {"loadBalancer": {}}}
    given, kept = new.get("spec") or {}, old.get("spec") or {}
    if given.get("clusterIP") or not kept.get("clusterIP") or given.get("type") == "ExternalName":
        return new
    spec = {**given, "clusterIP": kept["clusterIP"], "clusterIPs": kept.get("clusterIPs") or [kept["clusterIP"]]}
    return {**new, "spec": spec}
