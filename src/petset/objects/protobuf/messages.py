"""The API's protobuf messages, as data: protobuf.json, generated from the API's Go types by scripts/protobuf-facts."""

from __future__ import annotations

from petset.objects import package_data

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
EPOCH_SECONDS = 62_135_596_800  # Between the first of January of the year 1, Go's zero time, and 1970.

Fields = dict[str, list[str]]  # By number: JSON name, shape, flags (i: inline, r: repeated, z: zero is said).

# The messages behind the shapes `schema-or-array`, `schema-or-bool` and `schema-or-strings`.
SCHEMA = "apiextensions.JSONSchemaProps"


def fields(message: str) -> Fields:
    return package_data.facts("protobuf.json")["messages"][message]


def of_kind(api_version: str, kind: str) -> str | None:
    """The message of a kind, None of one that has none."""
    kinds: dict[str, str] = package_data.facts("protobuf.json")["kinds"]
    return kinds.get(f"{api_version} {kind}") or (kinds["v1 DeleteOptions"] if kind == "DeleteOptions" else None)
