"""What the kernel remembers of connections, where it leads to somebody who is gone. Blocks; in a thread of its own.

A datagram has no end, so that the kernel would send a client's next one where it sent the last, for as long as the
client goes on. Follows: nf_conntrack's netlink interface (CTA_FILTER, Linux 5.8), which finds the entries of one
address without looking at all.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from petset.node.network import bridge
from petset.node.network.services import Way


def forget(ways: Iterable[Way]) -> int:
    """Remove the entries of these ways of UDP; how many there were. Raises OSError, or what pyroute2 raises."""
    module, found = _netlink(), 0
    with module.NFCTSocket() as netlink:
        for way in ways:
            asked = {"daddr": way.address} if way.address else {}
            filtered = module.NFCTAttrTuple(proto=socket.IPPROTO_UDP, dport=way.port, **asked)
            for entry in list(netlink.dump(tuple_orig=filtered)):
                reply = _tuple(module, entry, "CTA_TUPLE_REPLY")
                if reply.saddr == way.target:
                    netlink.entry("del", tuple_orig=_tuple(module, entry, "CTA_TUPLE_ORIG"))
                    found += 1
    return found


def _tuple(module: Any, entry: Any, which: str) -> Any:
    return module.NFCTAttrTuple.from_netlink(socket.AF_INET, entry.get_attr(which))


def _netlink() -> Any:
    bridge.enter_pyroute2()
    from pyroute2.netlink.nfnetlink import nfctsocket  # pyright: ignore[reportMissingTypeStubs]  # It has none.

    return nfctsocket
