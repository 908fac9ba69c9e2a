"""StatefulSet."""

from __future__ import annotations

import re

from petset.kinds import defaults, preparation, validation_apps
from petset.objects.registry import Kind

_PET_NAME = re.compile(r"(.+)-(0|[1-9][0-9]{0,9})")


def parse_pet_name(pod_name: str) -> tuple[str, int]:
    """(set's name, ordinal) of a pet's name; ("", -1) for any other name."""
    match = _PET_NAME.fullmatch(pod_name)
    return (match[1], int(match[2])) if match else ("", -1)


STATEFULSETS = Kind(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults.stateful_set,
    prepare=preparation.status_of_new({"replicas": 0, "availableReplicas": 0}),
    validate=validation_apps.stateful_set,
    validate_update=validation_apps.stateful_set_update,
)

KINDS = (STATEFULSETS,)
