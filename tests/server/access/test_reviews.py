"""Questions about access: about one namespace, with the reason why, and as whom somebody asks."""

from __future__ import annotations

from typing import Any

import pytest

from petset.wire import http
from tests.server.access.test_access import PODS, binding, role, rule, user
from tests.server.conftest import JANE

GROUP = "authorization.k8s.io/v1"
LOCAL = f"/apis/{GROUP}/namespaces/default/localsubjectaccessreviews"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
WHOAMI = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
LIST_PODS = {"verb": "list", "resource": "pods", "namespace": "default"}
BOB = http.User("bob")


def local(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP, "kind": "LocalSubjectAccessReview", "spec": spec}


def test_who_may_ask_about_one_namespace_learns_what_others_may_do_there(server):
    server.create(role("asks", rule("create", "localsubjectaccessreviews", "authorization.k8s.io")))
    server.create(binding("asks", "asks", user("bob")))
    asked = local(user="jane", resourceAttributes=LIST_PODS)
    assert server.ok("POST", LOCAL, asked, user=BOB)["status"] == {"allowed": False}
    server.create(binding("views", "view", user("jane"), kind="ClusterRole"))
    answer = server.ok("POST", LOCAL, asked, user=BOB)
    assert answer["metadata"]["namespace"] == "default"
    said = 'RBAC: allowed by RoleBinding "views/default" of ClusterRole "view" to User "jane"'
    assert answer["status"] == {"allowed": True, "reason": said}
    elsewhere = LOCAL.replace("/default/", "/kube-system/")
    assert server("POST", elsewhere, asked, user=BOB).code == 403
    assert server("GET", LOCAL).code == 405


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"user": "jane", "resourceAttributes": {**LIST_PODS, "namespace": "x"}}, "spec.resourceAttributes.namespace"),
        ({"user": "jane", "resourceAttributes": {"verb": "list"}}, "spec.resourceAttributes.namespace"),
        ({"user": "jane", "nonResourceAttributes": {"path": "/"}}, "spec.nonResourceAttributes"),
        ({"user": "jane"}, "spec.resourceAttributes"),
        ({"resourceAttributes": LIST_PODS}, "spec.user"),
    ],
)
def test_what_a_local_review_cannot_ask(server, spec, field):
    answer = server("POST", LOCAL, local(**spec))
    assert (answer.code, answer.body["details"]["causes"][0]["field"]) == (422, field)


def test_a_local_review_is_of_the_namespace_in_its_path(server):
    asked = local(user="jane", resourceAttributes=LIST_PODS)
    assert server("POST", LOCAL, {**asked, "metadata": {"namespace": "other"}}).code == 400


def decided(server, who: http.User, **attributes: str) -> dict[str, Any]:
    body = {"apiVersion": GROUP, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    return server.ok("POST", f"/apis/{GROUP}/selfsubjectaccessreviews", body, user=who)["status"]


def reason(server, who: http.User, **attributes: str) -> str:
    status = decided(server, who, **attributes)
    assert status["allowed"] is True
    return status.get("reason", "")


def test_a_role_that_is_missing_is_the_reason_of_a_refusal(server):
    server.create(binding("views", "view-things", user("jane"), kind="ClusterRole"))
    missing = 'clusterrole.rbac.authorization.k8s.io "view-things" not found'
    assert decided(server, JANE, **LIST_PODS) == {"allowed": False, "reason": f"RBAC: {missing}"}
    refused = server("GET", PODS, user=JANE)
    assert refused.code == 403 and refused.message.endswith(f'in the namespace "default": RBAC: {missing}')
    server.create(binding("sees", "see-things", user("jane")))
    both = f'RBAC: [{missing}, role.rbac.authorization.k8s.io "see-things" not found]'
    assert decided(server, JANE, **LIST_PODS)["reason"] == both
    server.create(role("see-things", rule("list", "pods")))
    assert server("GET", PODS, user=JANE).code == 200


def test_a_reason_names_the_binding_the_role_and_whom_it_is_bound_to(server):
    account = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    everybody = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers"}
    server.create(binding("all", "view", everybody, kind="ClusterRole", namespace=""), "")
    server.create(role("r", rule("get", "secrets")))
    server.create(binding("b", "r", account))
    assert reason(server, JANE, verb="list", resource="pods") == (
        'RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "view" to Group "developers"'
    )
    asking = http.User("system:serviceaccount:default:default")
    secret = {"verb": "get", "resource": "secrets", "namespace": "default"}
    said = reason(server, asking, **secret)
    assert said == 'RBAC: allowed by RoleBinding "b/default" of Role "r" to ServiceAccount "default/default"'
    server.create(binding("again", "r", account))
    server.ok("DELETE", f"/apis/{everybody['apiGroup']}/v1/namespaces/default/rolebindings/b")
    assert '"again/default"' in reason(server, asking, **secret), "one that is left gives it still"


# -- As whom somebody asks

IMPERSONATED = {
    "impersonate-user": "jane",
    "impersonate-uid": "u-1",
    "impersonate-extra-scopes": "read",
}


def test_a_uid_and_extras_are_impersonated_by_who_may_each(server):
    info = server.ok("POST", SELF, WHOAMI, headers=IMPERSONATED)["status"]["userInfo"]
    assert (info["uid"], info["extra"]) == ("u-1", {"scopes": ["read"]})
    authentication = "authentication.k8s.io"
    grants = (
        rule("impersonate", "users", resourceNames=["jane"]),
        rule("impersonate", "uids", authentication, resourceNames=["u-1"]),
        rule("impersonate", "userextras/scopes", authentication, resourceNames=["read"]),
    )
    refused = [
        'cannot impersonate resource "users"',
        'cannot impersonate resource "uids" in API group "authentication.k8s.io"',
        'cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io"',
    ]
    server.create(role("r", *grants[:1], namespace=""), "")
    server.create(binding("b", "r", user("bob"), kind="ClusterRole", namespace=""), "")
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/r"
    for held in range(3):
        server.ok("PUT", path, role("r", *grants[:held], namespace=""))
        answer = server("POST", SELF, WHOAMI, user=BOB, headers=IMPERSONATED)
        assert answer.code == 403 and refused[held] in answer.message
    server.ok("PUT", path, role("r", *grants, namespace=""))
    assert server("POST", SELF, WHOAMI, user=BOB, headers=IMPERSONATED).code == 201
    other = {**IMPERSONATED, "impersonate-extra-scopes": "write"}
    assert server("POST", SELF, WHOAMI, user=BOB, headers=other).code == 403


@pytest.mark.parametrize("header", ["impersonate-uid", "impersonate-extra-scopes", "impersonate-group"])
def test_nobody_is_impersonated_without_a_name(server, header):
    assert server("GET", PODS, headers={header: "x"}).code == 400


# -- narrowed by selectors


def of_node(server, **selectors: Any) -> bool:
    """Whether node n1 may list pods so."""
    spec = {"user": "system:node:n1", "groups": ["system:nodes"]}
    asked = {"verb": "list", "resource": "pods", **selectors}
    review = {
        "apiVersion": GROUP,
        "kind": "SubjectAccessReview",
        "spec": {**spec, "resourceAttributes": asked},
    }
    return server.ok("POST", f"/apis/{GROUP}/subjectaccessreviews", review)["status"]["allowed"]


def term(operator: str, *values: str, key: str = "spec.nodeName") -> dict[str, Any]:
    return {"requirements": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def test_a_review_is_judged_by_its_field_selector(server):
    assert not of_node(server)
    assert of_node(server, fieldSelector={"rawSelector": "spec.nodeName=n1"})
    assert of_node(server, fieldSelector=term("In", "n1"))
    for other in (
        {"rawSelector": "spec.nodeName=n2"},
        {"rawSelector": "spec.nodeName!=n1"},
        term("In", "n2"),
        term("NotIn", "n1"),
        term("In", "n1", "n2"),
        term("Gt", "n1"),
        term("In", "x,spec.nodeName=n1", key="metadata.name"),
        term("Exists"),
    ):
        assert not of_node(server, fieldSelector=other), other
    assert not of_node(server, labelSelector={"rawSelector": "spec.nodeName=n1"})


@pytest.mark.parametrize(
    ("field", "selector", "wrong"),
    [
        ("fieldSelector", {}, "requirements"),
        ("labelSelector", {}, "requirements"),
        ("fieldSelector", {"rawSelector": "a=b", **term("In", "n1")}, "rawSelector"),
        ("fieldSelector", term("In", "n1", key=""), "requirements[0].key"),
        ("labelSelector", term("In", "n1", key="a b"), "requirements[0].key"),
        ("fieldSelector", term("In"), "requirements[0].values"),
        ("labelSelector", term("DoesNotExist", "x"), "requirements[0].values"),
    ],
)
def test_what_is_wrong_with_a_selector_is_said_where(server, field, selector, wrong):
    review = {
        "apiVersion": GROUP,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**LIST_PODS, field: selector}},
    }
    answer = server("POST", f"/apis/{GROUP}/selfsubjectaccessreviews", review)
    assert answer.code == 422, answer
    assert answer.body["details"]["causes"][0]["field"] == f"spec.resourceAttributes.{field}.{wrong}"
