"""Acting as somebody else for some actions only: who he is, and what is done as him, are rights of their own."""

from __future__ import annotations

from typing import Any

import pytest

from petset.server.access import auth
from petset.wire import http
from tests.server.access.test_access import PODS, binding, role, rule, user

AUTHENTICATION = "authentication.k8s.io"
BOB = http.User("bob")
CONFIGMAPS = PODS.replace("pods", "configmaps")


def may(server: Any, who: str, *rules: Any, everywhere: bool = False) -> None:
    name = f"r{len(server.store.list('/rbac.authorization.k8s.io/')[1])}"
    if everywhere:
        server.create(role(name, *rules, namespace=""), "")
        server.create(binding(name, name, user(who), kind="ClusterRole", namespace=""), "")
    else:
        server.create(role(name, *rules))
        server.create(binding(name, name, user(who)))


def code(server: Any, target: str = PODS, caller: http.User = BOB, method: str = "GET", **headers: str) -> int:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return server(method, target, user=caller, headers=given).code


def setup(server: Any) -> None:
    """Bob may be Jane, and list pods as somebody; Jane may read all."""
    may(server, "jane", rule("list", "pods"), rule("list", "configmaps"), rule("deletecollection", "pods"))
    may(server, "bob", rule("impersonate:user-info", "users", AUTHENTICATION, resourceNames=["jane"]), everywhere=True)
    may(server, "bob", rule("impersonate-on:user-info:list", "pods"))


def test_both_rights_are_needed_and_the_others_own(server: Any) -> None:
    assert code(server, impersonate_user="jane") == 403
    setup(server)
    assert code(server, impersonate_user="jane") == 200
    assert code(server) == 403, "as himself he may nothing"
    assert code(server, CONFIGMAPS, impersonate_user="jane") == 403, "not as her, though she may"
    assert code(server, method="DELETE", impersonate_user="jane") == 403
    assert code(server, PODS.replace("default", "kube-system"), impersonate_user="jane") == 403
    assert code(server, impersonate_user="ann") == 403
    may(server, "bob", rule("impersonate-on:user-info:list", "secrets"))
    assert code(server, PODS.replace("pods", "secrets"), impersonate_user="jane") == 403, "she may not"


def test_each_part_of_the_identity_is_asked_about(server: Any) -> None:
    setup(server)
    more = {"impersonate_group": "devs", "impersonate_uid": "7", "impersonate_extra_scopes": "view"}
    for name, value in more.items():
        assert code(server, impersonate_user="jane", **{name: value}) == 403, name
    for resource, value in (("groups", "devs"), ("uids", "7"), ("userextras/scopes", "view")):
        granted = rule("impersonate:user-info", resource, AUTHENTICATION, resourceNames=[value])
        may(server, "bob", granted, everywhere=True)
    assert code(server, impersonate_user="jane", **more) == 200
    assert code(server, impersonate_user="jane", impersonate_group="other") == 403


def test_nobody_is_a_master_by_these_verbs(server: Any) -> None:
    setup(server)
    may(server, "bob", rule("impersonate:user-info", "groups", AUTHENTICATION), everywhere=True)
    assert code(server, impersonate_user="jane", impersonate_group="devs") == 200
    assert code(server, impersonate_user="jane", impersonate_group="system:masters") == 403


def test_a_mode_is_for_its_own_sort_of_users(server: Any) -> None:
    setup(server)
    may(server, "bob", rule("impersonate:user-info", "*", AUTHENTICATION), everywhere=True)
    may(server, "bob", rule("impersonate-on:serviceaccount:list", "pods"))
    account = "system:serviceaccount:default:default"
    may(server, account, rule("list", "pods"))
    assert code(server, impersonate_user=account) == 403
    may(server, "bob", rule("impersonate:serviceaccount", "serviceaccounts", AUTHENTICATION))
    assert code(server, impersonate_user=account) == 200
    assert code(server, impersonate_user=account, impersonate_group="system:masters") == 403
    assert code(server, impersonate_user="system:serviceaccount:kube-system:default") == 403, "only in his namespace"


@pytest.mark.parametrize(("mode", "bound", "expected"), [("associated", "n1", 200), ("associated", "n2", 403)])
def test_a_pods_account_may_be_its_own_node(server: Any, mode: str, bound: str, expected: int) -> None:
    name = "system:serviceaccount:default:agent"
    agent = http.User(name, (), "", ((auth.NODE_NAME, (bound,)),))
    may(server, name, rule(f"impersonate:{mode}-node", "nodes", AUTHENTICATION), everywhere=True)
    may(server, name, rule(f"impersonate-on:{mode}-node:list", "pods"), everywhere=True)
    target = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"
    assert code(server, target, agent, impersonate_user="system:node:n1") == expected
    assert code(server, "/api/v1/pods", agent, impersonate_user="system:node:n1") == 403, "the node may not"
    assert code(server, target, http.User(name), impersonate_user="system:node:n1") == 403


def test_any_node_is_a_mode_of_its_own(server: Any) -> None:
    may(
        server,
        "bob",
        rule("impersonate:arbitrary-node", "nodes", AUTHENTICATION, resourceNames=["n1"]),
        everywhere=True,
    )
    may(server, "bob", rule("impersonate-on:arbitrary-node:list", "pods"), everywhere=True)
    for node, expected in (("n1", 200), ("n2", 403)):
        target = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"
        assert code(server, target, impersonate_user=f"system:node:{node}") == expected


def test_the_older_verb_still_gives_all_that_the_other_may(server: Any) -> None:
    setup(server)
    may(server, "bob", rule("impersonate", "users"), everywhere=True)
    assert code(server, CONFIGMAPS, impersonate_user="jane") == 200
