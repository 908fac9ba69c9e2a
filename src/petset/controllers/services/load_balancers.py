"""Addresses of load balancers: those of the nodes, whose rules lead from there to the pods.

There is no machine before the nodes that would balance: a Service of type LoadBalancer that names no class gets the
addresses of all nodes that are ready, with externalTrafficPolicy Local only of those that have an endpoint of it. One
that is of another type, or of a class that somebody else serves, keeps what he says of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import endpoint_slice as slices
from petset.kinds import service as services
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.node import NODES
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    service = view.get(SERVICES, *meta.split_key(key))
    if service is None or meta.is_deleting(service):
        return []
    before = list(meta.parts(service, "status", "loadBalancer", "ingress"))
    if meta.get(service, "spec", "type") != "LoadBalancer":
        after: list[Object] = []  # What it had of that type.
    elif meta.get(service, "spec", "loadBalancerClass"):
        return []
    else:
        after = [{"ip": address, "ipMode": "VIP"} for address in _addresses(service, view)]
    if before == after:
        return []
    status = {**meta.part(service, "status"), "loadBalancer": {"ingress": after} if after else {}}
    return [actions.UpdateStatus({**service, "status": status})]


def _addresses(service: Object, view: View) -> list[str]:
    """In the order of the nodes' names."""
    chosen = view.list(NODES)
    if services.has_health_port(service):
        near = {
            endpoint.get("nodeName"): None
            for one in view.by_index(ENDPOINTSLICES, "service", meta.key(service))
            for endpoint in meta.parts(one, "endpoints")
            if slices.is_ready(endpoint)
        }
        chosen = [node for node in chosen if meta.name(node) in near]
    return [address for node in chosen for address in _address_of(node)]


def _address_of(node: Object) -> list[str]:
    if (meta.condition(node, "Ready") or {}).get("status") != "True":
        return []
    given = [one["address"] for one in meta.parts(node, "status", "addresses") if one.get("type") == "InternalIP"]
    return [one for one in given if ":" not in one][:1]


def _balanced(node: Object, view: View) -> Iterable[str]:
    return [meta.key(one) for one in view.list(SERVICES) if meta.get(one, "spec", "type") == "LoadBalancer"]


def _service_of(endpoint_slice: Object, view: View) -> Iterable[str]:
    """Only where it matters whose endpoints are near."""
    service = view.get(SERVICES, *meta.split_key(slices.service_of(endpoint_slice)))
    return (meta.key(service),) if service is not None and services.has_health_port(service) else ()


CONTROLLERS = (
    Controller(
        name="load balancers",
        component="service-controller",
        watches=((SERVICES, own_key), (NODES, _balanced), (ENDPOINTSLICES, _service_of)),
        reconcile=reconcile,
    ),
)
