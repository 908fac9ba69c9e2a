"""Namespace: where objects of one kind have different names; those that every cluster has are never deleted (v1)."""

from __future__ import annotations

from typing import Any

from petset.objects import filling, meta, names, selectors, tables
from petset.objects.filling import fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import ALL_VERBS, Kind
from petset.objects.validation import Errors, finalizer_names, listed

DEFAULT, NODE_LEASES, PUBLIC, SYSTEM = "default", "kube-node-lease", "kube-public", "kube-system"
OF_EVERY_CLUSTER = (DEFAULT, NODE_LEASES, PUBLIC, SYSTEM)


def defaults(obj: Object) -> Object:
    return within(obj, "status", lambda status: fill_empty(status, {"phase": "Active"}))


@listed
def validate(obj: Object) -> Errors:
    yield from finalizer_names(meta.texts(obj, "spec", "finalizers"), "spec.finalizers")


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "status", "phase", default=""), tables.age(obj, now)]


NAMESPACES = Kind(
    "",
    "v1",
    "namespaces",
    "Namespace",
    False,
    short_names=("ns",),
    subresources=("finalize", "status"),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    default=defaults,
    prepare=filling.status_of_new({"phase": "Active"}),
    validate=validate,
    name_rule=names.label,
    fields=selectors.fields("status.phase"),
    printer=tables.Printer(tables.columns("Name, Status, Age"), cells),
)

KINDS = (NAMESPACES,)
