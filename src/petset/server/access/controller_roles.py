"""The roles of Kubernetes' controllers, `system:controller:<name>`, each bound to kube-system's account of that name.

petset's own controllers are part of its process and need none of these; they are for controllers that run as pods
(an operator's test bed, a controller taken out of its manager) and are bound as Kubernetes binds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from petset.base import well_known
from petset.objects.meta import Object
from petset.server.access.roles import EVENTS, READ, Binding, Role, account, may

PREFIX = "system:controller:"
_CRUD = "create delete get list patch update watch"
_KEEP = "create delete get list update watch"
_LOOK = "list watch"
_APPS = "apps extensions"


def _workload(group: str, plural: str, look: str, pods: str, *more: Object) -> tuple[Object, ...]:
    """What every controller needs that makes pods from a kind: the kind, its status and finalizers, pods, events."""
    return (
        may(look, group, plural),
        may("update", group, f"{plural}/finalizers {plural}/status"),
        may(pods, "core", "pods"),
        *more,
        EVENTS,
    )


_SIGNERS = (
    well_known.CLIENT_SIGNER,
    well_known.KUBELET_CLIENT_SIGNER,
    well_known.KUBELET_SERVING_SIGNER,
    well_known.LEGACY_SIGNER,
)
_PODS = "create delete list patch watch"
_UPDATE = f"update {READ}"

CONTROLLERS: Mapping[str, Sequence[Object]] = {
    "certificate-controller": (
        may(f"delete {READ}", "certificates.k8s.io", "certificatesigningrequests"),
        may(
            "update",
            "certificates.k8s.io",
            "certificatesigningrequests/approval certificatesigningrequests/status",
        ),
        may("approve", "certificates.k8s.io", "signers", names=well_known.KUBELET_CLIENT_SIGNER),
        may("sign", "certificates.k8s.io", "signers", names=" ".join(_SIGNERS)),
        may("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        may(f"escalate patch update {READ}", "rbac.authorization.k8s.io", "clusterroles"),
    ),
    "cronjob-controller": (
        may(_UPDATE, "batch", "cronjobs"),
        may(_CRUD, "batch", "jobs"),
        may("update", "batch", "cronjobs/finalizers cronjobs/status"),
        may("delete list watch", "core", "pods"),
        EVENTS,
    ),
    "daemon-set-controller": _workload(
        _APPS,
        "daemonsets",
        READ,
        _PODS,
        may(_LOOK, "core", "nodes"),
        may("create", "core", "pods/binding"),
        may(_CRUD, "apps", "controllerrevisions"),
    ),
    "deployment-controller": _workload(_APPS, "deployments", _UPDATE, _UPDATE, may(_CRUD, _APPS, "replicasets")),
    "disruption-controller": (
        may(READ, _APPS, "deployments replicasets"),
        may(READ, "core", "replicationcontrollers"),
        may(READ, "policy", "poddisruptionbudgets"),
        may(READ, "apps", "petsets statefulsets"),
        may("update", "policy", "poddisruptionbudgets/status"),
        may("patch update", "core", "pods/status"),
        may("get", "*", "*/scale"),
        EVENTS,
    ),
    "endpoint-controller": (
        may(READ, "core", "pods services"),
        may(_KEEP, "core", "endpoints"),
        may("create", "core", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        may(READ, "core", "nodes pods services"),
        may("update", "core", "services/finalizers"),
        may(_KEEP, "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        may(READ, "core", "endpoints services"),
        may("update", "core", "endpoints/finalizers services/finalizers"),
        may(_KEEP, "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        may(READ, "core", "pods"),
        may("update", "core", "pods/finalizers"),
        may(f"create {READ}", "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "expand-controller": (
        may(f"patch update {READ}", "core", "persistentvolumes"),
        may("patch update", "core", "persistentvolumeclaims/status"),
        may(READ, "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "generic-garbage-collector": (may(f"delete patch update {READ}", "*", "*"), EVENTS),
    "horizontal-pod-autoscaler": (
        may(READ, "autoscaling", "horizontalpodautoscalers"),
        may("update", "autoscaling", "horizontalpodautoscalers/status"),
        may("get update", "*", "*/scale"),
        may(_LOOK, "core", "pods"),
        may(_LOOK, "metrics.k8s.io", "pods"),
        may(READ, "custom.metrics.k8s.io external.metrics.k8s.io", "*"),
        EVENTS,
    ),
    "job-controller": _workload("batch", "jobs", f"patch {_UPDATE}", _PODS),
    "namespace-controller": (
        may(f"delete {READ}", "core", "namespaces"),
        may("update", "core", "namespaces/finalize namespaces/status"),
        may(f"delete deletecollection {READ}", "*", "*"),
    ),
    "node-controller": (
        may(f"delete patch update {READ}", "core", "nodes"),
        may("patch update", "core", "nodes/status pods/status"),
        may(f"delete {READ}", "core", "pods"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        may(f"create delete update {READ}", "core", "persistentvolumes"),
        may("update", "core", "persistentvolumeclaims/status persistentvolumes/status"),
        may(_UPDATE, "core", "persistentvolumeclaims"),
        may(f"create delete {READ}", "core", "pods"),
        may(READ, "storage.k8s.io", "storageclasses"),
        may(_LOOK, "core", "nodes"),
        EVENTS,
        may("watch", "core", "events"),
    ),
    "pod-garbage-collector": (
        may("delete list watch", "core", "pods"),
        may(READ, "core", "nodes"),
        may("patch", "core", "pods/status"),
    ),
    "pv-protection-controller": (may(_UPDATE, "core", "persistentvolumes"), EVENTS),
    "pvc-protection-controller": (
        may(_UPDATE, "core", "persistentvolumeclaims"),
        may("update", "core", "persistentvolumeclaims/status"),
        may(READ, "core", "pods"),
        EVENTS,
    ),
    "replicaset-controller": _workload(_APPS, "replicasets", _UPDATE, _PODS),
    "replication-controller": _workload("core", "replicationcontrollers", _UPDATE, _PODS),
    "resourcequota-controller": (
        may(_LOOK, "*", "*"),
        may("update", "core", "resourcequotas/status"),
        EVENTS,
    ),
    "root-ca-cert-publisher": (may("create update", "core", "configmaps"), EVENTS),
    "service-account-controller": (may("create", "core", "serviceaccounts"), EVENTS),
    "statefulset-controller": _workload(
        "apps",
        "statefulsets",
        READ,
        _CRUD,
        may(READ, "apps", "petsets"),
        may("update", "apps", "petsets/finalizers petsets/status"),
        may(_CRUD, "apps", "controllerrevisions"),
        may(f"create delete {_UPDATE}", "core", "persistentvolumeclaims"),
        may("update", "core", "pods/finalizers"),
    ),
    "ttl-after-finished-controller": (may(f"delete {READ}", "batch", "jobs"), EVENTS),
    "ttl-controller": (may("list patch update watch", "core", "nodes"), EVENTS),
    "validatingadmissionpolicy-status-controller": (
        may(READ, well_known.ADMISSION_GROUP, "validatingadmissionpolicies"),
        may("get patch update", well_known.ADMISSION_GROUP, "validatingadmissionpolicies/status"),
        EVENTS,
    ),
}

ROLES = tuple(Role(f"{PREFIX}{name}", rules) for name, rules in CONTROLLERS.items())
BINDINGS = tuple(Binding(f"{PREFIX}{name}", (account(name),)) for name in CONTROLLERS)
