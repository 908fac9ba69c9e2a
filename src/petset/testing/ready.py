"""When an object is as far as its user waits for: pure, from the object alone.

`condition(text)` is what `kubectl wait --for` takes: `condition=Ready`, `condition=Available=False`,
`jsonpath={.status.phase}=Running`, `delete`, `create`; a bare word is a condition's type. `ready`, which is meant when
nothing is said, is what `kubectl rollout status` and people mean: all pets of a set are ready and of its newest
template, a Job is complete, a claim is bound. Objects of which nothing is known to come are ready when they are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object

Check = Callable[[Object | None], bool]

READY = "ready"


def condition(text: str) -> Check:
    """Raises ValueError for what is none."""
    if text == READY:
        return is_ready
    if text in ("delete", "deleted"):
        return lambda obj: obj is None
    if text in ("create", "created"):
        return lambda obj: obj is not None
    if text.startswith("jsonpath="):
        return _at_path(text.removeprefix("jsonpath="))
    type_, _, status = text.removeprefix("condition=").partition("=")
    if not type_ or not type_.replace("-", "").replace("/", "").replace(".", "").isalnum():
        raise ValueError(
            f"cannot wait for {text!r}: it is no condition; say ready, Ready, condition=Ready=False or delete"
        )
    return lambda obj: obj is not None and _condition_is(obj, type_, status or "True")


def predicate(holds: Callable[[dict[str, Any]], Any]) -> Check:
    """What a caller says of an object that is there; a field that it has not got yet is one to wait for."""

    def check(obj: Object | None) -> bool:
        try:
            return obj is not None and bool(holds(dict(obj)))
        except (KeyError, IndexError):
            return False

    return check


def _condition_is(obj: Object, type_: str, status: str) -> bool:
    of_type = [one for one in meta.parts(obj, "status", "conditions") if str(one.get("type")).lower() == type_.lower()]
    return any(str(one.get("status", "")).lower() == status.lower() for one in of_type)


def _at_path(text: str) -> Check:
    from petset.objects import jsonpath

    template, separator, wanted = text.partition("}=")
    first = jsonpath.parse(template.strip("'{}"))

    def check(obj: Object | None) -> bool:
        found = first(obj) if obj is not None else None
        return found is not None and (not separator or _text(found) == wanted.strip("'"))

    return check


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_ready(obj: Object | None) -> bool:
    """Whether it has come to what its spec says."""
    if obj is None or meta.is_deleting(obj):
        return False
    observed = meta.get(obj, "status", "observedGeneration")
    if observed is not None and observed < meta.get(obj, "metadata", "generation", default=0):
        return False
    rule = RULES.get(str(obj.get("kind")))
    if rule is not None:
        return rule(obj)
    conditions = {str(one.get("type")): one.get("status") for one in meta.parts(obj, "status", "conditions")}
    told = [conditions[word] for word in ("Ready", "Available", "Established", "Complete") if word in conditions]
    return not told or told[0] == "True"


def is_settled(obj: Object) -> bool:
    """Whether it is ready, or has ended otherwise: nothing more is to be expected of it by itself."""
    has_failed = meta.get(obj, "status", "phase") == "Failed" or meta.is_condition_true(obj, "Failed")
    return obj.get("kind") not in RULES or is_ready(obj) or (has_failed and not meta.is_deleting(obj))


def _pod(pod: Object) -> bool:
    return meta.is_pod_ready(pod) or meta.get(pod, "status", "phase") == "Succeeded"


def _set(obj: Object) -> bool:
    """Of pets: as many as wanted are ready, and all that are to be are of the newest template."""
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    wanted = spec.get("replicas", 1)
    updating = meta.part(spec, "updateStrategy").get("type") != "OnDelete"
    first = meta.part(spec, "updateStrategy", "rollingUpdate").get("partition") or 0
    updated = status.get("updatedReplicas", 0) >= wanted - first or not updating
    return bool(status.get("observedGeneration") and status.get("readyReplicas", 0) == wanted and updated) and (
        status.get("replicas", 0) == wanted
    )


def _deployment(obj: Object) -> bool:
    wanted, status = meta.part(obj, "spec").get("replicas", 1), meta.part(obj, "status")
    numbers = [status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas")]
    return bool(status.get("observedGeneration")) and all(number == wanted for number in numbers)


def _replica_set(obj: Object) -> bool:
    wanted = meta.part(obj, "spec").get("replicas", 1)
    status = meta.part(obj, "status")
    return bool(status.get("observedGeneration")) and status.get("readyReplicas", 0) == wanted


def _daemon_set(obj: Object) -> bool:
    status = meta.part(obj, "status")
    wanted = status.get("desiredNumberScheduled", 0)
    return bool(status.get("observedGeneration")) and all(
        status.get(name, 0) == wanted for name in ("updatedNumberScheduled", "numberAvailable")
    )


def _job(obj: Object) -> bool:
    return meta.is_condition_true(obj, "Complete")


def _phase(*phases: str) -> Callable[[Object], bool]:
    return lambda obj: meta.get(obj, "status", "phase") in phases


RULES: dict[str, Callable[[Object], bool]] = {
    "Pod": _pod,
    "PetSet": _set,
    "StatefulSet": _set,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "ReplicationController": _replica_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "PersistentVolumeClaim": _phase("Bound"),
    "PersistentVolume": _phase("Available", "Bound"),
    "Namespace": _phase("Active"),
}
