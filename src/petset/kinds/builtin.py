"""The kinds this house has of itself: what every file beside this one says under KINDS, in the order of discovery.

A kind is a file: its row and everything the house knows of it. A new one need not be named here or anywhere. Files
stand here or in a folder for their group.
"""

from __future__ import annotations

import importlib
import pkgutil

from petset import kinds
from petset.objects.registry import Kind, Kinds

# The first groups in discovery, which is where kubectl looks a short name up first; others follow by name.
GROUPS = (
    "",
    "apps",
    "discovery.k8s.io",
    "batch",
    "autoscaling",
    "policy",
    "networking.k8s.io",
    "storage.k8s.io",
    "coordination.k8s.io",
    "rbac.authorization.k8s.io",
    "authorization.k8s.io",
    "authentication.k8s.io",
    "node.k8s.io",
    "scheduling.k8s.io",
)


def _found() -> list[Kind]:
    found: list[Kind] = []
    for module in pkgutil.walk_packages(kinds.__path__, f"{kinds.__name__}."):
        if module.name != __name__:
            found += getattr(importlib.import_module(module.name), "KINDS", ())
    return found


def _order(kind: Kind) -> tuple[int, str, bool, str, str]:
    place = GROUPS.index(kind.group) if kind.group in GROUPS else len(GROUPS)
    return place, kind.group, kind.version != "v1", kind.version, kind.plural


KINDS = Kinds(sorted(_found(), key=_order))
