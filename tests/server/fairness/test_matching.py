"""Which FlowSchema a request belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from petset.kinds.flowcontrol import every_cluster
from petset.objects.meta import Object
from petset.server.fairness import matching
from petset.server.fairness.matching import Asked
from tests.steps import counted

ANYBODY = ("system:authenticated",)
CONTROLLERS = "system:kube-controller-manager"
LEASES = {"group": "coordination.k8s.io", "resource": "leases", "namespace": "kube-system"}
PODS = {"resource": "pods", "namespace": "default"}


def account(of: str, name: str, verb: str, **what: str) -> Asked:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{of}", *ANYBODY)
    return Asked(f"system:serviceaccount:{of}:{name}", groups, verb, **what)


def node(verb: str, **what: str) -> Asked:
    return Asked("system:node:n1", ("system:nodes", *ANYBODY), verb, **what)


def of_every_cluster() -> matching.Schemas:
    schemas = matching.Schemas()
    for (plural, name), obj in every_cluster.OBJECTS.items():
        if plural == "flowschemas":
            schemas.put(name, obj)
    return schemas


@pytest.mark.parametrize(
    ("asked", "schema", "level"),
    [
        (Asked("root", ("system:masters", *ANYBODY), "delete", **PODS), "exempt", "exempt"),
        (Asked("jane", ANYBODY, "get", path="/healthz"), "probes", "exempt"),
        (Asked("jane", ANYBODY, "get", path="/readyz/etcd"), "probes", "exempt"),
        (Asked("jane", ANYBODY, "get", path="/readyzy"), "global-default", "global-default"),
        (Asked("jane", ANYBODY, "post", path="/healthz"), "global-default", "global-default"),
        (Asked("system:anonymous", ("system:unauthenticated",), "get", path="/livez"), "probes", "exempt"),
        (Asked(CONTROLLERS, ANYBODY, "update", **LEASES), "system-leader-election", "leader-election"),
        (Asked(CONTROLLERS, ANYBODY, "watch", **LEASES), "kube-controller-manager", "workload-high"),
        (Asked("system:kube-scheduler", ANYBODY, "list", **PODS), "kube-scheduler", "workload-high"),
        (account("kube-system", "dns", "get", **LEASES), "system-leader-election", "leader-election"),
        (account("kube-system", "dns", "get", **PODS), "kube-system-service-accounts", "workload-high"),
        (account("default", "app", "get", **PODS), "service-accounts", "workload-low"),
        (account("kube-systems", "dns", "get", **PODS), "service-accounts", "workload-low"),
        (node("patch", resource="nodes/status"), "system-node-high", "node-high"),
        (node("update", **{**LEASES, "namespace": "kube-node-lease"}), "system-node-high", "node-high"),
        (node("get", **PODS), "system-nodes", "system"),
        (node("get", path="/version"), "system-nodes", "system"),
        (Asked("jane", ANYBODY, "get", **PODS), "global-default", "global-default"),
        (Asked("nobody", (), "get", **PODS), "catch-all", "catch-all"),
    ],
)
def test_requests_of_a_new_cluster(asked: Asked, schema: str, level: str) -> None:
    found = of_every_cluster().of(asked, lambda level: True)
    assert (found.name, found.level) == (schema, level)


def schema(name: str, precedence: int = 1000, level: str = "x", **rule: Any) -> Object:
    given = {"subjects": [{"kind": "User", "user": {"name": "jane"}}], **rule}
    spec = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [given]}
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec}


def about(verbs: str = "*", groups: str = "*", resources: str = "*", **more: Any) -> Object:
    lists = {"verbs": verbs.split(), "apiGroups": groups.split(","), "resources": resources.split()}
    return {"resourceRules": [{**lists, **more}]}


EVERYWHERE = {"namespaces": ["*"]}


@pytest.mark.parametrize(
    ("rule", "asked", "matches"),
    [
        (about(**EVERYWHERE), {"verb": "get", **PODS}, True),
        (about(**EVERYWHERE), {"verb": "get", "resource": "nodes"}, False),
        (about(**EVERYWHERE, clusterScope=True), {"verb": "get", "resource": "nodes"}, True),
        (about(clusterScope=True), {"verb": "get", **PODS}, False),
        (about(namespaces=["default", "b"]), {"verb": "get", **PODS}, True),
        (about(namespaces=["b"]), {"verb": "get", **PODS}, False),
        (about("get list", **EVERYWHERE), {"verb": "watch", **PODS}, False),
        (about(resources="pods", **EVERYWHERE), {"verb": "get", **PODS, "resource": "pods/log"}, False),
        (about(resources="pods/log", **EVERYWHERE), {"verb": "get", **PODS, "resource": "pods/log"}, True),
        (about(groups="", **EVERYWHERE), {"verb": "get", **PODS}, True),
        (about(groups="apps", **EVERYWHERE), {"verb": "get", **PODS}, False),
        (about(**EVERYWHERE), {"verb": "get", "path": "/version"}, False),
        (
            {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}]},
            {"verb": "get", "path": "/a/b"},
            True,
        ),
        (
            {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}]},
            {"verb": "get", "path": "/ab"},
            False,
        ),
        ({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}]}, {"verb": "get", "path": "/"}, True),
    ],
)
def test_a_rule(rule: Object, asked: Any, matches: bool) -> None:
    assert matching.compiled(schema("s", **rule)).matches(Asked("jane", ANYBODY, **asked)) == matches
    assert not matching.compiled(schema("s", **rule)).matches(Asked("bob", ANYBODY, **asked))


@pytest.mark.parametrize(
    ("subject", "user", "matches"),
    [
        ({"kind": "User", "user": {"name": "*"}}, "bob", True),
        ({"kind": "Group", "group": {"name": "*"}}, "bob", True),
        ({"kind": "Group", "group": {"name": "system:authenticated"}}, "bob", True),
        ({"kind": "Group", "group": {"name": "bob"}}, "bob", False),
        (
            {"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}},
            "system:serviceaccount:a:b",
            True,
        ),
        (
            {"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "b"}},
            "system:serviceaccount:a:b",
            True,
        ),
        (
            {"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}},
            "system:serviceaccount:aa:b",
            False,
        ),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "b"}}, "b", False),
    ],
)
def test_a_subject(subject: Object, user: str, matches: bool) -> None:
    one = schema("s", **about(**EVERYWHERE), subjects=[subject])
    assert matching.compiled(one).matches(Asked(user, ANYBODY, "get", **PODS)) == matches


def test_the_first_by_precedence_and_name_whose_level_is_there() -> None:
    schemas, asked = of_every_cluster(), Asked("jane", ANYBODY, "get", **PODS)

    def of(*missing: str) -> str:
        return schemas.of(asked, lambda level: level not in missing).name

    schemas.put("late", schema("late", 600, "a", **about(**EVERYWHERE)))
    schemas.put("early", schema("early", 500, "b", **about(**EVERYWHERE)))
    schemas.put("also-early", schema("also-early", 500, "c", **about(**EVERYWHERE)))
    assert [of(), of("c"), of("c", "b"), of("a", "b", "c")] == ["also-early", "early", "late", "global-default"]
    schemas.put("also-early", schema("also-early", 700, "c", **about(**EVERYWHERE)))
    assert of() == "early"
    schemas.put("early", None)
    schemas.put("global-default", None)
    assert [of(), of("a", "c")] == ["late", "catch-all"]


def test_what_is_mandatory_is_there_although_nobody_stored_it() -> None:
    schemas = of_every_cluster()
    for name in ("exempt", "catch-all"):
        schemas.put(name, None)
    assert schemas.of(Asked("root", ("system:masters",), "get", **PODS), lambda level: True).name == "exempt"
    assert schemas.of(Asked("nobody", (), "get", **PODS), lambda level: True).name == "catch-all"


def test_flows() -> None:
    by_user = {**schema("s", **about(**EVERYWHERE))}
    for method, flow in (("ByUser", "jane"), ("ByNamespace", "default"), ("", "")):
        spec = {**by_user["spec"], **({"distinguisherMethod": {"type": method}} if method else {})}
        assert matching.compiled({**by_user, "spec": spec}).flow("jane", "default") == flow


def test_a_rule_of_many_names_takes_no_longer_than_one_of_few() -> None:
    def steps(count: int) -> int:
        names = [f"n{at}" for at in range(count)]
        subjects = [{"kind": "User", "user": {"name": name}} for name in names]
        paths = {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [f"/{name}/*" for name in names]}]}
        rule = {**about(resources=" ".join(names), namespaces=names), **paths, "subjects": subjects}
        one = matching.compiled(schema("s", **rule))
        with counted() as counting:
            assert one.matches(Asked("n1", ANYBODY, "get", resource="n0", namespace="n1"))
            assert one.matches(Asked("n1", ANYBODY, "get", path="/n1/x"))
            assert not one.matches(Asked("n1", ANYBODY, "get", path="/other/x"))
        return counting.count

    assert steps(2_000) == steps(2)
