"""Networks as ranges of addresses: nftables refuses sets whose elements overlap, so that they are joined here. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from petset.objects import meta
from petset.objects.meta import Object


def ranges(blocks: Iterable[Object]) -> list[str]:
    """The addresses of ipBlocks, but for their exceptions: "first-last", in order, none of them twice. IPv4 alone."""
    found: list[tuple[int, int]] = []
    for block in blocks:
        if ":" in block["cidr"]:
            continue
        left = [_bounds(block["cidr"])]
        for one in meta.texts(block, "except"):
            first, last = _bounds(one)
            left = [
                part
                for begin, end in left
                for part in ((begin, min(end, first - 1)), (max(begin, last + 1), end))
                if part[0] <= part[1]
            ]
        found += left
    text = ipaddress.IPv4Address
    return [f"{text(first)}-{text(last)}" if last > first else str(text(first)) for first, last in joined(found)]


def _bounds(cidr: str) -> tuple[int, int]:
    network = ipaddress.IPv4Network(cidr, strict=False)
    return int(network.network_address), int(network.broadcast_address)


def joined(given: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers in as few ranges as there can be, in order."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(given):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found
