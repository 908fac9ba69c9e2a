"""What a new pod is given by the classes that it names: its priority, and its runtime's overhead and nodes.

A pod that names no PriorityClass has the default one's priority, else 0; one class may be the default. A pod that names
a RuntimeClass asks for what the class costs (overhead) and goes where the class is (scheduling); one of a class whose
handler petset's nodes do not have is refused: who asks for a sandbox of its kind must not get another one silently.
"""

from __future__ import annotations

from petset.kinds import priority_class as classes
from petset.kinds.priority_class import PRIORITYCLASSES
from petset.kinds.runtime_class import RUNTIMECLASSES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server.admission.pod_admission import Context

GIVEN = ("priority", "preemptionPolicy")  # By the class of a pod, once.


def one_default_priority(context: Context, obj: Object, old: Object | None) -> Object:
    """A second class that is marked as the default is refused."""
    if not obj.get("globalDefault"):
        return obj
    for class_ in context.all(PRIORITYCLASSES):
        if class_.get("globalDefault") and meta.name(class_) != meta.name(obj):
            why = f"PriorityClass {meta.name(class_)} is already marked as default. Only one default can exist"
            raise errors.forbidden("priorityclasses", meta.name(obj), why, PRIORITYCLASSES.group)
    return obj


def priority(context: Context, pod: Object, old: Object | None) -> Object:
    """A new pod's; a written one that does not say keeps what it has, and validation refuses another."""
    spec = meta.part(pod, "spec")
    if old is not None:
        return {**pod, "spec": {**_has(old), **spec}} if any(spec.get(name) is None for name in GIVEN) else pod
    name: str = spec.get("priorityClassName") or ""
    class_ = _priority_class(context, pod, name)
    value = class_.get("value", 0)
    if spec.get("priority") not in (None, value):
        raise errors.forbidden(
            "pods",
            meta.name(pod),
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission "
            f"controller computed {value} from the given PriorityClass name",
        )
    named = {"priorityClassName": meta.name(class_)} if "metadata" in class_ else {}
    policy: str = spec.get("preemptionPolicy") or class_.get("preemptionPolicy") or "PreemptLowerPriority"
    if class_.get("preemptionPolicy") not in (None, policy):
        raise errors.forbidden(
            "pods",
            meta.name(pod),
            f"the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; priority admission "
            f"controller computed {class_['preemptionPolicy']} from the given PriorityClass name",
        )
    return {**pod, "spec": {**spec, **named, "priority": value, "preemptionPolicy": policy}}


def _has(old: Object) -> Object:
    spec = meta.part(old, "spec")
    return {name: spec[name] for name in GIVEN if name in spec}


def _priority_class(context: Context, pod: Object, name: str) -> Object:
    """The class that counts for a pod; an empty one where there is none to name. Raises ApiError 403."""
    if not name:
        return classes.default_of(context.all(PRIORITYCLASSES)) or {}
    if (found := context.find(PRIORITYCLASSES, name)) is not None:
        return found
    if name in classes.OF_EVERY_CLUSTER:  # Somebody has deleted it; the next start brings it back.
        return {"value": classes.OF_EVERY_CLUSTER[name]}
    raise errors.forbidden("pods", meta.name(pod), f"no PriorityClass with name {name} was found")


def runtime_class(context: Context, pod: Object, old: Object | None) -> Object:
    spec = meta.part(pod, "spec")
    name = spec.get("runtimeClassName")
    if not name:
        if spec.get("overhead"):
            raise _rejected(pod, "Pod Overhead set without corresponding RuntimeClass defined Overhead")
        return pod
    class_ = context.find(RUNTIMECLASSES, name)
    if class_ is None:
        raise _rejected(pod, f'RuntimeClass "{name}" not found')
    overhead = meta.part(class_, "overhead").get("podFixed")
    if spec.get("overhead") and spec["overhead"] != overhead:
        raise _rejected(pod, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    if overhead:
        spec = {**spec, "overhead": overhead}
    return {**pod, "spec": _scheduled(pod, spec, meta.part(class_, "scheduling"))}


def _scheduled(pod: Object, spec: Object, scheduling: Object) -> Object:
    """The pod's spec, for the nodes that the class is on. Raises ApiError 403 when the pod is for others."""
    where, own = meta.part(scheduling, "nodeSelector"), meta.part(spec, "nodeSelector")
    for key, value in where.items():
        if own.get(key, value) != value:
            why = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
            raise _rejected(pod, f"{why}pod.spec.nodeSelector[{key}] = {own[key]}")
    if where:
        spec = {**spec, "nodeSelector": {**own, **where}}
    tolerated, present = meta.parts(scheduling, "tolerations"), list(meta.parts(spec, "tolerations"))
    added = [one for one in tolerated if one not in present]
    return {**spec, "tolerations": [*present, *added]} if added else spec


def _rejected(pod: Object, why: str) -> errors.ApiError:
    return errors.forbidden("pods", meta.name(pod), f"pod rejected: {why}")
