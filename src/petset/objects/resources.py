"""The table of kinds: every resource the server offers, and the few functions that say what a schema cannot.

A row names the group, version, plural, kind and scope; `status`, `scale` and other subresources; short names and
categories for kubectl; and hooks, each a small pure function from defaults.py or validation.py.
`key` and `path` are the one place where store keys and URLs are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from petset.kinds import (
    defaults,
    defaults_pod,
    preparation,
    validation_access,
    validation_apps,
    validation_core,
    validation_pod,
    validation_service,
    validation_storage,
)
from petset.objects.errors import FieldError
from petset.objects.meta import Object

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

Default = Callable[[Object], Object]
Prepare = Callable[[Object, Object | None], Object]  # (new, old or None at create) -> new
Validate = Callable[[Object], Sequence[FieldError]]
ValidateUpdate = Callable[[Object, Object], Sequence[FieldError]]  # (new, old)


def _same(obj: Object) -> Object:
    return obj


def _keep(new: Object, old: Object | None) -> Object:
    return new


def _fine(obj: Object) -> Sequence[FieldError]:
    return ()


def _fine_update(new: Object, old: Object) -> Sequence[FieldError]:
    return ()


@dataclass(frozen=True, slots=True)
class Resource:
    group: str  # "" is core.
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()  # status, scale, binding, eviction, log, exec, attach, token, finalize, ...
    verbs: tuple[str, ...] = ALL_VERBS  # Virtual resources (reviews) offer create only and are never stored.
    has_generation: bool = False  # metadata.generation counts changes of spec.
    default: Default = _same
    prepare: Prepare = _keep  # What a write may not set or must carry over (status at create, clusterIP, ...).
    validate: Validate = _fine
    validate_update: ValidateUpdate = _fine_update

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a name the collection's, without a namespace that of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        space = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = f"/{name}" if name else ""
        return f"{root}{space}/{self.plural}{parts}" + (f"/{subresource}" if subresource else "")

    def key(self, namespace: str = "", name: str = "") -> str:
        """The store's key, or the prefix of all its objects (of one namespace) without a name."""
        space = f"{namespace}/" if self.namespaced and namespace else ""
        return f"/{self.group or 'core'}/{self.plural}/{space}{name}"


STATUS = ("status",)

PODS = Resource(
    "",
    "v1",
    "pods",
    "Pod",
    short_names=("po",),
    categories=("all",),
    subresources=("attach", "binding", "eviction", "exec", "log", "portforward", "status"),
    has_generation=True,
    default=defaults_pod.pod,
    prepare=preparation.pod,
    validate=validation_pod.pod,
    validate_update=validation_pod.pod_update,
)
SERVICES = Resource(
    "",
    "v1",
    "services",
    "Service",
    short_names=("svc",),
    categories=("all",),
    subresources=STATUS,
    default=defaults.service,
    prepare=preparation.service,
    validate=validation_service.service,
    validate_update=validation_service.service_update,
)
ENDPOINTS = Resource(
    "",
    "v1",
    "endpoints",
    "Endpoints",
    short_names=("ep",),
    default=defaults.endpoints,
    validate=validation_service.endpoints,
)
PERSISTENTVOLUMECLAIMS = Resource(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    short_names=("pvc",),
    subresources=STATUS,
    default=defaults.claim,
    prepare=preparation.status_of_new({"phase": "Pending"}),
    validate=validation_storage.claim,
    validate_update=validation_storage.claim_update,
)
PERSISTENTVOLUMES = Resource(
    "",
    "v1",
    "persistentvolumes",
    "PersistentVolume",
    False,
    short_names=("pv",),
    subresources=STATUS,
    default=defaults.volume,
    prepare=preparation.status_of_new({"phase": "Pending"}),
    validate=validation_storage.volume,
    validate_update=validation_storage.volume_update,
)
CONFIGMAPS = Resource(
    "",
    "v1",
    "configmaps",
    "ConfigMap",
    short_names=("cm",),
    validate=validation_core.config_map,
    validate_update=validation_core.config_map_update,
)
SECRETS = Resource(
    "",
    "v1",
    "secrets",
    "Secret",
    default=defaults.secret,
    validate=validation_core.secret,
    validate_update=validation_core.secret_update,
)
SERVICEACCOUNTS = Resource(
    "",
    "v1",
    "serviceaccounts",
    "ServiceAccount",
    short_names=("sa",),
    subresources=("token",),
    validate=validation_core.service_account,
)
NAMESPACES = Resource(
    "",
    "v1",
    "namespaces",
    "Namespace",
    False,
    short_names=("ns",),
    subresources=("finalize", "status"),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    default=defaults.namespace,
    prepare=preparation.status_of_new({"phase": "Active"}),
    validate=validation_core.namespace,
)
NODES = Resource(
    "",
    "v1",
    "nodes",
    "Node",
    False,
    short_names=("no",),
    subresources=STATUS,
    default=defaults.node,
    validate=validation_core.node,
    validate_update=validation_core.node_update,
)
EVENTS = Resource(
    "",
    "v1",
    "events",
    "Event",
    short_names=("ev",),
    validate=validation_core.event,
)
STATEFULSETS = Resource(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    short_names=("sts",),
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults.stateful_set,
    prepare=preparation.status_of_new({"replicas": 0, "availableReplicas": 0}),
    validate=validation_apps.stateful_set,
    validate_update=validation_apps.stateful_set_update,
)
CONTROLLERREVISIONS = Resource(
    "apps",
    "v1",
    "controllerrevisions",
    "ControllerRevision",
    validate=validation_apps.controller_revision,
    validate_update=validation_apps.controller_revision_update,
)
PETSETS = Resource(
    "apps",
    "v1alpha1",
    "petsets",
    "PetSet",
    categories=("all",),
    subresources=("scale", "status"),
    has_generation=True,
    default=defaults.pet_set,
    prepare=preparation.status_of_new({"replicas": 0}),
    validate=validation_apps.pet_set,
    validate_update=validation_apps.pet_set_update,
)
ENDPOINTSLICES = Resource(
    "discovery.k8s.io",
    "v1",
    "endpointslices",
    "EndpointSlice",
    default=defaults.endpoint_slice,
    validate=validation_service.endpoint_slice,
    validate_update=validation_service.endpoint_slice_update,
)
STORAGECLASSES = Resource(
    "storage.k8s.io",
    "v1",
    "storageclasses",
    "StorageClass",
    False,
    short_names=("sc",),
    default=defaults.storage_class,
    validate=validation_storage.storage_class,
    validate_update=validation_storage.storage_class_update,
)
LEASES = Resource(
    "coordination.k8s.io",
    "v1",
    "leases",
    "Lease",
    validate=validation_core.lease,
)
ROLES = Resource(
    "rbac.authorization.k8s.io",
    "v1",
    "roles",
    "Role",
    validate=validation_access.role,
)
ROLEBINDINGS = Resource(
    "rbac.authorization.k8s.io",
    "v1",
    "rolebindings",
    "RoleBinding",
    default=defaults.binding,
    validate=validation_access.role_binding,
    validate_update=validation_access.binding_update,
)
CLUSTERROLES = Resource(
    "rbac.authorization.k8s.io",
    "v1",
    "clusterroles",
    "ClusterRole",
    False,
    validate=validation_access.cluster_role,
)
CLUSTERROLEBINDINGS = Resource(
    "rbac.authorization.k8s.io",
    "v1",
    "clusterrolebindings",
    "ClusterRoleBinding",
    False,
    default=defaults.binding,
    validate=validation_access.cluster_role_binding,
    validate_update=validation_access.binding_update,
)

# Questions with an answer in their status; never stored.
SELFSUBJECTACCESSREVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=("create",)
)
SELFSUBJECTRULESREVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=("create",)
)
SUBJECTACCESSREVIEWS = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False, verbs=("create",)
)
SELFSUBJECTREVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=("create",)
)
TOKENREVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", False, verbs=("create",))

TABLE: tuple[Resource, ...] = (
    CONFIGMAPS,
    ENDPOINTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
    CONTROLLERREVISIONS,
    STATEFULSETS,
    PETSETS,
    ENDPOINTSLICES,
    STORAGECLASSES,
    LEASES,
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    ROLEBINDINGS,
    ROLES,
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTRULESREVIEWS,
    SUBJECTACCESSREVIEWS,
    SELFSUBJECTREVIEWS,
    TOKENREVIEWS,
)

_BY_KIND = {(row.api_version, row.kind): row for row in TABLE}
_BY_PLURAL = {(row.group, row.version, row.plural): row for row in TABLE}


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The row of an object's apiVersion and kind, or None."""
    return _BY_KIND.get((api_version, kind))


def by_plural(group: str, version: str, plural: str) -> Resource | None:
    """The row of a URL's group ("" is core), version and plural, or None."""
    return _BY_PLURAL.get((group, version, plural))


def of(obj: Object) -> Resource | None:
    """The row of an object, or None."""
    return _BY_KIND.get((obj.get("apiVersion", ""), obj.get("kind", "")))
