"""A pod's class of service: Guaranteed, Burstable or BestEffort. The API writes it, the node lives by it.

Follows: "Pod Quality of Service Classes" of the Kubernetes documentation.
"""

from __future__ import annotations

from petset.kinds.pod_spec import pod_containers
from petset.objects import meta, quantity
from petset.objects.meta import Object


def of(pod: Object) -> str:
    """Guaranteed: every container limits cpu and memory and requests the same; BestEffort: none says anything.

    Where the pod says something as a whole, that alone counts.
    """
    spec = meta.part(pod, "spec")
    guaranteed, anything = True, False
    for container in (spec,) if meta.part(spec, "resources") else pod_containers.own(spec):
        requests = meta.part(container, "resources", "requests")
        limits = meta.part(container, "resources", "limits")
        for name in ("cpu", "memory"):
            limit = str(limits.get(name, "0"))
            request = str(requests.get(name, limit))
            anything = anything or quantity.parse(request).value > 0 or quantity.parse(limit).value > 0
            if quantity.parse(limit).value <= 0 or quantity.compare(request, limit) != 0:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
