# ruff: noqa: E501
"""The nastiest requests: each has a body that grows, and the answer it is given at two sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cbor2

from petset.objects import meta
from petset.wire import http
from tests.server import conftest
from tests.server.conftest import ADMIN, JANE, configmap, pod

LARGER = 4
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SETS = "/apis/apps/v1alpha1/namespaces/default/petsets"
SERVICES = "/api/v1/namespaces/default/services"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
YAML, PROTOBUF, CBOR = "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"
STRATEGIC, MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"


DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
QUOTAS, RANGES = "/api/v1/namespaces/default/resourcequotas", "/api/v1/namespaces/default/limitranges"


def bounded(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "b"}, "spec": spec}


def ruled(n: int, rule: Callable[[str], str]) -> dict[str, Any]:
    """A definition with n fields, and a rule for each of them."""
    fields = names(n, "f")
    rules = [{"rule": rule(name.replace("-", "__dash__"))} for name in fields]
    kind = {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}}
    schema = {"type": "object", "properties": dict.fromkeys(fields, kind), "x-kubernetes-validations": rules}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    kinds = {"plural": f"nasty{n}s", "singular": f"nasty{n}", "kind": f"Nasty{n}", "listKind": f"Nasty{n}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"nasty{n}s.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": kinds, "versions": [version]},
    }


@dataclass(frozen=True)
class Nasty:
    """A request whose body grows: at `small` and at LARGER times that it is answered with `code`."""

    name: str
    code: int
    small: int
    body: Callable[[int], Any]
    target: str = CONFIGMAPS
    kind: str = "application/json"
    method: str = "POST"
    user: http.User = ADMIN
    before: Callable[[int], Any] | None = None  # The object that a PATCH finds.
    query: Callable[[int], str] = lambda n: ""
    subresource: str = ""  # Of the object that a PATCH finds.


def names(n: int, word: str = "k") -> list[str]:
    """No two sizes share a name, so that none is known from before."""
    return [f"{word}{n}-{i}" for i in range(n)]


def owner(i: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": f"o{i}", "uid": f"u{i}"}


def owned(n: int) -> dict[str, Any]:
    return meta.changed(configmap("held"), ("metadata", "ownerReferences"), [owner(i) for i in range(n)])


def applied_owners(n: int) -> dict[str, Any]:
    return meta.changed(configmap("held"), ("metadata", "ownerReferences"), [owner(i) for i in reversed(range(n))])


def managed_fields(n: int) -> dict[str, Any]:
    entry = {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    entries = [{**entry, "manager": k, "fieldsV1": {f"f:{k}": {}, 'k:{"b": 1, "a": 2}': {}}} for k in names(n)]
    return {"metadata": {"managedFields": entries, "labels": {"a": "b"}}}


def with_metadata(field: str, value: Callable[[int], Any]) -> Callable[[int], Any]:
    return lambda n: meta.changed(configmap("a"), ("metadata", field), value(n))


def containers(n: int) -> list[dict[str, Any]]:
    port = {"containerPort": 80, "name": "web"}
    return [{"name": f"c{i}", "image": "i", "ports": [{**port, "hostPort": 1 + i}]} for i in range(n)]


def policy(names: list[str] | None = None, **spec: Any) -> dict[str, Any]:
    rule = {"apiGroups": ["x"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}
    match = {"resourceRules": [{**rule, **({"resourceNames": names} if names else {})}]}
    given = {"matchConstraints": match, "validations": [{"expression": "true"}], **spec}
    return {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "a"}, "spec": given}


def one_container(**fields: Any) -> dict[str, Any]:
    return pod("a", containers=[{"name": "c", "image": "i", **fields}])


def volumes(n: int) -> dict[str, Any]:
    mounts = [{"name": f"v{i}", "mountPath": f"/m{i}"} for i in range(n)]
    made = [{"name": f"v{i}", "emptyDir": {}} for i in range(n)]
    return pod("a", volumes=made, containers=[{"name": "c", "image": "i", "volumeMounts": mounts}])


def variables(n: int) -> dict[str, Any]:
    chain = [{"name": f"A{i}", "value": f"$(A{i - 1 if i % 9 else 0})x"} for i in range(n)]
    return one_container(env=chain, args=["$(A0)"] * n)


def doubling(n: int) -> dict[str, Any]:
    return one_container(
        env=[{"name": "A0", "value": "x" * 64}] + [{"name": f"A{i + 1}", "value": f"$(A{i})" * 2} for i in range(n)]
    )


def claims(n: int) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return conftest.petset("a", volumeClaimTemplates=[{"metadata": {"name": f"v{i}"}, "spec": spec} for i in range(n)])


def service(n: int) -> dict[str, Any]:
    ports = [{"name": f"p{i}", "port": 1 + i} for i in range(n)]
    spec = {"clusterIP": "None", "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec}


def endpoints(n: int) -> dict[str, Any]:
    subset = {"addresses": [{"ip": f"10.0.{i // 256}.{i % 256}"} for i in range(n)], "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "a"}, "subsets": [subset]}


def slices(n: int) -> dict[str, Any]:
    given = [{"addresses": [f"10.0.{i // 256}.{i % 256}"]} for i in range(n)]
    made = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "a"}}
    return {**made, "addressType": "IPv4", "endpoints": given, "ports": []}


def role(*rules: Any) -> dict[str, Any]:
    made = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "a"}}
    return {**made, "rules": list(rules)}


def rule(n: int, word: str = "") -> dict[str, Any]:
    return {"verbs": names(n, word + "v"), "apiGroups": names(n, word + "g"), "resources": names(n, word + "r")}


def review(n: int) -> dict[str, Any]:
    spec = {"user": "x", "groups": names(n), "extra": {key: ["v"] * 3 for key in names(n)}}
    asked = {"verb": "get", "resource": "pods"}
    made = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}}
    return {**made, "spec": {**spec, "resourceAttributes": asked}}


def selecting(field: str, n: int) -> dict[str, Any]:
    asked = review(1)
    requirements = [{"key": k, "operator": "In", "values": [k]} for k in names(n)]
    attributes = {"verb": "list", "resource": "pods", field: {"requirements": requirements}}
    return {**asked, "spec": {**asked["spec"], "resourceAttributes": attributes}}


def versions(n: int) -> dict[str, Any]:
    """Owners that each wrote in another version, of which the kind has none."""
    entries = [
        {**entry, "apiVersion": f"g{i}/v1"} for i, entry in enumerate(managed_fields(n)["metadata"]["managedFields"])
    ]
    return {"metadata": {"managedFields": entries}}


def yaml(n: int) -> bytes:
    lines = "".join(f"  k{i}: the value\n" for i in range(n))
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n{lines}".encode()


def protobuf(*fields: bytes) -> bytes:
    """A ConfigMap's message of these fields, in its envelope."""
    kind = field(1, field(1, b"v1") + field(2, b"ConfigMap"))
    return b"k8s\0" + kind + field(2, field(1, field(1, b"a")) + b"".join(fields))


def field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def copies(n: int) -> list[dict[str, Any]]:
    """Each operation doubles what is there."""
    return [{"op": "copy", "from": "/data", "path": "/data/a"} for _ in range(n)]


def additions(n: int) -> list[dict[str, Any]]:
    return [{"op": "add", "path": "/metadata/ownerReferences/0", "value": owner(i + 1000)} for i in range(n)]


def order(n: int) -> dict[str, Any]:
    uids = [{"uid": f"u{i}"} for i in reversed(range(n))]
    return {"metadata": {"$setElementOrder/ownerReferences": uids, "ownerReferences": [{**owner(0), "kind": "Pod"}]}}


def primitive(n: int) -> dict[str, Any]:
    deleted = [f"x/f{i}" for i in range(0, n, 2)]
    return {"metadata": {"finalizers": [f"x/f{i}" for i in range(n)], "$deleteFromPrimitiveList/finalizers": deleted}}


CASES = [
    Nasty("a ConfigMap of many lines", 201, 2_000, lambda n: configmap("a", **dict.fromkeys(names(n), "v"))),
    Nasty("the same as YAML", 201, 2_000, yaml, kind=YAML),
    Nasty("the same as protobuf", 201, 2_000, lambda n: protobuf(*[field(2, field(1, k.encode())) for k in names(n)]), kind=PROTOBUF),
    Nasty("fields that are not known", 201, 2_000, lambda n: {**configmap("a"), **dict.fromkeys(names(n), 1)}),
    Nasty("unknown fields in protobuf", 201, 2_000, lambda n: protobuf(*[field(15, b"x")] * n), kind=PROTOBUF),
    Nasty("empty messages", 400, 12_000, lambda n: protobuf(*[field(2, b"")] * n * 4), kind=PROTOBUF),
    Nasty("a ConfigMap of many lines as CBOR", 201, 2_000, lambda n: cbor2.dumps(configmap("a", **dict.fromkeys(names(n), "v"))), kind=CBOR),
    Nasty("nulls in CBOR", 400, 12_000, lambda n: b"\x9a" + (n * 4).to_bytes(4, "big") + b"\xf6" * n * 4, kind=CBOR),
    Nasty("lists in lists in CBOR", 400, 12_000, lambda n: b"\x81" * n, SELF, CBOR),
    Nasty("a number of many digits in CBOR", 400, 12_000, lambda n: b"\xc2\x5a" + n.to_bytes(4, "big") + b"\xff" * n, SELF, CBOR),
    Nasty("a power in CBOR", 400, 12_000, lambda n: b"\xc4\x82\x1a" + n.to_bytes(4, "big") + b"\x01", SELF, CBOR),
    Nasty("keys that occur twice", 201, 1_000, lambda n: b'{"metadata":{"name":"a"},"data":{%s}}' % b",".join(b'"k%d":"v"' % (i // 2) for i in range(n))),
    Nasty("a long key above many values", 201, 2_000, lambda n: {**configmap("a"), "x" * n: {**dict.fromkeys(names(n), 1)}}),
    Nasty("empty lists", 400, 12_000, lambda n: b"[" + b"[]," * n * 4 + b"1]"),
    Nasty("brackets", 400, 12_000, lambda n: b"[" * n, SELF),
    Nasty("brackets as YAML", 400, 12_000, lambda n: b"[" * n, SELF, YAML),
    Nasty("objects as YAML", 400, 12_000, lambda n: b'{"a":' * n, SELF, YAML),
    Nasty("braces as YAML", 400, 12_000, lambda n: b"{" * n, SELF, YAML),
    Nasty("empty lists as YAML", 400, 12_000, lambda n: b"[" + b"[]," * n * 4 + b"]", SELF, YAML),
    Nasty("base 60", 400, 12_000, lambda n: b"1:" * n + b"1.5", SELF, YAML),
    Nasty("a set", 400, 5_000, lambda n: b"!!set {" + b",".join(b"a%d" % i for i in range(n)) + b"}", SELF, YAML),
    Nasty("merges", 400, 5, lambda n: b"a: &a0 {x: 1}\n" + b"".join(b"b%d: &a%d {<<: [%s]}\n" % (i, i + 1, b",".join([b"*a%d" % i] * 9)) for i in range(n)), SELF, YAML),
    Nasty("aliases", 400, 5, lambda n: b"a: &a0 [1,2,3,4,5,6,7,8,9]\n" + b"".join(b"b%d: &a%d [%s]\n" % (i, i + 1, b",".join([b"*a%d" % i] * 9)) for i in range(4 + n)), SELF, YAML),
    Nasty("tag directives", 400, 1_000, lambda n: b"".join(b"%%TAG !%d! x\n" % i for i in range(n)) + b"--- a", SELF, YAML),
    Nasty("labels", 201, 250, with_metadata("labels", lambda n: dict.fromkeys(names(n), "v"))),
    Nasty("more labels than there may be", 422, 5_000, with_metadata("labels", lambda n: dict.fromkeys(names(n), "v"))),
    Nasty("annotations", 201, 2_000, with_metadata("annotations", lambda n: dict.fromkeys(names(n), "v"))),
    Nasty("owners", 201, 250, owned),
    Nasty("finalizers", 201, 250, with_metadata("finalizers", lambda n: [f"x/{k}" for k in names(n)])),
    Nasty("containers", 201, 50, lambda n: pod("a", containers=containers(n)), PODS),
    Nasty("more containers than there may be", 422, 1_000, lambda n: pod("a", containers=containers(n)), PODS),
    Nasty("one container, many times", 422, 50, lambda n: pod("a", containers=containers(1) * n), PODS),
    Nasty("volumes", 201, 200, volumes, PODS),
    Nasty("variables", 201, 1_000, variables, PODS),
    Nasty("variables that double", 422, 1_000, doubling, PODS),
    Nasty("tolerations", 201, 20, lambda n: pod("a", tolerations=[{"key": k, "operator": "Exists"} for k in names(n)]), PODS),
    Nasty("host aliases", 201, 1_000, lambda n: pod("a", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a"]}] * n), PODS),
    Nasty("sysctls", 201, 1_000, lambda n: pod("a", securityContext={"sysctls": [{"name": k, "value": "1"} for k in names(n)]}), PODS),
    Nasty("init containers of 2016", 201, 50, lambda n: meta.changed(pod("a"), ("metadata", "annotations"), {"pod.beta.kubernetes.io/init-containers": json.dumps([{"name": k, "image": "i"} for k in names(n, "i")])}), PODS),
    Nasty("claim templates", 201, 200, claims, SETS),
    Nasty("service ports", 201, 1_000, service, SERVICES),
    Nasty("addresses", 201, 2_000, endpoints, ENDPOINTS),
    Nasty("a slice", 201, 250, slices, SLICES),
    Nasty("a role of long lists", 403, 500, lambda n: role(rule(n)), ROLES, user=JANE),
    Nasty("a role of many rules", 403, 100, lambda n: role(*[rule(10, f"{i}") for i in range(n)]), ROLES, user=JANE),
    Nasty("a role that is held", 201, 500, lambda n: role({**rule(n), "apiGroups": [""], "resources": ["pods"]}), ROLES, user=JANE),
    Nasty("validations", 201, 20, lambda n: policy(validations=[{"expression": f"object.data.k{n} == '{k}'"} for k in names(n)]), POLICIES),
    Nasty("more validations than there may be", 422, 150, lambda n: policy(validations=[{"expression": "true"}] * n), POLICIES),
    Nasty("variables of one another", 201, 20, lambda n: policy(variables=[{"name": f"v{i}", "expression": f"variables.v{i - 1} + {n}" if i else "1"} for i in range(n)]), POLICIES),
    Nasty("a long expression", 422, 4_000, lambda n: policy(validations=[{"expression": f"object{'.a' * n} == {n}"}]), POLICIES),
    Nasty("objects that are open", 422, 3_000, lambda n: policy(validations=[{"expression": "Object{a: " * (n // 10) + str(n)}]), POLICIES),
    Nasty("optionals", 201, 50, lambda n: policy(validations=[{"expression": f"[{','.join(f'object.?k{n}.orValue({i})' for i in range(n))}].size() > 0"}]), POLICIES),
    Nasty("rules over types", 201, 10, lambda n: ruled(n, lambda name: f"self.{name}.all(x, x != '{n}')"), DEFINITIONS),
    Nasty("rules over fields that are not there", 422, 10, lambda n: ruled(n, lambda name: f"self.{name}.all(x, x.y == {n})"), DEFINITIONS),
    Nasty("names of a rule", 201, 400, lambda n: policy(names=names(n)), POLICIES),
    Nasty("groups and extra", 201, 1_000, review, REVIEWS),
    Nasty("strategic: owners", 200, 250, lambda n: {"metadata": {"ownerReferences": [owner(i + n // 2) for i in range(n // 2)]}}, kind=STRATEGIC, before=owned),
    Nasty("strategic: an order", 200, 250, order, kind=STRATEGIC, before=owned),
    Nasty("strategic: an order of what is not there", 200, 2_500, order, kind=STRATEGIC, before=lambda n: owned(1)),
    Nasty("strategic: texts", 200, 250, primitive, kind=STRATEGIC, before=lambda n: configmap("held")),
    Nasty("strategic: keys that stay", 200, 1_000, lambda n: {"data": {"$retainKeys": names(n), **dict.fromkeys(names(n), "w")}}, kind=STRATEGIC, before=lambda n: configmap("held", **dict.fromkeys(names(n), "v"))),
    Nasty("merge: many keys", 200, 2_000, lambda n: {"data": dict.fromkeys(names(n), "w")}, kind=MERGE, before=lambda n: configmap("held", **dict.fromkeys(names(n), "v"))),
    Nasty("JSON patch: one list", 200, 200, additions, kind=JSON_PATCH, before=lambda n: owned(1)),
    Nasty("JSON patch: copies that double", 422, 1_000, copies, kind=JSON_PATCH, before=lambda n: configmap("held", b="x")),
    Nasty("a flow schema of many rules", 201, 200, lambda n: {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "f"}, "spec": {"priorityLevelConfiguration": {"name": "low"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": k}}], "resourceRules": [{"verbs": ["get"], "apiGroups": [k], "resources": [k], "namespaces": [k]}], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [f"/{k}/*"]}]} for k in names(n)]}}, target="/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"),
    Nasty("a quota of many names", 201, 500, lambda n: bounded("ResourceQuota", {"hard": dict.fromkeys(names(n, "count/k"), "1")}), target=QUOTAS),
    Nasty("a quota with many terms", 201, 500, lambda n: bounded("ResourceQuota", {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": [k]} for k in names(n)]}}), target=QUOTAS),
    Nasty("a range of many amounts", 201, 500, lambda n: bounded("LimitRange", {"limits": [{"type": "Container", "max": dict.fromkeys(names(n, "example.com/k"), "1")}]}), target=RANGES),
    Nasty("labels of Pod Security that cannot be read", 422, 300, lambda n: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": "x", **dict.fromkeys(names(n), "v")}}}, target="/api/v1/namespaces"),
    Nasty("JSON patch: tests", 200, 2_000, lambda n: [{"op": "test", "path": "/data/k", "value": "v"}] * n, kind=JSON_PATCH, before=lambda n: configmap("held", k="v", **dict.fromkeys(names(n), "v"))),
    Nasty("JSON patch: a long path", 422, 20_000, lambda n: [{"op": "add", "path": "/a" * n, "value": 1}], kind=JSON_PATCH, before=lambda n: configmap("held")),
    Nasty("apply: many keys", 200, 1_000, lambda n: configmap("held", **dict.fromkeys(names(n), "w")), kind=APPLY, before=lambda n: configmap("held", **dict.fromkeys(names(n), "v")), query=lambda n: "fieldManager=me&force=true"),
    Nasty("apply: many conflicts", 409, 1_000, lambda n: configmap("held", **dict.fromkeys(names(n), "w")), kind=APPLY, before=lambda n: configmap("held", **dict.fromkeys(names(n), "v")), query=lambda n: "fieldManager=me"),
    Nasty("apply: elements in another order", 200, 250, applied_owners, kind=APPLY, before=owned, query=lambda n: "fieldManager=me"),
    Nasty("apply: elements of one key", 400, 250, lambda n: meta.changed(owned(1), ("metadata", "ownerReferences"), [owner(1)] * n), kind=APPLY, before=lambda n: owned(1), query=lambda n: "fieldManager=me"),
    Nasty("managedFields of one's own", 200, 250, managed_fields, kind=MERGE, before=lambda n: configmap("held")),
    Nasty("parameters", 200, 200, lambda n: None, method="GET", query=lambda n: "&".join(f"{k}=v" for k in names(n))),
    Nasty("a label's values", 200, 250, lambda n: None, method="GET", query=lambda n: f"labelSelector=a+in+({','.join(names(n))})"),
    Nasty("labels wanted", 200, 25, lambda n: None, method="GET", query=lambda n: f"labelSelector={','.join(names(n))}"),
    Nasty("more labels wanted than there may be", 400, 500, lambda n: None, method="GET", query=lambda n: f"labelSelector={','.join('!' + k for k in names(n))}"),
    Nasty("ephemeral containers", 200, 50, lambda n: {"spec": {"ephemeralContainers": [{"name": k, "image": "i"} for k in names(n, "e")]}}, PODS, MERGE, before=lambda n: pod("a"), subresource="/ephemeralcontainers"),
    Nasty("one ephemeral container, many times", 422, 50, lambda n: {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}] * n}}, PODS, MERGE, before=lambda n: pod("a"), subresource="/ephemeralcontainers"),
    Nasty("requirements of a review", 201, 500, lambda n: selecting("fieldSelector", n), REVIEWS),
    Nasty("labels that a review requires", 201, 250, lambda n: selecting("labelSelector", n), REVIEWS),
    Nasty("managedFields in versions that are none", 200, 250, versions, kind=MERGE, before=lambda n: configmap("held")),
    Nasty("spaces in a field selector", 400, 3_000, lambda n: None, method="GET", query=lambda n: f"fieldSelector=metadata.name{'+' * n}x"),
]  # fmt: skip
