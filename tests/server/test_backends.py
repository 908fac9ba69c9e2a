"""Who answers is chosen by the path, before it is known who asks; the way there is the same for all."""

from __future__ import annotations

from typing import Any

import pytest

from petset.objects import errors
from petset.objects.registry import Kinds
from petset.server import answers, backends, routes
from petset.server.routes import Call, Path, Route
from petset.wire import http
from tests.server.conftest import JANE, Server

ROOT = "/apis/metrics.example.com/v1"
PODS = f"{ROOT}/namespaces/default/pods"


class Elsewhere:
    """As an aggregated server would be: it is handed what may be asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def route(self, path: Path, kinds: Kinds) -> Route:
        return routes.of_strangers(path)

    async def answer(self, call: Call) -> http.Response:
        self.asked.append(f"{call.user.name} {call.verb} {call.route.path}")
        return answers.json(200, {"kind": "Elsewhere"})


def with_one(server: Server) -> Elsewhere:
    one = Elsewhere()
    server.api.backends.of_groups = {("metrics.example.com", "v1"): one}
    return one


def test_all_below_a_group_version_is_its_backends(server: Server) -> None:
    assert server("GET", PODS).code == 404
    one = with_one(server)
    for path in (ROOT, f"{ROOT}/nodes", PODS, f"{PODS}/web", f"{PODS}/web/log/deep"):
        assert server.get(path)["kind"] == "Elsewhere"
    assert server("POST", PODS, {}).code == server("DELETE", PODS).code == 200
    assert one.asked == [
        f"petset-admin get {ROOT}",
        f"petset-admin list {ROOT}/nodes",
        f"petset-admin list {PODS}",
        f"petset-admin get {PODS}/web",
        f"petset-admin get {PODS}/web/log/deep",
        f"petset-admin create {PODS}",
        f"petset-admin deletecollection {PODS}",
    ]
    assert server("GET", "/apis/metrics.example.com/v2/pods").code == 404
    server.api.backends.of_groups = {}
    assert server("GET", PODS).code == 404


def test_who_may_not_ask_never_reaches_a_backend(server: Server) -> None:
    one = with_one(server)
    refused = server("GET", f"{PODS}/web", user=JANE)
    assert refused.code == 403 and 'cannot get resource "pods" in API group "metrics.example.com"' in refused.message
    assert server("GET", PODS, user=None).code == 401
    rules = [{"apiGroups": ["metrics.example.com"], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["web"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "reader"}}
    server.create({**role, "kind": "Role", "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]
    server.create({**role, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects})
    assert server("GET", f"{PODS}/web", user=JANE).code == 200
    assert server("GET", f"{PODS}/other", user=JANE).code == 403
    assert one.asked == [f"jane get {PODS}/web"]


def test_a_name_cannot_smuggle_in_another_path(server: Server) -> None:
    one = with_one(server)
    assert server("GET", f"{ROOT}/namespaces/default/pods/a%2fb").code == 404
    assert server("GET", "/apis/metrics.example.com%2fv1/pods").code == 404
    assert not one.asked


PATHS = [
    "/api/v1/namespaces/default/configmaps/c",
    "/api/v1/namespaces/default/configmaps/c%2Fd",
    "/api/v1/namespaces/default/configmaps/",
    "/api/v1/namespaces/default/configmaps/c/status",
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/configmaps",
    "/api/v1/configmaps/c",
    "/api/v1/namespaces",
    "/api/v1/namespaces/default",
    "/api/v1/namespaces/default/status",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/nodes",
    "/api/v1/nodes/n",
    "/api/v1/nodes/n/proxy",
    "/apis/apps/v1/namespaces/default/statefulsets",
    "/apis/apps/v1/namespaces/default/statefulsets/s/scale",
    "/apis/apps/v1/namespaces/default/statefulsets/s",
    "/api/v1/namespaces/default/pods/p/proxy",
    "/api/v1/nonsense/n",
    "/api/v1",
    "/readyz",
    "/readyz/ping",
]


def test_what_a_path_means_is_the_same_whatever_was_asked_for_before(server: Server) -> None:
    kept = server.api.backends

    def way(path: str, ways: backends.Backends) -> Any:
        try:
            return ways.way(path, server.kinds.now)
        except errors.ApiError as error:
            return error.code, error.message

    for order in (PATHS, PATHS[::-1], sorted(PATHS)):
        for path in order:
            own = kept.kinds, kept.paths, kept.proxy, kept.node_proxy, kept.dashboard, kept.why
            fresh = backends.Backends(*own, of_groups={})
            assert way(path, kept) == way(path, fresh), path


def test_few_ways_are_kept_and_none_of_kinds_that_have_gone(server: Server) -> None:
    ways = server.api.backends
    for number in range(3 * backends.WAYS_KEPT_MAX):
        ways.way(f"/api/v1/namespaces/n{number}/pods", server.kinds.now)
    assert len(ways._ways) <= backends.WAYS_KEPT_MAX + 1
    configmaps = server.kinds.now.at("", "v1", "configmaps")
    assert configmaps is not None
    ways.way("/api/v1/namespaces/default/configmaps", server.kinds.now)
    with pytest.raises(errors.ApiError):
        ways.way("/api/v1/namespaces/default/configmaps", server.kinds.now.without(configmaps))
