"""ServiceCIDRs and IPAddresses: which networks Services get addresses of, and an object for each address that one has.

The Services themselves say which addresses are theirs, and the server gives them by that (admission's
service_addresses); here they are only told, as upstream tells them: an IPAddress named after each address, that refers
to its Service, and goes with it. A ServiceCIDR is Ready; its finalizer keeps it while an address of it alone is in use.
Follows: KEP-1880.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from petset.base import tasks, well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import service as services
from petset.kinds.networking import addresses
from petset.kinds.networking.addresses import IPADDRESSES, SERVICECIDRS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object


def wanted(text: str, owner: Object) -> Object:
    labels = {
        well_known.IP_FAMILY_LABEL: "IPv6" if ":" in text else "IPv4",
        well_known.MANAGED_BY_IP_LABEL: addresses.MANAGER,
    }
    parent = {"group": "", "resource": "services", "namespace": meta.namespace(owner), "name": meta.name(owner)}
    metadata = {"name": text, "labels": labels}
    return {
        "apiVersion": IPADDRESSES.api_version,
        "kind": IPADDRESSES.kind,
        "metadata": metadata,
        "spec": {"parentRef": parent},
    }


def reconcile_address(key: str, view: View, now: float) -> list[actions.Action]:
    """One address: an object where a Service has it, none where none has."""
    present, holder = view.get(IPADDRESSES, "", key), _holder(key, view)
    if holder is None:
        return [actions.Delete(present)] if present is not None and addresses.is_managed(present) else []
    new = wanted(key, holder)
    if present is None:
        return [actions.Create(new)]
    if addresses.is_managed(present) and present.get("spec") != new["spec"]:
        return [actions.Delete(present)]  # What it refers to cannot be changed; its end brings the key back.
    return []


def _holder(address: str, view: View) -> Object | None:
    return next(iter(view.by_index(SERVICES, "address", address)), None)


def reconcile_network(key: str, view: View, now: float) -> list[actions.Action]:
    """A ServiceCIDR: ready, and kept while it goes and an address of it alone is in use."""
    obj = view.get(SERVICECIDRS, "", key)
    if obj is None:
        return []
    is_ours = well_known.SERVICE_CIDR_FINALIZER in meta.finalizers(obj)
    if not meta.is_deleting(obj):
        if not is_ours:
            return [actions.Update(meta.with_finalizers(obj, well_known.SERVICE_CIDR_FINALIZER))]
        return _told(obj, "True", "", "Kubernetes Service CIDR is ready", now)
    if not is_ours:
        return []
    if _is_in_use(obj, view):
        why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
        return _told(obj, "False", "Terminating", why, now)
    return [actions.Update(meta.without_finalizers(obj, well_known.SERVICE_CIDR_FINALIZER))]


def _told(obj: Object, status: str, reason: str, message: str, now: float) -> list[actions.Action]:
    before = meta.condition(obj, "Ready")
    if before is not None and (before.get("status"), before.get("reason")) == (status, reason):
        return []
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
    told = {**ready, "lastTransitionTime": tasks.rfc3339(now)}
    return actions.report(obj, {"conditions": meta.with_condition([before] if before is not None else [], told)})


def _is_in_use(obj: Object, view: View) -> bool:
    """Whether somebody has an address of its networks that is in no other one's."""
    own = addresses.networks_of(obj)
    others = [
        block
        for other in view.list(SERVICECIDRS)
        if other is not obj and not meta.is_deleting(other)
        for block in addresses.networks_of(other)
    ]
    for one in view.list(IPADDRESSES):
        address = ipaddress.ip_address(meta.name(one))
        if any(address in block for block in own) and not any(address in block for block in others):
            return True
    return False


def _addresses_of(obj: Object, view: View) -> Iterable[str]:
    return services.cluster_ips(obj)


def _networks_that_go(obj: Object, view: View) -> Iterable[str]:
    return [meta.name(one) for one in view.list(SERVICECIDRS) if meta.is_deleting(one)]


CONTROLLERS = (
    Controller(
        name="service addresses",
        component="ip-address-controller",
        watches=((IPADDRESSES, own_key), (SERVICES, _addresses_of)),
        reconcile=reconcile_address,
    ),
    Controller(
        name="networks of services",
        component="service-cidr-controller",
        watches=((SERVICECIDRS, own_key), (IPADDRESSES, _networks_that_go)),
        reconcile=reconcile_network,
    ),
)
