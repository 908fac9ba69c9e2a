"""The API server of one group version beside a cluster that has all the others (an extension, or aggregated, server).

It keeps PetSets in a store of its own and answers for them as the server of a whole cluster does, by the same parts;
who asks and whether he may is the cluster's to say. What a cluster has beside its kinds (streams, nodes, reviews, the
dashboard) is not here. Discovery, OpenAPI and health are answered out of this process's memory, whatever the cluster
does: the cluster's own discovery, and each deletion of a namespace, waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from petset.base import telemetry
from petset.client.client import Client
from petset.objects.registry import Catalog, Kinds
from petset.server import api, backends, flow, local, rest, scales, watch, writes
from petset.server.access import auth
from petset.server.admission import admission
from petset.server.admission.asking import Others
from petset.server.admission.namespaces.quotas import Quotas
from petset.server.delegated.authentication import Authenticator
from petset.server.delegated.authorization import Authorizer
from petset.server.delegated.surroundings import Surroundings
from petset.server.elsewhere import service_targets
from petset.server.owner_versions import OwnerVersions
from petset.server.routes import Call, Path, Route
from petset.store import store as stores
from petset.wire import http

_MAKING = (writes.CREATE, writes.PATCH)  # What may make an object: server-side apply does.


@dataclass(frozen=True, slots=True)
class Options:
    metrics: telemetry.Telemetry
    checks: Mapping[str, Callable[[], str]]  # /readyz, /healthz: name -> "" or why it is not ready.


class ExtensionApi(api.Api):
    authenticator: Authenticator

    def __init__(
        self, store: stores.Store, kinds: Catalog, client: Client, surroundings: Surroundings, options: Options
    ):
        """`client` asks the cluster."""
        around, metrics = surroundings.store, options.metrics
        metrics.source(lambda: local.stored(store, kinds))
        rights = Authorizer(client, metrics)
        nobodys = auth.Authorizer(around)  # For what a cluster's own policies ask; here there are none.
        others = Others(around, kinds, nobodys, metrics, service_targets.Targets(around))
        admit = admission.Admission(around, nobodys)
        self.rest = rest.Rest(store, admit, others, Quotas(around), OwnerVersions(kinds), rights)
        self.watches = watch.Watches(store, kinds, metrics)
        kept = backends.LocalKinds(
            backends.verbs(self.rest, self.watches),
            {**backends.parts_of(self.rest, "status"), **backends.scale(scales.Scales(self.rest))},
            {},
        )
        paths = backends.LocalPaths(None, metrics, options.checks)
        table = backends.Backends(_AfterNamespaces(kept, surroundings), paths)
        super().__init__(kinds, api.Parts(Authenticator(client, metrics), rights, flow.Flow(around, metrics), table))


class _AfterNamespaces:
    """The kinds, once it is known whether the namespace is there that something is to be made in."""

    def __init__(self, kinds: backends.Backend, surroundings: Surroundings):
        self._kinds, self._surroundings = kinds, surroundings

    def route(self, path: Path, kinds: Kinds) -> Route:
        return self._kinds.route(path, kinds)

    async def answer(self, call: Call) -> http.Response:
        if call.verb in _MAKING and call.route.namespace and not call.route.subresource:
            await self._surroundings.catch_up(call.route.namespace)
        return await self._kinds.answer(call)
