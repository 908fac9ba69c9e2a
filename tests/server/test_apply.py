"""Server-side apply and managedFields over the API: every kind of write keeps who owns what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from petset.base import tasks
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Answer, Server, configmap, petset, pod

SPACE = "/api/v1/namespaces/default"
CONFIGMAPS, PODS = f"{SPACE}/configmaps", f"{SPACE}/pods"
PETSETS = "/apis/apps/v1alpha1/namespaces/default/petsets"
APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json-patch+json"


def apply(
    server: Server, path: str, config: Any, manager: str = "me", query: str = "", user: http.User = ADMIN
) -> Answer:
    return server("PATCH", f"{path}?fieldManager={manager}{query}", config, kind=APPLY, user=user)


def owned(obj: Any) -> dict[tuple[str, str, str], Any]:
    entries = obj["metadata"].get("managedFields", ())
    return {(e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"] for e in entries}


def test_an_apply_makes_what_is_not_there_and_changes_what_is(server: Server) -> None:
    made = apply(server, f"{CONFIGMAPS}/c", configmap("c", a="1", b="2"))
    assert made.code == 201 and owned(made.body) == {
        ("me", "Apply", ""): {"f:data": {"f:a": {}, "f:b": {}}},
    }
    changed = apply(server, f"{CONFIGMAPS}/c", b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '3'}")
    assert changed.code == 200 and changed.body["data"] == {"a": "3"}
    assert owned(server.get(f"{CONFIGMAPS}/c")) == {("me", "Apply", ""): {"f:data": {"f:a": {}}}}


def test_an_apply_that_changes_nothing_is_not_written(server: Server) -> None:
    made = apply(server, f"{PODS}/p", pod("p"))
    before = server.store.revision
    assert apply(server, f"{PODS}/p", pod("p")).body == made.body and server.store.revision == before


def test_a_dry_run_of_an_apply_stores_nothing(server: Server) -> None:
    before = server.store.revision
    assert apply(server, f"{CONFIGMAPS}/c", configmap("c", a="1"), query="&dryRun=All").code == 201
    assert server.store.revision == before


def test_a_conflict_is_told_and_can_be_forced(server: Server) -> None:
    server.create(configmap("c", a="1"), headers={"user-agent": "maker/1"})
    refused = apply(server, f"{CONFIGMAPS}/c", configmap("c", a="2"))
    assert refused.code == 409
    assert refused.message == 'Apply failed with 1 conflict: conflict with "maker" using v1: .data.a'
    assert refused.body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = apply(server, f"{CONFIGMAPS}/c", configmap("c", a="2"), query="&force=true").body
    assert forced["data"] == {"a": "2"}
    assert owned(forced) == {("me", "Apply", ""): {"f:data": {"f:a": {}}}, ("maker", "Update", ""): {"f:data": {}}}


def test_every_kind_of_write_names_its_owner(server: Server) -> None:
    server.create(petset("web"), headers={"user-agent": "maker/1"})
    path = f"{PETSETS}/web"
    server.ok("PATCH", f"{path}/scale?fieldManager=scaler", {"spec": {"replicas": 5}}, kind=MERGE)
    server.ok("PATCH", f"{path}/status?fieldManager=watcher", {"status": {"replicas": 1}}, kind=MERGE)
    labels = [{"op": "add", "path": "/metadata/annotations", "value": {"x": "y"}}]
    server.ok("PATCH", f"{path}?fieldManager=patcher", labels, kind=JSON)
    obj = server.get(path)
    server.ok("PUT", f"{path}?fieldManager=putter", {**obj, "spec": {**obj["spec"], "minReadySeconds": 3}})
    found = owned(server.get(path))
    assert found["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert found["watcher", "Update", "status"] == {"f:status": {"f:replicas": {}}}
    assert found["patcher", "Update", ""] == {"f:metadata": {"f:annotations": {".": {}, "f:x": {}}}}
    assert found["putter", "Update", ""] == {"f:spec": {"f:minReadySeconds": {}}}
    spec = found["maker", "Update", ""]["f:spec"]
    assert "f:replicas" not in spec and "f:template" in spec and "f:status" not in found["maker", "Update", ""]


def test_the_status_and_the_scale_are_applied_by_themselves(server: Server) -> None:
    server.create(petset("web"))
    path, kind = f"{PETSETS}/web", {"apiVersion": "apps/v1alpha1", "kind": "PetSet", "metadata": {"name": "web"}}
    apply(server, f"{path}/status", {**kind, "spec": {"replicas": 9}, "status": {"replicas": 1}}, "reporter")
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    refused = apply(server, f"{path}/scale", scale, "scaler")
    assert refused.code == 409 and refused.message.endswith(": .spec.replicas")
    assert apply(server, f"{path}/scale", scale, "scaler", "&force=true").body["spec"] == {"replicas": 3}
    obj = server.get(path)
    assert obj["spec"]["replicas"] == 3 and obj["status"]["replicas"] == 1
    found = owned(obj)
    assert found["reporter", "Apply", "status"] == {"f:status": {"f:replicas": {}}}
    assert found["scaler", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert apply(server, f"{path}/status", {**kind, "metadata": {"name": "web"}}, "reporter").code == 200
    assert apply(server, f"{PETSETS}/none/status", {**kind, "metadata": {"name": "none"}}, "x").code == 404


def test_defaults_are_nobodys_after_an_apply_and_the_makers_after_a_creation(server: Server) -> None:
    server.create(pod("made"))
    made, applied = server.get(f"{PODS}/made"), apply(server, f"{PODS}/applied", pod("applied")).body
    assert "f:dnsPolicy" in owned(made)["unknown", "Update", ""]["f:spec"]
    assert "f:dnsPolicy" not in owned(applied)["me", "Apply", ""]["f:spec"] and applied["spec"]["dnsPolicy"]


def test_what_a_client_says_of_owners(server: Server) -> None:
    server.create(configmap("c", a="1"))
    path = f"{CONFIGMAPS}/c"
    before = server.get(path)
    absent = {**before, "metadata": {k: v for k, v in before["metadata"].items() if k != "managedFields"}}
    assert server.ok("PUT", path, absent) == before  # Who does not know them does no harm.
    reset = {"metadata": {"managedFields": [{}]}}
    assert "managedFields" not in server.ok("PATCH", path, reset, kind=MERGE)["metadata"]
    assert "managedFields" not in server.ok("PATCH", path, {"data": {"a": "2"}}, kind=MERGE)["metadata"]
    applied = apply(server, path, configmap("c", b="2")).body
    assert owned(applied)["before-first-apply", "Update", ""] == {"f:data": {".": {}, "f:a": {}}}
    entries = [{**entry, "manager": "x" * 129} for entry in applied["metadata"]["managedFields"]]
    refused = server("PATCH", path, {"metadata": {"managedFields": entries}}, kind=MERGE)
    assert refused.code == 422 and "metadata.managedFields[0].manager: Too long" in refused.message


def test_objects_that_differ_in_times_alone_are_not_written(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = server.create(pod("p"))
    before = server.store.revision
    monkeypatch.setattr(tasks, "now", lambda: 2e9)
    server.ok("PUT", f"{PODS}/p", made)
    server.ok("PATCH", f"{PODS}/p", {"spec": {"dnsPolicy": "ClusterFirst"}}, kind=MERGE)
    assert server.store.revision == before


CONFIG = configmap("c", a="1")
REFUSED: list[tuple[str, Any, int, str]] = [
    ("", CONFIG, 422, "fieldManager: Required value: is required for apply patch"),
    ("fieldManager=me", b"{", 400, "error decoding YAML"),
    ("fieldManager=me", b"a: [", 400, "error decoding YAML"),
    ("fieldManager=me", [], 400, "must be an object"),
    ("fieldManager=me", {"metadata": {"name": "c"}}, 400, "with its apiVersion and kind"),
    ("fieldManager=me", {**CONFIG, "apiVersion": "v2"}, 400, "Specified patch version: v2, expected: v1"),
    ("fieldManager=me", {**CONFIG, "metadata": {"name": "d"}}, 400, "does not match the name on the URL"),
    ("fieldManager=me", {**CONFIG, "spec": {}}, 400, "(c; v1, Kind=ConfigMap): .spec: field not declared in schema"),
    ("fieldManager=me", {**CONFIG, "data": {"a": 1}}, 400, "cannot unmarshal number"),
    (
        "fieldManager=me",
        {**CONFIG, "metadata": {"name": "c", "managedFields": [{"manager": "x"}]}},
        400,
        "metadata.managedFields must be nil",
    ),
    ("fieldManager=me", {**CONFIG, "metadata": {"name": "c", "uid": "1"}}, 409, "there is none"),
]


@pytest.mark.parametrize(("query", "config", "code", "why"), REFUSED)
def test_a_wrong_apply_is_refused(server: Server, query: str, config: Any, code: int, why: str) -> None:
    body = config if isinstance(config, bytes) else json.dumps(config).encode()
    answer = server("PATCH", f"{CONFIGMAPS}/c?{query}", body, kind=APPLY)
    assert answer.code == code and why in answer.message


def test_who_may_not_create_may_not_apply_what_is_not_there(server: Server) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}],
    }
    server.create(role)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": JANE.name}
    server.create({**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject], "rules": None})
    assert apply(server, f"{CONFIGMAPS}/c", CONFIG, user=JANE).code == 403
    server.create(configmap("c"))
    assert apply(server, f"{CONFIGMAPS}/c", CONFIG, user=JANE).code == 200


def test_a_node_of_which_nothing_is_said_is_its_makers_all_the_same(server: Server) -> None:
    made = server.ok("POST", "/api/v1/nodes?fieldManager=me", {"metadata": {"name": "n"}})
    assert made["spec"] == {} and [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["me"]
