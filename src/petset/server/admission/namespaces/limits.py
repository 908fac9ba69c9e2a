"""LimitRanges of a namespace: what a new pod's containers are given, and the bounds that pods and claims must keep.

The defaults come early, so that mutating webhooks and quotas see them; the bounds are looked at when nothing changes
the object any more. All ranges of a namespace count, in the order of their names: the first to say a default gives it.
Rules: kinds/limit_range.py. Follows the LimitRanger admission controller's documentation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from petset.kinds import limit_range
from petset.kinds.limit_range import LIMITRANGES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import pod_containers
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.writes import Write

COMPARED_MAX = 10_000  # Amounts in the ranges times containers in the pod: looked at within 20 ms.
TOLD_MAX = 100  # Of what is wrong with one object.


Judge = Callable[[], None]  # Raises ApiError.


class Context(Protocol):
    @property
    def write(self) -> Write: ...

    def within(self, resource: Kind, namespace: str) -> Sequence[Object]: ...


def defaults(context: Context, pod: Object, old: Object | None) -> Object:
    for one in _ranges(context, pod):
        pod = limit_range.filled(one, pod)
    return pod


def pod_within(context: Context, pod: Object, old: Object | None) -> Judge | None:
    if old is not None and context.write.subresource != "resize":
        return None
    ranges = _ranges(context, pod)
    wrong = (wrong for one in ranges for wrong in limit_range.violations(one, pod, old))
    return functools.partial(_require_none, PODS, pod, wrong) if ranges else None


def claim_within(context: Context, claim: Object, old: Object | None) -> Judge | None:
    if context.write.subresource:
        return None
    ranges = context.within(LIMITRANGES, meta.namespace(claim))
    wrong = (wrong for one in ranges for wrong in limit_range.claim_violations(one, claim, old))
    return functools.partial(_require_none, PERSISTENTVOLUMECLAIMS, claim, wrong) if ranges else None


def _ranges(context: Context, pod: Object) -> Sequence[Object]:
    """Raises ApiError 403 when there is too much to compare."""
    ranges = context.within(LIMITRANGES, meta.namespace(pod))
    if ranges:
        containers = len(pod_containers.own(meta.part(pod, "spec")))
        if containers * sum(map(limit_range.size, ranges)) > COMPARED_MAX:
            why = (
                f"the LimitRanges of its namespace and its {containers} containers are more than {COMPARED_MAX} amounts"
            )
            raise errors.forbidden(PODS.plural, meta.name(pod), f"{why} to compare; use fewer of either")
    return ranges


def _require_none(kind: Kind, obj: Object, wrong: Iterable[str]) -> None:
    """Raises ApiError 403."""
    told: dict[str, None] = {}
    for one in wrong:
        told[one] = None
        if len(told) == TOLD_MAX:
            break
    if told:
        why = ", ".join(told)
        raise errors.forbidden(kind.plural, meta.name(obj), f"[{why}]" if len(told) > 1 else why)
