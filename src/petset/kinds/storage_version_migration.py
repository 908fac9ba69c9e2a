"""StorageVersionMigration: that all objects of a kind be written again (storagemigration.k8s.io/v1).

petset keeps every object in one version and converts it as it is read, so that there is nothing to migrate: kept only.
"""

from __future__ import annotations

from petset.objects import filling, meta, names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, immutable, listed, named, optional

ENDS = ("Succeeded", "Failed")


@listed
def validate(obj: Object) -> Errors:
    resource = meta.part(obj, "spec", "resource")
    yield from named(resource.get("resource"), "spec.resource.resource", names.label_1035)
    yield from optional(resource.get("group"), "spec.resource.group", names.subdomain)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "spec")


@listed
def validate_status(new: Object, old: Object) -> Errors:
    """One of the two ends at most, which is never taken back."""
    path = "status.conditions"
    if all(meta.is_condition_true(new, end) for end in ENDS):
        yield FieldError.invalid(path, ", ".join(ENDS), "only one of both may be true")
    for end in ENDS:
        if meta.is_condition_true(old, end) and not meta.is_condition_true(new, end):
            yield FieldError.invalid(path, end, f"{end} cannot be set to false once it is true")
    if meta.get(old, "status", "resourceVersion"):
        yield from immutable(meta.part(new, "status"), meta.part(old, "status"), "status", "resourceVersion")


STORAGEVERSIONMIGRATIONS = Kind(
    "storagemigration.k8s.io",
    "v1",
    "storageversionmigrations",
    "StorageVersionMigration",
    False,
    subresources=STATUS,
    acted_on=False,
    prepare=filling.status_of_new({}),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
)

KINDS = (STORAGEVERSIONMIGRATIONS,)
