"""Scheduling gates of a pod: they only go, and while there are any, where the pod may run can be narrowed.

Follows: "Pod Scheduling Readiness" of the Kubernetes documentation (KEP-3521).
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.kinds.pod_spec.placement import REQUIRED
from petset.objects import meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors

ONLY_MORE = "only additions are allowed (no mutations or deletions)"


def update(new: Object, old: Object) -> Errors:
    """Of the change from one spec to another."""
    kept = dict.fromkeys(gate.get("name") for gate in meta.parts(old, "schedulingGates"))
    for index, gate in enumerate(meta.parts(new, "schedulingGates")):
        if gate.get("name") not in kept:
            yield FieldError.forbidden(
                f"spec.schedulingGates[{index}]", "only deletion is allowed, but found new scheduling gate"
            )
    if kept:
        yield from _selector(meta.part(new, "nodeSelector"), meta.part(old, "nodeSelector"))
        yield from _affinity(meta.part(new, "affinity", "nodeAffinity"), meta.part(old, "affinity", "nodeAffinity"))


def may_change(field: str, new: Object, old: Object) -> bool:
    """Whether a field that is fixed otherwise may change, as far as `update` finds nothing wrong with it."""
    if not meta.parts(old, "schedulingGates"):
        return False
    return field == "nodeSelector" or (field == "affinity" and _others(new) == _others(old))


def _others(spec: Object) -> Object:
    """What of the affinity is not about nodes."""
    return {key: value for key, value in meta.part(spec, "affinity").items() if key != "nodeAffinity" and value}


def _selector(new: Object, old: Object) -> Errors:
    if not old.items() <= new.items():
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield FieldError.invalid("spec.nodeSelector", dict(new), why)


def _affinity(new: Object, old: Object) -> Errors:
    """Required terms are neither more nor fewer, and each asks for no less than before."""
    before, after = (meta.parts(one, REQUIRED, "nodeSelectorTerms") for one in (old, new))
    path = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    if before and len(before) != len(after):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield FieldError.invalid(path, list(after), why)
        return
    for index, (was, is_now) in enumerate(zip(before, after, strict=False)):
        if not all(_begins(is_now, was, field) for field in ("matchExpressions", "matchFields")) or (
            _is_empty(was) and not _is_empty(is_now)  # It means no node; with more it might mean one.
        ):
            yield FieldError.invalid(f"{path}[{index}]", dict(is_now), ONLY_MORE)


def _begins(new: Object, old: Object, field: str) -> bool:
    before: Sequence[Object] = meta.parts(old, field)
    return list(meta.parts(new, field)[: len(before)]) == list(before)


def _is_empty(term: Object) -> bool:
    return not meta.parts(term, "matchExpressions") and not meta.parts(term, "matchFields")
