"""Endpoints that somebody wrote for a service without a selector, told as EndpointSlices, too.

Who leads to services (DNS, the nodes' rules) reads slices alone. One slice is made for each set of ports and family of
addresses, owned by the Endpoints, and goes when they do, when the service gets a selector, or when the Endpoints are
labelled `endpointslice.kubernetes.io/skip-mirror: "true"`.
Follows: "EndpointSlice mirroring" of the Kubernetes documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from petset.base import well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import endpoint_slice
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

MANAGER = "endpointslicemirroring-controller.k8s.io"
ADDRESSES_MAX = 1000  # Of one subset, of those that are ready first.
_OF_THE_ENDPOINTS_ALONE = (well_known.LAST_APPLIED_ANNOTATION, well_known.LAST_CHANGE_ANNOTATION)


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The writes that make the mirrored slices of one service say what its Endpoints say."""
    namespace, name = meta.split_key(key)
    there = {meta.name(slice_): slice_ for slice_ in view.by_index(ENDPOINTSLICES, "service", key) if is_ours(slice_)}
    endpoints = view.get(ENDPOINTS, namespace, name)
    mirrored = _is_mirrored(endpoints, view.get(SERVICES, namespace, name))
    wanted = slices_of(endpoints) if endpoints is not None and mirrored else []
    steps: list[actions.Action] = []
    for slice_ in wanted:
        before = there.pop(meta.name(slice_), None)
        if before is not None and before.get("addressType") != slice_["addressType"]:  # It may not change.
            steps.append(actions.Delete(before))
        elif before is None:
            steps.append(actions.Create(slice_))
        elif _says(before) != _says(slice_):
            steps.append(actions.Update({**slice_, "metadata": {**before["metadata"], **slice_["metadata"]}}))
    return [*steps, *(actions.Delete(slice_) for slice_ in there.values())]


def is_ours(slice_: Object) -> bool:
    return meta.labels(slice_).get(well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL) == MANAGER


def _is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    if endpoints is None or service is None or meta.is_deleting(endpoints):
        return False
    if meta.labels(endpoints).get(well_known.SKIP_MIRROR_LABEL) == "true":
        return False
    if well_known.LEADER_ANNOTATION in meta.annotations(endpoints):
        return False
    return not meta.get(service, "spec", "selector") and meta.get(service, "spec", "type") != "ExternalName"


def slices_of(endpoints: Object) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], tuple[list[Object], list[Object]]] = {}  # By family and ports: ports, members.
    for subset in meta.parts(endpoints, "subsets"):
        ports = [_port(port) for port in meta.parts(subset, "ports")]
        left = ADDRESSES_MAX
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in meta.parts(subset, field)[:left]:
                left -= 1
                family = "IPv6" if ":" in str(address.get("ip")) else "IPv4"
                place = family, json.dumps(ports, sort_keys=True)
                groups.setdefault(place, (ports, []))[1].append(_endpoint(address, ready))
    return [
        _slice(endpoints, number, family, *groups[family, ports])
        for number, (family, ports) in enumerate(sorted(groups))
    ]


def _slice(endpoints: Object, number: int, family: str, ports: list[Object], members: list[Object]) -> dict[str, Any]:
    annotations = {key: text for key, text in meta.annotations(endpoints).items() if key not in _OF_THE_ENDPOINTS_ALONE}
    name = meta.name(endpoints)
    labels = {
        **meta.labels(endpoints),
        well_known.SERVICE_NAME_LABEL: name,
        well_known.ENDPOINT_SLICE_MANAGED_BY_LABEL: MANAGER,
    }
    return {
        "apiVersion": ENDPOINTSLICES.api_version,
        "kind": ENDPOINTSLICES.kind,
        "metadata": {
            "name": f"{name}-mirrored-{number}",
            "namespace": meta.namespace(endpoints),
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [meta.owner_reference(endpoints)],
        },
        "addressType": family,
        "endpoints": members,
        "ports": ports,
    }


def _port(port: Object) -> Object:
    given: Mapping[str, Any] = {"name": port.get("name") or "", "port": port.get("port")}
    more = {"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {}
    return {**given, "protocol": port.get("protocol") or "TCP", **more}


def _endpoint(address: Object, ready: bool) -> Object:
    told = {field: address[field] for field in ("hostname", "nodeName", "targetRef") if address.get(field)}
    return {"addresses": [address["ip"]], "conditions": {"ready": ready}, **told}


def _says(slice_: Object) -> tuple[Any, ...]:
    owners = [owner["uid"] for owner in meta.parts(slice_, "metadata", "ownerReferences")]
    about = (owners, meta.labels(slice_), meta.annotations(slice_))
    return (*about, [*meta.parts(slice_, "endpoints")], [*meta.parts(slice_, "ports")])


def keys_of_slice(slice_: Object, view: View) -> Iterable[str]:
    if is_ours(slice_) and (service := endpoint_slice.service_of(slice_)):
        yield service


CONTROLLERS = (
    Controller(
        name="endpoints mirrored",
        component="endpoint-slice-mirroring-controller",
        watches=((ENDPOINTS, own_key), (SERVICES, own_key), (ENDPOINTSLICES, keys_of_slice)),
        reconcile=reconcile,
    ),
)
