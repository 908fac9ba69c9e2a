"""The verbs on stored objects: what is written, refused, and left alone."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from urllib.parse import quote

import pytest

from petset.kinds import pet_set
from petset.objects import meta
from petset.server import lists, weight
from petset.store.store import Unavailable
from petset.wire import http
from tests import waiting
from tests.server.conftest import ADMIN, configmap, petset, pod

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
PETSETS = "/apis/apps/v1alpha1/namespaces/default/petsets"


def test_create_gives_an_object_its_identity(server):
    made = server.create(configmap("a", x="y"))
    metadata = made["metadata"]
    assert metadata["namespace"] == "default" and metadata["uid"] and metadata["creationTimestamp"]
    assert metadata["resourceVersion"] == str(server.store.revision)
    assert server.get(f"{CONFIGMAPS}/a") == made
    assert server("POST", CONFIGMAPS, configmap("a")).code == 409


def test_a_generated_name_is_generated_again_when_it_is_taken(server, monkeypatch):
    from petset.base import tasks

    suffixes = iter(["aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr(tasks, "name_suffix", lambda length=5: next(suffixes))
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    assert server.create(obj)["metadata"]["name"] == "x-aaaaa"
    assert server.create(obj)["metadata"]["name"] == "x-bbbbb"


def test_update_needs_the_newest_version(server):
    made = server.create(configmap("a", x="1"))
    changed = server.ok("PUT", f"{CONFIGMAPS}/a", {**made, "data": {"x": "2"}})
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    stale = server("PUT", f"{CONFIGMAPS}/a", {**made, "data": {"x": "3"}})
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert (
        "the object has been modified; please apply your changes to the latest version and try again" in stale.message
    )
    assert server.get(f"{CONFIGMAPS}/a")["data"] == {"x": "2"}
    unconditional = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "4"}}
    assert server.ok("PUT", f"{CONFIGMAPS}/a", {**unconditional, "metadata": {"name": "a", "resourceVersion": "0"}})
    written = server.ok("PUT", f"{CONFIGMAPS}/a", unconditional)
    assert written["data"] == {"x": "4"} and written["metadata"]["uid"] == made["metadata"]["uid"]
    other = {**unconditional, "metadata": {"name": "a", "uid": "another"}}
    assert server("PUT", f"{CONFIGMAPS}/a", other).code == 409


def test_an_update_that_changes_nothing_is_not_written(server):
    made = server.create(configmap("a", x="1"))
    revision = server.store.revision
    assert server.ok("PUT", f"{CONFIGMAPS}/a", made) == made
    assert server.ok("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "1"}}, kind="application/merge-patch+json") == made
    assert server.store.revision == revision


def test_the_generation_counts_changes_of_the_spec(server):
    made = server.create(petset("web"))
    assert made["metadata"]["generation"] == 1
    merge = {"kind": "application/merge-patch+json"}
    assert server.ok("PATCH", f"{PETSETS}/web", {"spec": {"replicas": 3}}, **merge)["metadata"]["generation"] == 2
    labelled = server.ok("PATCH", f"{PETSETS}/web", {"metadata": {"labels": {"a": "b"}}}, **merge)
    assert labelled["metadata"]["generation"] == 2
    status = server.ok("PATCH", f"{PETSETS}/web/status", {"status": {"replicas": 1}}, **merge)
    assert status["metadata"]["generation"] == 2 and status["status"]["replicas"] == 1


def test_the_generation_of_a_pod(server):
    """Counted as for other kinds; a binding is not a change of the spec, a deletion is one."""
    merge = {"kind": "application/merge-patch+json"}
    made = server.create(meta.changed(pod("p"), ("metadata", "generation"), 7))
    assert made["metadata"]["generation"] == 1
    server.ok("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}})
    assert server.get(f"{PODS}/p")["metadata"]["generation"] == 1
    change = {"spec": {"activeDeadlineSeconds": 9}}
    assert server.ok("PATCH", f"{PODS}/p", change, **merge)["metadata"]["generation"] == 2
    status = {"status": {"phase": "Running", "observedGeneration": 2}}
    assert server.ok("PATCH", f"{PODS}/p/status", status, **merge)["metadata"]["generation"] == 2
    assert server.ok("DELETE", f"{PODS}/p")["metadata"]["generation"] == 3


def test_a_question_is_answered_as_it_is_and_not_as_metadata(server):
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    for form in ("Table", "PartialObjectMetadata"):
        accept = f"application/json;as={form};g=meta.k8s.io;v=v1"
        refused = server("POST", path, review, headers={"accept": accept})
        assert (refused.code, refused.body["reason"]) == (406, "NotAcceptable")
        assert server.ok("POST", path, review, headers={"accept": f"{accept},application/json"})["status"]["allowed"]


def test_spec_and_status_are_written_apart(server):
    made = server.create({**petset("web"), "status": {"replicas": 9}})
    assert made["status"].get("replicas", 0) == 0
    written = server.ok(
        "PUT", f"{PETSETS}/web/status", {**made, "status": {"replicas": 2}, "spec": {**made["spec"], "replicas": 7}}
    )
    assert (written["spec"]["replicas"], written["status"]["replicas"]) == (2, 2)
    written = server.ok(
        "PUT", f"{PETSETS}/web", {**written, "status": {"replicas": 5}, "spec": {**made["spec"], "replicas": 7}}
    )
    assert (written["spec"]["replicas"], written["status"]["replicas"]) == (7, 2)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_write_of_the_status_may_leave_out_what_it_does_not_write(server, method):
    made = server.create(petset("web"))
    bare = {**made, "spec": {"selector": None, "template": {"spec": {"containers": None}}}, "status": {"replicas": 3}}
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    written = server.ok(method, f"{PETSETS}/web/status", bare, kind=kind)
    assert written["spec"] == made["spec"] and written["status"]["replicas"] == 3
    bare["metadata"] = written["metadata"]
    assert server(method, f"{PETSETS}/web", bare, kind=kind).code == 422


@pytest.mark.parametrize("timeout", ["1ms", "0h0.001s", "1000us", "1000µs"])
def test_an_answer_that_takes_longer_than_it_may_is_given_up(server, monkeypatch, timeout):
    committed = asyncio.Event()
    real = server.store.put

    async def put(*arguments):
        await committed.wait()
        return await real(*arguments)

    monkeypatch.setattr(server.store, "put", put)
    answer = server("POST", f"{CONFIGMAPS}?timeout={quote(timeout)}", configmap("a"))
    assert (answer.code, answer.body["reason"]) == (504, "Timeout")
    assert answer.message == "Timeout: request did not complete within the allotted timeout"
    committed.set()
    server.create(configmap("a"))


@pytest.mark.parametrize("timeout", ["0", "0s", "-1ns", "1h1.5m", "30s", ""])
def test_a_timeout_of_nothing_or_of_long_is_none(server, timeout):
    server.create(configmap("a"))
    assert server("GET", f"{CONFIGMAPS}/a?timeout={timeout}").code == 200


def test_a_watch_has_its_own_timeout(server):
    with contextlib.closing(server.watch(f"{CONFIGMAPS}?watch=true&timeout=1ns")) as watch:
        server.create(configmap("a"))
        assert watch.take(1) == [("ADDED", "a")]


def unowned(obj):
    """Its metadata without who owns which fields, which every write changes."""
    return {key: value for key, value in obj["metadata"].items() if key != "managedFields"}


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1"}
MARKS = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["x.y/z"], "ownerReferences": [OWNER]}


@pytest.mark.parametrize(
    ("obj", "path"), [(petset("web"), f"{PETSETS}/web"), (pod("p"), f"{PODS}/p")], ids=["PetSet", "Pod"]
)
def test_a_report_may_mark_the_object_too(server, obj, path):
    """As in upstream's status strategies, which take the spec from the stored object and metadata from the new one."""
    made = server.create(obj)
    kept = ("ownerReferences",) if obj["kind"] == "Pod" else ()
    system = {"uid": made["metadata"]["uid"], "generation": 7, "creationTimestamp": "2016-08-03T00:00:00Z"}
    report = {"metadata": {**MARKS, **system}, "status": {"replicas": 1} if not kept else {"phase": "Running"}}
    written = server.ok("PATCH", f"{path}/status", report, kind="application/merge-patch+json")
    version = {"resourceVersion": written["metadata"]["resourceVersion"]}
    marks = {field: mark for field, mark in MARKS.items() if field not in kept}
    marks["labels"] = {**made["metadata"].get("labels", {}), **MARKS["labels"]}
    assert unowned(written) == {**unowned(made), **marks, **version}
    assert written["spec"] == made["spec"]
    assert server.get(path) == written
    wrong = {"metadata": {"labels": {"a": "-"}}}
    assert server("PATCH", f"{path}/status", wrong, kind="application/merge-patch+json").code == 422


def test_a_report_that_takes_the_last_finalizer_of_a_deleted_object_ends_it(server):
    made = server.create({**petset("web"), "metadata": {"name": "web", "finalizers": ["x.y/z"]}})
    server.ok("DELETE", f"{PETSETS}/web")
    report = {"metadata": {"finalizers": None}, "status": {"replicas": 0}}
    server.ok("PATCH", f"{PETSETS}/web/status", report, kind="application/merge-patch+json")
    assert server("GET", f"{PETSETS}/web").code == 404, made


def test_a_report_of_a_kind_that_keeps_its_metadata_changes_none(server):
    fields = ("labels", "annotations", "finalizers", "ownerReferences")
    kind = dataclasses.replace(pet_set.PETSETS, status_keeps=fields)
    server.kinds.replace(server.kinds.now.with_kind(kind))
    made = server.create(petset("web"))
    report = {"metadata": MARKS, "status": {"replicas": 1}}
    written = server.ok("PATCH", f"{PETSETS}/web/status", report, kind="application/merge-patch+json")
    version = {"resourceVersion": written["metadata"]["resourceVersion"]}
    assert unowned(written) == {**unowned(made), **version} and written["status"]["replicas"] == 1


def test_a_report_does_not_take_a_pods_class_of_service(server):
    made = server.create(pod("p"))
    written = server.ok("PUT", f"{PODS}/p/status", {**made, "status": {"phase": "Running"}})
    assert written["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def test_scale_reads_and_writes_replicas(server):
    server.create(petset("web"))
    scale = server.get(f"{PETSETS}/web/scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2} and scale["status"]["selector"] == "app=web"
    written = server.ok("PUT", f"{PETSETS}/web/scale", {**scale, "spec": {"replicas": 0}})
    assert written["spec"]["replicas"] == 0 and server.get(f"{PETSETS}/web")["spec"]["replicas"] == 0
    assert server("PUT", f"{PETSETS}/web/scale", scale).code == 409, "its resourceVersion is old"
    assert server("PUT", f"{PETSETS}/web/scale", {**written, "spec": {"replicas": -1}}).code == 422
    patched = server.ok("PATCH", f"{PETSETS}/web/scale", {"spec": {"replicas": 4}}, kind="application/merge-patch+json")
    assert patched["spec"]["replicas"] == 4


def test_a_binding_gives_a_pod_its_node_once(server):
    server.create(pod("p"))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    assert server.ok("POST", f"{PODS}/p/binding", binding)["status"] == "Success"
    bound = server.get(f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n1"
    assert [c["type"] for c in bound["status"]["conditions"] if c["status"] == "True"] == ["PodScheduled"]
    assert server("POST", f"{PODS}/p/binding", binding).code == 409


def bound_pod(server, name: str, **spec):
    made = server.create(pod(name, **spec))
    target = {"target": {"kind": "Node", "name": "n1"}, "metadata": {"name": name}}
    server.ok("POST", f"{PODS}/{name}/binding", target)
    return made


def test_a_pod_without_a_node_is_removed_at_once(server):
    server.create(pod("p"))
    assert server.ok("DELETE", f"{PODS}/p")["status"] == "Success"
    assert server("GET", f"{PODS}/p").code == 404


def test_a_pod_on_a_node_is_marked_and_goes_with_grace_zero(server):
    made = bound_pod(server, "p", terminationGracePeriodSeconds=20)
    marked = server.ok("DELETE", f"{PODS}/p")["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 20 and marked["deletionTimestamp"]
    again = server.ok("DELETE", f"{PODS}/p")["metadata"]
    assert again["resourceVersion"] == marked["resourceVersion"], "a second delete changes nothing"
    shorter = server.ok("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5 and shorter["deletionTimestamp"] < marked["deletionTimestamp"]
    wrong = {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}
    assert server("DELETE", f"{PODS}/p", wrong).code == 409
    right = {"gracePeriodSeconds": 0, "preconditions": {"uid": made["metadata"]["uid"]}}
    assert server.ok("DELETE", f"{PODS}/p", right)["details"]["uid"] == made["metadata"]["uid"]
    assert server("GET", f"{PODS}/p").code == 404


def test_finalizers_hold_an_object_until_the_last_is_gone(server):
    server.create({**configmap("a"), "metadata": {"name": "a", "finalizers": ["example.com/hold"]}})
    assert server.ok("DELETE", f"{CONFIGMAPS}/a")["metadata"]["deletionTimestamp"]
    assert server.get(f"{CONFIGMAPS}/a")
    server.ok("PATCH", f"{CONFIGMAPS}/a", {"metadata": {"finalizers": None}}, kind="application/merge-patch+json")
    assert server("GET", f"{CONFIGMAPS}/a").code == 404


@pytest.mark.parametrize(
    ("options", "query", "finalizers"),
    [
        ({"propagationPolicy": "Orphan"}, "", ["orphan"]),
        ({"propagationPolicy": "Foreground"}, "", ["foregroundDeletion"]),
        ({"orphanDependents": True}, "", ["orphan"]),
        (None, "?propagationPolicy=Foreground", ["foregroundDeletion"]),
    ],
)
def test_propagation_is_left_to_a_finalizer(server, options, query, finalizers):
    server.create(petset("web"))
    assert server.ok("DELETE", f"{PETSETS}/web{query}", options)["metadata"]["finalizers"] == finalizers
    background = server("DELETE", f"{PETSETS}/web", {"propagationPolicy": "Background"})
    assert background.body["status"] == "Success" and server("GET", f"{PETSETS}/web").code == 404


def test_a_namespace_goes_when_it_is_finalized(server):
    space = server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "z"}})
    assert space["spec"]["finalizers"] == ["kubernetes"] and space["status"]["phase"] == "Active"
    assert (
        server("POST", "/api/v1/namespaces/absent/configmaps", configmap("a")).message
        == 'namespaces "absent" not found'
    )
    server.create(configmap("a"), "z")
    marked = server.ok("DELETE", "/api/v1/namespaces/z")
    assert marked["status"]["phase"] == "Terminating"
    refused = server("POST", "/api/v1/namespaces/z/configmaps", configmap("b"))
    assert refused.code == 403 and "because it is being terminated" in refused.message
    finalized = server.ok("PUT", "/api/v1/namespaces/z/finalize", {**marked, "spec": {"finalizers": []}})
    assert finalized["metadata"]["name"] == "z" and server("GET", "/api/v1/namespaces/z").code == 404
    assert server("DELETE", "/api/v1/namespaces/kube-system").code == 403


def test_a_collection_is_deleted_in_few_commits(server, monkeypatch):
    """One after another, a few hundred events took a busy machine half a minute."""
    for number in range(250):
        server.create(configmap(f"c{number:03}"))
    before = server.store.stats()
    deleted = server.ok("DELETE", "/api/v1/namespaces/default/configmaps")
    after = server.store.stats()
    assert [item["metadata"]["name"] for item in deleted["items"]] == [f"c{number:03}" for number in range(250)]
    assert (after.writes - before.writes, after.commits - before.commits) == (250, 3)

    for number in range(5):
        server.create(configmap(f"c{number}"))
    remove = server.store.delete

    async def failing(key, expected):
        if key.endswith("c2"):
            raise Unavailable("the disk is full")
        return await remove(key, expected)

    monkeypatch.setattr(server.store, "delete", failing)
    assert server("DELETE", "/api/v1/namespaces/default/configmaps").code == 503
    assert [item["metadata"]["name"] for item in server.get("/api/v1/namespaces/default/configmaps")["items"]] == ["c2"]


def test_deleting_a_collection_obeys_selectors(server):
    for name in ("a", "b", "c"):
        server.create(configmap(name, {"odd": str(name != "b")}))
    server.ok("DELETE", f"{CONFIGMAPS}?labelSelector=odd%3DTrue")
    assert [item["metadata"]["name"] for item in server.get(CONFIGMAPS)["items"]] == ["b"]


def test_eviction_is_a_deletion(server):
    server.create(pod("p"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert server("POST", f"{PODS}/p/eviction", eviction).code == 201
    assert server("GET", f"{PODS}/p").code == 404


def test_a_dry_run_stores_nothing(server):
    revision = server.store.revision
    assert server("POST", f"{CONFIGMAPS}?dryRun=All", configmap("a")).code == 201
    assert server.store.revision == revision
    server.create(configmap("a", x="1"))
    revision = server.store.revision
    assert server("POST", f"{CONFIGMAPS}?dryRun=All", configmap("a")).code == 409
    patch = {"kind": "application/merge-patch+json"}
    assert server.ok("PATCH", f"{CONFIGMAPS}/a?dryRun=All", {"data": {"x": "2"}}, **patch)["data"] == {"x": "2"}
    assert server.ok("DELETE", f"{CONFIGMAPS}/a?dryRun=All")["status"] == "Success"
    assert server.store.revision == revision
    assert server("DELETE", f"{CONFIGMAPS}/a?dryRun=Some").code == 422


def test_a_resource_version_is_refused_only_where_something_is_stored(server):
    """controller-runtime tries what it has read under another name."""
    read = server.ok("POST", CONFIGMAPS, configmap("a"))
    other = {**read, "metadata": {**read["metadata"], "name": "b"}}
    assert server("POST", CONFIGMAPS, other).code == 400
    assert server("POST", f"{CONFIGMAPS}?dryRun=All", other).code == 201
    assert server("GET", f"{CONFIGMAPS}/b").code == 404
    invalid = {**other, "data": {"not a key": "x"}}
    assert server("POST", CONFIGMAPS, invalid).code == 422, "what is wrong with it comes before that"


def test_a_list_in_pieces_is_one_snapshot(server):
    for index in range(5):
        server.create(configmap(f"c{index}"))
    first = server.get(f"{CONFIGMAPS}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    server.ok("DELETE", f"{CONFIGMAPS}/c4")
    server.create(configmap("c9"))
    second = server.get(f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")
    third = server.get(f"{CONFIGMAPS}?limit=2&continue={second['metadata']['continue']}")
    pieces = (first, second, third)
    assert [[item["metadata"]["name"] for item in piece["items"]] for piece in pieces] == [
        ["c0", "c1"],
        ["c2", "c3"],
        ["c4"],
    ]
    assert len({piece["metadata"]["resourceVersion"] for piece in pieces}) == 1
    assert "continue" not in third["metadata"]


def test_a_forgotten_snapshot_is_gone(server, monkeypatch):
    monkeypatch.setattr(lists, "SNAPSHOTS_MAX", 1)
    for index in range(3):
        server.create(configmap(f"c{index}"))
    old = server.get(f"{CONFIGMAPS}?limit=1")["metadata"]["continue"]
    server.create(configmap("c3"))
    server.get(f"{CONFIGMAPS}?limit=1")
    answer = server("GET", f"{CONFIGMAPS}?limit=1&continue={old}")
    assert (answer.code, answer.body["reason"]) == (410, "Expired")
    assert server("GET", f"{CONFIGMAPS}?limit=1&continue=nonsense").code == 400


def test_snapshots_are_bounded_by_bytes_and_the_newest_stays(server, monkeypatch):
    monkeypatch.setattr(lists, "SNAPSHOTS_BYTES_MAX", 5000)
    for index in range(4):
        server.create(configmap(f"c{index}", x="y" * 1000))
    tokens = []
    for index in range(3):
        server.create(configmap(f"d{index}"))
        tokens.append(server.get(f"{CONFIGMAPS}?limit=1")["metadata"]["continue"])
        kept = server.api.rest._lists._snapshots
        assert len(kept) == 1 or sum(one.size_bytes for one in kept.values()) <= 5000
    assert [server("GET", f"{CONFIGMAPS}?limit=1&continue={token}").code for token in tokens] == [410, 410, 200]


def test_a_snapshot_goes_when_its_time_is_over_although_nobody_lists(server, monkeypatch):
    monkeypatch.setattr(lists, "SNAPSHOT_SECONDS_MAX", 0.01)
    for index in range(3):
        server.create(configmap(f"c{index}"))
    server.get(f"{CONFIGMAPS}?limit=1")
    kept = server.api.rest._lists._snapshots
    server.run(waiting.until(lambda: not kept))


@pytest.mark.parametrize(("limit", "size"), [(1 << 20, 100), (4000, 1000), (500, 1000)])
def test_a_long_list_is_written_in_pieces(server, monkeypatch, limit, size):
    monkeypatch.setattr(weight, "RUN_BYTES_MAX", limit)
    for index in range(10):
        server.create(configmap(f"c{index}", x="y" * size))
    response = server.send(http.Request("GET", CONFIGMAPS, user=ADMIN))
    if isinstance(response.body, bytes):
        pieces = [response.body]
    else:

        async def read() -> list[bytes]:
            return [piece async for piece in response.body]

        pieces = server.run(read())
    longest = max(len(entry.encoded) for entry in server.store.list("/core/configmaps/default/")[1])
    assert max(map(len, pieces)) <= max(limit, longest) + 200
    assert (len(pieces) > 3) == (limit < 10_000)
    assert [item["metadata"]["name"] for item in json.loads(b"".join(pieces))["items"]] == [
        f"c{index}" for index in range(10)
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("resourceVersion=0", 200),
        ("resourceVersion=1", 200),
        ("resourceVersion=1&resourceVersionMatch=NotOlderThan", 200),
        ("resourceVersion=1&resourceVersionMatch=Exact", 410),
        ("resourceVersion=0&resourceVersionMatch=Exact", 400),
        ("resourceVersionMatch=Exact", 400),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 400),
        ("resourceVersion=x", 400),
        ("resourceVersion=-1", 400),
        ("limit=x", 400),
        ("labelSelector=a%20in", 400),
        ("fieldSelector=spec.nothing%3Dx", 400),
    ],
)
def test_which_revision_a_list_may_ask_for(server, query, code):
    assert server("GET", f"{CONFIGMAPS}?{query}").code == code


@pytest.mark.parametrize("what", [CONFIGMAPS, f"{CONFIGMAPS}/a"])
def test_a_read_of_a_revision_that_does_not_come_is_told_to_try_again(server, monkeypatch, what):
    monkeypatch.setattr(lists, "FRESH_SECONDS_MAX", 0.01)
    server.create(configmap("a"))
    assert server("GET", f"{what}?resourceVersion={server.store.revision}").code == 200
    assert server("GET", f"{what}?resourceVersion=x").code == 400
    answer = server("GET", f"{what}?resourceVersion=99999")
    assert (answer.code, answer.body["reason"], answer.headers["retry-after"]) == (504, "Timeout", "1")
    assert answer.message == f"Timeout: Too large resource version: 99999, current: {server.store.revision}"
    assert answer.body["details"]["retryAfterSeconds"] == 1
    assert [cause["reason"] for cause in answer.body["details"]["causes"]] == ["ResourceVersionTooLarge"]


@pytest.mark.parametrize("what", [CONFIGMAPS, f"{CONFIGMAPS}/b"])
def test_a_read_waits_for_a_revision_that_comes_soon(server, what):
    server.create(configmap("b"))
    wanted = server.store.revision + 2

    async def main() -> http.Response:
        read = asyncio.ensure_future(
            server.api.handle(http.Request("GET", f"{what}?resourceVersion={wanted}", user=ADMIN))
        )
        for name in "xy":
            await asyncio.sleep(0)
            assert not read.done()
            await server.store.put(f"/core/configmaps/default/{name}", configmap(name), 0)
        return await read

    assert server.run(main()).code == 200


def test_lists_are_selected_by_labels_and_fields(server):
    server.create(configmap("a", {"x": "1"}))
    server.create(configmap("b", {"x": "2"}))

    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in server.get(f"{CONFIGMAPS}?{query}")["items"]]

    assert names("labelSelector=x%3D1") == ["a"]
    assert names("labelSelector=x") == ["a", "b"]
    assert names("fieldSelector=metadata.name%3Db") == ["b"]
    assert names("fieldSelector=metadata.name%3Db&labelSelector=x%3D1") == []
    assert server.get("/api/v1/configmaps?fieldSelector=metadata.name%3Da")["items"][0]["metadata"]["name"] == "a"


TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PARTIAL = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}


def test_answers_take_the_form_that_is_accepted(server):
    server.create(petset("web"))
    table = server.get(PETSETS, headers=TABLE)
    assert table["kind"] == "Table" and [
        column["name"] for column in table["columnDefinitions"] if not column["priority"]
    ] == [
        "Name",
        "Desired",
        "Current",
        "Age",
    ]
    assert table["rows"][0]["cells"][0] == "web" and table["metadata"]["resourceVersion"]
    assert server.get(f"{PETSETS}/web", headers=TABLE)["kind"] == "Table"
    partial = server.get(PETSETS, headers=PARTIAL)
    assert partial["kind"] == "PartialObjectMetadataList" and "spec" not in partial["items"][0]
    protobuf = {"accept": "application/vnd.kubernetes.protobuf,application/json"}
    assert server.get(PETSETS, headers=protobuf)["kind"] == "PetSetList"
    assert server("GET", PETSETS, headers={"accept": "application/vnd.kubernetes.protobuf"}).code == 406


def test_a_patch_that_meets_another_write_is_tried_again(server):
    """All six have read the same version when they write."""
    import asyncio

    from petset.wire import http
    from tests.server.conftest import ADMIN

    server.create(configmap("a"))

    def patch(key: str) -> http.Request:
        headers = (("content-type", "application/merge-patch+json"),)
        return http.Request("PATCH", f"{CONFIGMAPS}/a", headers, b'{"data":{"%s":"1"}}' % key.encode(), user=ADMIN)

    async def both():
        return await asyncio.gather(*(server.api.handle(patch(f"k{index}")) for index in range(6)))

    assert [response.code for response in server.run(both())] == [200] * 6
    assert len(server.get(f"{CONFIGMAPS}/a")["data"]) == 6


def test_yaml_and_protobuf_bodies(server):
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yml}\ndata: {when: '2016-08-03'}\n"
    assert server("POST", CONFIGMAPS, text, kind="application/yaml").body["data"] == {"when": "2016-08-03"}
    wrong = server("POST", CONFIGMAPS, b"k8s\x00\xff", kind="application/vnd.kubernetes.protobuf")
    assert wrong.code == 400 and "protobuf parse error" in wrong.message
    assert server("POST", CONFIGMAPS, b"<xml/>", kind="application/xml").code == 415


@pytest.mark.parametrize(
    ("query", "agent", "lines"),
    [
        ("", "kubectl/v1.32", False),
        ("", "curl/8.0", True),
        ("", "Mozilla/5.0 (X11)", True),
        ("?pretty=true", "kubectl/v1.32", True),
        ("?pretty=false", "curl/8.0", False),
        ("?pretty=", "curl/8.0", True),
        ("?fieldSelector=metadata.name%3Da", "curl/8.0", True),
    ],
)
def test_a_person_is_answered_in_lines(server, query, agent, lines):
    from petset.wire import http
    from tests.server.conftest import ADMIN

    server.create(configmap("a"))
    for target in (f"{CONFIGMAPS}/a{query}", f"{CONFIGMAPS}{query}", f"/version{query}"):
        if "fieldSelector" in query and not target.startswith(f"{CONFIGMAPS}?"):
            continue
        request = http.Request("GET", target, (("user-agent", agent),), peer=http.Peer("127.0.0.1", ADMIN))
        answer = server.send(request)
        assert answer.code == 200 and (b'\n  "' in answer.body) is lines
