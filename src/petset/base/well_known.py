"""Names that Kubernetes gives a meaning: labels, annotations, finalizers, taints, types of Secrets; and groups.

Each is spelled here and nowhere else, so that it cannot be spelled in two ways.
Follows: "Well-Known Labels, Annotations and Taints" of the Kubernetes documentation; for 2016, release 1.3.
"""

from __future__ import annotations

# Of pods and of sets of pods
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
REVISION_LABEL = "controller-revision-hash"  # Of a pod: which revision it was made of.
CONTROLLER_HASH_LABEL = "controller.kubernetes.io/hash"
INITIALIZED_ANNOTATION = "pod.alpha.kubernetes.io/initialized"
INIT_CONTAINERS_ALPHA_ANNOTATION = "pod.alpha.kubernetes.io/init-containers"
INIT_CONTAINERS_BETA_ANNOTATION = "pod.beta.kubernetes.io/init-containers"
HOSTNAME_ANNOTATION = "pod.beta.kubernetes.io/hostname"
SUBDOMAIN_ANNOTATION = "pod.beta.kubernetes.io/subdomain"
DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"
APPARMOR_ANNOTATION_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER_ANNOTATION_PREFIX = "container.seccomp.security.alpha.kubernetes.io/"
POD_DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
POD_TEMPLATE_HASH_LABEL = "pod-template-hash"
DEPLOYMENT_REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
DEPLOYMENT_HISTORY_ANNOTATION = "deployment.kubernetes.io/revision-history"
DEPLOYMENT_WANTED_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
DEPLOYMENT_MOST_ANNOTATION = "deployment.kubernetes.io/max-replicas"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
CONFIG_HASH_ANNOTATION = "kubernetes.io/config.hash"
CONFIG_SOURCE_ANNOTATION = "kubernetes.io/config.source"
CONFIG_SEEN_ANNOTATION = "kubernetes.io/config.seen"
LIMIT_RANGER_ANNOTATION = "kubernetes.io/limit-ranger"
LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

AUTOSCALER_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"
AUTOSCALER_BEHAVIOR_ANNOTATION = "autoscaling.alpha.kubernetes.io/behavior"
AUTOSCALER_CURRENT_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/current-metrics"
AUTOSCALER_CONDITIONS_ANNOTATION = "autoscaling.alpha.kubernetes.io/conditions"

JOB_NAME_LABEL, JOB_UID_LABEL = "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"
JOB_NAME_OLD_LABEL, JOB_UID_OLD_LABEL = "job-name", "controller-uid"
JOB_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"  # An annotation of the same name, too.
JOB_INDEX_FAILURES_ANNOTATION = "batch.kubernetes.io/job-index-failure-count"
CRON_JOB_SCHEDULED_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"
JOB_TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
JOB_CONTROLLER = "kubernetes.io/job-controller"  # Whom spec.managedBy names when nobody else is meant.

# Of services and their endpoints
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_IP_LABEL = "ipaddress.kubernetes.io/managed-by"
IP_FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
SERVICE_CIDR_FINALIZER = "networking.k8s.io/service-cidr-finalizer"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ENDPOINTS_MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
ENDPOINT_SLICE_MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
OVER_CAPACITY_ANNOTATION = "endpoints.kubernetes.io/over-capacity"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LAST_CHANGE_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
INGRESS_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
TOPOLOGY_MODE_ANNOTATION = "service.kubernetes.io/topology-mode"
TOPOLOGY_HINTS_ANNOTATION = "service.kubernetes.io/topology-aware-hints"  # What it was called first.
TOLERATE_UNREADY_ANNOTATION = "service.alpha.kubernetes.io/tolerate-unready-endpoints"

# Of claims, volumes and their classes
PVC_PROTECTION_FINALIZER = "kubernetes.io/pvc-protection"
PV_PROTECTION_FINALIZER = "kubernetes.io/pv-protection"
BIND_COMPLETED_ANNOTATION = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER_ANNOTATION = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY_ANNOTATION = "pv.kubernetes.io/provisioned-by"
CREATED_BY_ANNOTATION = "kubernetes.io/createdby"
STORAGE_PROVISIONER_ANNOTATION = "volume.kubernetes.io/storage-provisioner"
STORAGE_PROVISIONER_BETA_ANNOTATION = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE_ANNOTATION = "volume.kubernetes.io/selected-node"
STORAGE_CLASS_ALPHA_ANNOTATION = "volume.alpha.kubernetes.io/storage-class"
STORAGE_CLASS_BETA_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
DEFAULT_CLASS_BETA_ANNOTATION = "storageclass.beta.kubernetes.io/is-default-class"
STORAGE_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"  # <class>.../requests.storage: what quotas limit of a class.
DEFAULT_SNAPSHOT_CLASS_ANNOTATION = "snapshot.storage.kubernetes.io/is-default-class"
SNAPSHOT_BEING_DELETED_ANNOTATION = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
SNAPSHOT_SOURCE_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
SNAPSHOT_BOUND_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
SNAPSHOT_CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
SNAPSHOT_CLAIM_FINALIZER = "snapshot.storage.kubernetes.io/pvc-as-source-protection"
CLONE_SOURCE_FINALIZER = "provisioner.storage.kubernetes.io/cloning-protection"
HOST_PATH_PROVISIONER = "kubernetes.io/host-path"
NO_PROVISIONER = "kubernetes.io/no-provisioner"

# Of nodes: labels, and the keys of taints
ARCH_LABEL = "kubernetes.io/arch"
OS_LABEL = "kubernetes.io/os"
HOSTNAME_LABEL = "kubernetes.io/hostname"
ROLE_LABEL = "kubernetes.io/role"
INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
REGION_LABEL = "topology.kubernetes.io/region"
CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ZONE_LABEL = "topology.kubernetes.io/zone"
ARCH_BETA_LABEL = "beta.kubernetes.io/arch"
OS_BETA_LABEL = "beta.kubernetes.io/os"
INSTANCE_TYPE_BETA_LABEL = "beta.kubernetes.io/instance-type"
REGION_BETA_LABEL = "failure-domain.beta.kubernetes.io/region"
ZONE_BETA_LABEL = "failure-domain.beta.kubernetes.io/zone"
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
UNREACHABLE_TAINT = "node.kubernetes.io/unreachable"
UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"
DISK_PRESSURE_TAINT = "node.kubernetes.io/disk-pressure"
MEMORY_PRESSURE_TAINT = "node.kubernetes.io/memory-pressure"
PID_PRESSURE_TAINT = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE_TAINT = "node.kubernetes.io/network-unavailable"
OUT_OF_SERVICE_TAINT = "node.kubernetes.io/out-of-service"

# Of namespaces, of what a cluster begins with, and of anything
NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
POD_SECURITY_PREFIX = "pod-security.kubernetes.io/"  # Of labels, and of what is said for the audit log.
CLUSTER_SERVICE_NAME_LABEL = "kubernetes.io/name"
AGGREGATE_TO_LABEL_PREFIX = "rbac.authorization.k8s.io/aggregate-to-"
BOOTSTRAPPING_LABEL = "kubernetes.io/bootstrapping"
AUTOUPDATE_ANNOTATION = "rbac.authorization.kubernetes.io/autoupdate"
AUTOUPDATE_SPEC_ANNOTATION = "apf.kubernetes.io/autoupdate-spec"
DESCRIPTION_ANNOTATION = "kubernetes.io/description"
INITIAL_EVENTS_END_ANNOTATION = "k8s.io/initial-events-end"
CUSTOM_RESOURCE_CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
VALIDATION_FAILURE_AUDIT_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"
API_APPROVED_ANNOTATION = "api-approved.kubernetes.io"
FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"

# Types of Secrets, and what one of them carries
SERVICE_ACCOUNT_TOKEN_SECRET = "kubernetes.io/service-account-token"
MOUNTABLE_SECRETS_ANNOTATION = "kubernetes.io/enforce-mountable-secrets"
SERVICE_ACCOUNT_NAME_ANNOTATION = "kubernetes.io/service-account.name"
DOCKERCFG_SECRET = "kubernetes.io/dockercfg"
DOCKERCONFIGJSON_SECRET = "kubernetes.io/dockerconfigjson"
BASIC_AUTH_SECRET = "kubernetes.io/basic-auth"
SSH_AUTH_SECRET = "kubernetes.io/ssh-auth"
TLS_SECRET = "kubernetes.io/tls"

# Of lines of the audit log
AUDIT_DECISION = "authorization.k8s.io/decision"
AUDIT_REASON = "authorization.k8s.io/reason"

# Who signs certificates
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING_SIGNER = "kubernetes.io/kubelet-serving"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"

# API groups that have no kinds of their own; the others are spelled in the rows of kinds/
ADMISSION_GROUP = "admissionregistration.k8s.io"
AUDIT_GROUP = "audit.k8s.io"
SCHEDULER_CONFIG_GROUP = "kubescheduler.config.k8s.io"
META_GROUP = "meta.k8s.io"  # Options, tables and partial objects.
AUTOMANAGED_LABEL = "kube-aggregator.kubernetes.io/automanaged"  # Of APIServices that the server makes itself.
CLIENT_AUTHENTICATION_GROUP = "client.authentication.k8s.io"  # Of programs that give credentials.
DISCOVERY_GROUP = "apidiscovery.k8s.io"

# This house's own, of pods on simulated nodes: how much each container says that it uses.
NEARLY_FULL_CONDITION = "petset.local/NearlyFull"  # Of a claim: how full its volume is.
SNAPSHOT_LABEL = "petset.local/snapshot"  # Of VolumeSnapshots that were taken as one: what that is called.
SNAPSHOT_OF_LABEL = "petset.local/snapshot-of"  # And of which set.
REVERTING_ANNOTATION = "petset.local/replicas-before-revert"  # Of a set that stands still meanwhile.
MOVE_ANNOTATION = "petset.local/move"  # Of a set that is handed over to another cluster: the move, while it goes on.
MOVED_TO_ANNOTATION = "petset.local/moved-to"  # Of a set, or of a pet's place, that was handed over: where it is now.
MOVED_FROM_ANNOTATION = "petset.local/moved-from"  # Of a set that takes one over: which move, while it goes on.
COPIED_ANNOTATION = "petset.local/copied"  # Of a claim that took over what another held: in which move, its digest.
SIMULATED_CPU_ANNOTATION = "petset.local/simulated-cpu"
SIMULATED_MEMORY_ANNOTATION = "petset.local/simulated-memory"
SIMULATED_NODE = "petset.local/simulated"  # A label of those nodes, and the key of their taint beside real ones.
