"""What a cluster begins with, what of it follows a release, and what comes back when it was taken away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.kinds import aggregation, builtin
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.server import bootstrap
from petset.server.access import coverage, rbac
from petset.wire import http
from tests.server.access.test_access import binding, group, role, rule, user
from tests.server.conftest import JANE

PLAN = bootstrap.Plan("10.96.0.1", "10.96.0.10", "10.0.0.1", 6443)
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
MERGE = {"kind": "application/merge-patch+json"}


def test_a_second_start_writes_nothing(server):
    revision = server.store.revision
    server.run(bootstrap.ensure(server.api.rest, PLAN))
    assert server.store.revision == revision


def test_the_services_follow_the_plan(server):
    server.run(bootstrap.ensure(server.api.rest, bootstrap.Plan("10.97.0.1", "10.97.0.10", "10.1.0.1", 7443)))
    assert server.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"] == "10.97.0.1"
    assert server.get("/api/v1/namespaces/kube-system/services/kube-dns")["spec"]["clusterIP"] == "10.97.0.10"
    subsets = server.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]
    assert subsets == [
        {"addresses": [{"ip": "10.1.0.1"}], "ports": [{"name": "https", "port": 7443, "protocol": "TCP"}]}
    ]


# -- Roles

DOCUMENTED = """
admin cluster-admin edit view system:auth-delegator system:basic-user system:discovery system:kube-aggregator
system:kube-controller-manager system:kube-dns system:kube-scheduler system:kubelet-api-admin system:monitoring
system:node system:node-bootstrapper system:node-problem-detector system:node-proxier
system:persistent-volume-provisioner system:public-info-viewer system:service-account-issuer-discovery
system:volume-scheduler system:controller:statefulset-controller system:controller:generic-garbage-collector
"""


def test_the_documented_roles_exist_and_each_binding_names_one(server):
    roles = {meta.name(item) for item in server.get(ROLES)["items"]}
    assert set(DOCUMENTED.split()) <= roles
    bindings = server.get(ROLES.replace("clusterroles", "clusterrolebindings"))["items"]
    assert {item["roleRef"]["name"] for item in bindings} <= roles
    reader = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/extension-apiserver-authentication-reader"
    assert server.get(reader)["rules"][0]["resourceNames"] == ["extension-apiserver-authentication"]


def test_every_role_passes_the_servers_own_checks(server):
    """They are written past validation: what a release brings, a user could have posted."""
    for item in (*map(bootstrap._role, bootstrap.ROLES), *map(bootstrap._binding, bootstrap.BINDINGS)):
        resource = builtin.KINDS.of(item)
        assert resource is not None
        assert list(resource.validate(resource.default(item))) == [], meta.name(item)


def test_a_sum_has_the_rules_of_its_parts(server):
    by_name = {meta.name(item): item for item in server.get(ROLES)["items"]}
    for name in ("view", "edit", "admin"):
        assert by_name[name]["rules"] == aggregation.sum_of(by_name[name], by_name.values()), name
    for less, more in (("view", "edit"), ("edit", "admin"), ("admin", "cluster-admin")):
        held = [rbac.rule_of(given) for given in by_name[more]["rules"]]
        wanted = [rbac.rule_of(given) for given in by_name[less]["rules"]]
        assert coverage.covers(held, wanted), f"{more} may all that {less} may"
        assert not coverage.covers(wanted, held)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [("view", "get list watch", "create update delete"), ("edit", "get create delete", ""), ("admin", "create", "")],
)
def test_who_may_use_claims_may_use_their_snapshots(server, role: str, may: str, may_not: str) -> None:
    server.create(binding("b", role, user("jane"), kind="ClusterRole"))
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

    def allowed(verb: str, resource: str, namespace: str = "default") -> bool:
        asked = {"verb": verb, "group": "snapshot.storage.k8s.io", "resource": resource, "namespace": namespace}
        spec = {"user": "jane", "resourceAttributes": asked}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return server("POST", path, review).body["status"]["allowed"]

    assert all(allowed(verb, "volumesnapshots") for verb in may.split())
    assert not any(allowed(verb, "volumesnapshots") for verb in may_not.split())
    assert not allowed("get", "volumesnapshots", "elsewhere") and not allowed("get", "volumesnapshotcontents", "")


def test_an_auth_delegator_asks_about_others(server):
    extension = http.User("system:serviceaccount:kube-system:metrics")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "jane", "resourceAttributes": {"verb": "list", "resource": "pods"}},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert server("POST", path, review, user=extension).code == 403
    subject = {"kind": "ServiceAccount", "name": "metrics", "namespace": "kube-system"}
    server.create(binding("b", "system:auth-delegator", subject, kind="ClusterRole", namespace=""))
    assert server("POST", path, review, user=extension).code == 201


def test_monitoring_reads_health_and_metrics_only(server):
    prometheus = http.User("prometheus", ("system:monitoring",))
    assert server("GET", "/healthz/ping", user=prometheus).code == 200
    assert server("GET", "/metrics", user=prometheus).code == 404, "let through; this server has none"
    assert server("GET", "/api/v1/pods", user=prometheus).code == 403
    assert server("GET", "/metrics", user=JANE).code == 403


def test_a_release_adds_the_rights_that_are_missing_and_takes_none_away(server):
    path = f"{ROLES}/system:kube-dns"
    own = rule("get", "widgets", "example.com")
    server.ok("PATCH", path, {"rules": [own], "metadata": {"labels": {"mine": "yes"}}}, **MERGE)
    server.run(bootstrap.ensure(server.api.rest, PLAN))
    mended = server.get(path)
    assert mended["rules"][0] == own and mended["metadata"]["labels"]["mine"] == "yes"
    held = [rbac.rule_of(given) for given in mended["rules"]]
    assert coverage.covers(held, [rbac.rule_of(rule("list watch", "endpoints services"))])
    bindings = ROLES.replace("clusterroles", "clusterrolebindings")
    server.ok("PATCH", f"{bindings}/system:monitoring", {"subjects": [group("mine")]}, **MERGE)
    server.run(bootstrap.ensure(server.api.rest, PLAN))
    assert server.get(f"{bindings}/system:monitoring")["subjects"] == [group("mine"), group("system:monitoring")]


def test_who_says_so_keeps_a_role_as_it_is(server):
    hands_off = {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}
    server.ok("PATCH", f"{ROLES}/system:kube-dns", {"rules": [], "metadata": hands_off}, **MERGE)
    bound = ROLES.replace("clusterroles", "clusterrolebindings") + "/system:discovery"
    server.ok("PATCH", bound, {"subjects": [], "metadata": hands_off}, **MERGE)
    server.run(bootstrap.ensure(server.api.rest, PLAN))
    assert server.get(f"{ROLES}/system:kube-dns")["rules"] == [] and server.get(bound)["subjects"] == []


def test_the_plain_roles_of_an_earlier_release_become_sums(server):
    """Before, `view` had rules and labels of its own."""
    before = role("view", rule("get", "pods"), namespace="")
    server.ok("DELETE", f"{ROLES}/view")
    server.create(before)
    server.run(bootstrap.ensure(server.api.rest, PLAN))
    view = server.get(f"{ROLES}/view")
    assert aggregation.is_aggregated(view) and len(view["rules"]) > 3
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"


# -- What comes back

KEPT = (
    "/api/v1/namespaces/default/services/kubernetes",
    "/api/v1/namespaces/default/endpoints/kubernetes",
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
    "/api/v1/namespaces/kube-system/services/kube-dns",
)


async def _settled(server: Any, condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # The store tells nobody that nothing will come.
            await asyncio.sleep(0)


def kept(server: Any, path: str, change: Any) -> tuple[Any, Any]:
    """(the object before, and after it was changed and mended) while the server keeps its services."""

    async def scene() -> tuple[Any, Any]:
        async with asyncio.TaskGroup() as running:
            keeper = running.create_task(bootstrap.keep(server.api.rest, PLAN))
            try:
                return await change(path)
            finally:
                keeper.cancel()

    return server.run(scene())


@pytest.mark.parametrize("path", KEPT)
def test_what_is_deleted_comes_back(server, path):
    request = http.Request("DELETE", path, user=http.User("a", ("system:masters",)))
    key = next(bootstrap._key(obj) for obj in bootstrap._services(PLAN) if path == _path(obj))

    async def change(path: str) -> tuple[Any, Any]:
        before = server.store.get(key).object
        assert (await server.api.handle(request)).code == 200
        await _settled(server, lambda: server.store.get(key) is not None)
        return before, server.store.get(key).object

    before, after = kept(server, path, change)
    assert meta.uid(before) != meta.uid(after)
    for field in ("spec", "subsets", "endpoints", "ports"):
        assert before.get(field) == after.get(field), field


def test_what_is_changed_is_mended(server):
    key = SERVICES.key("default", "kubernetes")

    async def change(path: str) -> tuple[Any, Any]:
        before = server.store.get(key)
        wrong = meta.changed(before.object, ("spec", "ports"), [{"port": 1}])
        broken = await server.store.put(key, wrong, before.revision)
        await _settled(server, lambda: server.store.get(key).object["spec"] == before.object["spec"])
        return broken, server.store.get(key)

    broken, after = kept(server, KEPT[0], change)
    assert after.revision == broken.revision + 1 == server.store.revision, (
        "one write mends it, and nothing more is written"
    )


def _path(obj: Any) -> str:
    resource = builtin.KINDS.of(obj)
    assert resource is not None
    return resource.path(meta.namespace(obj), meta.name(obj))


def test_a_role_may_not_become_a_sum_by_who_may_not_everything(server):
    server.create(role("r", rule("create update patch get", "clusterroles", "rbac.authorization.k8s.io"), namespace=""))
    server.create(binding("b", "r", user("jane"), kind="ClusterRole", namespace=""))
    whole = {**role("whole", namespace=""), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    assert server("POST", ROLES, whole, user=JANE).code == 403
    part = role("part", rule("get", "secrets"), namespace="")
    part["metadata"]["labels"] = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    assert server("POST", ROLES, part, user=JANE).code == 403, "a part gives no more than its maker has"
