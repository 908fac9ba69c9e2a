"""PetSets beside a cluster that has none: their API over any store, and the programs that live off the cluster's.

    extension = extension.Extension(store, client, believe=tls.believe)
    async with extension.running():
        ...                                          # `extension.handle` is served; the cluster's APIService names it.

The cluster says who asks and what he may, and has everything else that there is; it asks here for PetSets, in the name
of its users. No sockets are opened here. Invariants: the extension's API is built here and nowhere else; it answers
from the start, and is ready (`/readyz`) from when it knows the cluster until it is told to stop.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from petset import cluster
from petset.base import telemetry
from petset.client.client import Client
from petset.kinds import pet_set
from petset.objects.registry import Catalog, Kinds
from petset.server import health, meter
from petset.server.delegated import api, trust
from petset.server.delegated.surroundings import Surroundings
from petset.store import store as stores
from petset.wire import http


def controllers(
    namespace: str,
    replica: str,
    elects: bool = True,
    image_map: Sequence[str] = (),
    metrics: telemetry.Telemetry | None = None,
) -> cluster.Program:
    """The controller of PetSets, acting by the cluster's API: one of several replicas, of which a Lease elects one.

    Raises ValueError for an image map that is none.
    """
    from petset.client import election
    from petset.controllers import replica as replicas

    elected = election.Settings(replicas.LEASE, namespace, replica) if elects else None
    return cluster.pet_sets(replicas.settings(elected, image_map), metrics)


class Extension:
    """The API of PetSets over a store; what it knows of the cluster is kept in `running`."""

    def __init__(
        self,
        store: stores.Store,
        client: Client,
        metrics: telemetry.Telemetry | None = None,
        believe: Callable[[str], None] = lambda authorities_pem: None,
        checks: Mapping[str, Callable[[], str]] | None = None,
        log_requests: bool = False,
    ):
        """`client` asks the cluster; `believe` is told the authorities of whoever may connect, whenever they change."""
        self.store, self.kinds, self._believe = store, Catalog(Kinds(pet_set.KINDS)), believe
        self._stopping = False
        metrics = metrics or telemetry.Telemetry()
        self._surroundings = Surroundings(client, self._told)
        around = self._surroundings
        options = api.Options(
            metrics,
            {
                **(checks or {}),
                "cluster-authentication": lambda: around.trouble_with_authentication,
                "cluster-namespaces": lambda: around.trouble_with_namespaces,
                health.SHUTDOWN: lambda: "process is shutting down" if self._stopping else "",
            },
        )
        self.api = api.ExtensionApi(store, self.kinds, client, around, options)
        self.handle: http.Handler = meter.Meter(metrics, log_requests).counted(self.api.handle)

    def stop_soon(self) -> None:
        """Tell who asks /readyz that this is about to end; everything else is answered as before."""
        self._stopping = True

    @contextlib.asynccontextmanager
    async def running(self, *parts: cluster.Part) -> AsyncGenerator[None]:
        """What is known of the cluster is followed, and these parts run, until the block is left."""
        async with cluster.together(("what is around", self._surroundings.keep()), *parts):
            yield

    async def ready(self) -> None:
        """The cluster is known."""
        await self._surroundings.ready()

    def _told(self, found: trust.Trust) -> None:
        self.api.authenticator.certificates = trust.Certificates(found)
        self._believe(found.authorities_pem)
