"""How far a pod is in its life: whether it has ended is asked here by whoever leaves ended pods out of account.

A pod that has ended runs nothing and never will again: it takes no room, no ports and no address, and nobody waits for
it. Follows: "Pod Lifecycle" of the Kubernetes documentation.
"""

from __future__ import annotations

from petset.objects import meta
from petset.objects.meta import Object

ENDED = ("Failed", "Succeeded")


def has_ended(pod: Object) -> bool:
    return meta.part(pod, "status").get("phase") in ENDED


def is_active(pod: Object) -> bool:
    """It has not ended, and stays: it counts among those that its owner wants."""
    return not has_ended(pod) and not meta.is_deleting(pod)
