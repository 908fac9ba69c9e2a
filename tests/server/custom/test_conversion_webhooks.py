"""Versions of a custom kind that differ in more than their names: a webhook converts them, a real HTTPS server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from petset.server.custom import conversion_review
from petset.server.elsewhere import calling
from petset.wire import http
from tests.server.admission.webhook_server import WebhookServer
from tests.server.custom.conftest import CRDS, GROUP, NAME, Custom, definition

V1, V2 = f"/apis/{GROUP}/v1/namespaces/default/crontabs", f"/apis/{GROUP}/v2/namespaces/default/crontabs"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
TEXT: Any = {"type": "string"}
ITEMS = {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT}


def structural(**properties: Any) -> dict[str, Any]:
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}


# Version 1 has minute and hour in one text, version 2 in two.
SCHEMAS = {
    "v1": structural(when=TEXT, tag=TEXT, names=ITEMS),
    "v2": structural(minute=TEXT, hour=TEXT, tag=TEXT, zone={"type": "string", "default": "UTC"}, names=ITEMS),
}


def other(obj: dict[str, Any], version: str) -> dict[str, Any]:
    """One object in the other version."""
    spec = dict(obj.get("spec") or {})
    if version == "v1":
        minute, hour = spec.pop("minute", None), spec.pop("hour", None)
        if minute is not None or hour is not None:
            spec["when"] = f"{minute or ''} {hour or ''}"
    elif "when" in spec:
        spec["minute"], _, spec["hour"] = spec.pop("when").partition(" ")
    return {**obj, "apiVersion": f"{GROUP}/{version}", "spec": spec}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    version = request["desiredAPIVersion"].rpartition("/")[2]
    made = [other(obj, version) for obj in request["objects"]]
    return {"convertedObjects": made, "result": {"status": "Success"}}


def told(status: str, message: str = "") -> dict[str, Any]:
    return {"convertedObjects": [], "result": {"status": status, "message": message}}


class Converted(Custom):
    """A server with a webhook that converts."""

    def __init__(self, directory: Any) -> None:
        super().__init__()
        self.hook = WebhookServer(self.loop, directory)
        self.hook.says["/convert"] = convert

    def client_config(self) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.hook.port}/convert", "caBundle": self.hook.bundle}

    def crd(self, stored: str = "v2", **version: Any) -> dict[str, Any]:
        versions = [
            {"name": name, "served": True, "storage": name == stored, "schema": SCHEMAS[name], **version.get(name, {})}
            for name in ("v1", "v2")
        ]
        webhook = {"clientConfig": self.client_config(), "conversionReviewVersions": ["v7", "v1"]}
        return definition(*versions, conversion={"strategy": "Webhook", "webhook": webhook})

    def asked(self) -> list[tuple[str, int]]:
        """(the wanted version, how many objects) of each question since the last look."""
        found = [(one["desiredAPIVersion"].rpartition("/")[2], len(one["objects"])) for _, one in self.hook.asked]
        self.hook.asked.clear()
        return found

    def change(self, crd: dict[str, Any]) -> None:
        """Change the definition's spec and wait until its kinds are those."""
        before = self.kinds.now
        self.ok("PATCH", f"{CRDS}/{NAME}", {"spec": crd["spec"]}, kind=MERGE)
        self.until(lambda: self.kinds.now is not before)

    def close(self) -> None:
        self.hook.close()
        super().close()


@pytest.fixture
def converted(tmp_path: Any) -> Iterator[Converted]:
    server = Converted(tmp_path)
    server.define(server.crd())
    yield server
    server.close()


def v1(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec}


def v2(name: str, **spec: Any) -> dict[str, Any]:
    return {**v1(name, **spec), "apiVersion": f"{GROUP}/v2"}


# -- every verb in every version


def test_what_one_version_writes_the_other_reads(converted: Converted) -> None:
    made = converted.ok("POST", V1, v1("a", when="5 4"))
    assert made["apiVersion"] == f"{GROUP}/v1" and made["spec"] == {"when": "5 4"}
    (entry,) = converted.store.list(f"/{GROUP}/crontabs/")[1]
    assert entry.object["apiVersion"] == f"{GROUP}/v2" and entry.object["spec"] == {"minute": "5", "hour": "4"}
    converted.asked()
    assert converted.get(f"{V2}/a")["spec"] == {"minute": "5", "hour": "4"}
    assert not converted.asked(), "it is stored so"
    converted.ok("PATCH", f"{V2}/a", {"spec": {"hour": "6"}}, kind=MERGE)
    read = converted.get(f"{V1}/a")
    assert read["spec"]["when"] == "5 6" and read["metadata"]["generation"] == 2
    updated = converted.ok("PUT", f"{V1}/a", {**read, "spec": {**read["spec"], "when": "1 2"}})
    assert updated["spec"]["when"] == "1 2"
    assert converted.get(f"{V2}/a")["spec"]["minute"] == "1"
    assert [item["spec"]["when"] for item in converted.get(V1)["items"]] == ["1 2"]
    assert converted("PUT", f"{V1}/a", read).code == 409
    assert converted.ok("DELETE", f"{V1}/a")["status"] == "Success"
    assert converted("GET", f"{V2}/a").code == 404


def test_what_comes_back_loses_what_the_version_does_not_know(converted: Converted) -> None:
    converted.ok("POST", V2, v2("a", minute="1", hour="2"))
    assert converted.get(f"{V2}/a")["spec"]["zone"] == "UTC"
    assert converted.get(f"{V1}/a")["spec"] == {"when": "1 2"}, "v1 has no zone"


def test_a_list_is_few_questions(converted: Converted) -> None:
    async def fill() -> None:
        for number in range(2_500):
            name = f"c{number:04}"
            obj = v2(name, minute=str(number), hour="1")
            obj["metadata"] |= {"namespace": "default", "uid": f"u{number}"}
            await converted.store.put(f"/{GROUP}/crontabs/default/{name}", obj, 0)

    converted.run(fill())
    items = converted.get(V1)["items"]
    assert [item["spec"]["when"] for item in items] == [f"{number} 1" for number in range(2_500)]
    assert converted.asked() == [("v1", 1000), ("v1", 1000), ("v1", 500)]
    piece = converted.get(f"{V1}?limit=2000")
    rest = converted.get(f"{V1}?limit=2000&continue={piece['metadata']['continue']}")
    assert len(piece["items"]) + len(rest["items"]) == 2_500
    converted.asked()
    assert len(converted.get(V2)["items"]) == 2_500 and not converted.asked()


def test_selectors_are_held_against_what_is_shown(converted: Converted) -> None:
    def marked(request: dict[str, Any]) -> dict[str, Any]:
        answer = convert(request)
        for obj in answer["convertedObjects"]:
            if obj["apiVersion"].endswith("v1"):
                obj["metadata"] = {**obj["metadata"], "labels": {"form": "old"}}
        return answer

    converted.hook.says["/convert"] = marked
    converted.ok("POST", V2, v2("a", minute="1", hour="2"))
    assert len(converted.get(f"{V1}?labelSelector=form%3Dold")["items"]) == 1
    assert not converted.get(f"{V2}?labelSelector=form%3Dold")["items"]
    watch = converted.watch(f"{V1}?watch=1&labelSelector=form%3Dold&resourceVersion={converted.store.revision}")
    converted.ok("PATCH", f"{V2}/a", {"spec": {"hour": "3"}}, kind=MERGE)
    event = watch.next()
    assert event["object"]["spec"]["when"] == "1 3" and event["object"]["metadata"]["labels"] == {"form": "old"}
    watch.close()


def test_watches_see_changes_in_order_and_share_what_is_converted(converted: Converted) -> None:
    watches = [converted.watch(f"{V1}?watch=1&resourceVersion={converted.store.revision}") for _ in range(3)]
    converted.ok("POST", V2, v2("a", minute="0", hour="1"))
    for minute in ("1", "2"):
        converted.ok("PATCH", f"{V2}/a", {"spec": {"minute": minute}}, kind=MERGE)
    converted.ok("DELETE", f"{V2}/a")
    converted.asked()

    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(anext(watch._frames) for watch in watches))  # type: ignore[arg-type]

    for watch, piece in zip(watches, converted.run(all_at_once())):
        watch._lines += piece.splitlines()
    events = [[(e["type"], e["object"]["spec"]["when"]) for e in (w.next() for _ in range(4))] for w in watches]
    assert events == [[("ADDED", "0 1"), ("MODIFIED", "1 1"), ("MODIFIED", "2 1"), ("DELETED", "2 1")]] * 3
    assert len(converted.asked()) == 1, "a change is converted once for all who watch"
    for watch in watches:
        watch.close()


def test_status_and_scale_in_the_other_version(tmp_path: Any) -> None:
    converted = Converted(tmp_path)
    count: Any = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    whole = {"type": "object", "properties": {"spec": count, "status": count}}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    parts = {"schema": {"openAPIV3Schema": whole}, "subresources": {"status": {}, "scale": paths}}
    converted.define(converted.crd(v1=parts, v2=parts))
    converted.ok("POST", V2, v2("a", replicas=1))
    converted.ok("PATCH", f"{V1}/a/status", {"status": {"replicas": 1}}, kind=MERGE)
    converted.ok("PATCH", f"{V1}/a/scale", {"spec": {"replicas": 3}}, kind=MERGE)
    found = converted.get(f"{V2}/a")
    assert (found["spec"]["replicas"], found["status"]["replicas"]) == (3, 1)
    assert converted.get(f"{V1}/a/scale")["status"]["replicas"] == 1
    converted.close()


# -- versions change


def test_another_storage_version(converted: Converted) -> None:
    converted.ok("POST", V2, v2("old", minute="1", hour="2"))
    converted.change(converted.crd("v1"))
    assert converted.stored()["status"]["storedVersions"] == ["v2", "v1"]
    converted.ok("POST", V2, v2("new", minute="3", hour="4"))
    forms = {e.object["metadata"]["name"]: e.object["apiVersion"] for e in converted.store.list(f"/{GROUP}/")[1]}
    assert forms == {"old": f"{GROUP}/v2", "new": f"{GROUP}/v1"}
    converted.asked()
    assert [item["spec"]["when"] for item in converted.get(V1)["items"]] == ["3 4", "1 2"]
    assert converted.asked() == [("v1", 1)], "one is in that version already"
    assert [item["spec"]["minute"] for item in converted.get(V2)["items"]] == ["3", "1"]
    converted.ok("PUT", f"{V1}/old", converted.get(f"{V1}/old") | {"spec": {"when": "7 7"}})
    forms = {e.object["metadata"]["name"]: e.object["apiVersion"] for e in converted.store.list(f"/{GROUP}/")[1]}
    assert forms == {"old": f"{GROUP}/v1", "new": f"{GROUP}/v1"}
    before = converted.kinds.now
    converted.ok("PATCH", f"{CRDS}/{NAME}/status", {"status": {"storedVersions": ["v1"]}}, kind=MERGE)
    converted.until(lambda: converted.kinds.now is not before)
    converted.asked()
    assert len(converted.get(V1)["items"]) == 2 and not converted.asked()


# -- a webhook that is not there, or talks nonsense


def is_away(converted: Converted) -> None:
    converted.hook.says["/convert"] = lambda request: http.Response(503, (), b"away")


def test_who_asks_in_the_stored_version_needs_no_webhook(converted: Converted) -> None:
    for name in ("a", "b", "c"):
        converted.ok("POST", V2, v2(name, minute="1", hour="2"))
    watch = converted.watch(f"{V1}?watch=1&resourceVersion={converted.store.revision}")
    is_away(converted)
    for method, path, body, kind in (
        ("GET", f"{V1}/a", None, ""),
        ("GET", V1, None, ""),
        ("GET", f"{V1}?watch=1", None, ""),
        ("POST", V1, v1("new", when="1 1"), "application/json"),
        ("PATCH", f"{V1}/a", {"spec": {"when": "2 2"}}, MERGE),
    ):
        refused = converted(method, path, body, kind=kind or "application/json")
        assert refused.code == 500 and refused.body["kind"] == "Status", (method, path)
        assert refused.message.startswith(f"conversion webhook for {GROUP}/v"), refused.message
        assert ", Kind=CronTab failed: an error on the server" in refused.message
    assert converted.get(f"{V2}/a")["spec"]["minute"] == "1" and len(converted.get(V2)["items"]) == 3
    converted.ok("PATCH", f"{V2}/a", {"spec": {"minute": "9"}}, kind=MERGE)
    event = watch.next()
    assert event["type"] == "ERROR" and "conversion webhook for" in event["object"]["message"] and watch.is_over()
    held = {"metadata": {"finalizers": ["example.com/wait"]}}
    converted.ok("PATCH", f"{V2}/b", held, kind=MERGE)
    assert converted.ok("DELETE", f"{V1}/a")["status"] == "Success"
    assert converted.ok("DELETE", f"{V1}/b")["kind"] == "Status", "it cannot be shown, and is marked"
    assert converted.get(f"{V2}/b")["metadata"]["deletionTimestamp"]
    assert converted.ok("DELETE", V1)["status"] == "Success"
    assert [item["metadata"]["name"] for item in converted.get(V2)["items"]] == ["b"]


def test_a_definition_goes_with_all_that_its_webhook_does_not_convert_any_more(converted: Converted) -> None:
    converted.ok("POST", V2, v2("old", minute="1", hour="2"))
    converted.change(converted.crd("v1"))
    is_away(converted)
    assert converted("GET", f"{V1}/old").code == 500
    converted.ok("DELETE", f"{CRDS}/{NAME}")
    converted.until(lambda: converted.stored() is None)
    assert not converted.store.list(f"/{GROUP}/")[1]


def test_a_slow_webhook_holds_up_only_who_asks_in_other_versions(converted: Converted) -> None:
    converted.ok("POST", V2, v2("a", minute="1", hour="2"))
    converted.hook.says["/convert"] = lambda request: converted.hook.never()
    converted.hook.heard.clear()

    async def story() -> None:
        handle = converted.api.handle
        user = http.User("petset-admin", ("system:masters",))
        body = json.dumps({"spec": {"when": "3 3"}}).encode()
        headers = (("content-type", MERGE),)
        waiting = [
            asyncio.ensure_future(handle(http.Request("GET", f"{V1}/a", user=user))),
            asyncio.ensure_future(handle(http.Request("PATCH", f"{V1}/a", headers, body, user=user))),
        ]
        await converted.hook.heard.wait()
        body = json.dumps({"spec": {"minute": "3"}}).encode()
        assert (await handle(http.Request("PATCH", f"{V2}/a", headers, body, user=user))).code == 200
        assert (await handle(http.Request("GET", f"{V2}/a", user=user))).code == 200
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)

    converted.run(story())


OBJECT = {
    "apiVersion": f"{GROUP}/v2",
    "kind": "CronTab",
    "metadata": {"name": "a", "namespace": "default", "uid": "u", "labels": {"a": "b"}, "generation": 3},
    "spec": {"minute": "1"},
}
GOOD = {**OBJECT, "apiVersion": f"{GROUP}/v1", "spec": {"when": "1 "}}


def with_metadata(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "metadata": {**GOOD["metadata"], **changes}}  # type: ignore[dict-item]


def answered(*objects: Any, uid: str = "x", **response: Any) -> Any:
    response = {"uid": uid, "convertedObjects": list(objects), "result": {"status": "Success"}, **response}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}


AT = "returned invalid converted object at index 0: "
META = "returned invalid metadata in object at index 0: "
BAD_ANSWERS: list[tuple[Any, str]] = [
    (b"{", "failed: it is not JSON"),
    ([], "failed: it is not an object"),
    ({}, "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got , Kind="),
    ({**answered(), "response": None}, "failed: no response provided"),
    (answered(GOOD, uid="y"), 'failed: expected response.uid="x", got "y"'),
    (answered(result={"status": "Failure", "message": "not today"}), "failed: not today"),
    (answered(result={"status": "Failure"}), "failed: response.result.status was 'Failure', not 'Success'"),
    (answered(result=None), "failed: response.result.status was '', not 'Success'"),
    (answered(), "returned 0 objects, expected 1"),
    (answered(GOOD, GOOD), "returned 2 objects, expected 1"),
    (answered(convertedObjects="many"), "returned 0 objects, expected 1"),
    (answered(7), f"{AT}it is not an object"),
    (answered(OBJECT), f"{AT}invalid groupVersion (expected {GROUP}/v1, received {GROUP}/v2)"),
    (answered({**GOOD, "kind": "Boat"}), f"{AT}invalid kind (expected CronTab, received Boat)"),
    (answered(with_metadata(name="b")), f"{AT}must have the same name: a != b"),
    (answered(with_metadata(namespace="b")), f"{AT}must have the same namespace: default != b"),
    (answered(with_metadata(uid=None)), f"{AT}must have the same UID: u != "),
    (answered(with_metadata(labels=["a"])), f"{META}invalid metadata.labels of type list"),
    (answered(with_metadata(annotations={"a": 7})), f"{META}metadata.annotations[a] must be a string, but is int"),
    (answered(with_metadata(labels={"a": "not so good"})), f"{META}metadata.labels: Invalid value"),
]


@pytest.mark.parametrize(("answer", "why"), BAD_ANSWERS, ids=[why[:50] for _, why in BAD_ANSWERS])
def test_an_answer_that_is_none(answer: Any, why: str) -> None:
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with pytest.raises(conversion_review.BadAnswer) as told:
        conversion_review.read("v1", "x", [OBJECT], f"{GROUP}/v1", data)
    assert str(told.value).startswith(why)


def test_only_labels_and_annotations_and_content_come_from_the_webhook() -> None:
    answer = answered(with_metadata(generation=77, labels={"c": "d"}, annotations={"e": "f"}, ownerReferences=[{}]))
    (made,) = conversion_review.read("v1", "x", [OBJECT], f"{GROUP}/v1", json.dumps(answer).encode())
    assert made["spec"] == {"when": "1 "} and made["metadata"] == {
        **{key: value for key, value in OBJECT["metadata"].items() if key != "labels"},  # type: ignore[union-attr]
        "labels": {"c": "d"},
        "annotations": {"e": "f"},
    }
    (made,) = conversion_review.read("v1", "x", [OBJECT], f"{GROUP}/v1", json.dumps(answered(GOOD)).encode())
    assert made["metadata"] is OBJECT["metadata"]


def test_an_older_webhook_repeats_no_uid() -> None:
    data = json.dumps(answered(GOOD, uid="")).encode()
    assert conversion_review.read("v1beta1", "x", [OBJECT], f"{GROUP}/v1", data)


def test_nonsense_is_told_and_never_a_traceback(converted: Converted, caplog: pytest.LogCaptureFixture) -> None:
    converted.ok("POST", V2, v2("a", minute="1", hour="2"))
    for said, why in (
        (lambda request: told("Failure", "no idea"), "failed: no idea"),
        (lambda request: http.Response(200, (), b"x" * 100), "failed: it is not JSON"),
        (lambda request: {**convert(request), "convertedObjects": [{"spec": 7}]}, "returned invalid converted object"),
    ):
        converted.hook.says["/convert"] = said
        refused = converted("GET", f"{V1}/a")
        assert refused.code == 500 and f"Kind=CronTab {why}" in refused.message
    wrong: Any = {"spec": 7, "status": [], "zone": {}}
    converted.hook.says["/convert"] = lambda request: {
        **convert(request),
        "convertedObjects": [{**other(obj, "v1"), **wrong} for obj in request["objects"]],
    }
    assert converted("GET", f"{V1}/a").code == 200, "content is the webhook's own"
    for accept in ("application/json;as=Table;g=meta.k8s.io;v=v1", "application/json"):
        assert converted("GET", V1, headers={"accept": accept}).code == 200
    assert not [record for record in caplog.records if record.exc_info]


def test_an_answer_has_a_limit(converted: Converted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petset.server.custom.converting.ANSWER_BYTES_MAX", 1000)
    converted.ok("POST", V2, v2("a", minute="1", hour="2"))
    converted.hook.says["/convert"] = lambda request: http.Response(200, (), b" " * 1001)
    assert "the answer is longer than 1000 bytes" in converted("GET", f"{V1}/a").message


def test_nobody_is_there(converted: Converted, monkeypatch: pytest.MonkeyPatch) -> None:
    crd = converted.crd()
    config = {"url": "https://127.0.0.1:1/convert", "caBundle": converted.hook.bundle}
    crd["spec"]["conversion"]["webhook"]["clientConfig"] = config
    converted.ok("POST", V2, v2("a"))
    converted.change(crd)
    assert 'failed: Post "https://127.0.0.1:1/convert?timeout=30s"' in converted("GET", f"{V1}/a").message
    service = {"namespace": "ops", "name": "converter", "path": "/convert"}
    crd["spec"]["conversion"]["webhook"]["clientConfig"] = {"url": None, "service": service}
    converted.change(crd)
    assert 'failed: service "converter" not found' in converted("GET", f"{V1}/a").message


def test_behind_a_service(converted: Converted, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def place(targets: Any, client: Any) -> calling.Place:
        service = client["service"]
        seen.append(f"{service['name']}.{service['namespace']}:{service['port']}")
        return calling.Place(f"https://127.0.0.1:{converted.hook.port}", "/convert")

    monkeypatch.setattr(calling, "place_of", place)
    crd = converted.crd()
    service = {"namespace": "ops", "name": "converter", "path": "/convert"}
    webhook = crd["spec"]["conversion"]["webhook"]
    webhook["clientConfig"] = {"url": None, "service": service, "caBundle": converted.hook.bundle}
    converted.change(crd)
    converted.ok("POST", V2, v2("a", minute="1", hour="2"))
    assert converted.get(f"{V1}/a")["spec"]["when"] == "1 2" and seen == ["converter.ops:443"]


# -- warnings


def test_a_deprecated_version_warns_of_itself(converted: Converted) -> None:
    converted.ok("POST", V2, v2("a"))
    converted.change(converted.crd(v1={"deprecated": True}))
    said = f'299 - "{GROUP}/v1 CronTab is deprecated"'
    for method, path, body in (
        ("GET", V1, None),
        ("GET", f"{V1}/a", None),
        ("GET", f"{V1}?limit=1", None),
        ("POST", V1, v1("b")),
        ("DELETE", f"{V1}/b", None),
        ("GET", f"{V1}/b", None),
    ):
        assert converted(method, path, body).headers.get("warning") == said, (method, path)
    assert converted("GET", V1, headers={"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}).headers["warning"]
    response = converted.send(http.Request("GET", f"{V1}?watch=1", user=http.User("a", ("system:masters",))))
    assert response.header("warning") == said
    converted.run(response.body.aclose())  # type: ignore[union-attr]
    assert "warning" not in converted("GET", V2).headers
    converted.change(converted.crd(v1={"deprecated": True, "deprecationWarning": "use v2"}))
    assert converted("GET", V1).headers["warning"] == '299 - "use v2"'
