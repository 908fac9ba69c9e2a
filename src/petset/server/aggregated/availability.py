"""Whether who serves a group version elsewhere can be reached: the condition Available of an APIService, pure.

What the cluster says of the service comes first, whether its API answers afterwards. Reasons and
messages are upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from petset.kinds import api_service
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.elsewhere import service_targets


@dataclass(frozen=True, slots=True)
class Verdict:
    holds: bool
    reason: str
    message: str


LOCAL = Verdict(True, "Local", "Local APIServices are always available")
PASSED = Verdict(True, "Passed", "all checks passed")


def failed(url: str, why: str) -> Verdict:
    """Its API does not answer as one."""
    return Verdict(False, "FailedDiscoveryCheck", f"failing or missing response from {url}: {why}")


def of_cluster(obj: Object, service: Object | None, slices: Sequence[Object]) -> Verdict | None:
    """What keeps it from being asked; None when nothing does."""
    wanted = meta.part(obj, "spec", "service")
    where = f'service/{wanted.get("name")} in "{wanted.get("namespace")}"'
    port = wanted.get("port", api_service.SERVICE_PORT_DEFAULT)
    if service is None:
        return Verdict(False, "ServiceNotFound", f"{where} is not present")
    if meta.get(service, "spec", "type") == "ExternalName":
        return None
    try:
        named = service_targets.port_name(service, port)
    except service_targets.NoTarget:
        return Verdict(False, "ServicePortError", f"{where} is not listening on port {port}")
    if not slices:
        return Verdict(False, "EndpointsNotFound", f"cannot find endpointslices for {where}")
    if not service_targets.leads_anywhere(slices, named):
        told = f'endpointslices for {where} have no addresses with port name "{named}"'
        return Verdict(False, "MissingEndpoints", told)
    return None


def told(obj: Object, verdict: Verdict, moment: str) -> Object:
    """The object's status with the verdict; the same when it says so already."""
    status = meta.part(obj, "status")
    condition = {
        "type": api_service.AVAILABLE,
        "status": "True" if verdict.holds else "False",
        "lastTransitionTime": moment,
        "reason": verdict.reason,
        "message": verdict.message,
    }
    before = meta.condition(obj, api_service.AVAILABLE)
    if before is not None and all(before.get(key) == condition[key] for key in ("status", "reason", "message")):
        return status
    return {**status, "conditions": meta.with_condition(meta.parts(status, "conditions"), condition)}


def is_available(obj: Object) -> bool:
    return meta.is_condition_true(obj, api_service.AVAILABLE)
