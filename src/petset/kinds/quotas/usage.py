"""What an object uses of what a ResourceQuota may limit: names of resources to whole numbers (kinds/requests.py).

Every object counts as one `count/<plural>.<group>`, those of some kinds of core under their plain name too. Pods use
what they request and may take, until they have ended; services use ports of nodes and load balancers; claims use
storage, as such and of their class. Events never count. A resource here is a kind as quotas call it: pods,
deployments.apps.
Follows: "Resource Quotas" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from petset.base import well_known
from petset.kinds import pod_phase, requests, storage_class
from petset.kinds.pod_spec import pod_containers
from petset.kinds.requests import Amounts
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

PODS, SERVICES, CLAIMS = "pods", "services", "persistentvolumeclaims"
COUNT = "count/"
REQUESTS, LIMITS = "requests.", "limits."
NEVER_COUNTED = ("events", "events.events.k8s.io")
BY_NAME = (PODS, SERVICES, CLAIMS, "replicationcontrollers", "resourcequotas", "secrets", "configmaps")
COMPUTE = ("cpu", "memory", "ephemeral-storage")
NODE_PORTS, LOAD_BALANCERS, STORAGE = "services.nodeports", "services.loadbalancers", "requests.storage"

_OF_PODS = (*COMPUTE, *(prefix + name for prefix in (REQUESTS, LIMITS) for name in COMPUTE))
_HUGE = (requests.HUGE_PAGES, REQUESTS + requests.HUGE_PAGES)
_OF_CLASSES = (well_known.STORAGE_CLASS_SUFFIX + CLAIMS, well_known.STORAGE_CLASS_SUFFIX + STORAGE)


def resource_of(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def limited_by(name: str) -> str:
    """The resource whose objects use what this name limits; "" when none do."""
    if name.startswith(COUNT):
        resource = name.removeprefix(COUNT)
        return "" if resource in NEVER_COUNTED else resource
    if name in (NODE_PORTS, LOAD_BALANCERS):
        return SERVICES
    if name == STORAGE or name.endswith(_OF_CLASSES):
        return CLAIMS
    if name in _OF_PODS or name.startswith(_HUGE) or (name.startswith(REQUESTS) and _is_extended(name)):
        return PODS
    return name if name in BY_NAME else ""


def is_read(resource: str) -> bool:
    """Whether it takes a look at an object to know what it uses."""
    return resource in _READ


def of(resource: str, obj: Object) -> Mapping[str, int]:
    look = _READ.get(resource)
    if look is not None:
        return look(obj)
    return {COUNT + resource: 1, resource: 1} if resource in BY_NAME else {COUNT + resource: 1}


def _pod(pod: Object) -> Amounts:
    used: Amounts = {COUNT + PODS: 1}
    if pod_phase.has_ended(pod):
        return used
    used[PODS] = 1
    for name, amount in requests.of(pod).items():
        if name in COMPUTE or name.startswith(requests.HUGE_PAGES):
            used[name] = used[REQUESTS + name] = amount
        elif _is_extended(name):
            used[REQUESTS + name] = amount
    for name, amount in requests.limits_of(pod).items():
        if name in COMPUTE:
            used[LIMITS + name] = amount
    return used


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name


def missing(pod: Object, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Of what a quota limits, cpu and memory in their six names: the containers that do not say it, by name.

    Nobody needs to where the pod says something as a whole.
    """
    spec = meta.part(pod, "spec")
    if meta.part(spec, "resources"):
        return {}
    found: dict[str, list[str]] = {}
    for container in pod_containers.own(spec):
        for name in names:
            field, base = (LIMITS, name.removeprefix(LIMITS)) if name.startswith(LIMITS) else ("", name)
            base = base.removeprefix(REQUESTS)
            said = meta.part(container, "resources", "limits" if field else "requests")
            if base in ("cpu", "memory") and base not in said:
                found.setdefault(name, []).append(container["name"])
    return {name: sorted(found[name]) for name in sorted(found)}


def _service(service: Object) -> Amounts:
    spec = meta.part(service, "spec")
    kind, ports = spec.get("type"), meta.parts(spec, "ports")
    used: Amounts = {COUNT + SERVICES: 1, SERVICES: 1}
    if kind == "LoadBalancer":
        used[LOAD_BALANCERS] = 1
        if spec.get("allocateLoadBalancerNodePorts") is False:
            ports = [port for port in ports if port.get("nodePort")]
    if kind in ("NodePort", "LoadBalancer"):
        used[NODE_PORTS] = len(ports)
    return used


def _claim(claim: Object) -> Amounts:
    used: Amounts = {COUNT + CLAIMS: 1, CLAIMS: 1}
    asked = meta.part(claim, "spec", "resources", "requests").get("storage")
    allocated = meta.part(claim, "status", "allocatedResources").get("storage")
    if asked is not None:
        used[STORAGE] = max(requests.amount(STORAGE, str(text)) for text in (asked, allocated) if text is not None)
    class_ = storage_class.of(claim)
    if class_:
        used |= {
            f"{class_}{well_known.STORAGE_CLASS_SUFFIX}{name}": used[name] for name in (CLAIMS, STORAGE) if name in used
        }
    return used


_READ: Mapping[str, Callable[[Object], Amounts]] = {PODS: _pod, SERVICES: _service, CLAIMS: _claim}
