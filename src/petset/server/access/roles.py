"""The roles a new cluster begins with, and who has them: for people, for programs of the cluster, for everybody.

People have `view`, `edit` and `admin` in a namespace: sums of all roles with the label that says so, so that whoever
brings a new kind adds what may be done with it. The names and rights are those Kubernetes documents under "Using RBAC
Authorization", since charts and operators bind to them; `petsets` stand wherever `statefulsets` do. Kinds that this
release does not serve are named too: their rights mean nothing until it does. The roles of controllers are in
controller_roles.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects.meta import Object
from petset.server.access import users

READ = "get list watch"
WRITE = "create delete deletecollection patch update"


def may(verbs: str, group: str, plurals: str, names: str = "") -> Object:
    """A rule: verbs, API groups ("core" is the group without a name), resources, all separated by blanks."""
    groups = ["" if name == "core" else name for name in group.split()]
    named = {"resourceNames": names.split()} if names else {}
    return {"verbs": verbs.split(), "apiGroups": groups, "resources": plurals.split(), **named}


def may_get(paths: str, verbs: str = "get") -> Object:
    """A rule for paths that are no resources."""
    return {"verbs": verbs.split(), "nonResourceURLs": paths.split()}


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    rules: Sequence[Object] = ()
    part_of: str = ""  # The sum it goes into: view, edit or admin.
    is_sum: bool = False  # Of all roles that are part of it.
    namespace: str = ""


EVENTS = may("create patch update", "core events.k8s.io", "events")
REVIEWS = (
    may("create", "authentication.k8s.io", "tokenreviews"),
    may("create", "authorization.k8s.io", "subjectaccessreviews"),
)
HEALTH = "/healthz /livez /readyz /version /version/"
CSR = "system:certificates.k8s.io"

_VIEWED = (
    may(
        READ,
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
    ),
    may(
        READ,
        "core",
        "bindings events limitranges namespaces namespaces/status pods/log pods/status "
        "replicationcontrollers/status resourcequotas resourcequotas/status",
    ),
    may(READ, "discovery.k8s.io", "endpointslices"),
    may(
        READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status petsets "
        "petsets/scale petsets/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale "
        "statefulsets/status",
    ),
    may(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    may(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    may(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    may(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    may(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
)
_EDITED = (
    may(READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    may("impersonate", "core", "serviceaccounts"),
    may(WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    may("create", "core", "pods/eviction"),
    may(
        WRITE,
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
    ),
    may("create", "core", "serviceaccounts/token"),
    may(
        WRITE,
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale petsets petsets/scale replicasets "
        "replicasets/scale statefulsets statefulsets/scale",
    ),
    may(WRITE, "autoscaling", "horizontalpodautoscalers"),
    may(WRITE, "batch", "cronjobs jobs"),
    may(WRITE, "policy", "poddisruptionbudgets"),
    may(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    may(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
    may(f"{READ} {WRITE}", "coordination.k8s.io", "leases"),
)
_ADMINISTERED = (
    may("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    may(f"{READ} {WRITE}", "rbac.authorization.k8s.io", "rolebindings roles"),
)
# Nodes have their rights by the authorizer (nodes.py); this role is for those who bind it themselves.
_OF_NODES = (
    may("create", "authentication.k8s.io", "tokenreviews"),
    may("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    may(READ, "core", "services"),
    may(f"create {READ}", "core", "nodes"),
    may("patch update", "core", "nodes nodes/status"),
    may("create patch update", "core", "events"),
    may(f"create delete {READ}", "core", "pods"),
    may("patch update", "core", "pods/status"),
    may("create", "core", "pods/eviction serviceaccounts/token"),
    may(READ, "core", "configmaps secrets"),
    may("get", "core", "endpoints persistentvolumeclaims persistentvolumes"),
    may("get patch update", "core", "persistentvolumeclaims/status"),
    may(f"create {READ}", "certificates.k8s.io", "certificatesigningrequests"),
    may(READ, "certificates.k8s.io", "clustertrustbundles"),
    may(f"create {READ}", "certificates.k8s.io", "podcertificaterequests"),
    may("create delete get patch update", "coordination.k8s.io", "leases"),
    may("get", "storage.k8s.io", "volumeattachments"),
    may(READ, "storage.k8s.io", "csidrivers"),
    may("create delete get patch update", "storage.k8s.io", "csinodes"),
    may(READ, "node.k8s.io", "runtimeclasses"),
)
_OF_THE_SCHEDULER = (
    EVENTS,
    may("create", "coordination.k8s.io", "leases"),
    may("get update", "coordination.k8s.io", "leases", names="kube-scheduler"),
    may(READ, "core", "namespaces nodes replicationcontrollers services"),
    may(f"delete {READ}", "core", "pods"),
    may("create", "core", "bindings pods/binding"),
    may("patch update", "core", "pods/status"),
    may(READ, "apps extensions", "replicasets"),
    may(READ, "apps", "petsets statefulsets"),
    may(READ, "policy", "poddisruptionbudgets"),
    may(READ, "core", "persistentvolumeclaims persistentvolumes"),
    *REVIEWS,
    may(READ, "storage.k8s.io", "csidrivers csinodes csistoragecapacities"),
)
_OF_THE_CONTROLLER_MANAGER = (
    EVENTS,
    may("create", "coordination.k8s.io", "leases"),
    may("get update", "coordination.k8s.io", "leases", names="kube-controller-manager"),
    may("create get update", "core", "secrets serviceaccounts"),
    may("delete", "core", "secrets"),
    may("get", "core", "configmaps namespaces"),
    *REVIEWS,
    may("list watch", "*", "*"),
    may("create", "core", "serviceaccounts/token"),
)


def _approver(signer: str) -> Role:
    rule = may("approve", "certificates.k8s.io", "signers", names=f"kubernetes.io/{signer}")
    return Role(f"{CSR}:{signer}-approver", (rule,))


def _requester(kind: str) -> Role:
    rule = may("create", "certificates.k8s.io", f"certificatesigningrequests/{kind}")
    return Role(f"{CSR}:certificatesigningrequests:{kind}", (rule,))


def _of_snapshots(verbs: str) -> Object:
    """petset brings this custom kind itself, so that whoever may use a namespace's claims may use its snapshots."""
    status = " volumesnapshots/status" if verbs == READ else ""
    return may(verbs, "snapshot.storage.k8s.io", f"volumesnapshots{status}")


# A sum comes after its parts.
ROLES: tuple[Role, ...] = (
    Role("cluster-admin", (may("*", "*", "*"), may_get("*", verbs="*"))),
    Role("system:aggregate-to-view", _VIEWED, part_of="view"),
    Role("system:aggregated-metrics-reader", (may(READ, "metrics.k8s.io", "nodes pods"),), part_of="view"),
    Role("petset:aggregated-snapshots-reader", (_of_snapshots(READ),), part_of="view"),
    Role("petset:aggregated-snapshots-editor", (_of_snapshots(WRITE),), part_of="edit"),
    Role("view", is_sum=True, part_of="edit"),
    Role("system:aggregate-to-edit", _EDITED, part_of="edit"),
    Role("edit", is_sum=True, part_of="admin"),
    Role("system:aggregate-to-admin", _ADMINISTERED, part_of="admin"),
    Role("admin", is_sum=True),
    # For everybody.
    Role(
        "system:basic-user",
        (
            may("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            may("create", "authentication.k8s.io", "selfsubjectreviews"),
        ),
    ),
    Role("system:discovery", (may_get(f"/api /api/* /apis /apis/* /openapi /openapi/* {HEALTH}"),)),
    Role("system:public-info-viewer", (may_get(HEALTH),)),
    # The dashboard's own files, and signing in to it: what it shows it asks for by its session.
    Role("petset:dashboard", (may_get("/dashboard /dashboard/*", "get post delete"),)),
    Role("system:service-account-issuer-discovery", (may_get("/.well-known/openid-configuration /openid/v1/jwks"),)),
    # For programs that run in a cluster or beside it.
    Role("system:auth-delegator", REVIEWS),
    Role(
        "system:monitoring",
        (may_get("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),),
    ),
    Role(
        "system:heapster",
        (may(READ, "core", "events namespaces nodes pods"), may(READ, "extensions", "deployments")),
    ),
    Role("system:kube-aggregator", (may(READ, "core", "endpoints services"),)),
    Role("system:kube-controller-manager", _OF_THE_CONTROLLER_MANAGER),
    Role(
        "system:kube-dns",
        (may("list watch", "core", "endpoints services"), may("list watch", "discovery.k8s.io", "endpointslices")),
    ),
    Role("system:kube-scheduler", _OF_THE_SCHEDULER),
    Role(
        "system:kubelet-api-admin",
        (
            may(f"{READ} proxy", "core", "nodes"),
            may("*", "core", "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats"),
        ),
    ),
    Role("system:cluster-trust-bundle-discovery", (may(READ, "certificates.k8s.io", "clustertrustbundles"),)),
    Role("system:node", _OF_NODES),
    Role("system:node-bootstrapper", (may(f"create {READ}", "certificates.k8s.io", "certificatesigningrequests"),)),
    Role("system:node-problem-detector", (may("get", "core", "nodes"), may("patch", "core", "nodes/status"), EVENTS)),
    Role(
        "system:node-proxier",
        (
            may("list watch", "core", "endpoints services"),
            may(READ, "core", "nodes"),
            EVENTS,
            may("list watch", "discovery.k8s.io", "endpointslices"),
        ),
    ),
    Role(
        "system:persistent-volume-provisioner",
        (
            may(f"create delete {READ}", "core", "persistentvolumes"),
            may(f"update {READ}", "core", "persistentvolumeclaims"),
            may(READ, "storage.k8s.io", "storageclasses"),
            may("watch", "core", "events"),
            EVENTS,
        ),
    ),
    Role(
        "system:volume-scheduler",
        (
            may(f"patch update {READ}", "core", "persistentvolumeclaims persistentvolumes"),
            may(READ, "storage.k8s.io", "storageclasses"),
        ),
    ),
    Role(
        "extension-apiserver-authentication-reader",
        (may(READ, "core", "configmaps", names="extension-apiserver-authentication"),),
        namespace="kube-system",
    ),
    *map(_requester, ("nodeclient", "selfnodeclient")),
    *map(
        _approver,
        ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown"),
    ),
)


def group(name: str) -> dict[str, Any]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}


def user(name: str) -> dict[str, Any]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def account(name: str) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}


@dataclass(frozen=True, slots=True)
class Binding:
    role: str  # And its own name, but for those of a namespace.
    subjects: Sequence[Object]
    name: str = ""
    namespace: str = ""


_EVERYBODY = (group(users.AUTHENTICATED), group(users.UNAUTHENTICATED))

# Discovery is open to the anonymous too: it tells no more than the documentation does.
BINDINGS: tuple[Binding, ...] = (
    Binding("cluster-admin", (group(users.MASTERS),)),
    Binding("system:basic-user", (group(users.AUTHENTICATED),)),
    Binding("system:discovery", _EVERYBODY),
    Binding("system:public-info-viewer", _EVERYBODY),
    Binding("petset:dashboard", _EVERYBODY),
    Binding("system:cluster-trust-bundle-discovery", (group(users.SERVICE_ACCOUNTS),)),
    Binding("system:service-account-issuer-discovery", (group(users.SERVICE_ACCOUNTS),)),
    Binding("system:monitoring", (group("system:monitoring"),)),
    Binding("system:kube-controller-manager", (user("system:kube-controller-manager"),)),
    Binding("system:kube-dns", (account("kube-dns"),)),
    Binding("system:kube-scheduler", (user("system:kube-scheduler"),)),
    Binding("system:volume-scheduler", (user("system:kube-scheduler"),)),
    Binding("system:node-proxier", (user("system:kube-proxy"),)),
    Binding("system:node", ()),
    Binding(
        "extension-apiserver-authentication-reader",
        (user("system:kube-controller-manager"), user("system:kube-scheduler")),
        name="system::extension-apiserver-authentication-reader",
        namespace="kube-system",
    ),
)
