"""Role, RoleBinding, ClusterRole, ClusterRoleBinding."""

from __future__ import annotations

from petset.kinds import defaults, validation_access
from petset.objects.registry import Kind

ROLES = Kind(
    "rbac.authorization.k8s.io",
    "v1",
    "roles",
    "Role",
    validate=validation_access.role,
)

ROLEBINDINGS = Kind(
    "rbac.authorization.k8s.io",
    "v1",
    "rolebindings",
    "RoleBinding",
    default=defaults.binding,
    validate=validation_access.role_binding,
    validate_update=validation_access.binding_update,
)

CLUSTERROLES = Kind(
    "rbac.authorization.k8s.io",
    "v1",
    "clusterroles",
    "ClusterRole",
    False,
    validate=validation_access.cluster_role,
)

CLUSTERROLEBINDINGS = Kind(
    "rbac.authorization.k8s.io",
    "v1",
    "clusterrolebindings",
    "ClusterRoleBinding",
    False,
    default=defaults.binding,
    validate=validation_access.cluster_role_binding,
    validate_update=validation_access.binding_update,
)

KINDS = (
    ROLES,
    ROLEBINDINGS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
)
