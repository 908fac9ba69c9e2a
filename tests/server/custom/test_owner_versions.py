"""Owners that wrote in other versions of a kind: the object is compared in each of theirs, as upstream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from petset.server import conversion
from tests.server.conftest import Server
from tests.server.custom.conftest import CRDS, GROUP, NAME, Custom, definition
from tests.server.custom.test_conversion_webhooks import APPLY, MERGE, SCHEMAS, V1, V2, Converted, v1, v2

AUTOSCALERS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converted]:
    server = Converted(tmp_path_factory.mktemp("hook"))
    server.define(server.crd())
    yield server
    server.close()


def apply(server: Server, path: str, obj: dict[str, Any], manager: str, force: bool = False, code: int = 0) -> Any:
    name = obj["metadata"]["name"]
    target = f"{path}/{name}?fieldManager={manager}&force={'true' if force else 'false'}"
    answer = server("PATCH", target, obj, kind=APPLY)
    assert answer.code == code if code else answer.code < 300, answer
    return answer.body


def owned(obj: dict[str, Any]) -> dict[str, Any]:
    """The fields of the spec, by manager and version; without the one that a default sets."""
    entries = obj["metadata"].get("managedFields", ())
    return {
        f"{entry['manager']} {entry['apiVersion'].rpartition('/')[2]}": sorted(
            step[2:] for step in entry["fieldsV1"].get("f:spec", {}) if step not in (".", "f:zone")
        )
        for entry in entries
    }


def test_a_change_takes_fields_of_an_owner_in_another_version(webhook: Converted) -> None:
    apply(webhook, V1, v1("taken", when="5 4", tag="x"), "one")
    webhook.ok("PATCH", f"{V2}/taken?fieldManager=two", {"spec": {"hour": "6"}}, kind=MERGE)
    read = webhook.get(f"{V1}/taken")
    assert read["spec"] == {"when": "5 6", "tag": "x"}
    assert owned(read) == {"one v1": ["tag"], "two v2": ["hour"]}, "when is no longer what one applied"


def test_what_is_not_changed_stays_anothers(webhook: Converted) -> None:
    apply(webhook, V1, v1("kept", when="5 4"), "one")
    webhook.ok("PATCH", f"{V2}/kept?fieldManager=two", {"spec": {"tag": "y"}}, kind=MERGE)
    assert owned(webhook.get(f"{V1}/kept")) == {"one v1": ["when"], "two v2": ["tag"]}


def test_a_conflict_is_told_in_the_owners_version(webhook: Converted) -> None:
    apply(webhook, V1, v1("conflict", when="5 4"), "one")
    status = apply(webhook, V2, v2("conflict", minute="7", hour="4"), "two", code=409)
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.when"}
    ]
    apply(webhook, V2, v2("conflict", minute="5", hour="4"), "two")
    assert owned(webhook.get(f"{V1}/conflict")) == {"one v1": ["when"], "two v2": ["hour", "minute"]}, "they agree"
    apply(webhook, V2, v2("conflict", minute="7", hour="4"), "two", force=True)
    assert owned(webhook.get(f"{V1}/conflict")) == {"two v2": ["hour", "minute"]}


def test_who_applies_in_another_version_than_before_takes_back_what_he_no_longer_says(webhook: Converted) -> None:
    apply(webhook, V1, v1("back", when="5 4", tag="x", names=["a", "b"]), "one")
    apply(webhook, V2, v2("back", tag="x", names=["b", "c"]), "one")
    read = webhook.get(f"{V1}/back")
    assert (
        read["spec"].get("when") is None and read["spec"]["tag"] == "x" and sorted(read["spec"]["names"]) == ["b", "c"]
    )
    assert owned(read) == {"one v2": ["names", "tag"]}


def test_what_another_holds_in_another_version_stays(webhook: Converted) -> None:
    apply(webhook, V2, v2("held", minute="5", tag="x"), "one")
    apply(webhook, V1, v1("held", tag="x"), "two")
    apply(webhook, V2, v2("held", minute="5"), "one")
    read = webhook.get(f"{V2}/held")
    assert read["spec"]["tag"] == "x" and owned(read) == {"one v2": ["minute"], "two v1": ["tag"]}
    apply(webhook, V1, v1("held"), "two")
    assert "tag" not in webhook.get(f"{V2}/held")["spec"]


def test_labels_go_with_who_applied_them_in_another_version(webhook: Converted) -> None:
    labelled = v1("labels", tag="x")
    apply(webhook, V1, {**labelled, "metadata": {"name": "labels", "labels": {"a": "1", "b": "2"}}}, "one")
    apply(webhook, V2, {**v2("labels", tag="x"), "metadata": {"name": "labels", "labels": {"b": "2"}}}, "one")
    assert webhook.get(f"{V2}/labels")["metadata"]["labels"] == {"b": "2"}


def test_a_webhook_that_fails_refuses_an_apply_and_no_update(webhook: Converted) -> None:
    apply(webhook, V1, v1("fails", when="5 4"), "one")
    webhook.hook.says["/convert"] = lambda request: {"result": {"status": "Failed", "message": "no"}}
    status = apply(webhook, V2, v2("fails", tag="y"), "two", code=500)
    assert "conversion webhook" in status["message"]
    webhook.ok("PATCH", f"{V2}/fails?fieldManager=two", {"spec": {"tag": "y"}}, kind=MERGE)
    from tests.server.custom.test_conversion_webhooks import convert

    webhook.hook.says["/convert"] = convert
    assert owned(webhook.get(f"{V2}/fails")) == {"one v1": ["when"], "two v2": ["tag"]}


def test_owners_in_a_version_that_is_gone_go_and_in_one_not_served_stay(tmp_path: Any) -> None:
    def versions(*served: bool) -> list[dict[str, Any]]:
        names = ("v2", "v1", "v0")[: len(served)]
        schemas = {**SCHEMAS, "v0": SCHEMAS["v1"]}
        return [
            {"name": name, "served": on, "storage": name == "v2", "schema": schemas["v2"]}
            for name, on in zip(names, served, strict=True)
        ]

    server = Custom()
    server.define(definition(*versions(True, True, True)))
    for manager, version in (("old", "v0"), ("one", "v1"), ("two", "v2")):
        path, obj = V1.replace("v1", version), {**v1("a", tag="x"), "apiVersion": f"{GROUP}/{version}"}
        apply(server, path, obj, manager)
    before = server.kinds.now
    server.ok("PATCH", f"{CRDS}/{NAME}", {"spec": {"versions": versions(True, False)}}, kind=MERGE)
    server.until(lambda: server.kinds.now is not before)
    server.ok("PATCH", f"{V2}/a?fieldManager=three", {"spec": {"hour": "4"}}, kind=MERGE)
    assert owned(server.get(f"{V2}/a")) == {"one v1": ["tag"], "two v2": ["tag"], "three v2": ["hour"]}
    server.close()


# -- kinds that Kubernetes has in two versions


def autoscaler(version: str, **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, **spec}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a"},
        "spec": spec,
    }


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}


def test_an_autoscalers_percentage_is_the_metric_of_the_newer_version(server: Server) -> None:
    old, new = AUTOSCALERS.format("v1"), AUTOSCALERS.format("v2")
    apply(server, old, autoscaler("v1", targetCPUUtilizationPercentage=50), "one")
    status = apply(server, new, autoscaler("v2", **cpu(60)), "two", code=409)
    assert [cause["field"] for cause in status["details"]["causes"]] == [".spec.targetCPUUtilizationPercentage"]
    apply(server, new, autoscaler("v2", **cpu(60)), "two", force=True)
    assert owned(server.get(f"{new}/a")) == {
        "one v1": ["maxReplicas", "scaleTargetRef"],
        "two v2": ["maxReplicas", "metrics", "scaleTargetRef"],
    }
    apply(server, new, autoscaler("v2"), "two")
    assert server.get(f"{old}/a")["spec"]["targetCPUUtilizationPercentage"] == 80, "the default, as nobody says more"


def test_events_of_both_groups_are_one_kind_to_their_owners(server: Server) -> None:
    core, new = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
    about = {"kind": "Pod", "namespace": "default", "name": "web-0"}
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": about}
    more = {"eventTime": "2016-08-03T00:00:00.000000Z", "reportingController": "x.io/y", "reportingInstance": "y-1"}
    said = {"note": "m", "reason": "R", "type": "Normal", "action": "Doing"}
    server.ok("POST", f"{new}?fieldManager=one", {**event, **more, **said})
    server.ok("PATCH", f"{core}/e?fieldManager=two", {"message": "other"}, kind=MERGE)
    one, two = server.get(f"{core}/e")["metadata"]["managedFields"]
    assert "f:note" not in one["fieldsV1"] and "f:reason" in one["fieldsV1"]
    assert two["fieldsV1"] == {"f:message": {}}


def test_who_writes_in_one_version_only_costs_no_conversion(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def between(*args: Any) -> Any:
        asked.append("between")
        raise AssertionError

    monkeypatch.setattr(conversion, "between", between)
    path = AUTOSCALERS.format("v2")
    apply(server, path, autoscaler("v2"), "one")
    apply(server, path, autoscaler("v2", minReplicas=2), "one")
    server.ok("PATCH", f"{path}/a?fieldManager=two", {"spec": {"maxReplicas": 9}}, kind=MERGE)
    assert not asked
