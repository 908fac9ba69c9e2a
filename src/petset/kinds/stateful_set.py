"""StatefulSet."""

from __future__ import annotations

from petset.kinds import defaults, preparation, validation_apps
from petset.objects.registry import Kind

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
