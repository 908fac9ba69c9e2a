"""Whether a pod may be on a node with a taint, and for how long: the scheduler and the eviction by taints ask here.

A toleration without a key is for every taint, without an effect for every effect. `tolerationSeconds` counts for
NoExecute only: how long a pod stays after the taint came.
Follows: "Taints and Tolerations" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.objects import meta
from petset.objects.meta import Object


def of(pod: Object) -> Sequence[Object]:
    return meta.parts(pod, "spec", "tolerations")


def matches(toleration: Object, taint: Object) -> bool:
    key, effect = toleration.get("key"), toleration.get("effect")
    if (effect and effect != taint.get("effect")) or (key and key != taint.get("key")):
        return False
    same_value = (toleration.get("value") or "") == (taint.get("value") or "")
    return toleration.get("operator") == "Exists" or (bool(key) and same_value)


def tolerates(pod: Object, taint: Object) -> bool:
    return any(matches(toleration, taint) for toleration in of(pod))


def seconds(pod: Object, taint: Object) -> float | None:
    """Seconds the pod may stay under a taint: 0 not at all, None for ever; the fewest of the tolerations that match."""
    matching = [toleration for toleration in of(pod) if matches(toleration, taint)]
    limits = [toleration.get("tolerationSeconds") for toleration in matching]
    limited = [limit for limit in limits if limit is not None]
    if matching and not limited:
        return None
    return float(max(0, min(limited, default=0)))
