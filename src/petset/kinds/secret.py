"""Secret."""

from __future__ import annotations

from petset.kinds import defaults, validation_core
from petset.objects.registry import Kind

SECRETS = Kind(
    "",
    "v1",
    "secrets",
    "Secret",
    default=defaults.secret,
    validate=validation_core.secret,
    validate_update=validation_core.secret_update,
)

KINDS = (SECRETS,)
