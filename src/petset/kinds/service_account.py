"""ServiceAccount."""

from __future__ import annotations

from petset.kinds import validation_core
from petset.objects.registry import Kind

SERVICEACCOUNTS = Kind(
    "",
    "v1",
    "serviceaccounts",
    "ServiceAccount",
    short_names=("sa",),
    subresources=("token",),
    validate=validation_core.service_account,
)

KINDS = (SERVICEACCOUNTS,)
