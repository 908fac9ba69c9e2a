"""Lease: who holds something, and until when; a node says with one that it lives (coordination.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from petset.objects import meta, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import POSITIVE, Errors, at_least, listed


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from at_least(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds", 1)
    yield from at_least(spec.get("leaseTransitions"), "spec.leaseTransitions")
    if spec.get("leaseDurationSeconds") == 0:
        yield FieldError.invalid("spec.leaseDurationSeconds", 0, POSITIVE)


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "spec", "holderIdentity", default=""), tables.age(obj, now)]


LEASES = Kind(
    "coordination.k8s.io",
    "v1",
    "leases",
    "Lease",
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Holder, Age"), cells),
)

KINDS = (LEASES,)
