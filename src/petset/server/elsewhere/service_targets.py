"""Where a Service leads that this server itself asks: the proxy hands on requests there, webhooks are called there.

A port of the Service is looked up by its number, then one of the endpoints of its EndpointSlices that are ready at the
port of that name is chosen by chance: the slices one after another, those of the Service's own family of addresses
first, and each from anywhere in it, so that nobody goes through all to find one. A Service's own address is for pods
and for the machine: the nodes lead from there (node/network/services.py), and a cluster may have none.
Endpoints are not asked: they stop at 1,000 addresses, and nobody needs to write any.
Follows: "EndpointSlices" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from petset.base import tasks
from petset.kinds import endpoint_slice
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.live import LiveView
from petset.store import store as stores


class NoTarget(Exception):
    """Why there is nowhere to go, in upstream's words."""


class Targets:
    """Which EndpointSlices each Service has, of the store; known from the first question on."""

    def __init__(self, store: stores.Store):
        self._store = store
        self._view = LiveView(store, ENDPOINTSLICES.key(), self._told)
        self._services: dict[str, str] = {}  # By a slice's key: the namespace/name of its Service.
        self._keys: dict[str, dict[str, None]] = {}  # The other way round.

    def service(self, namespace: str, name: str) -> Object | None:
        found = self._store.get(SERVICES.key(namespace, name))
        return found.object if found is not None else None

    async def slices(self, namespace: str, name: str) -> list[Object]:
        """Those of a Service as they are now, in the order of their names."""
        await self._view.catch_up()
        self._view.refresh()
        found = [self._store.get(key) for key in sorted(self._keys.get(f"{namespace}/{name}", ()))]
        return [entry.object for entry in found if entry is not None]

    def _told(self, key: str, obj: Object | None) -> None:
        before, now = self._services.pop(key, ""), endpoint_slice.service_of(obj) if obj is not None else ""
        if before and before != now:
            keys = self._keys[before]
            del keys[key]
            if not keys:
                del self._keys[before]
        if now:
            self._services[key] = now
            self._keys.setdefault(now, {})[key] = None


def port_name(service: Object, number: int) -> str:
    """The name of a port; "" of the one that has none. Raises NoTarget."""
    for port in meta.parts(service, "spec", "ports"):
        if port.get("port") == number:
            return port.get("name") or ""
    raise NoTarget(f'no service port {number} found for service "{meta.name(service)}"')


def chosen(
    service: Object, slices: Sequence[Object], port: str, is_good: Callable[[Object], bool] | None = None
) -> tuple[str, int]:
    """(address, port's number) of one endpoint that is ready at the port of that name. Raises NoTarget.

    `is_good` is asked of endpoints, one after another, until one is.
    """
    rng = tasks.rng()
    family = next(iter(meta.texts(service, "spec", "ipFamilies")), "")
    mixed = rng.sample(slices, len(slices))
    for one in sorted(mixed, key=lambda each: each.get("addressType") != family):
        for number in _numbers(one, port):
            endpoints = meta.parts(one, "endpoints")
            first = rng.randrange(len(endpoints)) if endpoints else 0
            for place in range(first, first + len(endpoints)):
                endpoint = endpoints[place % len(endpoints)]
                if endpoint_slice.is_ready(endpoint) and (is_good is None or is_good(endpoint)):
                    return endpoint_slice.address_of(endpoint), number
    raise NoTarget(f'no endpoints available for service "{meta.name(service)}"')


def leads_anywhere(slices: Sequence[Object], port: str) -> bool:
    """Whether any endpoint is ready at the port of that name."""
    return any(
        _numbers(one, port) and any(endpoint_slice.is_ready(endpoint) for endpoint in meta.parts(one, "endpoints"))
        for one in slices
    )


def _numbers(one: Object, port: str) -> list[int]:
    """Of a slice's ports of that name."""
    return [
        given["port"] for given in meta.parts(one, "ports") if (given.get("name") or "") == port and given.get("port")
    ]
