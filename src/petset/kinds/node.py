"""Node: a machine that runs pods; what identifies it is set once (v1)."""

from __future__ import annotations

from typing import Any

from petset.base import well_known
from petset.kinds.pod_spec import placement
from petset.objects import meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed, one_of


def defaults(obj: Object) -> Object:
    def status(given: Object) -> Object:
        return fill_empty(given, {"allocatable": given["capacity"]}) if given.get("capacity") else given

    return fill(at(obj, "status", status), {"spec": {}})


@listed
def validate(obj: Object) -> Errors:
    seen: dict[tuple[str, str], None] = {}
    for index, taint in enumerate(meta.parts(obj, "spec", "taints")):
        where, key, effect = f"spec.taints[{index}]", taint.get("key") or "", taint.get("effect") or ""
        if wrong := names.qualified(key):
            yield FieldError.invalid(f"{where}.key", key, wrong)
        if wrong := names.label_value(taint.get("value") or ""):
            yield FieldError.invalid(f"{where}.value", taint["value"], wrong)
        yield from one_of(effect, f"{where}.effect", placement.EFFECTS)
        if (key, effect) in seen:
            yield FieldError.duplicate(where, dict(taint))
        seen[(key, effect)] = None


@listed
def validate_update(new: Object, old: Object) -> Errors:
    """What identifies a node is set once."""
    for field in ("podCIDR", "providerID"):
        before = meta.get(old, "spec", field, default="")
        if before and meta.get(new, "spec", field, default="") != before:
            yield FieldError.forbidden(f"spec.{field}", "node updates may not change it once it is set")


def cells(obj: Object, now: float) -> list[Any]:
    ready = meta.condition(obj, "Ready")
    status = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if meta.get(obj, "spec", "unschedulable"):
        status += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles: list[str] = []
    for key, value in sorted(meta.labels(obj).items()):
        if key.startswith(prefix) and len(key) > len(prefix):
            roles.append(key[len(prefix) :])
        elif key == well_known.ROLE_LABEL and value:
            roles.append(value)
    addresses = meta.parts(obj, "status", "addresses")
    info = meta.part(obj, "status", "nodeInfo")

    def address(kind: str) -> str:
        return next((entry.get("address", "") for entry in addresses if entry.get("type") == kind), "<none>")

    return [
        tables.name(obj),
        status,
        tables.joined(roles),
        tables.age(obj, now),
        info.get("kubeletVersion", ""),
        address("InternalIP"),
        address("ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


NODES = Kind(
    "",
    "v1",
    "nodes",
    "Node",
    False,
    short_names=("no",),
    subresources=("proxy", "status"),
    default=defaults,
    validate=validate,
    validate_update=validate_update,
    fields={"spec.unschedulable": selectors.flag("spec.unschedulable")},
    printer=tables.Printer(
        tables.columns(
            "Name, Status, Roles, Age, Version, +Internal-IP, +External-IP, +OS-Image, +Kernel-Version, "
            "+Container-Runtime"
        ),
        cells,
    ),
)

KINDS = (NODES,)
