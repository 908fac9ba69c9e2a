"""Pod: containers that share a place, on one node, until they have ended (v1).

What a PodSpec is, wherever it stands, is in pod_spec/; here is what holds for a pod itself: it begins Pending in its
class of service, its spec is fixed but for a few fields, and nodeName is set once, by the binding.
"""

from __future__ import annotations

from typing import Any

from petset.kinds import pod_summary, quality_of_service
from petset.kinds.pod_spec import ephemeral, filled, gates, label_keys, resize, validation
from petset.objects import encoding, meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import within
from petset.objects.meta import Object
from petset.objects.registry import Kind, Part
from petset.objects.validation import POSITIVE, Errors, listed

GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def prepare(new: Object, old: Object | None) -> Object:
    """A new pod is Pending, in its class of service, which no report takes from it; gates are why it has no node."""
    if old is not None:
        quality = meta.get(old, "status", "qosClass")
        if not quality or meta.get(new, "status", "qosClass"):
            return new
        return meta.changed(new, ("status", "qosClass"), quality)
    gated = [GATED] if meta.get(new, "spec", "schedulingGates") else []
    status = {"phase": "Pending", "qosClass": quality_of_service.of(new), **({"conditions": gated} if gated else {})}
    return {**label_keys.merged(new), "status": status}


@listed
def validate_new(obj: Object) -> Errors:
    if meta.get(obj, "spec", "ephemeralContainers"):
        yield FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")


@listed
def validate(obj: Object) -> Errors:
    given = meta.part(obj, "spec")
    yield from validation.spec(given, "spec")
    if given.get("nodeName") and (wrong := names.subdomain(given["nodeName"])):
        yield FieldError.invalid("spec.nodeName", given["nodeName"], wrong)
    if given.get("nodeName") and given.get("schedulingGates"):
        yield FieldError.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
    "`spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations), "
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _addresses(status: Object) -> Errors:
    """Services and DNS hand these on; whoever may write one pod's status must not spoil those of others."""
    found = [(f"status.{field}", status.get(field)) for field in ("hostIP", "podIP")]
    for field in ("hostIPs", "podIPs"):
        found += [(f"status.{field}[{index}].ip", one.get("ip")) for index, one in enumerate(meta.parts(status, field))]
    for path, address in found:
        if address and (wrong := names.ip(address)):
            yield FieldError.invalid(path, address, wrong)


@listed
def validate_status(new: Object, old: Object) -> Errors:
    status = meta.part(new, "status")
    if status != old.get("status"):
        yield from _addresses(status)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from validate_status(new, old)
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
    if wanted == given:
        return
    for field in ("containers", "initContainers"):
        if len(meta.parts(wanted, field)) != len(meta.parts(given, field)):
            yield FieldError.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    yield from _deadline(wanted.get("activeDeadlineSeconds"), given.get("activeDeadlineSeconds"))
    yield from gates.update(wanted, given)
    fixed = sorted(
        key for key in {**wanted, **given} if wanted.get(key) != given.get(key) and not _may(key, wanted, given)
    )
    if fixed:
        fields = ", ".join(f"spec.{key}" for key in fixed)
        yield FieldError.forbidden("spec", f"{_CHANGEABLE}; this update changes {fields}")


def _may(field: str, wanted: Object, given: Object) -> bool:
    """That a changed field of a pod's spec changes only as it may."""
    new, old = wanted.get(field), given.get(field)
    match field:
        case "containers" | "initContainers":
            return [_but_image(container) for container in new or ()] == [
                _but_image(container) for container in old or ()
            ]
        case "tolerations":
            kept = dict.fromkeys(map(_tolerated, new or ()))  # For how many seconds may change.
            return all(_tolerated(toleration) in kept for toleration in old or ())
        case "terminationGracePeriodSeconds":
            return old is not None and old < 0 and new == 1
        case "nodeName":
            return not old
        case "activeDeadlineSeconds" | "schedulingGates":
            return True  # They have checks of their own.
        case _:
            return gates.may_change(field, wanted, given)


def _but_image(container: Object) -> Object:
    return {key: value for key, value in container.items() if key != "image"}


def _tolerated(toleration: Object) -> bytes:
    return encoding.dumps_sorted({key: value for key, value in toleration.items() if key != "tolerationSeconds"})


def _deadline(new: int | None, old: int | None) -> Errors:
    path = "spec.activeDeadlineSeconds"
    if new == old:
        return
    if new is None:
        yield FieldError.invalid(path, new, "must not update from a positive integer to nil value")
    elif new < 0 or new == 0:
        yield FieldError.invalid(path, new, POSITIVE)
    elif old is not None and new > old:
        yield FieldError.invalid(path, new, f"must be less than or equal to previous value: {old}")


def cells(obj: Object, now: float) -> list[Any]:
    counted, status = pod_summary.summary(obj), meta.part(obj, "status")
    restarts: str | int = counted.restarts
    if counted.restarts and counted.last_restart:
        restarts = f"{counted.restarts} ({tables.since(counted.last_restart, now)} ago)"
    addresses = status.get("podIPs") or [{"ip": status.get("podIP") or ""}]
    return [
        tables.name(obj),
        f"{counted.ready}/{counted.total}",
        counted.status,
        str(restarts),
        tables.age(obj, now),
        addresses[0].get("ip") or "<none>",
        meta.get(obj, "spec", "nodeName", default="") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        pod_summary.readiness_gates(obj),
    ]


def defaults(obj: Object) -> Object:
    return within(obj, "spec", filled.pod_spec)


PODS = Kind(
    "",
    "v1",
    "pods",
    "Pod",
    short_names=("po",),
    categories=("all",),
    subresources=(
        *("attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy"),
        *("resize", "status"),
    ),
    status_keeps=("ownerReferences",),
    has_generation=True,
    default=defaults,
    prepare=prepare,
    validate_new=validate_new,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    parts={
        "ephemeralcontainers": Part(("spec", "ephemeralContainers"), ephemeral.validate_update),
        "resize": Part(("spec",), resize.validate_update, resize.carried),
    },
    fields={
        **selectors.fields(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
        "spec.hostNetwork": selectors.flag("spec.hostNetwork"),
    },
    printer=tables.Printer(
        tables.columns("Name, Ready, Status, Restarts, Age, +IP, +Node, +Nominated Node, +Readiness Gates"), cells
    ),
)

KINDS = (PODS,)
