"""What the status of a quota says: purely, and over a server while objects and kinds come and go."""

from __future__ import annotations

import asyncio
from typing import Any

from petset.client.views import Snapshot
from petset.controllers import actions, quotas
from petset.kinds import builtin
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.pod import PODS
from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers.cluster import Cluster, running
from tests.controllers.test_kinds import INGRESSES, comes, config_map, goes, ingress


def quota(hard: dict[str, str], status: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "q", "namespace": "default", "uid": "q", "resourceVersion": "1"}
    made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard, **spec}}
    return {**made, "status": status or {}}


def pod(name: str, cpu: str = "", phase: str = "Running", **spec: Any) -> Object:
    resources = {"resources": {"requests": {"cpu": cpu}}} if cpu else {}
    spec = {"containers": [{"name": "c", "image": "i", **resources}], **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


def told(view: Snapshot) -> Object | None:
    """The status that is written, if any."""
    steps = quotas.reconcile("default/q", view, 0.0)
    assert all(isinstance(step, actions.UpdateStatus) and step.subresource == "status" for step in steps)
    return steps[0].object["status"] if steps else None


def test_what_is_used_is_told_once() -> None:
    hard = {"pods": "5", "requests.cpu": "1", "configmaps": "9", "count/leases.coordination.k8s.io": "1", "x/y": "1"}
    objects = [pod("a", "100m"), pod("b", "50m"), pod("c", "1", phase="Succeeded"), config_map("m")]
    elsewhere = {**pod("d", "1"), "metadata": {"name": "d", "namespace": "other"}}
    view = Snapshot([quota(hard), *objects, elsewhere])
    used = {"pods": "2", "requests.cpu": "150m", "configmaps": "1", "count/leases.coordination.k8s.io": "0"}
    assert told(view) == {"hard": hard, "used": used}
    view.of(RESOURCEQUOTAS).put(quota(hard, {"hard": hard, "used": used}))
    assert told(view) is None


def test_a_change_costs_its_own_object() -> None:
    view = Snapshot([quota({"pods": "5", "requests.cpu": "1"}), *(pod(f"p{n}", "10m") for n in range(4))])
    first = told(view)
    assert first is not None and first["used"] == {"pods": "4", "requests.cpu": "40m"}
    view.of(PODS).put(pod("p0", "10m", phase="Failed"))
    view.of(PODS).remove("default/p1")
    view.of(PODS).put(pod("new", "1"))
    second = told(view)
    assert second is not None and second["used"] == {"pods": "3", "requests.cpu": "1020m"}
    view.of(RESOURCEQUOTAS).remove("default/q")
    assert told(view) is None
    view.of(PODS).put(pod("later"))


def test_a_quota_of_some_scopes_counts_those() -> None:
    view = Snapshot([quota({"pods": "5", "configmaps": "1"}, scopes=["Terminating"]), pod("a"), config_map("m")])
    view.of(PODS).put(pod("b", activeDeadlineSeconds=1))
    status = told(view)
    assert status is not None and status["used"] == {"configmaps": "0", "pods": "1"}


def used(it: Cluster) -> Any:
    return meta.get(it.get(RESOURCEQUOTAS, "q"), "status", "used")


def test_it_follows_what_comes_and_goes() -> None:
    async def main() -> None:
        async with running() as it:
            hard = {"configmaps": "9", "count/ingresses.networking.example.com": "2"}
            await it.client.create(meta.without(quota(hard), ("metadata", "resourceVersion")))
            # Each namespace has the ConfigMap of its certificate authority.
            await it.until(lambda: used(it) == {"configmaps": "1"})
            await it.client.create(config_map("a"))
            await it.until(lambda: used(it) == {"configmaps": "2"})
            comes(it)
            await it.client.create(ingress("i"))
            counted = "count/ingresses.networking.example.com"
            await it.until(lambda: used(it) == {"configmaps": "2", counted: "1"})
            await it.client.delete(CONFIGMAPS, "a", "default")
            await it.until(lambda: used(it) == {"configmaps": "1", counted: "1"})
            goes(it)
            await it.until(lambda: used(it) == {"configmaps": "1"})
            await it.client.patch(RESOURCEQUOTAS, "q", "default", {"spec": {"hard": {"configmaps": "7"}}})
            await it.until(lambda: meta.get(it.get(RESOURCEQUOTAS, "q"), "status", "hard", "configmaps") == "7")

    asyncio.run(main())


def test_it_counts_every_kind_but_events() -> None:
    counted = [kind.plural for kind in builtin.KINDS if quotas.is_counted(kind)]
    assert "events" not in counted and {"pods", "petsets", "leases", "resourcequotas"} <= set(counted)
    assert INGRESSES.namespaced and quotas.is_counted(INGRESSES)
