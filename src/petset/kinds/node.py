"""Node."""

from __future__ import annotations

from petset.kinds import defaults, validation_core
from petset.objects.registry import STATUS, Kind

NODES = Kind(
    "",
    "v1",
    "nodes",
    "Node",
    False,
    short_names=("no",),
    subresources=STATUS,
    default=defaults.node,
    validate=validation_core.node,
    validate_update=validation_core.node_update,
)

KINDS = (NODES,)
