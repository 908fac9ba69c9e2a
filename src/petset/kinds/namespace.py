"""The namespaces every cluster has: made at its start, never deleted."""

from __future__ import annotations

from petset.kinds import defaults, preparation, validation_core
from petset.objects.registry import ALL_VERBS, Kind

DEFAULT, NODE_LEASES, PUBLIC, SYSTEM = "default", "kube-node-lease", "kube-public", "kube-system"
OF_EVERY_CLUSTER = (DEFAULT, NODE_LEASES, PUBLIC, SYSTEM)

NAMESPACES = Kind(
    "",
    "v1",
    "namespaces",
    "Namespace",
    False,
    short_names=("ns",),
    subresources=("finalize", "status"),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    default=defaults.namespace,
    prepare=preparation.status_of_new({"phase": "Active"}),
    validate=validation_core.namespace,
)

KINDS = (NAMESPACES,)
