"""What a new cluster begins with: namespaces, roles and their bindings, the services of the API and of DNS.

`ensure` writes what is missing and leaves alone what is there, except for the two services' addresses, which follow
the instance's network plan, and the bootstrap roles, which follow the release. It writes to the store directly,
before anybody is served; every object passes the defaults of its kind, as if it had been posted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks
from petset.objects import meta, namespaces, resources
from petset.objects.meta import Object
from petset.server import admission, users
from petset.store import store as stores

BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
RBAC = "rbac.authorization.k8s.io"
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
ALL = ("*",)


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses that the cluster's own services have."""

    service_address: str  # Of Service kubernetes; its port is 443.
    dns_address: str  # Of Service kube-dns; ports 53.
    api_address: str  # Where the API listens for pods: the endpoint behind Service kubernetes.
    api_port: int


async def ensure(store: stores.Store, plan: Plan | None = None) -> None:
    """Write what is missing; without a plan no services (a cluster without nodes)."""
    objects = [*_namespaces(), *_accounts(), *_roles(), *_bindings(), *(_services(plan) if plan else ())]
    for obj in objects:
        await _ensure_one(store, obj)


async def _ensure_one(store: stores.Store, obj: Object) -> None:
    resource = resources.of(obj)
    assert resource is not None
    key = resource.key(meta.namespace(obj), meta.name(obj))
    obj = resource.default(obj)
    while True:
        present = store.get(key)
        metadata = {"uid": tasks.new_uid(), "creationTimestamp": tasks.rfc3339(tasks.now())}
        new = {**obj, "metadata": {**obj["metadata"], **metadata}}
        if present is not None:
            followed = FOLLOWED.get(resource.plural, ())
            new = {**present.object, **{field: obj[field] for field in followed if field in obj}}
            if new == present.object:
                return
        try:
            await store.put(key, new, present.revision if present else 0)
            return
        except stores.Conflict:
            continue  # Another writer was quicker; look again.


# The fields that follow the release or the plan also when the object is there already.
FOLLOWED = {
    "clusterroles": ("rules",),
    "services": ("spec",),
    "endpoints": ("subsets",),
    "endpointslices": ("endpoints", "ports"),
}


def _object(api_version: str, kind: str, name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    if labels := fields.pop("labels", None):
        metadata["labels"] = labels
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _namespaces() -> Iterable[Object]:
    for name in namespaces.OF_EVERY_CLUSTER:
        yield _object(
            "v1",
            "Namespace",
            name,
            labels={"kubernetes.io/metadata.name": name},
            spec={"finalizers": [admission.NAMESPACE_FINALIZER]},
            status={"phase": "Active"},
        )


def _accounts() -> Iterable[Object]:
    for name in namespaces.OF_EVERY_CLUSTER:
        yield _object("v1", "ServiceAccount", "default", name)


def _services(plan: Plan) -> Iterable[Object]:
    family = "IPv6" if ":" in plan.service_address else "IPv4"

    def service(name: str, namespace: str, address: str, ports: list[Any], **fields: Any) -> Object:
        spec = {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": ports,
        }
        return _object("v1", "Service", name, namespace, spec=spec, status={"loadBalancer": {}}, **fields)

    https = {"name": "https", "protocol": "TCP", "port": 443, "targetPort": plan.api_port}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    yield service("kubernetes", "default", plan.service_address, [https], labels=labels)
    port = {"name": "https", "port": plan.api_port, "protocol": "TCP"}
    subsets = [{"addresses": [{"ip": plan.api_address}], "ports": [port]}]
    mirrored = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    yield _object("v1", "Endpoints", "kubernetes", "default", labels=mirrored, subsets=subsets)
    yield _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "kubernetes",
        "default",
        labels={"kubernetes.io/service-name": "kubernetes"},
        addressType=family,
        endpoints=[{"addresses": [plan.api_address], "conditions": {"ready": True}}],
        ports=[port],
    )
    dns = [
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
    ]
    named = {"k8s-app": "kube-dns", "kubernetes.io/name": "KubeDNS"}
    yield service("kube-dns", "kube-system", plan.dns_address, dns, labels=named)


def _rule(verbs: Sequence[str], groups: Sequence[str], plurals: Sequence[str]) -> dict[str, Any]:
    return {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(plurals)}


def _paths(verbs: Sequence[str], paths: Sequence[str]) -> dict[str, Any]:
    return {"verbs": list(verbs), "nonResourceURLs": list(paths)}


_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH)

# What people may see (view), change (edit) and administer (admin) in a namespace.
_VIEW = (
    _rule(
        READ,
        ("",),
        (
            "bindings",
            "configmaps",
            "endpoints",
            "events",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "serviceaccounts",
            "services",
            "services/status",
        ),
    ),
    _rule(
        READ,
        ("apps",),
        (
            "controllerrevisions",
            "petsets",
            "petsets/scale",
            "petsets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ),
    ),
    _rule(READ, ("discovery.k8s.io",), ("endpointslices",)),
)
_EDIT = (
    _rule(READ, ("",), ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy")),
    _rule(("impersonate",), ("",), ("serviceaccounts",)),
    _rule(
        WRITE,
        ("",),
        (
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ),
    ),
    _rule(("create",), ("",), ("pods/eviction", "serviceaccounts/token")),
    _rule(WRITE, ("apps",), ("petsets", "petsets/scale", "statefulsets", "statefulsets/scale")),
    _rule((*READ, *WRITE), ("coordination.k8s.io",), ("leases",)),
    *_VIEW,
)
_ADMIN = (
    *_EDIT,
    _rule(("create",), ("authorization.k8s.io",), ("localsubjectaccessreviews",)),
    _rule((*READ, *WRITE), (RBAC,), ("rolebindings", "roles")),
)
_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews")

# Upstream gives nodes their rights by the authorizer and keeps this role for those who bind it themselves.
_NODE = (
    _rule(("create",), ("authentication.k8s.io",), ("tokenreviews",)),
    _rule(("create",), ("authorization.k8s.io",), ("localsubjectaccessreviews", "subjectaccessreviews")),
    _rule(READ, ("",), ("services",)),
    _rule(("create", *READ), ("",), ("nodes",)),
    _rule(("patch", "update"), ("",), ("nodes", "nodes/status")),
    _rule(("create", "patch", "update"), ("",), ("events",)),
    _rule(("create", "delete", *READ), ("",), ("pods",)),
    _rule(("patch", "update"), ("",), ("pods/status",)),
    _rule(("create",), ("",), ("pods/eviction",)),
    _rule(READ, ("",), ("configmaps", "secrets")),
    _rule(("get",), ("",), ("persistentvolumeclaims", "persistentvolumes")),
    _rule(("get",), ("",), ("endpoints",)),
    _rule(("create", "delete", "get", "patch", "update"), ("coordination.k8s.io",), ("leases",)),
    _rule(("create",), ("",), ("serviceaccounts/token",)),
)

ROLES: tuple[tuple[str, Sequence[Object]], ...] = (
    ("cluster-admin", (_rule(ALL, ALL, ALL), _paths(ALL, ALL))),
    ("admin", _ADMIN),
    ("edit", _EDIT),
    ("view", _VIEW),
    ("system:node", _NODE),
    ("system:discovery", (_paths(("get",), _DISCOVERY),)),
    (
        "system:basic-user",
        (
            _rule(("create",), ("authorization.k8s.io",), _REVIEWS),
            _rule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
        ),
    ),
    ("system:public-info-viewer", (_paths(("get",), _HEALTH),)),
)

# Role -> groups. Discovery is open to the anonymous too: it tells no more than the documentation does.
BINDINGS: tuple[tuple[str, Sequence[str]], ...] = (
    ("cluster-admin", (users.MASTERS,)),
    ("system:discovery", (users.AUTHENTICATED, users.UNAUTHENTICATED)),
    ("system:basic-user", (users.AUTHENTICATED,)),
    ("system:public-info-viewer", (users.AUTHENTICATED, users.UNAUTHENTICATED)),
)


def _roles() -> Iterable[Object]:
    for name, rules in ROLES:
        yield _object(f"{RBAC}/v1", "ClusterRole", name, labels=BOOTSTRAPPING, rules=list(rules))


def _bindings() -> Iterable[Object]:
    for role, groups in BINDINGS:
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
        subjects = [{"apiGroup": RBAC, "kind": "Group", "name": group} for group in groups]
        yield _object(
            f"{RBAC}/v1", "ClusterRoleBinding", role, labels=BOOTSTRAPPING, roleRef=reference, subjects=subjects
        )
