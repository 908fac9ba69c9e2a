"""Who may what: certificates, tokens, roles, nodes, impersonation, and the questions about them."""

from __future__ import annotations

import pytest

from petset.base import tasks
from petset.server.access import coverage, rbac
from petset.wire import http
from tests.server.conftest import JANE, NODE, pod

PODS = "/api/v1/namespaces/default/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def role(name: str, *rules: dict, namespace: str = "default") -> dict:
    kind = "Role" if namespace else "ClusterRole"
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": list(rules),
    }


def rule(verbs: str, resources: str, groups: str = "", **more) -> dict:
    return {"verbs": verbs.split(), "apiGroups": [groups], "resources": resources.split(), **more}


def binding(name: str, to: str, *subjects: dict, kind: str = "Role", namespace: str = "default") -> dict:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": to},
        "subjects": list(subjects),
    }


def user(name: str) -> dict:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def group(name: str) -> dict:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name}


# -- Authentication


def test_without_credentials_only_health_version_and_discovery_answer(server):
    for path in ("/healthz", "/livez", "/readyz", "/version", "/api", "/apis", "/api/v1", "/openapi/v3"):
        assert server("GET", path, user=None).code == 200, path
    for path in (PODS, f"{PODS}/x", "/metrics", "/anything", "/"):
        answer = server("GET", path, user=None)
        assert (answer.code, answer.body["reason"], answer.message) == (401, "Unauthorized", "Unauthorized"), path
    assert server("POST", PODS, pod("p"), user=None).code == 401


@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Bearer a.b.c", "Bearer ", "Basic eA==", "Bearer \xff.\xff.\xff"]
)
def test_wrong_credentials_are_refused_everywhere(server, header):
    assert server("GET", "/version", user=None, headers={"authorization": header}).code == 401


def test_a_client_certificate_is_a_user(server):
    peer = http.Peer("127.0.0.1", http.User("petset-admin", ("system:masters",)))
    assert server.send(http.Request("GET", PODS, peer=peer)).code == 200


def token_of(server, account: str = "default", **spec) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return server.ok("POST", f"/api/v1/namespaces/default/serviceaccounts/{account}/token", body)["status"]["token"]


def test_a_token_is_its_account_as_long_as_the_account_lives(server):
    token = {"authorization": f"Bearer {token_of(server)}"}
    me = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = server.ok("POST", path, me, user=None, headers=token)["status"]["userInfo"]
    assert info["username"] == "system:serviceaccount:default:default"
    assert info["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    assert server("GET", PODS, user=None, headers=token).code == 403
    server.create(
        binding("b", "view", {"kind": "ServiceAccount", "name": "default", "namespace": "default"}, kind="ClusterRole")
    )
    assert server("GET", PODS, user=None, headers=token).code == 200
    server.ok("DELETE", "/api/v1/namespaces/default/serviceaccounts/default")
    assert server("GET", PODS, user=None, headers=token).code == 401


def test_a_token_lasts_its_time_and_is_for_its_audience(server, monkeypatch):
    token = {"authorization": f"Bearer {token_of(server, expirationSeconds=600)}"}
    other = {"authorization": f"Bearer {token_of(server, audiences=['vault'])}"}
    assert server("GET", "/version", user=None, headers=token).code == 200
    assert server("GET", "/version", user=None, headers=other).code == 401
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    given = {"token": other["authorization"].removeprefix("Bearer "), "audiences": ["vault"]}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert server.ok("POST", path, {**review, "spec": given})["status"]["authenticated"] is True
    assert "error" in server.ok("POST", path, {**review, "spec": {"token": "x"}})["status"]
    now = tasks.now()
    monkeypatch.setattr(tasks, "now", lambda: now + 601)
    assert server("GET", "/version", user=None, headers=token).code == 401


# -- Roles


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("get", "pods"), rbac.Attributes("get", "", "pods"), True),
        (rule("get", "pods"), rbac.Attributes("list", "", "pods"), False),
        (rule("get", "pods"), rbac.Attributes("get", "apps", "pods"), False),
        (rule("get", "pods"), rbac.Attributes("get", "", "pods", "log"), False),
        (rule("get", "pods/log"), rbac.Attributes("get", "", "pods", "log"), True),
        (rule("get", "*/log"), rbac.Attributes("get", "", "pods", "log"), True),
        (rule("*", "*", "*"), rbac.Attributes("escalate", "apps", "petsets", "scale"), True),
        (rule("get", "pods", resourceNames=["a"]), rbac.Attributes("get", "", "pods", name="a"), True),
        (rule("get", "pods", resourceNames=["a"]), rbac.Attributes("get", "", "pods", name="b"), False),
        (rule("list", "pods", resourceNames=["a"]), rbac.Attributes("list", "", "pods"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}, rbac.Attributes("get", path="/healthz/a"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, rbac.Attributes("get", path="/healthz/a"), False),
        (rule("*", "*", "*"), rbac.Attributes("get", path="/metrics"), False),
    ],
)
def test_what_a_rule_allows(given, asked, allowed):
    assert rbac.rule_of(given).allows(asked) is allowed


@pytest.mark.parametrize(
    ("owned", "wanted", "covered"),
    [
        ([rule("get list", "pods")], rule("get", "pods"), True),
        ([rule("get", "pods"), rule("list", "pods")], rule("get list", "pods"), True),
        ([rule("get", "pods")], rule("get", "pods secrets"), False),
        ([rule("*", "*", "*")], rule("escalate", "roles", "rbac.authorization.k8s.io"), True),
        ([rule("get", "pods")], rule("get", "pods", resourceNames=["a"]), True),
        ([rule("get", "pods", resourceNames=["a"])], rule("get", "pods"), False),
        ([rule("get", "pods")], rule("*", "pods"), False),
        ([], {"verbs": ["get"], "nonResourceURLs": ["/x"]}, False),
    ],
)
def test_who_holds_a_rule_already(owned, wanted, covered):
    assert coverage.covers(map(rbac.rule_of, owned), [rbac.rule_of(wanted)]) is covered


def test_a_role_counts_from_the_moment_it_is_bound_until_it_is_not(server):
    refused = server("GET", PODS, user=JANE)
    assert refused.code == 403
    assert refused.message == (
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    server.create(role("r", rule("list", "pods")))
    server.create(binding("b", "r", user("jane")))
    assert server("GET", PODS, user=JANE).code == 200
    assert server("GET", "/api/v1/pods", user=JANE).code == 403, "the role is of one namespace"
    assert server("GET", f"{PODS}/x", user=JANE).message.startswith('pods "x" is forbidden: User "jane" cannot get')
    server.ok("DELETE", f"{RBAC}/namespaces/default/rolebindings/b")
    assert server("GET", PODS, user=JANE).code == 403


def test_the_bootstrap_roles(server):
    petsets = "/apis/apps/v1alpha1/namespaces/default/petsets"
    for name, reads, writes, binds in (("view", 200, 403, 403), ("edit", 200, 404, 403), ("admin", 200, 404, 200)):
        someone = http.User(f"u-{name}")
        server.create(binding(f"b-{name}", name, user(someone.name), kind="ClusterRole"))
        assert server("GET", petsets, user=someone).code == reads
        assert server("DELETE", f"{petsets}/absent", user=someone).code == writes
        assert server("GET", f"{RBAC}/namespaces/default/roles", user=someone).code == binds
        assert server("GET", "/api/v1/nodes", user=someone).code == 403
        secrets = server("GET", "/api/v1/namespaces/default/secrets", user=someone).code
        assert secrets == (403 if name == "view" else 200)
    server.create(binding("b", "cluster-admin", group("ops"), kind="ClusterRole", namespace=""))
    assert server("GET", "/api/v1/nodes", user=http.User("o", ("ops",))).code == 200


def test_nobody_gives_what_they_do_not_hold(server):
    rights = [rule("get list", "pods"), rule("*", "roles rolebindings", "rbac.authorization.k8s.io")]
    rights[1]["verbs"] = ["create", "update", "get", "patch"]
    server.create(role("r", *rights))
    server.create(binding("b", "r", user("jane")))
    create = f"{RBAC}/namespaces/default"
    assert server("POST", f"{create}/roles", role("less", rule("get", "pods")), user=JANE).code == 201
    refused = server("POST", f"{create}/roles", role("more", rule("get", "secrets")), user=JANE)
    assert refused.code == 403 and "attempting to grant RBAC permissions not currently held" in refused.message
    grown = role("less", rule("get", "pods secrets"))
    assert server("PUT", f"{create}/roles/less", grown, user=JANE).code == 403
    assert server("POST", f"{create}/rolebindings", binding("c", "less", user("bob")), user=JANE).code == 201
    admin = binding("d", "admin", user("jane"), kind="ClusterRole")
    assert server("POST", f"{create}/rolebindings", admin, user=JANE).code == 403
    absent = binding("e", "absent", user("jane"))
    assert server("POST", f"{create}/rolebindings", absent, user=JANE).code == 404


# -- Nodes


def on_node(server, name: str, node: str, **spec) -> None:
    server.create(pod(name, **spec))
    server.ok("POST", f"{PODS}/{name}/binding", {"target": {"name": node}, "metadata": {"name": name}})


def test_a_node_keeps_to_its_own(server):
    for name in ("n1", "n2"):
        server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    for name in ("mine", "theirs", "unused"):
        server.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}})
    on_node(server, "p1", "n1", volumes=[{"name": "v", "secret": {"secretName": "mine"}}])
    on_node(server, "p2", "n2", volumes=[{"name": "v", "secret": {"secretName": "theirs"}}])

    def code(method: str, path: str, body=None, **options) -> int:
        return server(method, path, body, user=NODE, **options).code

    secrets = "/api/v1/namespaces/default/secrets"
    assert code("GET", f"{secrets}/mine") == 200
    assert code("GET", f"{secrets}?fieldSelector=metadata.name%3Dmine") == 200
    assert code("GET", f"{secrets}/theirs") == code("GET", f"{secrets}/unused") == code("GET", secrets) == 403
    assert code("GET", "/api/v1/nodes/n1") == 200 and code("GET", "/api/v1/nodes/n2") == 403
    assert code("GET", "/api/v1/services") == code("GET", "/apis/discovery.k8s.io/v1/endpointslices") == 200
    assert code("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1") == 200
    assert code("GET", "/api/v1/pods") == code("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2") == 403
    status = {"status": {"phase": "Running"}}
    merge = {"kind": "application/merge-patch+json"}
    assert code("PATCH", f"{PODS}/p1/status", status, **merge) == 200
    assert code("PATCH", f"{PODS}/p2/status", status, **merge) == 403
    assert code("PATCH", f"{PODS}/p1/status", {"metadata": {"labels": {"a": "b"}}}, **merge) == 403
    assert code("PATCH", f"{PODS}/p1/status", {"metadata": {"annotations": {"a": "b"}}}, **merge) == 200
    assert code("PATCH", f"{PODS}/p1", {"metadata": {"labels": {"a": "b"}}}, **merge) == 403
    assert code("DELETE", f"{PODS}/p2") == 403
    taint = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    assert code("PATCH", "/api/v1/nodes/n1", taint, **merge) == 403
    assert code("PATCH", "/api/v1/nodes/n1/status", {"status": {"addresses": []}}, **merge) == 200
    fenced = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}
    assert code("PATCH", "/api/v1/nodes/n1/status", fenced, **merge) == 403
    assert code("POST", f"{PODS}/p2/eviction", {}) == 403
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n1"}, "spec": {}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert code("POST", leases, lease) == 201
    assert code("POST", leases, {**lease, "metadata": {"name": "n2"}}) == 403
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    accounts = "/api/v1/namespaces/default/serviceaccounts/default/token"
    assert code("POST", accounts, token) == 403
    for name, expected in (("p1", 201), ("p2", 403)):
        uid = server.get(f"{PODS}/{name}")["metadata"]["uid"]
        bound = {"boundObjectRef": {"kind": "Pod", "name": name, "uid": uid}}
        assert code("POST", accounts, {**token, "spec": bound}) == expected
    assert code("DELETE", f"{PODS}/p1", {"gracePeriodSeconds": 0}) == 200
    assert code("GET", f"{secrets}/mine") == 403, "nothing of the node's refers to it any more"


RESTRICTED = "node-restriction.kubernetes.io/trusted"
LABELS_OF_NODES = [
    ("kubernetes.io/hostname", True),
    ("kubernetes.io/arch", True),
    ("topology.kubernetes.io/zone", True),
    ("node.kubernetes.io/instance-type", True),
    ("node.kubernetes.io/anything", True),
    ("kubelet.kubernetes.io/anything", True),
    ("deep.kubelet.kubernetes.io/anything", True),
    ("example.com/anything", True),
    ("plain", True),
    (RESTRICTED, False),
    ("deep.node-restriction.kubernetes.io/trusted", False),
    ("node-role.kubernetes.io/control-plane", False),
    ("kubernetes.io/anything", False),
    ("k8s.io/anything", False),
    ("deep.k8s.io/anything", False),
    ("xkubernetes.io/anything", True),
    ("xkubelet.kubernetes.io/anything", False),
]


@pytest.mark.parametrize(("label", "allowed"), LABELS_OF_NODES)
def test_a_node_gives_itself_no_label_that_others_trust(server, label, allowed):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {label: "v"}}}
    merge = {"kind": "application/merge-patch+json"}

    def code(method: str, path: str, body, user=NODE, **options) -> int:
        return server(method, path, body, user=user, **options).code

    assert code("POST", "/api/v1/nodes", node) == (201 if allowed else 403)
    if allowed:
        server.ok("DELETE", "/api/v1/nodes/n1")
    server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    add = {"metadata": {"labels": {label: "v"}}}
    assert code("PATCH", "/api/v1/nodes/n1", add, **merge) == (200 if allowed else 403)
    server.ok("PATCH", "/api/v1/nodes/n1", add, **merge)  # By an administrator.
    for path in ("/api/v1/nodes/n1", "/api/v1/nodes/n1/status"):
        assert code("PATCH", path, {"metadata": {"annotations": {"a": "b"}}}, **merge) == 200, "others stay writable"
    for changed in ("w", None):
        change = {"metadata": {"labels": {label: changed}}}
        assert code("PATCH", "/api/v1/nodes/n1", change, **merge) == (200 if allowed else 403), changed


def test_a_node_owns_no_taint_at_birth_and_nobody_owns_it(server):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}
    merge = {"kind": "application/merge-patch+json"}
    born = {**node, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    assert server("POST", "/api/v1/nodes", born, user=NODE).code == 201, "a node may begin with taints"
    patch = {"metadata": {"ownerReferences": [owner]}}
    assert server("PATCH", "/api/v1/nodes/n1", patch, user=NODE, **merge).code == 403
    assert server("DELETE", "/api/v1/nodes/n1", user=NODE).code == 403
    assert server("POST", "/api/v1/nodes", {**node, "metadata": {"name": "n2"}}, user=NODE).code == 403


def test_a_node_evicts_its_own_pods_only(server):
    for name in ("n1", "n2"):
        server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    on_node(server, "p1", "n1")
    on_node(server, "p2", "n2")
    assert server("POST", f"{PODS}/p2/eviction", {}, user=NODE).code == 403
    assert server("POST", f"{PODS}/p1/eviction", {}, user=NODE).code == 201


# -- Acting as another, and asking


def test_impersonation(server):
    headers = {"impersonate-user": "jane", "impersonate-group": "developers"}
    answer = server("GET", PODS, headers=headers)
    assert answer.code == 403 and 'User "jane"' in answer.message
    assert server("GET", PODS, user=JANE, headers={"impersonate-user": "petset-admin"}).code == 403
    assert server("GET", PODS, headers={"impersonate-group": "developers"}).code == 400
    account = {"impersonate-user": "system:serviceaccount:default:default"}
    assert 'User "system:serviceaccount:default:default"' in server("GET", PODS, headers=account).message
    server.create(role("r", rule("impersonate", "users", resourceNames=["jane"]), namespace=""))
    server.create(binding("b", "r", user("bob"), kind="ClusterRole", namespace=""))
    assert 'User "jane"' in server("GET", PODS, user=http.User("bob"), headers={"impersonate-user": "jane"}).message
    assert 'User "bob"' in server("GET", PODS, user=http.User("bob"), headers=headers).message


@pytest.mark.parametrize(
    "name",
    [
        "evilsystem:serviceaccount:default:worker",
        "x system:serviceaccount:default:worker",
        "system:serviceaccount:default:worker:more",
        "system:serviceaccount::worker",
        "system:serviceaccount:default:",
        "system:serviceaccount:default:Worker",
        "system:serviceaccount:de/fault:worker",
    ],
)
def test_only_the_whole_name_of_a_service_account_is_one(server, name):
    """Who may act as a service account may not act as a user whose name merely contains it."""
    bob = http.User("bob")
    server.create(role("r", rule("impersonate", "serviceaccounts", resourceNames=["worker"])))
    server.create(binding("b", "r", user("bob")))
    account = {"impersonate-user": "system:serviceaccount:default:worker"}
    as_worker = server("GET", PODS, user=bob, headers=account)
    assert as_worker.message.startswith('pods is forbidden: User "system:serviceaccount:default:worker" cannot list')
    refused = server("GET", PODS, user=bob, headers={"impersonate-user": name})
    assert refused.code == 403
    assert refused.message.startswith(f'users "{name}" is forbidden: User "bob" cannot impersonate resource "users"')
    whoami = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = server.ok("POST", path, whoami, headers={"impersonate-user": name})["status"]["userInfo"]
    assert info == {"username": name, "groups": ["system:authenticated"]}, "no account: no groups of accounts"


def test_who_is_impersonated_is_in_the_groups_they_would_be_in(server):
    whoami = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    anybody = group("system:unauthenticated")
    server.create(binding("b", "system:basic-user", anybody, kind="ClusterRole", namespace=""))

    def info(**headers: str):
        given = {f"impersonate-{key.replace('__', '-').replace('_', '%')}": value for key, value in headers.items()}
        answer = server.ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", whoami, headers=given)
        return answer["status"]["userInfo"]

    account = "system:serviceaccount:default:worker"
    of_accounts = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    assert info(user=account)["groups"] == of_accounts
    assert info(user=account, group="a")["groups"] == ["a", "system:authenticated"]
    assert info(user="jane", group="system:unauthenticated")["groups"] == ["system:unauthenticated"]
    assert info(user="system:anonymous")["groups"] == ["system:unauthenticated"]
    assert info(user="system:anonymous", group="system:unauthenticated")["groups"] == ["system:unauthenticated"]
    assert info(user="jane", extra__scopes_2fview="a")["extra"] == {"scopes/view": ["a"]}, "keys are percent-encoded"


def test_reviews_answer_what_a_request_would_get(server):
    group_version = {"apiVersion": "authorization.k8s.io/v1"}
    path = "/apis/authorization.k8s.io/v1"
    attributes = {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}
    mine = {**group_version, "kind": "SelfSubjectAccessReview", "spec": attributes}
    assert server.ok("POST", f"{path}/selfsubjectaccessreviews", mine)["status"]["allowed"] is True
    assert server.ok("POST", f"{path}/selfsubjectaccessreviews", mine, user=JANE)["status"]["allowed"] is False
    of_jane = {**group_version, "kind": "SubjectAccessReview", "spec": {**attributes, "user": "jane"}}
    assert server("POST", f"{path}/subjectaccessreviews", of_jane, user=JANE).code == 403
    server.create(role("r", rule("list", "pods")))
    server.create(binding("b", "r", user("jane")))
    assert server.ok("POST", f"{path}/subjectaccessreviews", of_jane)["status"]["allowed"] is True
    rules = {**group_version, "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}}
    status = server.ok("POST", f"{path}/selfsubjectrulesreviews", rules, user=JANE)["status"]
    assert {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]} in status["resourceRules"]
    for wrong in ({}, {"resourceAttributes": {}, "nonResourceAttributes": {}}):
        assert server("POST", f"{path}/selfsubjectaccessreviews", {**mine, "spec": wrong}).code == 422
    paths = {**mine, "spec": {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}}
    assert server.ok("POST", f"{path}/selfsubjectaccessreviews", paths, user=JANE)["status"]["allowed"] is False
    assert server("GET", f"{path}/selfsubjectaccessreviews").code == 405


def test_a_node_makes_mirror_pods_of_its_own_and_no_others(server):
    node = server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": node["metadata"]["uid"]}
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]}

    def made(node_name: str = "n1", **metadata):
        given = pod("p", nodeName=node_name)
        given["metadata"].update(metadata)
        return server("POST", PODS, given, user=NODE)

    assert "can only create mirror pods" in made(ownerReferences=[owner]).message
    other = {**mirror, "ownerReferences": [{**owner, "name": "n2"}]}
    assert "with an owner reference set to itself" in made(**other).message
    assert "may write only pods that are bound to it" in made("n2", **mirror).message
    assert made(**mirror).code == 201
