"""CSIDriver, CSINode, CSIStorageCapacity: which drivers of storage there are, on which nodes, with how much room
(storage.k8s.io/v1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.objects import meta, names, quantity, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import (
    IMMUTABLE,
    NOT_NEGATIVE,
    Errors,
    at_least,
    immutable,
    listed,
    named,
    named_once,
    one_of,
)

NODE_ID_BYTES_MAX = 192
TOKEN_SECONDS_MIN, TOKEN_SECONDS_MAX = 600, 2**32


def driver_name(text: str) -> str:
    """What is wrong with a CSI driver's name, or ""."""
    if len(text) > names.LABEL_CHARACTERS_MAX:
        return f"must be no more than {names.LABEL_CHARACTERS_MAX} characters"
    return names.subdomain(text.lower())


# -- CSIDriver

_SPEC = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "requiresRepublish": False,
    "seLinuxMount": False,
}
_MODES = ("Ephemeral", "Persistent")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_FIXED = ("attachRequired", "volumeLifecycleModes")


def driver_defaults(obj: Object) -> Object:
    def spec(given: Object) -> Object:
        filled = {"fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]}
        return fill_empty(fill(given, _SPEC), filled)

    return within(obj, "spec", spec)


@listed
def validate_driver(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    for index, mode in enumerate(meta.texts(spec, "volumeLifecycleModes")):
        yield from one_of(mode, f"spec.volumeLifecycleModes[{index}]", _MODES)
    yield from one_of(spec.get("fsGroupPolicy"), "spec.fsGroupPolicy", _GROUP_POLICIES)
    seen: dict[str, None] = {}
    for index, asked in enumerate(meta.parts(spec, "tokenRequests")):
        where, audience, seconds = (
            f"spec.tokenRequests[{index}]",
            asked.get("audience") or "",
            asked.get("expirationSeconds"),
        )
        if audience in seen:
            yield FieldError.duplicate(f"{where}.audience", audience)
        seen[audience] = None
        if seconds is not None and seconds < TOKEN_SECONDS_MIN:
            why = "may not specify a duration less than 10 minutes"
            yield FieldError.invalid(f"{where}.expirationSeconds", seconds, why)
        elif seconds is not None and seconds > TOKEN_SECONDS_MAX:
            why = "may not specify a duration larger than 2^32 seconds"
            yield FieldError.invalid(f"{where}.expirationSeconds", seconds, why)


@listed
def validate_driver_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", *_FIXED)


def driver_cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    audiences = [one.get("audience", "") for one in meta.parts(spec, "tokenRequests")]
    return [
        tables.name(obj),
        bool(spec.get("attachRequired", True)),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tables.joined(audiences, "<unset>"),
        bool(spec.get("requiresRepublish")),
        tables.joined(meta.texts(spec, "volumeLifecycleModes")),
        tables.age(obj, now),
    ]


CSIDRIVERS = Kind(
    "storage.k8s.io",
    "v1",
    "csidrivers",
    "CSIDriver",
    False,
    acted_on=False,
    default=driver_defaults,
    validate=validate_driver,
    validate_update=validate_driver_update,
    name_rule=driver_name,
    printer=tables.Printer(
        tables.columns(
            "Name, AttachRequired, PodInfoOnMount, StorageCapacity, TokenRequests, RequiresRepublish, Modes, Age"
        ),
        driver_cells,
    ),
)

# -- CSINode


@listed
def validate_node(obj: Object) -> Errors:
    seen: dict[str, None] = {}
    for index, driver in enumerate(meta.parts(obj, "spec", "drivers")):
        where, name = f"spec.drivers[{index}]", driver.get("name") or ""
        yield from named_once(name, f"{where}.name", driver_name, seen)
        identity = driver.get("nodeID") or ""
        if not identity:
            yield FieldError.required(f"{where}.nodeID")
        elif len(identity) > NODE_ID_BYTES_MAX:
            yield FieldError.invalid(f"{where}.nodeID", identity, f"must be {NODE_ID_BYTES_MAX} characters or less")
        yield from at_least(meta.part(driver, "allocatable").get("count"), f"{where}.allocatable.count")
        yield from _keys(meta.texts(driver, "topologyKeys"), f"{where}.topologyKeys")


def _keys(keys: Sequence[str], path: str) -> Errors:
    seen: dict[str, None] = {}
    for index, key in enumerate(keys):
        yield from named_once(key, f"{path}[{index}]", names.qualified, seen)


@listed
def validate_node_update(new: Object, old: Object) -> Errors:
    """A driver that stays is where it was: nodeID and topologyKeys."""
    before = {one.get("name"): one for one in meta.parts(old, "spec", "drivers")}
    for index, driver in enumerate(meta.parts(new, "spec", "drivers")):
        known = before.get(driver.get("name"), driver)
        for field in ("nodeID", "topologyKeys"):
            if driver.get(field) != known.get(field):
                yield FieldError.invalid(f"spec.drivers[{index}].{field}", driver.get(field), IMMUTABLE)


def node_cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), len(meta.parts(obj, "spec", "drivers")), tables.age(obj, now)]


CSINODES = Kind(
    "storage.k8s.io",
    "v1",
    "csinodes",
    "CSINode",
    False,
    acted_on=False,
    validate=validate_node,
    validate_update=validate_node_update,
    printer=tables.Printer(tables.columns("Name, Drivers, Age", "Drivers"), node_cells),
)

# -- CSIStorageCapacity


@listed
def validate_capacity(obj: Object) -> Errors:
    yield from named(obj.get("storageClassName"), "storageClassName", names.subdomain)
    for field in ("capacity", "maximumVolumeSize"):
        if obj.get(field) is not None and quantity.parse(obj[field]).value < 0:
            yield FieldError.invalid(field, obj[field], NOT_NEGATIVE)


@listed
def validate_capacity_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "nodeTopology", "storageClassName")


CSISTORAGECAPACITIES = Kind(
    "storage.k8s.io",
    "v1",
    "csistoragecapacities",
    "CSIStorageCapacity",
    acted_on=False,
    validate=validate_capacity,
    validate_update=validate_capacity_update,
)

KINDS = (CSIDRIVERS, CSINODES, CSISTORAGECAPACITIES)
