"""Event."""

from __future__ import annotations

from petset.kinds import validation_core
from petset.objects.registry import Kind

EVENTS = Kind(
    "",
    "v1",
    "events",
    "Event",
    short_names=("ev",),
    validate=validation_core.event,
)

KINDS = (EVENTS,)
