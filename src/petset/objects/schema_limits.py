"""How many elements a list of an object may have: a maximum for every list and map, smaller ones where each costs more.

Kubernetes limits most of them by the size of the object alone. Here one process serves, checks and runs everything, so
that each has a number; they are far above what anybody was seen to need. More is a 422 that names the path.
What is typed as anything (a revision's data) is held by `encoding.VALUES_MAX` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LIST_ITEMS_MAX = 10_000
MAP_ENTRIES_MAX = 50_000  # A ConfigMap of 1 MiB in lines has 30,000.

CONTAINERS_MAX = 200  # Each is a process, a cgroup and a file system.
VOLUMES_MAX = 1_000  # Each is a mount.
MOUNTS_MAX = 1_000
LABELS_MAX = 1_000  # Every selector of every watcher looks at them.
OWNERS_MAX = 1_000
FINALIZERS_MAX = 1_000
RULES_MAX = 1_000
RULE_VALUES_MAX = 2_000  # Verbs, groups, resources, names: every request of who holds them looks at them.
WEBHOOKS_MAX = 200  # Of a configuration: each may take its time in every write.
TERMS_MAX = 100  # Of an affinity, a spread or a selector: every pod is held against every node.

_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution"

# How many, of which struct, in which fields.
_PLACES: Sequence[tuple[int, str, str]] = (
    (CONTAINERS_MAX, "core_v1.PodSpec", "containers initContainers ephemeralContainers"),
    (VOLUMES_MAX, "core_v1.PodSpec", "volumes"),
    (VOLUMES_MAX, "core_v1.ProjectedVolumeSource", "sources"),
    (VOLUMES_MAX, "apps_v1.StatefulSetSpec", "volumeClaimTemplates"),
    (MOUNTS_MAX, "core_v1.Container", "volumeMounts volumeDevices"),
    (MOUNTS_MAX, "core_v1.EphemeralContainer", "volumeMounts volumeDevices"),
    (LABELS_MAX, "meta_v1.ObjectMeta", "labels"),
    (LABELS_MAX, "meta_v1.LabelSelector", "matchLabels"),
    (OWNERS_MAX, "meta_v1.ObjectMeta", "ownerReferences"),
    (FINALIZERS_MAX, "meta_v1.ObjectMeta", "finalizers"),
    (FINALIZERS_MAX, "core_v1.NamespaceSpec", "finalizers"),
    (RULES_MAX, "rbac_v1.Role", "rules"),
    (RULES_MAX, "rbac_v1.ClusterRole", "rules"),
    (RULE_VALUES_MAX, "rbac_v1.PolicyRule", "verbs apiGroups resources resourceNames nonResourceURLs"),
    (TERMS_MAX, "rbac_v1.AggregationRule", "clusterRoleSelectors"),
    (WEBHOOKS_MAX, "admissionregistration_v1.MutatingWebhookConfiguration", "webhooks"),
    (WEBHOOKS_MAX, "admissionregistration_v1.ValidatingWebhookConfiguration", "webhooks"),
    (TERMS_MAX, "admissionregistration_v1.MutatingWebhook", "rules"),
    (TERMS_MAX, "admissionregistration_v1.ValidatingWebhook", "rules"),
    (RULE_VALUES_MAX, "admissionregistration_v1.RuleWithOperations", "apiGroups apiVersions operations resources"),
    (TERMS_MAX, "admissionregistration_v1.MatchResources", "resourceRules excludeResourceRules"),
    (
        RULE_VALUES_MAX,
        "admissionregistration_v1.NamedRuleWithOperations",
        "apiGroups apiVersions operations resources resourceNames",
    ),
    (TERMS_MAX, "admissionregistration_v1.ValidatingAdmissionPolicySpec", "validations variables"),
    (TERMS_MAX, "admissionregistration_v1.MutatingAdmissionPolicySpec", "mutations variables"),
    (TERMS_MAX, "meta_v1.LabelSelector", "matchExpressions"),
    (TERMS_MAX, "core_v1.NodeSelector", "nodeSelectorTerms"),
    (TERMS_MAX, "core_v1.NodeSelectorTerm", "matchExpressions matchFields"),
    (TERMS_MAX, "core_v1.NodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"),
    (TERMS_MAX, "core_v1.PodAffinity", _AFFINITY),
    (TERMS_MAX, "core_v1.PodAntiAffinity", _AFFINITY),
    (TERMS_MAX, "core_v1.PodSpec", "topologySpreadConstraints schedulingGates tolerations"),
    (TERMS_MAX, "core_v1.NodeSpec", "taints"),
)

ITEMS_MAX: Mapping[tuple[str, str], int] = {
    (struct, field): most for most, struct, fields in _PLACES for field in fields.split()
}
