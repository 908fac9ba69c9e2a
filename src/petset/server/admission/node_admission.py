"""What a node may write, as far as names cannot tell: its own Node, lease and pods, and no label that others trust.

The node authorizer has let the request through by its path; here the object itself is looked at. Labels under
kubernetes.io and k8s.io decide where pods run, so a node that was taken over could draw secrets to itself by giving
itself one: it may set only those that describe it. Follows the NodeRestriction admission controller's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from petset.base import well_known
from petset.kinds.lease import LEASES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.pod_certificate_request import PODCERTIFICATEREQUESTS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.access import users
from petset.server.writes import CREATE, Write

# Label namespaces that are Kubernetes' own, subdomains included; in them a node may set the following, and no others.
KUBERNETES = ("kubernetes.io", "k8s.io")
OF_NODES = ("kubelet.kubernetes.io", "node.kubernetes.io")
DESCRIBING_NODES = (
    well_known.ARCH_BETA_LABEL,
    well_known.INSTANCE_TYPE_BETA_LABEL,
    well_known.OS_BETA_LABEL,
    well_known.REGION_BETA_LABEL,
    well_known.ZONE_BETA_LABEL,
    well_known.ARCH_LABEL,
    well_known.HOSTNAME_LABEL,
    well_known.OS_LABEL,
    well_known.INSTANCE_TYPE_LABEL,
    well_known.REGION_LABEL,
    well_known.ZONE_LABEL,
)


class Context(Protocol):
    @property
    def write(self) -> Write: ...

    def find(self, resource: Kind, name: str, namespace: str = "") -> Object | None: ...


def node_restriction(context: Context, obj: Object, old: Object | None) -> Object:
    user = context.write.user
    node = users.node_name(user)
    if not node or users.MASTERS in user.groups:
        return obj
    resource, name = context.write.resource, meta.name(obj)
    if resource in (NODES, LEASES) and name != node:
        raise errors.forbidden(resource.plural, name, f'node "{node}" may write only its own', resource.group)
    if resource is PODS and meta.get(old or obj, "spec", "nodeName") != node:
        raise errors.forbidden("pods", name, f'node "{node}" may write only pods that are bound to it')
    if resource is PODS and old is None and context.write.operation == CREATE and not context.write.subresource:
        _require_mirror(obj, node)
    if resource is PODS and old is not None and meta.labels(obj) != meta.labels(old):
        raise errors.forbidden("pods", name, f'node "{node}" cannot update labels through pod status')
    if resource is NODES and (why := _fenced(obj, old)):
        raise errors.forbidden("nodes", name, f'node "{node}" is not allowed to modify {why}')
    if resource is PERSISTENTVOLUMECLAIMS and old is not None and not _is_condition_of(obj, old):
        why = f'node "{node}" may change only conditions of a claim'
        raise errors.forbidden("persistentvolumeclaims", name, why)
    if resource is PODCERTIFICATEREQUESTS and old is None and (why := _not_its_pod(context, node, obj)):
        raise errors.forbidden(resource.plural, name, f'node "{node}" {why}', resource.group)
    return obj


def _not_its_pod(context: Context, node: str, request: Object) -> str:
    """Why a node may not ask for a certificate; "" when it is for a pod of its own, which the request describes."""
    spec, namespace = meta.part(request, "spec"), meta.namespace(request)
    pod = context.find(PODS, str(spec.get("podName") or ""), namespace)
    if pod is None or spec.get("nodeName") != node or meta.get(pod, "spec", "nodeName") != node:
        return "may ask for certificates of pods that are bound to it"
    account = context.find(SERVICEACCOUNTS, str(meta.get(pod, "spec", "serviceAccountName") or ""), namespace)
    itself = context.find(NODES, node)
    described = (
        ("podUID", meta.uid(pod)),
        ("serviceAccountName", meta.get(pod, "spec", "serviceAccountName")),
        ("serviceAccountUID", meta.get(account or {}, "metadata", "uid")),
        ("nodeUID", meta.get(itself or {}, "metadata", "uid")),
    )
    wrong = [field for field, value in described if spec.get(field) != value]
    return f"describes a pod otherwise than it is: spec.{wrong[0]}" if wrong else ""


def _is_condition_of(new: Object, old: Object) -> bool:
    """Whether a write of a claim's status changes nothing else than what its volume is like."""
    after, before = (
        {key: value for key, value in meta.part(claim, "status").items() if key != "conditions"} for claim in (new, old)
    )
    return after == before


def _require_mirror(pod: Object, node: str) -> None:
    """A node makes pods to show what it runs by itself, which go with it, and no others. Raises ApiError 403."""
    if well_known.MIRROR_ANNOTATION not in meta.annotations(pod):
        raise errors.forbidden("pods", meta.name(pod), f'node "{node}" can only create mirror pods')
    owners = meta.parts(pod, "metadata", "ownerReferences")
    if [(one.get("kind"), one.get("name")) for one in owners] != [(NODES.kind, node)]:
        why = f'node "{node}" can only create pods with an owner reference set to itself'
        raise errors.forbidden("pods", meta.name(pod), why)


def _fenced(new: Object, old: Object | None) -> str:
    """What a write changes that is not the node's to change; "" when nothing."""
    labels = [key for key in changed_labels(new, old) if not may_label(key)]
    if labels:
        return f"labels: {', '.join(labels)}"
    if old is not None and meta.get(new, "spec", "taints", default=[]) != meta.get(old, "spec", "taints", default=[]):
        return "taints"
    owners, before = (list(meta.parts(one or {}, "metadata", "ownerReferences")) for one in (new, old))
    return "ownerReferences" if owners != before else ""


def changed_labels(new: Object, old: Object | None) -> list[str]:
    after: Mapping[str, str] = meta.labels(new)
    before: Mapping[str, str] = meta.labels(old) if old is not None else {}
    return sorted(key for key in dict.fromkeys((*after, *before)) if after.get(key) != before.get(key))


def may_label(key: str) -> bool:
    """Whether a node may give itself a label, or change or remove it."""
    namespace, slash, _ = key.rpartition("/")
    if not slash or not _within(namespace, KUBERNETES):
        return True
    return key in DESCRIBING_NODES or _within(namespace, OF_NODES)


def _within(namespace: str, domains: tuple[str, ...]) -> bool:
    return any(namespace == domain or namespace.endswith(f".{domain}") for domain in domains)
