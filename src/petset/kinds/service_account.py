"""ServiceAccount: who a pod is to the API (v1)."""

from __future__ import annotations

from typing import Any

from petset.objects import meta, names, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed, named


@listed
def validate(obj: Object) -> Errors:
    for index, reference in enumerate(meta.parts(obj, "imagePullSecrets")):
        yield from named(reference.get("name"), f"imagePullSecrets[{index}].name", names.subdomain)


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), len(meta.parts(obj, "secrets")), tables.age(obj, now)]


SERVICEACCOUNTS = Kind(
    "",
    "v1",
    "serviceaccounts",
    "ServiceAccount",
    short_names=("sa",),
    subresources=("token",),
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Secrets, Age", "Secrets"), cells),
)

KINDS = (SERVICEACCOUNTS,)
