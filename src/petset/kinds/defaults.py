"""What the API server fills in where an object says nothing: one function a kind, attached in resources.py.

Each takes a frozen tree and returns the same tree, or a new one that shares whatever did not change, so that a write
of an object that is already complete costs a few look-ups (see filling.py). Pods and their templates have a module
of their own, defaults_pod. The values are those that the API reference documents.
"""

from __future__ import annotations

import base64

from petset.kinds import defaults_pod
from petset.objects import meta
from petset.objects.filling import at, each, fill, fill_empty, within
from petset.objects.meta import Object

RBAC_GROUP = "rbac.authorization.k8s.io"
SESSION_AFFINITY_SECONDS = 10_800
REVISIONS_KEPT = 10


# -- core ---------------------------------------------------------------------------------------------------------


def service(obj: Object) -> Object:
    return within(obj, "spec", _service_spec)


def _service_spec(spec: Object) -> Object:
    spec = fill_empty(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    kind = spec["type"]
    if spec["sessionAffinity"] == "ClientIP":
        config = {"clientIP": {"timeoutSeconds": SESSION_AFFINITY_SECONDS}}
        if not meta.get(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds"):
            spec = {**spec, "sessionAffinityConfig": config}
    spec = at(spec, "ports", lambda ports: each(ports, _service_port))
    if kind == "ExternalName":
        return spec
    spec = fill_empty(spec, {"internalTrafficPolicy": "Cluster"})
    if kind in ("NodePort", "LoadBalancer"):
        spec = fill_empty(spec, {"externalTrafficPolicy": "Cluster"})
    if kind == "LoadBalancer":
        spec = fill(spec, {"allocateLoadBalancerNodePorts": True})
    if spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec = {**spec, "clusterIP": spec["clusterIPs"][0]}
    if spec.get("clusterIP"):
        spec = fill_empty(spec, {"clusterIPs": [spec["clusterIP"]]})
    return fill_empty(spec, {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})


def _service_port(port: Object) -> Object:
    return fill_empty(port, {"protocol": "TCP", "targetPort": port.get("port")})


def endpoints(obj: Object) -> Object:
    def subset(given: Object) -> Object:
        return at(given, "ports", lambda ports: each(ports, lambda port: fill_empty(port, {"protocol": "TCP"})))

    return at(obj, "subsets", lambda subsets: each(subsets, subset))


def endpoint_slice(obj: Object) -> Object:
    def port(given: Object) -> Object:
        return fill(fill_empty(given, {"protocol": "TCP"}), {"name": ""})

    return at(obj, "ports", lambda ports: each(ports, port))


def claim(obj: Object) -> Object:
    obj = within(obj, "spec", lambda spec: fill_empty(spec, {"volumeMode": "Filesystem"}))
    return within(obj, "status", lambda status: fill_empty(status, {"phase": "Pending"}))


def volume(obj: Object) -> Object:
    def spec(given: Object) -> Object:
        given = fill_empty(given, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
        return at(given, "hostPath", lambda source: fill(source, {"type": ""}))

    obj = within(obj, "spec", spec)
    return within(obj, "status", lambda status: fill_empty(status, {"phase": "Pending"}))


def secret(obj: Object) -> Object:
    """The type, and what was given as text joins the data; it is never read back as text."""
    obj = fill_empty(obj, {"type": "Opaque"})
    if "stringData" not in obj:
        return obj
    texts = {key: base64.b64encode(text.encode()).decode() for key, text in (obj["stringData"] or {}).items()}
    rest = {key: value for key, value in obj.items() if key != "stringData"}
    return {**rest, "data": {**(rest.get("data") or {}), **texts}} if texts else rest


def namespace(obj: Object) -> Object:
    return within(obj, "status", lambda status: fill_empty(status, {"phase": "Active"}))


def node(obj: Object) -> Object:
    def status(given: Object) -> Object:
        return fill_empty(given, {"allocatable": given["capacity"]}) if given.get("capacity") else given

    return at(obj, "status", status)


# -- apps ---------------------------------------------------------------------------------------------------------


def stateful_set(obj: Object) -> Object:
    return within(obj, "spec", _stateful_set_spec)


def pet_set(obj: Object) -> Object:
    """A StatefulSet's defaults; selector and labels come from the template's labels where they are missing."""
    labels = meta.get(obj, "spec", "template", "metadata", "labels", default={})
    if labels:
        if not meta.get(obj, "spec", "selector"):
            obj = meta.changed(obj, ("spec", "selector"), {"matchLabels": dict(labels)})
        if not meta.get(obj, "metadata", "labels"):
            obj = meta.changed(obj, ("metadata", "labels"), dict(labels))
    return stateful_set(obj)


def _stateful_set_spec(spec: Object) -> Object:
    spec = fill(spec, {"replicas": 1, "revisionHistoryLimit": REVISIONS_KEPT})
    spec = fill_empty(spec, {"podManagementPolicy": "OrderedReady"})
    spec = within(spec, "updateStrategy", _update_strategy)
    spec = within(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        lambda policy: fill_empty(policy, {"whenDeleted": "Retain", "whenScaled": "Retain"}),
    )
    spec = at(spec, "template", defaults_pod.template)
    return at(spec, "volumeClaimTemplates", lambda templates: each(templates, _claim_template))


def _update_strategy(strategy: Object) -> Object:
    strategy = fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return within(strategy, "rollingUpdate", lambda rolling: fill(rolling, {"partition": 0}))


def _claim_template(template: Object) -> Object:
    return claim(fill_empty(template, {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}))


# -- storage and access -------------------------------------------------------------------------------------------


def storage_class(obj: Object) -> Object:
    return fill_empty(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def binding(obj: Object) -> Object:
    """Role and cluster role bindings: the API groups of the role and of users and groups."""

    def subject(given: Object) -> Object:
        return given if given.get("kind") == "ServiceAccount" else fill_empty(given, {"apiGroup": RBAC_GROUP})

    obj = at(obj, "roleRef", lambda role: fill_empty(role, {"apiGroup": RBAC_GROUP}))
    return at(obj, "subjects", lambda subjects: each(subjects, subject))
