"""Endpoints of every service with a selector: who is behind it, in one object of a thousand addresses at most.

They say so when there were more. Nobody of this house waits for them: names and the nodes' rules are made of
EndpointSlices (slices.py), so what is large here is written less often.

Invariants: addresses are sorted, so equal pods give equal objects; nothing is written that says the same, and nothing
is made to find that out but of addresses that have changed; a service without a selector is left to whoever made its
endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.base import well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.services import behind, seen
from petset.controllers.services.behind import Behind
from petset.controllers.services.seen import Endpoint
from petset.kinds import service as service_kind
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

ENDPOINTS_MANAGER = "endpoint-controller"
REST_SECONDS_OF_EACH = 0.00015  # A write costs by who is in it: the more, the more changes the next one gathers.
REST_SECONDS_MIN = 0.015


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The write that makes the Endpoints of one service say who is behind it."""
    kept = behind.of(key, view)
    if kept is None:
        view.forget(Listed, key)
        return _forget(key, view)
    listed = view.kept(Listed, key, kept)
    writes = _writes(listed, view.get(ENDPOINTS, *meta.split_key(key)))
    seconds = REST_SECONDS_OF_EACH * len(kept.first()) if writes else 0.0
    return [*writes, actions.Rest(seconds)] if seconds > REST_SECONDS_MIN else [*writes]


class Listed:
    """What Endpoints have to say of who is behind a service, made anew when one of their addresses has changed."""

    def __init__(self, view: View, kept: Behind):
        self.behind = kept
        self._found: Sequence[Endpoint] | None = None
        self._subsets: list[dict[str, Any]] = []
        self._said_by: Object | None = None  # Endpoints that say so.

    def close(self) -> None:
        return None

    @property
    def subsets(self) -> list[dict[str, Any]]:
        found = self.behind.first()
        if found is not self._found:
            self._found, self._subsets, self._said_by = found, subsets_of(found), None
        return self._subsets

    def is_said_by(self, endpoints: Object) -> bool:
        subsets = self.subsets
        if endpoints is not self._said_by and (endpoints.get("subsets") or []) == subsets:
            self._said_by = endpoints
        return endpoints is self._said_by


def subsets_of(found: Sequence[Endpoint]) -> list[dict[str, Any]]:
    subsets: list[dict[str, Any]] = []
    for ports, members in seen.by_ports(found).items():
        ready = [endpoint for endpoint in members if endpoint.ready]
        not_ready = [endpoint for endpoint in members if not endpoint.ready and not endpoint.is_leaving]
        if ready or not_ready:
            subsets.append(
                {
                    **({"addresses": [_address(endpoint) for endpoint in ready]} if ready else {}),
                    **({"notReadyAddresses": [_address(endpoint) for endpoint in not_ready]} if not_ready else {}),
                    **({"ports": [seen.endpoint_port(port) for port in ports]} if ports else {}),
                }
            )
    return subsets


def _address(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "ip": endpoint.address,
        **({"hostname": endpoint.hostname} if endpoint.hostname else {}),
        **({"nodeName": endpoint.node} if endpoint.node else {}),
        "targetRef": endpoint.target,
    }


def _writes(listed: Listed, there: Object | None) -> list[actions.Create | actions.Update]:
    service = listed.behind.service
    labels = {
        **meta.labels(service),
        well_known.ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGER,
        **({well_known.HEADLESS_LABEL: ""} if service_kind.is_headless(service) else {}),
    }
    said = dict(meta.annotations(there)) if there is not None else {}
    annotations = {key: value for key, value in said.items() if key != well_known.OVER_CAPACITY_ANNOTATION}
    if len(listed.behind) > behind.ADDRESSES_MAX:
        annotations[well_known.OVER_CAPACITY_ANNOTATION] = "truncated"
    about = {"labels": labels, **({"annotations": annotations} if annotations or said else {})}
    wanted = {"apiVersion": "v1", "kind": "Endpoints", "subsets": listed.subsets}
    if there is None:
        metadata = {"name": meta.name(service), "namespace": meta.namespace(service), **about}
        return [actions.Create({**wanted, "metadata": metadata})]
    if meta.labels(there) == labels and said == annotations and listed.is_said_by(there):
        return []
    return [actions.Update({**wanted, "metadata": {**there["metadata"], **about}})]


def _forget(key: str, view: View) -> list[actions.Action]:
    """What we made for a service that is gone: the slices go by their owner, Endpoints never had one."""
    namespace, name = meta.split_key(key)
    service, there = view.get(SERVICES, namespace, name), view.get(ENDPOINTS, namespace, name)
    if there is None or (service is not None and not meta.is_deleting(service)):
        return []
    is_ours = meta.labels(there).get(well_known.ENDPOINTS_MANAGED_BY_LABEL) == ENDPOINTS_MANAGER
    return [actions.Delete(there)] if is_ours else []


CONTROLLERS = (
    Controller(
        name="endpoints",
        component="endpoint-controller",
        watches=((SERVICES, own_key), (PODS, behind.keys_of_pod), (ENDPOINTS, own_key)),
        reconcile=reconcile,
        reads=(ENDPOINTSLICES, NODES),  # As `Behind` does.
        sees=behind.shown_of,
    ),
)
