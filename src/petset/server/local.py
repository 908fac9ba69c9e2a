"""The API server of a whole cluster: what its requests meet on their way, out of one store.

It says itself who asks (certificates, front proxies, tokens, sessions of the dashboard) and whether he may (RBAC, the
node authorizer), keeps every kind, and has what a cluster has beside them: streams into pods, nodes, reviews, figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from petset.base import pki, telemetry
from petset.objects.registry import APPROVAL, Catalog
from petset.server import api, backends, components, flow, rest, scales, subresources, watch, why
from petset.server.access import auth, reviews, tokens
from petset.server.admission import admission
from petset.server.admission.asking import Others
from petset.server.admission.namespaces.quotas import Quotas
from petset.server.dashboard import backend as dashboard
from petset.server.dashboard import sessions
from petset.server.elsewhere import service_targets
from petset.server.measured import figures
from petset.server.owner_versions import OwnerVersions
from petset.server.pods import nodes, proxy, streams
from petset.store import store as stores
from petset.wire import streaming

if TYPE_CHECKING:
    from petset.server.audit import log as audit_log


@dataclass(frozen=True, slots=True)
class Options:
    token_key: pki.SigningKey  # Signs service-account tokens.
    former_token_secret: bytes = b""  # Signed them before; those that have not expired stay good.
    issuer: str = tokens.DEFAULT_ISSUER
    metrics: telemetry.Telemetry | None = None  # What is seen at /metrics.
    checks: Mapping[str, Callable[[], str]] | None = None  # /readyz, /healthz: name -> "" or why it is not ready.
    components: Mapping[str, Callable[[], str]] | None = None  # Name -> "" or why that part is not well.
    audit: audit_log.Settings | None = None  # What is told of requests, and where.


class LocalApi(api.Api):
    authorizer: auth.Authorizer

    def __init__(
        self,
        store: stores.Store,
        options: Options,
        streams_of: streaming.StreamsOf,
        kinds: Catalog,
        servers_of: streaming.ServersOf,
    ):
        self.tokens = tokens.Tokens(options.token_key, options.issuer, options.former_token_secret)
        self.sessions = sessions.Sessions()
        authenticator = auth.Authenticator(store, self.tokens, self.sessions.user_of)
        authorizer = auth.Authorizer(store)
        audit = _audit(options.audit, authorizer)
        metrics = options.metrics or telemetry.Telemetry()  # Whoever counts need not ask whether anybody looks.
        metrics.source(lambda: stored(store, kinds))
        if audit is not None:
            metrics.source(audit.samples)
        self.targets = service_targets.Targets(store)
        others = Others(store, kinds, authorizer, metrics, self.targets)
        admit = admission.Admission(store, authorizer)
        self.addresses = admit.addresses
        self.rest = rest.Rest(store, admit, others, Quotas(store), OwnerVersions(kinds), authorizer)
        self.watches = watch.Watches(store, kinds, metrics)
        self.paths = backends.LocalPaths(self.tokens, options.metrics, options.checks)
        pod_streams = streams.Streams(store, streams_of, others)
        subs = subresources.Subresources(store, self.rest, self.tokens)
        kept = backends.LocalKinds(
            backends.verbs(self.rest, self.watches),
            {
                **backends.parts_of(self.rest, "status", "ephemeralcontainers", "resize", APPROVAL),
                **backends.scale(scales.Scales(self.rest)),
                **backends.of_pods(subs, pod_streams),
            },
            backends.unstored(
                reviews.Reviews(authenticator, authorizer, others.question),
                components.Components(options.components or {}),
                figures.Figures(store, servers_of),
            ),
        )
        table = backends.Backends(
            kept,
            self.paths,
            proxy.Proxy(store, self.targets, others),
            nodes.NodeProxy(store, servers_of, pod_streams, others),
            dashboard.Dashboard(self.sessions),
            why.Why(self.read_as),
        )
        super().__init__(kinds, api.Parts(authenticator, authorizer, flow.Flow(store, metrics), table, audit))


def stored(store: stores.Store, kinds: Catalog) -> Iterator[telemetry.Sample]:
    """How many objects of each kind there are."""
    for kind in kinds.now.each_once():
        if "watch" in kind.verbs:  # The others are never stored.
            count = store.count(kind.key())
            yield "apiserver_resource_objects", (kind.group, kind.plural), count
            yield "apiserver_storage_objects", (f"{kind.plural}.{kind.group}".rstrip("."),), count


def _audit(settings: audit_log.Settings | None, authorizer: auth.Authorizer) -> audit_log.Audit | None:
    if settings is None:
        return None
    from petset.server.audit import log as audit_log

    return audit_log.Audit(settings, authorizer)
