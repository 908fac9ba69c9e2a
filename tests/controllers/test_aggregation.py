"""ClusterRoles that are sums of others, from a label to what a user may do."""

from __future__ import annotations

import asyncio
from typing import Any

from petset.client import client as api
from petset.client.views import Snapshot
from petset.controllers import aggregation
from petset.kinds import node
from petset.kinds.rbac import CLUSTERROLES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.wire import http
from tests.controllers import cluster
from tests.controllers.sets import told

INTO_VIEW = "rbac.authorization.k8s.io/aggregate-to-view"


def rule(verb: str, plural: str) -> dict[str, Any]:
    return {"verbs": [verb], "apiGroups": [""], "resources": [plural]}


def role(
    name: str, *rules: Object, labels: dict[str, str] | None = None, selects: dict[str, str] | None = None
) -> Object:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    chosen = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": selects}]}} if selects else {}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    return {**kind, "metadata": metadata, "rules": list(rules), **chosen}


def steps(name: str, *roles: Object) -> list[Any]:
    return aggregation.reconcile(name, Snapshot(roles), 0)


PODS, NODES = rule("get", "pods"), rule("get", "nodes")
WHOLE = role("whole", selects={"into": "whole"})


def test_a_sum_gets_the_rules_of_its_parts_each_once_by_name() -> None:
    parts = [role("b", NODES, PODS, labels={"into": "whole"}), role("a", PODS, labels={"into": "whole"})]
    (update,) = steps("whole", WHOLE, *parts, role("other", rule("get", "secrets"), labels={"into": "else"}))
    assert update.object["rules"] == [PODS, NODES]
    assert steps("whole", update.object, *parts) == [], "then it rests"


def test_rules_of_its_own_do_not_stay_in_a_sum() -> None:
    (update,) = steps("whole", {**WHOLE, "rules": [NODES]})
    assert update.object["rules"] == []
    assert steps("plain", role("plain", NODES)) == []


def test_a_sum_never_contains_itself_and_two_of_each_other_rest() -> None:
    own = role("whole", PODS, labels={"into": "whole"}, selects={"into": "whole"})
    assert told(steps("whole", own)) == ["update ClusterRole whole"], "what only it said itself is gone"
    left = role("left", PODS, labels={"into": "right"}, selects={"into": "left"})
    right = role("right", PODS, labels={"into": "left"}, selects={"into": "right"})
    assert steps("left", left, right) == steps("right", left, right) == []


def test_a_part_wakes_the_sums_it_is_in() -> None:
    part = role("part", labels={"into": "whole"})
    view = Snapshot([WHOLE, part, role("other", selects={"into": "other"})])
    assert list(aggregation.keys(part, view)) == ["whole"]
    assert list(aggregation.keys(WHOLE, view)) == ["whole"]


def test_a_labelled_role_reaches_everybody_who_may_view_and_leaves_them_again() -> None:
    async def scene(it: cluster.Cluster) -> None:
        jane = api.Client(api.InProcess(it.handle, http.User("jane")))
        bound = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "jane"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        }
        await it.client.create(bound)

        async def may_list_nodes() -> bool:
            try:
                await jane.list(node.NODES)
            except errors.ApiError as error:
                assert error.code == 403
                return False
            return True

        assert not await may_list_nodes()
        await it.client.create(role("nodes", rule("list", "nodes"), labels={INTO_VIEW: "true"}))
        # From view to edit to admin.
        await it.until(lambda: rule("list", "nodes") in it.get(CLUSTERROLES, "admin")["rules"])  # type: ignore[index]
        assert await may_list_nodes()
        await it.client.patch(CLUSTERROLES, "nodes", "", {"metadata": {"labels": {INTO_VIEW: None}}})
        await it.until(lambda: rule("list", "nodes") not in it.get(CLUSTERROLES, "admin")["rules"])  # type: ignore[index]
        assert not await may_list_nodes()
        assert meta.labels(it.get(CLUSTERROLES, "view") or {}) != {}
        await it.rests()

    async def main() -> None:
        async with cluster.running() as it:
            await scene(it)

    asyncio.run(main())
