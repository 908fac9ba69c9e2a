"""Lease."""

from __future__ import annotations

from petset.kinds import validation_core
from petset.objects.registry import Kind

LEASES = Kind(
    "coordination.k8s.io",
    "v1",
    "leases",
    "Lease",
    validate=validation_core.lease,
)

KINDS = (LEASES,)
