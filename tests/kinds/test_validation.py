"""Every check by one wrong field: a valid object of each kind, one place of it changed, the error that follows."""

import copy

import pytest

from petset.kinds import builtin
from petset.objects import errors, meta, validation

REMOVE = object()
SYSCTLS = "spec.securityContext.sysctls"

CONTAINER = {"name": "main", "image": "redis:3.2", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web"}},
    "spec": {"containers": [CONTAINER], "volumes": [{"name": "data", "emptyDir": {}}]},
}
ROOT_VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/"}}
CLAIM_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
SET_SPEC = {
    "serviceName": "web",
    "replicas": 2,
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [CONTAINER]}},
    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM_SPEC}],
}
NAMED = {"name": "web", "namespace": "default"}
GLOBAL = {"name": "web"}
PROBE = {"exec": {"command": ["true"]}}
VALID = {
    "pods": POD,
    "statefulsets": {"metadata": NAMED, "spec": SET_SPEC},
    "petsets": {"metadata": NAMED, "spec": SET_SPEC},
    "services": {"metadata": NAMED, "spec": {"clusterIP": "None", "ports": [{"port": 80, "name": "web"}]}},
    "endpoints": {"metadata": NAMED, "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
    "endpointslices": {
        "metadata": NAMED,
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    },
    "persistentvolumeclaims": {"metadata": NAMED, "spec": CLAIM_SPEC},
    "persistentvolumes": {
        "metadata": GLOBAL,
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}},
    },
    "storageclasses": {"metadata": GLOBAL, "provisioner": "kubernetes.io/host-path"},
    "configmaps": {"metadata": NAMED, "data": {"a": "b"}},
    "secrets": {"metadata": NAMED, "data": {"a": "YQ=="}},
    "serviceaccounts": {"metadata": NAMED},
    "namespaces": {"metadata": GLOBAL},
    "nodes": {"metadata": GLOBAL, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "events": {"metadata": NAMED, "involvedObject": {"namespace": "default"}},
    "leases": {"metadata": NAMED, "spec": {"leaseDurationSeconds": 40}},
    "controllerrevisions": {"metadata": NAMED, "data": {}, "revision": 1},
    "roles": {"metadata": NAMED, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "clusterroles": {"metadata": GLOBAL, "rules": [{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]},
    "rolebindings": {"metadata": NAMED, "roleRef": {"kind": "Role", "name": "r"}},
    "clusterrolebindings": {"metadata": GLOBAL, "roleRef": {"kind": "ClusterRole", "name": "r"}},
}
BY_PLURAL = {row.plural: row for row in builtin.KINDS.each_once() if not row.steps_back}


def with_change(obj, path, value):
    """A copy with one place changed; path steps are keys and list indices; past a list's end appends."""
    obj = copy.deepcopy(obj)
    *parents, last = path
    place = obj
    for step in parents:
        if isinstance(step, int) and step == len(place):
            place.append({})
        elif isinstance(step, str) and step not in place:
            place[step] = {}
        place = place[step]
    if value is REMOVE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return obj


def steps(path):
    return [int(step) if step.isdigit() else step for step in path.split("/")]


def problems(plural, obj, old=None):
    resource = BY_PLURAL[plural]
    obj = resource.default(obj)
    found = [*validation.metadata(resource, obj, old and resource.default(old)), *resource.validate(obj)]
    if old is not None:
        return [*found, *resource.validate_update(obj, resource.default(old))]
    return [*found, *resource.validate_new(obj)]


@pytest.mark.parametrize("plural", VALID)
def test_the_valid_objects_are_valid_and_may_be_written_again(plural):
    assert problems(plural, VALID[plural]) == []
    assert problems(plural, VALID[plural], VALID[plural]) == []


LONG = "x" * 64
SUBDOMAIN_REGEX = r"regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'"
INVALID, REQUIRED, FORBIDDEN = "FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden"
UNSUPPORTED, DUPLICATE, NOT_FOUND = "FieldValueNotSupported", "FieldValueDuplicate", "FieldValueNotFound"
C = "spec/containers/0"
SC = "spec.containers[0]"
T = "spec/template/spec"


@pytest.mark.parametrize(
    ("plural", "place", "value", "field", "reason", "text"),
    [
        # Metadata
        ("configmaps", "metadata/name", "A", "metadata.name", INVALID, SUBDOMAIN_REGEX),
        ("configmaps", "metadata/name", "a..b", "metadata.name", INVALID, "subdomain"),
        ("configmaps", "metadata/name", "x" * 254, "metadata.name", INVALID, "must be no more than 253 characters"),
        ("configmaps", "metadata/name", REMOVE, "metadata.name", REQUIRED, "name or generateName is required"),
        ("configmaps", "metadata/namespace", "a.b", "metadata.namespace", INVALID, "label"),
        ("configmaps", "metadata/generateName", "A-", "metadata.generateName", INVALID, "subdomain"),
        ("namespaces", "metadata/name", "a.b", "metadata.name", INVALID, "RFC 1123 label"),
        ("namespaces", "metadata/namespace", "x", "metadata.namespace", FORBIDDEN, "not allowed on this type"),
        ("services", "metadata/name", "1a", "metadata.name", INVALID, "DNS-1035 label"),
        ("roles", "metadata/name", "a/b", "metadata.name", INVALID, "may not contain '/'"),
        ("roles", "metadata/name", "..", "metadata.name", INVALID, "may not be '..'"),
        ("pods", "metadata/labels/a b", "x", "metadata.labels", INVALID, "name part"),
        ("pods", "metadata/labels/app", "-x", "metadata.labels", INVALID, "a valid label"),
        ("pods", "metadata/labels/app", LONG, "metadata.labels", INVALID, "no more than 63"),
        ("pods", "metadata/annotations/x_", "y", "metadata.annotations", INVALID, "name part"),
        ("pods", "metadata/annotations", {"a": "x" * 262145}, "metadata.annotations", "FieldValueTooLong", "262144"),
        ("pods", "metadata/finalizers", ["x"], "metadata.finalizers[0]", INVALID, "fully qualified"),
        ("pods", "metadata/finalizers", ["orphan", "foregroundDeletion"], "metadata.finalizers", INVALID, "both"),
        (
            "pods",
            "metadata/ownerReferences",
            [{"apiVersion": "v1"}],
            "metadata.ownerReferences[0].kind",
            INVALID,
            "empty",
        ),
        (
            "pods",
            "metadata/ownerReferences",
            [{"apiVersion": "v1", "kind": "A", "name": n, "uid": n, "controller": True} for n in "ab"],
            "metadata.ownerReferences",
            INVALID,
            "only one reference",
        ),
        # Pods
        ("pods", "spec/containers", [], "spec.containers", REQUIRED, ""),
        ("pods", f"{C}/name", "A", f"{SC}.name", INVALID, "RFC 1123 label"),
        ("pods", f"{C}/name", "", f"{SC}.name", REQUIRED, ""),
        ("pods", "spec/containers/1", {"name": "main", "image": "x"}, "spec.containers[1].name", DUPLICATE, '"main"'),
        ("pods", "spec/initContainers", [{"name": "main", "image": "x"}], "spec.initContainers[0].name", DUPLICATE, ""),
        ("pods", f"{C}/image", "", f"{SC}.image", REQUIRED, ""),
        ("pods", f"{C}/image", REMOVE, f"{SC}.image", REQUIRED, ""),
        ("pods", f"{C}/image", " a", f"{SC}.image", INVALID, "whitespace"),
        (
            "pods",
            f"{C}/imagePullPolicy",
            "x",
            f"{SC}.imagePullPolicy",
            UNSUPPORTED,
            '"Always", "IfNotPresent", "Never"',
        ),
        (
            "pods",
            f"{C}/ports",
            [{"containerPort": 70000}],
            f"{SC}.ports[0].containerPort",
            INVALID,
            "between 1 and 65535",
        ),
        ("pods", f"{C}/ports", [{"containerPort": 0}], f"{SC}.ports[0].containerPort", REQUIRED, ""),
        ("pods", f"{C}/ports", [{"containerPort": 1, "name": "A"}], f"{SC}.ports[0].name", INVALID, "lower case"),
        (
            "pods",
            f"{C}/ports",
            [{"containerPort": 1, "name": "12"}],
            f"{SC}.ports[0].name",
            INVALID,
            "at least one letter",
        ),
        (
            "pods",
            f"{C}/ports",
            [{"containerPort": n, "name": "a"} for n in (1, 2)],
            f"{SC}.ports[1].name",
            DUPLICATE,
            "",
        ),
        ("pods", f"{C}/ports", [{"containerPort": 1, "protocol": "x"}], f"{SC}.ports[0].protocol", UNSUPPORTED, "TCP"),
        (
            "pods",
            f"{C}/ports",
            [{"containerPort": n, "hostPort": 5} for n in (1, 2)],
            f"{SC}.ports[1].hostPort",
            DUPLICATE,
            "TCP//5",
        ),
        ("pods", f"{C}/env", [{"name": ""}], f"{SC}.env[0].name", REQUIRED, ""),
        ("pods", f"{C}/env", [{"name": "A=B"}], f"{SC}.env[0].name", INVALID, "environment variable"),
        (
            "pods",
            f"{C}/env",
            [{"name": "A", "valueFrom": {}}],
            f"{SC}.env[0].valueFrom",
            INVALID,
            "must specify one of",
        ),
        (
            "pods",
            f"{C}/env",
            [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            f"{SC}.env[0].valueFrom",
            INVALID,
            "may not be specified when `value` is not empty",
        ),
        (
            "pods",
            f"{C}/env",
            [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}],
            f"{SC}.env[0].valueFrom.fieldRef.fieldPath",
            UNSUPPORTED,
            "metadata.name",
        ),
        (
            "pods",
            f"{C}/env",
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a b"}}}],
            f"{SC}.env[0].valueFrom.secretKeyRef.key",
            INVALID,
            "config key",
        ),
        ("pods", f"{C}/envFrom", [{}], f"{SC}.envFrom[0]", INVALID, "must specify one of"),
        ("pods", f"{C}/volumeMounts/0/name", "x", f"{SC}.volumeMounts[0].name", NOT_FOUND, '"x"'),
        ("pods", f"{C}/volumeMounts/0/mountPath", "", f"{SC}.volumeMounts[0].mountPath", REQUIRED, ""),
        (
            "pods",
            f"{C}/volumeMounts/1",
            {"name": "data", "mountPath": "/data"},
            f"{SC}.volumeMounts[1].mountPath",
            INVALID,
            "must be unique",
        ),
        ("pods", f"{C}/volumeMounts/0/subPath", "../x", f"{SC}.volumeMounts[0].subPath", INVALID, "'..'"),
        ("pods", f"{C}/volumeMounts/0/subPath", "/x", f"{SC}.volumeMounts[0].subPath", INVALID, "relative"),
        ("pods", f"{C}/readinessProbe", {}, f"{SC}.readinessProbe", REQUIRED, "must specify a handler type"),
        (
            "pods",
            f"{C}/readinessProbe",
            {**PROBE, "tcpSocket": {"port": 1}},
            f"{SC}.readinessProbe.tcpSocket",
            FORBIDDEN,
            "more than 1 handler type",
        ),
        ("pods", f"{C}/readinessProbe", {"exec": {}}, f"{SC}.readinessProbe.exec.command", REQUIRED, ""),
        (
            "pods",
            f"{C}/livenessProbe",
            {**PROBE, "successThreshold": 2},
            f"{SC}.livenessProbe.successThreshold",
            INVALID,
            "must be 1",
        ),
        (
            "pods",
            f"{C}/livenessProbe",
            {**PROBE, "initialDelaySeconds": -1},
            f"{SC}.livenessProbe.initialDelaySeconds",
            INVALID,
            "greater than or equal to 0",
        ),
        ("pods", f"{C}/startupProbe", {"httpGet": {"port": "A"}}, f"{SC}.startupProbe.httpGet.port", INVALID, ""),
        ("pods", f"{C}/lifecycle", {"preStop": {}}, f"{SC}.lifecycle.preStop", REQUIRED, "handler"),
        (
            "pods",
            f"{C}/resources",
            {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
            f"{SC}.resources.requests",
            INVALID,
            '"2": must be less than or equal to cpu limit of 1',
        ),
        ("pods", f"{C}/resources", {"limits": {"cpu": "-1"}}, f"{SC}.resources.limits[cpu]", INVALID, "equal to 0"),
        (
            "pods",
            f"{C}/resources",
            {"limits": {"gpu": "1"}},
            f"{SC}.resources.limits[gpu]",
            INVALID,
            "standard resource",
        ),
        ("pods", f"{C}/securityContext", {"runAsUser": -1}, f"{SC}.securityContext.runAsUser", INVALID, ""),
        (
            "pods",
            f"{C}/securityContext",
            {"privileged": True, "allowPrivilegeEscalation": False},
            f"{SC}.securityContext",
            INVALID,
            "privileged",
        ),
        (
            "pods",
            f"{C}/securityContext",
            {"seccompProfile": {"type": "x"}},
            f"{SC}.securityContext.seccompProfile.type",
            UNSUPPORTED,
            "RuntimeDefault",
        ),
        (
            "pods",
            "spec/initContainers",
            [{"name": "i", "image": "x", "readinessProbe": PROBE}],
            "spec.initContainers[0].readinessProbe",
            FORBIDDEN,
            "restartPolicy=Always",
        ),
        ("pods", "spec/ephemeralContainers", [{"name": "e"}], "spec.ephemeralContainers", FORBIDDEN, "create"),
        ("pods", "spec/restartPolicy", "x", "spec.restartPolicy", UNSUPPORTED, '"Always", "Never", "OnFailure"'),
        ("pods", "spec/dnsPolicy", "x", "spec.dnsPolicy", UNSUPPORTED, "ClusterFirst"),
        ("pods", "spec/dnsPolicy", "None", "spec.dnsConfig", REQUIRED, "dnsConfig"),
        ("pods", "spec/dnsConfig", {"nameservers": ["x"]}, "spec.dnsConfig.nameservers[0]", INVALID, "IP address"),
        ("pods", "spec/activeDeadlineSeconds", 0, "spec.activeDeadlineSeconds", INVALID, "between 1 and"),
        ("pods", "spec/hostname", "a.b", "spec.hostname", INVALID, "label"),
        ("pods", "spec/nodeSelector", {"a": "b c"}, "spec.nodeSelector", INVALID, ""),
        ("pods", "spec/tolerations", [{"operator": "Equal"}], "spec.tolerations[0].operator", INVALID, "Exists"),
        (
            "pods",
            "spec/tolerations",
            [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}],
            "spec.tolerations[0].effect",
            INVALID,
            "NoExecute",
        ),
        (
            "pods",
            "spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution",
            [{"topologyKey": ""}],
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            REQUIRED,
            "",
        ),
        ("pods", "spec/securityContext", {"fsGroup": -1}, "spec.securityContext.fsGroup", INVALID, ""),
        *(
            ("pods", "spec/securityContext", {"sysctls": [{"name": name}]}, f"{SYSCTLS}[0].name", INVALID, "sysctl")
            for name in ("net-", "_net", "net.core.", "net..core", "net.-core", "Net", "net.core/")
        ),
        ("pods", "spec/volumes/1", {"name": "data", "emptyDir": {}}, "spec.volumes[1].name", DUPLICATE, ""),
        (
            "pods",
            "spec/volumes/0/hostPath",
            {"path": "/x"},
            "spec.volumes[0].hostPath",
            FORBIDDEN,
            "may not specify more than 1 volume type",
        ),
        (
            "pods",
            "spec/volumes/1",
            {"name": "h", "hostPath": {"path": "/a/../b"}},
            "spec.volumes[1].hostPath.path",
            INVALID,
            "must not contain '..'",
        ),
        (
            "pods",
            "spec/volumes/1",
            {"name": "h", "secret": {"secretName": "s", "defaultMode": 512}},
            "spec.volumes[1].secret.defaultMode",
            INVALID,
            "0777",
        ),
        (
            "pods",
            "spec/volumes/1",
            {"name": "h", "configMap": {"name": "s", "items": [{"key": "a", "path": "../x"}]}},
            "spec.volumes[1].configMap.items[0].path",
            INVALID,
            "..",
        ),
        (
            "pods",
            "spec/volumes/1",
            {"name": "h", "projected": {"sources": [{}]}},
            "spec.volumes[1].projected.sources[0]",
            REQUIRED,
            "",
        ),
        (
            "pods",
            "spec/volumes/1",
            {"name": "p", "persistentVolumeClaim": {"claimName": "A"}},
            "spec.volumes[1].persistentVolumeClaim.claimName",
            INVALID,
            "",
        ),
        # Sets
        *(
            (plural, *rest)
            for plural in ("statefulsets", "petsets")
            for rest in (
                ("metadata/name", "x" * 53, "metadata.name", INVALID, "no more than 52 characters"),
                ("metadata/name", "a.b", "metadata.name", INVALID, "label"),
                ("spec/replicas", -1, "spec.replicas", INVALID, "greater than or equal to 0"),
                ("spec/minReadySeconds", -1, "spec.minReadySeconds", INVALID, ""),
                ("spec/serviceName", "A", "spec.serviceName", INVALID, ""),
                ("spec/podManagementPolicy", "x", "spec.podManagementPolicy", INVALID, "'OrderedReady' or 'Parallel'"),
                (
                    "spec/updateStrategy",
                    {"type": "x"},
                    "spec.updateStrategy.type",
                    INVALID,
                    "'RollingUpdate', 'OnDelete' or 'Recreate'",
                ),
                (
                    "spec/updateStrategy",
                    {"rollingUpdate": {"partition": -1}},
                    "spec.updateStrategy.rollingUpdate.partition",
                    INVALID,
                    "",
                ),
                (
                    "spec/updateStrategy",
                    {"rollingUpdate": {"maxUnavailable": "x%"}},
                    "spec.updateStrategy.rollingUpdate.maxUnavailable",
                    INVALID,
                    "percent",
                ),
                (
                    "spec/selector",
                    {"matchLabels": {"app": "db"}},
                    "spec.template.metadata.labels",
                    INVALID,
                    "`selector` does not match template `labels`",
                ),
                (
                    "spec/selector",
                    {"matchExpressions": [{"key": "app", "operator": "x"}]},
                    "spec.selector.matchExpressions[0].operator",
                    INVALID,
                    "not a valid selector operator",
                ),
                (f"{T}/restartPolicy", "Never", f"{T.replace('/', '.')}.restartPolicy", UNSUPPORTED, '"Always"'),
                (f"{T}/activeDeadlineSeconds", 1, f"{T.replace('/', '.')}.activeDeadlineSeconds", FORBIDDEN, ""),
                (f"{T}/containers/0/image", "", f"{T.replace('/', '.')}.containers[0].image", REQUIRED, ""),
                (
                    f"{T}/containers/0/volumeMounts/0/name",
                    "other",
                    f"{T.replace('/', '.')}.containers[0].volumeMounts[0].name",
                    NOT_FOUND,
                    '"other"',
                ),
                (
                    "spec/volumeClaimTemplates/0/spec/accessModes",
                    [],
                    "spec.volumeClaimTemplates[0].spec.accessModes",
                    REQUIRED,
                    "",
                ),
                (
                    "spec/persistentVolumeClaimRetentionPolicy",
                    {"whenScaled": "x"},
                    "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
                    INVALID,
                    "",
                ),
                ("status/readyReplicas", 1, "status.readyReplicas", INVALID, "cannot be greater than status.replicas"),
            )
        ),
        ("statefulsets", "spec/selector", REMOVE, "spec.selector", REQUIRED, ""),
        ("statefulsets", "spec/selector", {}, "spec.selector", INVALID, "empty selector is not valid for statefulset."),
        ("controllerrevisions", "revision", -1, "revision", INVALID, ""),
        ("controllerrevisions", "data", REMOVE, "data", REQUIRED, "mandatory"),
        # Services
        (
            "services",
            "spec/type",
            "x",
            "spec.type",
            UNSUPPORTED,
            '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        ),
        ("services", "spec/clusterIP", "x", "spec.clusterIP", INVALID, "IP address"),
        ("services", "spec", {"clusterIP": "10.0.0.1"}, "spec.ports", REQUIRED, ""),
        ("services", "spec/ports/1", {"port": 81}, "spec.ports[1].name", REQUIRED, ""),
        ("services", "spec/ports/1", {"port": 81, "name": "web"}, "spec.ports[1].name", DUPLICATE, ""),
        ("services", "spec/ports/1", {"port": 80, "name": "b"}, "spec.ports[1]", DUPLICATE, '"port":80'),
        ("services", "spec/ports/0/port", 0, "spec.ports[0].port", INVALID, "between 1 and 65535"),
        ("services", "spec/ports/0/targetPort", "A", "spec.ports[0].targetPort", INVALID, ""),
        ("services", "spec/ports/0/nodePort", 30000, "spec.ports[0].nodePort", FORBIDDEN, "'ClusterIP'"),
        ("services", "spec/selector", {"a": "b c"}, "spec.selector", INVALID, ""),
        ("services", "spec/sessionAffinity", "x", "spec.sessionAffinity", UNSUPPORTED, ""),
        ("services", "spec", {"type": "ExternalName"}, "spec.externalName", REQUIRED, ""),
        ("endpoints", "subsets/0/addresses/0/ip", "x", "subsets[0].addresses[0].ip", INVALID, ""),
        ("endpoints", "subsets/0/ports/1", {"port": 81}, "subsets[0].ports[0].name", REQUIRED, ""),
        ("endpointslices", "addressType", "x", "addressType", UNSUPPORTED, ""),
        ("endpointslices", "endpoints/0/addresses", [], "endpoints[0].addresses", REQUIRED, ""),
        ("endpointslices", "endpoints/0/addresses/0", "x", "endpoints[0].addresses[0]", INVALID, ""),
        # Storage
        ("persistentvolumeclaims", "spec/accessModes", [], "spec.accessModes", REQUIRED, "at least 1 access mode"),
        ("persistentvolumeclaims", "spec/accessModes", ["x"], "spec.accessModes", UNSUPPORTED, '"ReadWriteOnce"'),
        ("persistentvolumeclaims", "spec/resources", {}, "spec.resources[storage]", REQUIRED, ""),
        (
            "persistentvolumeclaims",
            "spec/resources/requests/storage",
            "0",
            "spec.resources[storage]",
            INVALID,
            "must be greater than zero",
        ),
        ("persistentvolumeclaims", "spec/volumeMode", "x", "spec.volumeMode", UNSUPPORTED, ""),
        ("persistentvolumeclaims", "spec/storageClassName", "A", "spec.storageClassName", INVALID, ""),
        ("persistentvolumes", "spec/hostPath", REMOVE, "spec", REQUIRED, "must specify a volume type"),
        ("persistentvolumes", "spec/local", {"path": "/x"}, "spec.local", FORBIDDEN, "more than 1"),
        (
            "persistentvolumes",
            "spec",
            {**ROOT_VOLUME, "persistentVolumeReclaimPolicy": "Recycle"},
            "spec.persistentVolumeReclaimPolicy",
            FORBIDDEN,
            "recycle",
        ),
        ("persistentvolumes", "spec/capacity", {}, "spec.capacity[storage]", REQUIRED, ""),
        (
            "persistentvolumes",
            "spec/persistentVolumeReclaimPolicy",
            "x",
            "spec.persistentVolumeReclaimPolicy",
            UNSUPPORTED,
            "",
        ),
        ("storageclasses", "provisioner", "", "provisioner", REQUIRED, ""),
        ("storageclasses", "volumeBindingMode", "x", "volumeBindingMode", UNSUPPORTED, ""),
        # The rest
        ("configmaps", "data", {"a b": ""}, "data[a b]", INVALID, "config key"),
        ("configmaps", "data", {"..": ""}, "data[..]", INVALID, ""),
        ("configmaps", "binaryData", {"a": ""}, "data[a]", INVALID, "duplicate of key"),
        ("configmaps", "data", {"a": "x" * 1048577}, "data", "FieldValueTooLong", "1048576"),
        ("secrets", "type", "kubernetes.io/tls", "data[tls.crt]", REQUIRED, ""),
        ("secrets", "type", "kubernetes.io/basic-auth", "data[username]", REQUIRED, ""),
        ("serviceaccounts", "imagePullSecrets", [{}], "imagePullSecrets[0].name", REQUIRED, ""),
        ("namespaces", "spec", {"finalizers": ["x"]}, "spec.finalizers[0]", INVALID, ""),
        ("nodes", "spec/taints/0/effect", "x", "spec.taints[0].effect", UNSUPPORTED, "NoSchedule"),
        ("nodes", "spec/taints/1", {"key": "a", "effect": "NoSchedule"}, "spec.taints[1]", DUPLICATE, ""),
        ("events", "involvedObject/namespace", "x", "involvedObject.namespace", INVALID, "does not match"),
        ("leases", "spec/leaseDurationSeconds", -1, "spec.leaseDurationSeconds", INVALID, "greater than 0"),
        ("roles", "rules/0/verbs", [], "rules[0].verbs", REQUIRED, "at least one value"),
        ("roles", "rules/0/resources", [], "rules[0].resources", REQUIRED, "at least one resource"),
        ("roles", "rules/0/nonResourceURLs", ["/x"], "rules[0].nonResourceURLs", INVALID, "namespaced rules"),
        ("clusterroles", "rules/0/resources", ["x"], "rules[0].nonResourceURLs", INVALID, "both"),
        ("rolebindings", "roleRef/kind", "x", "roleRef.kind", UNSUPPORTED, '"ClusterRole", "Role"'),
        ("clusterrolebindings", "roleRef/kind", "Role", "roleRef.kind", UNSUPPORTED, '"ClusterRole"'),
        ("rolebindings", "roleRef/name", "", "roleRef.name", REQUIRED, ""),
        ("rolebindings", "subjects", [{"kind": "x", "name": "a"}], "subjects[0].kind", UNSUPPORTED, ""),
        ("rolebindings", "subjects", [{"kind": "ServiceAccount", "name": "a"}], "subjects[0].namespace", REQUIRED, ""),
    ],
)
def test_one_wrong_field(plural, place, value, field, reason, text):
    found = problems(plural, with_change(VALID[plural], steps(place), value))
    assert [(error.field, error.reason) for error in found if error.field == field and error.reason == reason], found
    assert any(error.field == field and text in error.message for error in found), found


@pytest.mark.parametrize(
    ("plural", "place", "value"),
    [
        ("pods", "metadata/name", "a.b.c"),
        ("pods", "spec/hostNetwork", True),
        (
            "pods",
            "spec/initContainers",
            [{"name": "s", "image": "x", "restartPolicy": "Always", "readinessProbe": PROBE}],
        ),
        ("pods", f"{C}/env", [{"name": "a.b-c d", "value": "x"}, {"name": "E", "value": ""}]),
        ("pods", f"{C}/env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x/y']"}}}]),
        ("pods", f"{C}/resources", {"limits": {"nvidia.com/gpu": "1", "memory": "1Gi"}}),
        ("pods", f"{C}/readinessProbe", {**PROBE, "successThreshold": 2}),
        ("pods", f"{C}/ports", [{"containerPort": 53, "protocol": p} for p in ("TCP", "UDP")]),
        ("pods", "spec/dnsConfig", {"searches": ["a_b.c."], "nameservers": ["10.0.0.1"]}),
        ("pods", "spec/tolerations", [{"operator": "Exists"}]),
        ("pods", "spec/securityContext", {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}),
        ("pods", "spec/securityContext", {"sysctls": [{"name": "net/ipv4/ip_local-port__range", "value": "1"}]}),
        ("roles", "metadata/name", "system:x"),
        ("statefulsets", "metadata/name", "x" * 52),
        ("statefulsets", "spec/updateStrategy", {"rollingUpdate": {"partition": 1, "maxUnavailable": "50%"}}),
        ("statefulsets", f"{T}/volumes", [{"name": "data", "emptyDir": {}}]),
        ("services", "spec", {"clusterIP": "None"}),
        ("services", "spec", {"type": "ExternalName", "externalName": "example.com."}),
        ("configmaps", "data", {".hidden-key_1": "x"}),
        ("events", "metadata/name", "web-0.17b2c1d2e3"),
    ],
)
def test_what_is_allowed(plural, place, value):
    assert problems(plural, with_change(VALID[plural], steps(place), value)) == []


@pytest.mark.parametrize("plural", ["statefulsets", "petsets"])
def test_sets_change_only_what_a_running_set_can_follow(plural):
    old = VALID[plural]
    for place, value in (
        ("spec/replicas", 5),
        (f"{T}/containers/0/image", "redis:4"),
        ("spec/updateStrategy", {"type": "OnDelete"}),
        ("spec/updateStrategy", {"type": "Recreate"}),
        ("spec/minReadySeconds", 5),
        ("spec/revisionHistoryLimit", 1),
        ("spec/ordinals", {"start": 2}),
        ("spec/persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Delete"}),
        ("metadata/labels", {"a": "b"}),
    ):
        assert problems(plural, with_change(old, steps(place), value), old) == [], place
    message = (
        f"Forbidden: updates to {plural.removesuffix('s')} spec for fields other than 'replicas', 'ordinals', "
        "'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
        "'minReadySeconds' are forbidden"
    )
    for place, value in (
        ("spec/serviceName", "other"),
        ("spec/podManagementPolicy", "Parallel"),
        ("spec/volumeClaimTemplates/0/spec/resources/requests/storage", "2Gi"),
    ):
        (error,) = problems(plural, with_change(old, steps(place), value), old)
        assert (error.field, error.message) == ("spec", message)


@pytest.mark.parametrize(
    ("plural", "place", "value", "field", "text"),
    [
        ("pods", f"{C}/command", ["x"], "spec", "spec.containers"),
        (
            "pods",
            "spec/containers/1",
            {"name": "b", "image": "b"},
            "spec.containers",
            "may not add or remove containers",
        ),
        ("pods", "spec/terminationGracePeriodSeconds", 1, "spec", "pod updates may not change fields other than"),
        ("pods", "spec/activeDeadlineSeconds", 0, "spec.activeDeadlineSeconds", "greater than 0"),
        ("pods", "spec/schedulingGates", [{"name": "a/b"}], "spec.schedulingGates[0]", "only deletion"),
        ("pods", "metadata/uid", "x", "metadata.uid", "field is immutable"),
        ("services", "spec/clusterIP", "10.0.0.1", "spec.clusterIP", "may not change once set"),
        ("persistentvolumeclaims", "spec/accessModes", ["ReadWriteMany"], "spec", "spec is immutable after creation"),
        (
            "persistentvolumeclaims",
            "spec/resources/requests/storage",
            "2Gi",
            "spec",
            "spec is immutable after creation",
        ),
        ("persistentvolumes", "spec/hostPath/path", "/y", "spec.persistentvolumesource", "immutable"),
        ("storageclasses", "provisioner", "other", "provisioner", "updates to provisioner are forbidden."),
        ("storageclasses", "parameters", {"a": "b"}, "parameters", "updates to parameters are forbidden."),
        ("storageclasses", "volumeBindingMode", "WaitForFirstConsumer", "volumeBindingMode", "immutable"),
        ("secrets", "type", "x/y", "type", "field is immutable"),
        ("controllerrevisions", "data", {"a": 1}, "data", "field is immutable"),
        ("endpointslices", "addressType", "FQDN", "addressType", "immutable"),
        ("rolebindings", "roleRef/name", "other", "roleRef", "cannot change roleRef"),
    ],
)
def test_what_may_not_change(plural, place, value, field, text):
    old = VALID[plural]
    found = problems(plural, with_change(old, steps(place), value), old)
    assert any(error.field == field and text in error.message for error in found), found


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{C}/image", "redis:4"),
        ("spec/activeDeadlineSeconds", 10),
        ("spec/tolerations", [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
        ("spec/nodeName", "n1"),
        ("metadata/labels/x", "y"),
    ],
)
def test_what_may_change_in_a_pod(place, value):
    assert problems("pods", with_change(POD, steps(place), value), POD) == []


def test_a_pod_is_bound_once_and_its_tolerations_stay():
    bound = meta.changed(POD, ("spec", "nodeName"), "n1")
    assert problems("pods", meta.changed(POD, ("spec", "nodeName"), "n2"), bound)
    tolerant = meta.changed(POD, ("spec", "tolerations"), [{"key": "a", "operator": "Exists"}])
    assert problems("pods", POD, tolerant)
    limited = meta.changed(POD, ("spec", "activeDeadlineSeconds"), 10)
    assert problems("pods", meta.changed(POD, ("spec", "activeDeadlineSeconds"), 20), limited)
    assert problems("pods", POD, limited)
    assert problems("pods", meta.changed(POD, ("spec", "activeDeadlineSeconds"), 5), limited) == []
    negative = meta.changed(POD, ("spec", "terminationGracePeriodSeconds"), -5)
    one = meta.changed(POD, ("spec", "terminationGracePeriodSeconds"), 1)
    assert problems("pods", one, negative) == []


def test_a_bound_claim_may_grow_and_an_unbound_one_be_bound():
    claim = VALID["persistentvolumeclaims"]
    bound = {
        **meta.changed(claim, ("spec", "volumeName"), "pv"),
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    }
    larger = meta.changed(bound, ("spec", "resources", "requests"), {"storage": "2Gi"})
    assert problems("persistentvolumeclaims", larger, bound) == []
    smaller = meta.changed(bound, ("spec", "resources", "requests"), {"storage": "1Mi"})
    assert problems("persistentvolumeclaims", smaller, bound)
    assert problems("persistentvolumeclaims", bound, claim) == []
    assert problems("persistentvolumeclaims", meta.changed(bound, ("spec", "volumeName"), "other"), bound)


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_what_is_marked_immutable_stays(plural):
    old = {**VALID[plural], "immutable": True}
    assert problems(plural, old, VALID[plural]) == []
    changed = {**old, "data": {"a": "Yg=="}}
    assert [error.field for error in problems(plural, changed, old)] == ["data"]
    assert [error.field for error in problems(plural, VALID[plural], old)] == ["immutable"]


@pytest.mark.parametrize("finalizer", ["kubernetes", "orphan", "foregroundDeletion", "example.com/mine"])
def test_a_namespace_takes_the_finalizers_that_any_object_takes(finalizer):
    assert problems("namespaces", meta.changed(VALID["namespaces"], ("spec", "finalizers"), [finalizer])) == []


def test_a_deleted_object_gets_no_new_finalizers():
    old = {"metadata": {**NAMED, "deletionTimestamp": "2016-08-03T00:00:00Z", "finalizers": ["a/b"]}}
    new = {"metadata": {**old["metadata"], "finalizers": ["a/b", "c/d"]}}
    (error,) = problems("configmaps", new, old)
    assert (error.field, error.reason) == ("metadata.finalizers", FORBIDDEN)
    gone = {"metadata": {key: value for key, value in old["metadata"].items() if key != "finalizers"}}
    assert problems("configmaps", gone, old) == []


def test_the_answer_reads_as_kubectl_users_know_it():
    found = problems("statefulsets", with_change(VALID["statefulsets"], ["spec", "replicas"], -1))
    error = errors.invalid("StatefulSet", "web", found, "apps")
    assert error.message == (
        'StatefulSet.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    assert error.status()["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0",
            "field": "spec.replicas",
        }
    ]
