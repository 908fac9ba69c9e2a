"""PetSet."""

from __future__ import annotations

from petset.kinds import defaults, preparation, validation_apps
from petset.objects.registry import Kind

PETSETS = Kind(
    "apps",
    "v1alpha1",
    "petsets",
    "PetSet",
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults.pet_set,
    prepare=preparation.status_of_new({"replicas": 0}),
    validate=validation_apps.pet_set,
    validate_update=validation_apps.pet_set_update,
)

KINDS = (PETSETS,)
