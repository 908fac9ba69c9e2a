"""Endpoints shared out among zones by their CPUs: the annotation service.kubernetes.io/topology-mode: Auto.

Each ready endpoint is hinted for the zone it is in. A zone that has more than its part, by the CPUs of its nodes, lends
the surplus to zones that have less (`hints`, pure), so that none is overloaded by what its own clients ask. Where that
cannot be fair, with few endpoints or with nodes that say too little of themselves, nobody has hints, and everybody is
led to all. `Shares` are the parts, and follow the nodes: those that are ready and run pods of everybody.

Follows: KEP-2433, "Topology Aware Routing" of the Kubernetes documentation. What is lent is decided anew each time from
all that is so, in the order of addresses: which of a zone's endpoints it is may differ from upstream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from petset.base import well_known
from petset.client.informer import NAMESPACE_INDEX
from petset.client.views import View
from petset.kinds.node import NODES
from petset.objects import meta, quantity
from petset.objects.meta import Object

OVERLOAD = 0.2  # A zone may be asked by so much more than its part would be.
ENABLED, DISABLED = "TopologyAwareHintsEnabled", "TopologyAwareHintsDisabled"

Key = TypeVar("Key")
Part = tuple[str, int]  # A node's zone and its thousandths of CPUs; what of both it does not tell is "" or 0.


class NoHints(Exception):
    """Why endpoints cannot be shared out."""


def part_of(node: Object) -> Part | None:
    """None of a node that does not count."""
    if any(label in meta.labels(node) for label in well_known.CONTROL_PLANE_LABELS):
        return None
    if not meta.is_condition_true(node, "Ready"):
        return None
    cpu = meta.get(node, "status", "allocatable", "cpu", default="0")
    return meta.labels(node).get(well_known.ZONE_LABEL, ""), quantity.to_milli(str(cpu))


class Shares:
    """What of all CPUs each zone has."""

    def __init__(self, view: View):
        self._parts: dict[str, Part] = {}  # By the node's name.
        self._stop = view.follow(NODES, NAMESPACE_INDEX, "", self._changed)

    def close(self) -> None:
        self._stop()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._parts.pop(meta.name(old), None)
        if new is not None and (part := part_of(new)) is not None:
            self._parts[meta.name(new)] = part

    def by_zone(self) -> dict[str, float]:
        """Raises NoHints."""
        found: dict[str, int] = {}
        for name, (zone, cpu) in sorted(self._parts.items()):
            if not zone or not cpu:
                raise NoHints(f"node {name} tells no {'CPUs' if zone else 'zone'}")
            found[zone] = found.get(zone, 0) + cpu
        if len(found) < 2:
            raise NoHints(f"the nodes that are ready are in {len(found)} zones: nothing is to be shared out")
        total = sum(found.values())
        return {zone: cpu / total for zone, cpu in found.items()}


def hints(ready: Sequence[tuple[Key, str]], shares: Mapping[str, float]) -> dict[Key, str]:
    """For which zone each endpoint is, of those that are ready, each with the zone that it is in. Raises NoHints."""
    count = len(ready)
    if len(shares) > count:
        raise NoHints(f"there are fewer endpoints ({count}) than zones ({len(shares)})")
    parts = {zone: share * count for zone, share in shares.items()}
    least = {zone: math.ceil(part / (1 + OVERLOAD)) for zone, part in parts.items()}
    if sum(least.values()) > count:
        raise NoHints(f"{count} endpoints are too few for no zone of {len(shares)} to be overloaded")
    if not all(zone for _, zone in ready):
        raise NoHints("an endpoint is in no zone")
    wanted = {zone: max(part, float(least[zone])) for zone, part in parts.items()}
    found = dict(ready)
    giving, receiving = _moves(wanted, list(found.values()))
    for key, zone in ready:
        if giving.get(zone) and receiving:
            giving[zone] -= 1
            found[key] = receiving.pop(0)
    return found


def _moves(wanted: Mapping[str, float], zones: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """How many endpoints each zone gives away, and the zones that have one for each: whole ones, and above a half."""
    had: dict[str, int] = {}
    for zone in zones:
        had[zone] = had.get(zone, 0) + 1
    surplus = {zone: had.get(zone, 0) - part for zone, part in sorted(wanted.items())}
    givers = {zone: more for zone, more in surplus.items() if more > 0}
    takers = {zone: -more for zone, more in surplus.items() if more < 0}
    giving: dict[str, int] = {}
    receiving: list[str] = []
    while givers and takers:
        giver, taker = max(givers, key=givers.__getitem__), max(takers, key=takers.__getitem__)
        most = givers[giver], takers[taker]
        if min(most) < 0.5 or max(most) < 1:
            break
        giving[giver] = giving.get(giver, 0) + 1
        receiving.append(taker)
        givers[giver] -= 1
        takers[taker] -= 1
    return giving, sorted(receiving)
