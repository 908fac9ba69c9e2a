"""Requests out of the served schema, then spoilt: a seed gives one request, whatever the server answered before.

An object begins as its kind's type says: required fields always, others by chance, values that are likely to pass
validation (names that refer to one another, known words). Then something may be done to it: a value of another type, a
subtree moved elsewhere, one repeated many times, a number at the edge, text that breaks patterns. Then to its bytes:
cut, flipped, doubled, YAML, another content type. Then to the request: verb, path, query, headers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from petset.kinds import builtin
from petset.objects import schema
from petset.objects.registry import Kind
from petset.objects.schema_nodes import Node
from petset.wire import http

NAMESPACES = ("fuzz-0", "fuzz-1")
NAMES = tuple(f"n{i}" for i in range(6))
DEPTH_MAX = 7
REPEATED_MAX = 300
SPOILT_SHARE = 0.5
STREAM_SECONDS = "1"

# Words that mean something somewhere; where none fits, it is the field's name that guesses.
WORDS = {
    "restartPolicy": ("Always", "Never", "OnFailure"),
    "type": ("ClusterIP", "RollingUpdate", "OnDelete", "Opaque", "Ready", "Warning"),
    "clusterIP": ("None", "10.0.0.7", ""),
    "protocol": ("TCP", "UDP"),
    "accessModes": ("ReadWriteOnce", "ReadOnlyMany"),
    "podManagementPolicy": ("OrderedReady", "Parallel"),
    "kind": ("Pod", "User", "Role", "ClusterRole", "ServiceAccount", "StatefulSet"),
    "apiGroup": ("rbac.authorization.k8s.io", ""),
    "verbs": ("get", "list", "*", "create"),
    "resources": ("pods", "*", "secrets"),
    "mountPath": ("/data", "/d/e", "/"),
    "subPath": ("a", "a/b", "../x"),
    "path": ("/tmp/petset-fuzz-nowhere", "a", "../b"),
    "operator": ("In", "Exists", "Equal", "NotIn"),
    "effect": ("NoSchedule", "NoExecute"),
    "phase": ("Bound", "Running", "Active"),
    "status": ("True", "False", "Unknown"),
    "addressType": ("IPv4",),
    "volumeBindingMode": ("Immediate", "WaitForFirstConsumer"),
    "reclaimPolicy": ("Delete", "Retain"),
    "image": ("example/server:1", "a@b", ""),
    "finalizers": ("example.com/a", "kubernetes.io/pvc-protection"),
    "fieldPath": ("metadata.name", "status.podIP", "spec.nodeName"),
    "uid": ("6f1c2a52-0000-4000-8000-000000000001", ""),
}
TEXTS = (
    *NAMES,
    *(
        "default",
        "",
        "A",
        "a.b",
        "-",
        "x" * 300,
        "é",
        "\u0000",
        "\ud7ff",
        "a/b",
        "..",
        "*",
        "$(A)$(B)",
        "%s",
        "[",
        "'\"\\",
    ),
    *("true", "null", "1e999", "0x10", "1:1:1", "2016-08-03T00:00:00Z", "10%", "1Gi", "-1", "999999999999999999999Ei"),
)
NUMBERS = (0, 1, 2, 5, 80, 443, 30000, -1, 65535, 65536, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**40)
ODD = (None, True, 1.5, -0.0, 1e308, "", [], {}, [[]], [None], {"": None}, "x", *NUMBERS)


def odd(chance: random.Random) -> Any:
    return fresh(chance.choice(ODD))


def fresh(tree: Any) -> Any:
    """A copy that shares nothing: what is spoilt later is spoilt in one place."""
    return json.loads(json.dumps(tree))


QUANTITIES = ("1", "1Gi", "100m", "0", "1e3", "-1", "1Zi", "0.1n")
TIMES = ("2016-08-03T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2016-13-03T00:00:00Z")
CONTENT_TYPES = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
    "application/json; charset=utf-8",
    "text/plain",
    "",
)
ACCEPTED = (
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
    "application/vnd.kubernetes.protobuf",
    "*/*",
    "text/html;q=0.1, application/*",
    "",
)
QUERIES: dict[str, tuple[str, ...]] = {
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "dryRun": ("All", "x", ""),
    "labelSelector": ("a=b", "a in (b,c),!d", "a notin (", "=", "x" * 500, "a==b,", "а=б"),
    "fieldSelector": ("metadata.name=n1", "status.phase!=Running", "spec.nodeName=", "a=b", "metadata.name=a\\,b", ","),
    "limit": ("1", "0", "500", "-1", "1e3", "9" * 40),
    "continue": ("x", "eyJydiI6MSwic3RhcnQiOjB9", "eyJydiI6IngifQ", "AAAA"),
    "resourceVersion": ("0", "1", "999999999", "x", "-1", "9" * 40),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x"),
    "watch": ("true", "1", "false", "x"),
    "sendInitialEvents": ("true", "false"),
    "allowWatchBookmarks": ("true",),
    "pretty": ("true", "x"),
    "propagationPolicy": ("Orphan", "Foreground", "Background", "x"),
    "gracePeriodSeconds": ("0", "-1", "1e9", "x", "9" * 30),
    "fieldManager": ("me", "x" * 200),
    "force": ("true",),
    "container": ("main", "x"),
    "tailLines": ("1", "-1", "x"),
    "sinceTime": ("2016-08-03T00:00:00Z", "x"),
    "includeObject": ("None", "Metadata", "Object", "x"),
    "": ("", "=", "&&"),
}


METHODS_OF = {
    **dict.fromkeys(("binding", "eviction", "token"), "POST"),
    **dict.fromkeys(("log", "exec", "attach", "portforward"), "GET"),
    "finalize": "PUT",
}


def request(seed: str) -> http.Request:
    """The request of that seed."""
    chance = random.Random(seed)
    resource = chance.choice(tuple(builtin.KINDS))
    method = chance.choices(("POST", "PUT", "PATCH", "GET", "DELETE"), (34, 18, 22, 16, 10))[0]
    subresource = chance.choice(resource.subresources) if resource.subresources and chance.random() < 0.2 else ""
    if chance.random() < 0.9:  # Else what is not offered.
        method = "POST" if resource.verbs == ("create",) else METHODS_OF.get(subresource, method)
    name = chance.choice(NAMES) if method != "POST" or subresource else ""
    if method in ("GET", "DELETE") and not subresource and chance.random() < 0.3:
        name = ""
    namespace = chance.choice(NAMESPACES) if resource.namespaced else ""
    target = resource.path(namespace, name, subresource)
    query: list[tuple[str, str]] = [("timeoutSeconds", STREAM_SECONDS)] if method == "GET" else []
    if chance.random() < 0.35:
        query += [(field, chance.choice(QUERIES[field])) for field in chance.choices(list(QUERIES), k=2)]
    accept = chance.choice(ACCEPTED) if chance.random() < 0.2 else "application/json"
    headers = [("accept", accept)]
    body, kind = b"", ""
    if method in ("POST", "PUT", "PATCH") or (method == "DELETE" and chance.random() < 0.4):
        body, kind = a_body(chance, method, resource, namespace, name, subresource)
        headers.append(("content-type", kind))
    if chance.random() < 0.05:
        target = spoilt_path(chance, target)
    if chance.random() < 0.03:
        method = chance.choice(("HEAD", "OPTIONS", "TRACE", "GET", "PUT", "FOO"))
    if chance.random() < 0.03:
        headers.append((chance.choice(("impersonate-user", "impersonate-group", "authorization")), a_header(chance)))
    text = urlencode(query)
    return http.Request(method, quote(target, safe="/%") + (f"?{text}" if text else ""), tuple(headers), body)


def a_header(chance: random.Random) -> str:
    return chance.choice(("Bearer x", "Bearer a.b.c", "system:serviceaccount:default:x", "x", "Basic YTpi", "Bearer"))


def spoilt_path(chance: random.Random, path: str) -> str:
    parts = path.split("/")
    place = chance.randrange(len(parts))
    match chance.randrange(4):
        case 0:
            parts[place] = chance.choice(("", "..", "%2e%2e", "x" * 400, "%00", "%2f", "namespaces", "é", "%ff"))
        case 1:
            parts.insert(place, parts[place])
        case 2:
            del parts[place]
        case _:
            parts.append(chance.choice(("", "status", "log", "proxy", "x")))
    return "/" + "/".join(parts).lstrip("/")


# -- bodies -------------------------------------------------------------------------------------------------------


OF_SUBRESOURCE = {"scale": "autoscaling_v1.Scale", "binding": "core_v1.Binding", "eviction": "policy_v1.Eviction"}


def a_body(
    chance: random.Random, method: str, resource: Kind, namespace: str, name: str, subresource: str
) -> tuple[bytes, str]:
    """(the bytes, their content type)."""
    kind = resource.type_name
    if method == "DELETE":
        kind = "meta_v1.DeleteOptions"
    elif subresource == "token":
        kind = "authentication_v1.TokenRequest"
    elif subresource in OF_SUBRESOURCE and chance.random() < 0.8:
        kind = OF_SUBRESOURCE[subresource]
    tree = an_object(chance, kind, name or chance.choice(NAMES), namespace)
    content = "application/json"
    if method == "PATCH":
        content = chance.choice(CONTENT_TYPES[3:7])
        tree = a_patch(chance, tree, content)
    for _ in range(chance.choice((1, 1, 2, 4)) if chance.random() < SPOILT_SHARE else 0):
        tree = spoilt(chance, tree)
    if chance.random() < 0.04:
        content = chance.choice(CONTENT_TYPES)
    return encoded(chance, tree, content), content


CONTAINERS = {"containers": [{"name": "main", "image": "example/server:1"}]}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
A_SET = {
    "serviceName": "n0",
    "replicas": 1,
    "selector": {},
    "template": {"spec": CONTAINERS},
    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}],
}
SUBJECTS = [{"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACES[0]}]
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
# What passes as it is, of the kinds that chance alone hardly ever makes so.
BASES: dict[str, dict[str, Any]] = {
    "core_v1.Pod": {"spec": CONTAINERS},
    "core_v1.Service": {
        "spec": {"clusterIP": "None", "selector": {"app": "n0"}, "ports": [{"port": 80, "name": "web"}]}
    },
    "core_v1.PersistentVolumeClaim": {"spec": CLAIM},
    "core_v1.PersistentVolume": {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/tmp/petset-fuzz-nowhere"},
        }
    },
    "core_v1.Event": {
        "involvedObject": {"kind": "Pod", "name": "n0", "namespace": ""},
        "reason": "x",
        "type": "Normal",
    },
    "core_v1.Endpoints": {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    "core_v1.Secret": {"type": "Opaque", "data": {"a": "YQ=="}},
    "core_v1.Node": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "discovery_v1.EndpointSlice": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"port": 80, "name": "web", "protocol": "TCP"}],
    },
    "apps_v1.StatefulSet": {"spec": A_SET},
    "apps_v1alpha1.PetSet": {"spec": A_SET},
    "storage_v1.StorageClass": {"provisioner": "petset.example/x", "volumeBindingMode": "WaitForFirstConsumer"},
    "rbac_v1.Role": {"rules": RULES},
    "rbac_v1.ClusterRole": {"rules": RULES},
    "rbac_v1.RoleBinding": {
        "subjects": SUBJECTS,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "n0"},
    },
    "rbac_v1.ClusterRoleBinding": {
        "subjects": SUBJECTS,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "n0"},
    },
    "authorization_v1.SubjectAccessReview": {
        "spec": {"user": "a", "nonResourceAttributes": {"path": "/", "verb": "get"}}
    },
    "authorization_v1.SelfSubjectAccessReview": {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}},
}
GRAFTED_MAX = 4


def a_tree(chance: random.Random, kind: str) -> dict[str, Any]:
    """All by chance, or what passes with a few fields more by chance."""
    if kind not in BASES or chance.random() < 0.25:
        return a_value(chance, node(kind), "", 0)
    tree = fresh(BASES[kind])
    for _ in range(chance.randrange(GRAFTED_MAX)):
        graft(chance, node(kind), tree)
    return tree


def graft(chance: random.Random, of: Node, tree: dict[str, Any]) -> None:
    """One field more, somewhere where there are some."""
    there: list[tuple[Node, dict[str, Any], int]] = []
    waiting: list[tuple[Node, Any, int]] = [(of, tree, 0)]
    while waiting:
        one, value, depth = waiting.pop()
        if one.kind == "struct" and isinstance(value, dict):
            there.append((one, value, depth))
            waiting += [(one.fields[key], inner, depth + 1) for key, inner in value.items() if key in one.fields]
        elif one.kind == "list" and one.item is not None and isinstance(value, list):
            waiting += [(one.item, inner, depth + 1) for inner in value]
    one, value, depth = chance.choice(there)
    missing = [key for key in one.fields if key not in value and key not in ("apiVersion", "kind", "metadata")]
    if missing:
        key = chance.choice(missing)
        value[key] = a_value(chance, one.fields[key], key, depth + 2)


def an_object(chance: random.Random, kind: str, name: str, namespace: str) -> dict[str, Any]:
    tree = a_tree(chance, kind)
    if "involvedObject" in tree and isinstance(tree["involvedObject"], dict):
        tree["involvedObject"]["namespace"] = namespace
    metadata = tree.get("metadata") or {}
    metadata = {key: value for key, value in metadata.items() if key in ("labels", "annotations", "finalizers")}
    if chance.random() < 0.85:
        metadata = {key: value for key, value in metadata.items() if key != "finalizers"}
    labels = {"app": chance.choice(NAMES)}
    tree["metadata"] = {**metadata, "name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}
    group, _, rest = kind.partition("_")
    version, _, title = rest.partition(".")
    known = next((row for row in builtin.KINDS if row.type_name == kind), None)
    tree["apiVersion"] = (
        known.api_version if known else (version if group in ("core", "meta") else f"{group}/{version}")
    )
    tree["kind"] = title
    if "selector" in (tree.get("spec") or {}) and "template" in tree["spec"]:
        tree["spec"]["selector"] = {"matchLabels": labels}
        template = tree["spec"]["template"].setdefault("metadata", {})
        template["labels"] = labels
    return tree


@cache
def node(name: str) -> Node:
    return schema.node(name)


def a_value(chance: random.Random, node: Node, field: str, depth: int) -> Any:
    """A value that the type takes."""
    match node.kind:
        case "struct":
            wanted = [
                key
                for key in node.fields
                if key in node.required or (depth < DEPTH_MAX and chance.random() < share(depth, key))
            ]
            return {key: a_value(chance, node.fields[key], key, depth + 1) for key in wanted}
        case "list" if node.item is not None:
            if depth > DEPTH_MAX and node.item.kind == "struct":
                return []
            return [a_value(chance, node.item, field, depth + 1) for _ in range(chance.choice((1, 1, 1, 2, 0)))]
        case "map" if node.item is not None:
            keys = chance.sample(("a", "app", "b.c", "storage", "cpu"), chance.choice((0, 1, 2)))
            return {key: a_value(chance, node.item, field, depth + 1) for key in keys}
        case "bool":
            return chance.random() < 0.5
        case "int32" | "int64":
            return chance.choice(NUMBERS[:7])
        case "float":
            return chance.choice((0.5, 1, 2.25))
        case "byte":
            return chance.choice(("", "YQ==", "AAAA"))
        case "Quantity":
            return chance.choice(QUANTITIES[:5])
        case "Time" | "MicroTime":
            return chance.choice(TIMES[:3])
        case "IntOrString":
            return chance.choice((80, 1, "http", "25%"))
        case "object" | "any":
            return {}
    if field in WORDS and chance.random() < 0.8:
        return chance.choice(WORDS[field])
    return chance.choice(NAMES if chance.random() < 0.9 else TEXTS)


def share(depth: int, key: str) -> float:
    """How likely an optional field is: the spec nearly always, deep ones seldom, so that objects stay of a size."""
    if depth == 0:
        return 0.95 if key == "spec" else 0.6
    return (0.5, 0.35, 0.25, 0.15, 0.1, 0.05)[min(depth, 6) - 1]


def a_patch(chance: random.Random, tree: dict[str, Any], content: str) -> Any:
    if content == "application/json-patch+json":
        paths = [
            "/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in path) for path in places(tree)
        ]
        operations = ("add", "replace", "remove", "test", "move", "copy")
        return [
            {
                "op": chance.choice(operations),
                "path": chance.choice([*paths, "/spec/-", "", "/a~2", "/metadata/labels/x"]),
                "from": chance.choice(paths),
                "value": fresh(chance.choice([*ODD, tree])),
            }
            for _ in range(chance.choice((1, 2, 5)))
        ]
    if chance.random() < 0.7:
        for key in ("apiVersion", "kind"):
            tree.pop(key, None)
    if content == "application/strategic-merge-patch+json" and chance.random() < 0.4:
        target = chance.choice([found for found in containers(tree) if isinstance(found, dict)])
        directive = chance.choice(
            (
                ("$patch", chance.choice(("replace", "delete", "merge", "x", 1))),
                ("$retainKeys", fresh(chance.choice((["a"], [1], "x")))),
                ("$setElementOrder/containers", chance.choice(([{"name": "n0"}], ["a"], 1))),
                ("$deleteFromPrimitiveList/finalizers", chance.choice((["a"], [{}], None))),
            )
        )
        target[directive[0]] = fresh(directive[1])
    return tree


def pointer(path: tuple[Any, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


# -- spoiling -----------------------------------------------------------------------------------------------------


def containers(tree: Any) -> list[Any]:
    """Every dictionary and list of a tree."""
    found: list[Any] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def places(tree: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [()]
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
    while waiting:
        path, one = waiting.pop()
        inner = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, value in inner:
            found.append((*path, key))
            waiting.append(((*path, key), value))
    return found


def spoilt(chance: random.Random, tree: Any) -> Any:
    """The tree with one thing wrong with it."""
    inside = [found for found in containers(tree) if found]
    if not inside:
        return tree
    target = chance.choice(inside)
    key = chance.choice(list(target)) if isinstance(target, dict) else chance.randrange(len(target))
    return SPOILERS[chance.randrange(len(SPOILERS))](chance, tree, target, key)


Spoiler = Callable[[random.Random, Any, Any, Any], Any]


def other_type(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    target[key] = odd(chance)
    return tree


def other_text(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    target[key] = chance.choice(TEXTS)
    return tree


def other_number(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    target[key] = chance.choice((*NUMBERS, *QUANTITIES, *TIMES))
    return tree


def moved(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    found = chance.choice(containers(tree))
    target[key] = fresh(found)
    return tree


def repeated(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    value = target[key]
    times = chance.randrange(2, REPEATED_MAX) if chance.random() < 0.5 else 2
    target[key] = [fresh(value) for _ in range(times)]
    return tree


def removed(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    del target[key]
    return tree


def renamed(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    if isinstance(target, dict):
        target[chance.choice(TEXTS)] = target.pop(key)
    return tree


def nested(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    value = target[key]
    for _ in range(chance.choice((2, 50, 200))):
        value = {"a": value} if chance.random() < 0.5 else [value]
    target[key] = value
    return tree


def another_whole(chance: random.Random, tree: Any, target: Any, key: Any) -> Any:
    return odd(chance) if chance.random() < 0.3 else tree


SPOILERS: tuple[Spoiler, ...] = (
    *(other_type, other_type, other_text, other_text, other_number, moved, repeated, removed, renamed),
    *(nested, another_whole),
)


def encoded(chance: random.Random, tree: Any, content: str) -> bytes:
    """The tree's bytes in that content type's language; one in eight is damaged."""
    if content in ("application/yaml", "application/apply-patch+yaml") and chance.random() < 0.8:
        try:
            data = yaml.safe_dump(fresh(tree)).encode()
        except RecursionError:
            data = json.dumps(tree).encode()  # Which is YAML, too.
    else:
        data = json.dumps(tree).encode()
    if content == "application/vnd.kubernetes.protobuf":
        data = b"k8s\x00" + bytes(chance.randrange(256) for _ in range(chance.randrange(80)))
    if chance.random() > 0.12 or not data:
        return data
    place = chance.randrange(len(data))
    match chance.randrange(6):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
        case 2:
            return data[:place] + data[place // 2 : place] * chance.choice((1, 3)) + data[place:]
        case 3:
            return chance.choice((b"[", b'{"a":', b"{", b"- ", b"&a [*a", b"1:")) * chance.choice((1, 100, 20_000))
        case 4:
            return data.replace(b":", b": !!set ", 1) + data
        case _:
            return chance.choice((b"", b"null", b"\xff\xfe", b"\x00", b"a: &x [*x]", b"NaN", b'"\\ud800"', b"{}{}"))
