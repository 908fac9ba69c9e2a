"""(i) One change among 1,000 Services: from the object to the rules in force, in the kernel of a namespace of its own.

By hand: `nft -f -` with a script of one element, which changes as little as can be. What is more is ours: the part of
the changed Service made anew, its chain, and the elements that differ.
"""

from __future__ import annotations

import time

from bench import instance
from petset.base.networks import ClusterPlan, NodePlan
from petset.node import linux
from petset.node.network import nftables, ruleset, services
from petset.objects.meta import Object

SERVICES = 1_000
ENDPOINTS = 3
CHANGES = 30


def main() -> None:
    instance.heading()
    plan = ClusterPlan("beac40", "10.100.0.0/20")
    place = services.Place(plan, {"node": NodePlan(plan, "10.101.0.0/22")})
    with linux.in_namespaces(("net",)):
        table = services.table(place)
        for number in range(SERVICES):
            table.put(f"default/s{number}", _part(number, ENDPOINTS, place))
        began = time.perf_counter()
        _apply(table.whole())
        whole = time.perf_counter() - began
        table.done()
        ours, by_hand = 0.0, 0.0
        for change in range(CHANGES):
            began = time.perf_counter()
            table.put(f"default/s{change}", _part(change, ENDPOINTS - 1, place))
            _apply(table.changes())
            table.done()
            ours += time.perf_counter() - began
            began = time.perf_counter()
            _apply(f"add element ip {table.name} refused {{ 192.0.2.1 . tcp . {change + 1} }}\n")
            by_hand += time.perf_counter() - began
    each, least = ours / CHANGES * 1e3, by_hand / CHANGES * 1e3
    instance.row(f"one change among {SERVICES} Services, ms", f"{each:.1f}", f"{least:.1f}", each / least)
    instance.row(f"all {SERVICES} Services at a start, ms", f"{whole * 1e3:.0f}", f"{least:.1f}", whole * 1e3 / least)


def _apply(script: str) -> None:
    why = nftables.apply(script)
    assert not why, why


def _part(number: int, count: int, place: services.Place) -> ruleset.Part:
    address = f"10.100.{number // 250}.{number % 250 + 1}"
    metadata = {"name": f"s{number}", "namespace": "default"}
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80}]}
    endpoints: list[Object] = [{"addresses": [f"10.101.{one}.{number % 250 + 2}"]} for one in range(count)]
    slice_: Object = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "", "port": 8080}]}
    return services.part({"metadata": metadata, "spec": spec}, [slice_], place)
