"""Where a Service leads that this server itself asks: the proxy hands on requests there, webhooks are called there.

A port of the Service is looked up by its number, the ready addresses behind it in the Service's Endpoints by the port's
name, and one of them is chosen by chance. A Service's own address is for pods and for the machine: the nodes lead from
there (node/network/services.py), and a cluster may have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from petset.base import tasks
from petset.objects import meta
from petset.objects.meta import Object

T = TypeVar("T")


class NoTarget(Exception):
    """Why there is nowhere to go, in upstream's words."""


def port_name(service: Object, number: int) -> str:
    """The name of a port; "" of the one that has none. Raises NoTarget."""
    for port in meta.parts(service, "spec", "ports"):
        if port.get("port") == number:
            return port.get("name") or ""
    raise NoTarget(f'no service port {number} found for service "{meta.name(service)}"')


def ready(endpoints: Object | None, port: str) -> list[tuple[Object, int]]:
    """(an address as the Endpoints have it, the number there) of all that are ready at the port of that name."""
    return [
        (address, one["port"])
        for subset in meta.parts(endpoints or {}, "subsets")
        for one in meta.parts(subset, "ports")
        if (one.get("name") or "") == port
        for address in meta.parts(subset, "addresses")
    ]


def chosen(targets: Sequence[T], service: str) -> T:
    """One of them. Raises NoTarget."""
    if not targets:
        raise NoTarget(f'no endpoints available for service "{service}"')
    return tasks.rng().choice(targets)
