"""Answers and bodies in other forms than JSON, as clients ask for them that take or send nothing else."""

from __future__ import annotations

import struct
from typing import Any

import cbor2
import pytest

from petset.objects import cbor, documents
from petset.objects.protobuf import messages, reading, writing
from petset.server import weight
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap, petset, whole

PROTOBUF, CBOR, YAML = messages.MEDIA_TYPE, cbor.MEDIA_TYPE, "application/yaml"
MAPS, PETSETS = "/api/v1/namespaces/default/configmaps", "/apis/apps/v1alpha1/namespaces/default/petsets"
PARTIAL = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
DUMPS = {PROTOBUF: writing.dumps, CBOR: cbor2.dumps, YAML: documents.dump}
FORMS = pytest.mark.parametrize("form", DUMPS)


def parts(data: bytes) -> dict[int, list[Any]]:
    """A protobuf message's values by field number."""
    found: dict[int, list[Any]] = {}
    for number, value in reading._Reading()._fields(data):
        found.setdefault(number, []).append(value)
    return found


def listed(data: bytes) -> dict[str, Any]:
    """A list in protobuf, which clients only read."""
    unknown = parts(data.removeprefix(messages.MAGIC))
    version, kind = (text.decode() for [text] in parts(unknown[1][0]).values())
    message = "meta.PartialObjectMetadata" if kind.startswith("Partial") else messages.of_kind(version, kind[:-4])
    tree = parts(unknown[2][0])
    items = [reading._Reading().message(item, message, 0) for item in tree.get(2, [])]
    return {"kind": kind, "apiVersion": version, "items": items}


def loads(form: str, data: bytes) -> Any:
    if form != PROTOBUF:
        return {CBOR: cbor.loads, YAML: documents.load}[form](data)
    kind = parts(parts(data.removeprefix(messages.MAGIC))[1][0])[2][0]
    return listed(data) if kind.endswith(b"List") else reading.loads(data)


def names(tree: Any) -> list[str]:
    return [item["metadata"]["name"] for item in tree["items"]]


@FORMS
def test_an_object_is_sent_and_answered(server: Server, form: str):
    sent = DUMPS[form](configmap("a", k="v"))
    answer = server("POST", MAPS, sent, kind=form, headers={"accept": form})
    assert (answer.code, answer.headers["content-type"]) == (201, form)
    made = loads(form, answer.body)
    assert made["kind"] == "ConfigMap" and made["data"] == {"k": "v"}
    assert made["metadata"]["uid"] == server.get(f"{MAPS}/a")["metadata"]["uid"]
    assert loads(form, server.get(f"{MAPS}/a", headers={"accept": form})) == made


@FORMS
def test_lists_in_one_run_and_in_many(server: Server, form: str):
    accept = {"accept": form}
    assert names(loads(form, server.get(MAPS, headers=accept))) == []
    count = weight.RUN_OBJECTS_MAX + 30
    for number in range(count):
        server.create(configmap(f"m{number:04d}", k="v" * number))
    assert names(loads(form, server.get(f"{MAPS}?limit=30", headers=accept))) == [f"m{n:04d}" for n in range(30)]
    tree = loads(form, server.get(MAPS, headers=accept))
    assert tree["kind"] == "ConfigMapList" and not any("kind" in item for item in tree["items"])
    assert names(tree) == [f"m{number:04d}" for number in range(count)]
    assert [len(item["data"]["k"]) for item in tree["items"][1:]] == list(range(1, count))
    gone = loads(form, server.ok("DELETE", MAPS, headers=accept))
    assert gone["kind"] == "ConfigMapList" and len(names(gone)) == count


@FORMS
def test_refusals_are_said_in_the_same_form(server: Server, form: str):
    answer = server("GET", f"{MAPS}/none", headers={"accept": form})
    status = loads(form, answer.body)
    assert (answer.code, answer.headers["content-type"]) == (404, form)
    assert status["kind"] == "Status" and status["reason"] == "NotFound" and status["details"]["name"] == "none"
    for wrong in (b"\xff\xff", b""):
        answer = server("POST", MAPS, wrong, kind=form, headers={"content-type": form, "accept": form})
        assert answer.code == 400 and loads(form, answer.body)["reason"] == "BadRequest"


@FORMS
def test_deletion_subresources_and_discovery(server: Server, form: str):
    accept = {"accept": form}
    server.create({**petset("w"), "apiVersion": "apps/v1", "kind": "StatefulSet"} | {"spec": STATEFUL})
    scale = loads(form, server.get("/apis/apps/v1/namespaces/default/statefulsets/w/scale", headers=accept))
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 2})
    server.create(configmap("a"))
    status = loads(form, server.ok("DELETE", f"{MAPS}/a", headers=accept))
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert "v1" in loads(form, server.get("/api", headers=accept))["versions"]
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    review["spec"] = {"nonResourceAttributes": {"path": "/", "verb": "get"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert loads(form, server.ok("POST", path, review, headers=accept))["status"]["allowed"] is True


STATEFUL = {
    "serviceName": "s",
    "replicas": 2,
    "selector": {"matchLabels": {"app": "w"}},
    "template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
}


@FORMS
def test_metadata_only(server: Server, form: str):
    server.create(configmap("a", k="v"))
    server.create(petset("p"))
    for path in (f"{MAPS}/a", f"{PETSETS}/p"):
        tree = loads(form, server.get(path, headers={"accept": form + PARTIAL}))
        assert tree["kind"] == "PartialObjectMetadata" and "data" not in tree and tree["metadata"]["uid"]
    tree = loads(form, server.get(PETSETS, headers={"accept": (form + PARTIAL).replace("Metadata;", "MetadataList;")}))
    assert tree["kind"] == "PartialObjectMetadataList" and names(tree) == ["p"]


def test_who_takes_json_gets_json(server: Server):
    for accept in (f"{PROTOBUF},application/json", f"{CBOR}, */*", "application/json;q=0.1,application/yaml"):
        assert server("GET", MAPS, headers={"accept": accept}).headers["content-type"] == "application/json"


def test_what_protobuf_has_no_form_for_is_406_and_is_not_done(server: Server):
    for method, target, body in (
        ("GET", PETSETS, None),
        ("POST", PETSETS, petset("p")),
        ("GET", "/openapi/v3", None),
        ("GET", f"{PETSETS}?watch=1", None),
    ):
        answer = server(method, target, body, headers={"accept": PROTOBUF})
        assert answer.code == 406, (method, target)
        assert reading.loads(answer.body)["reason"] == "NotAcceptable"
    assert server("GET", f"{PETSETS}/p").code == 404
    assert server("GET", MAPS, headers={"accept": f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1"}).code == 406
    assert server("GET", f"{MAPS}?watch=1", headers={"accept": YAML}).code == 406


def test_tables_in_cbor(server: Server):
    server.create(configmap("a", k="v"))
    table = cbor.loads(server.get(MAPS, headers={"accept": f"{CBOR};as=Table;g=meta.k8s.io;v=v1"}))
    assert table["kind"] == "Table" and [row["cells"][:2] for row in table["rows"]] == [["a", 1]]


def test_server_side_apply_in_cbor(server: Server):
    applied = cbor2.dumps({b"apiVersion": b"v1", b"kind": b"ConfigMap", b"data": {b"k": b"v"}})
    target, kind = f"{MAPS}/a?fieldManager=me", "application/apply-patch+cbor"
    assert server("PATCH", target, applied, kind=kind, headers={"accept": CBOR}).code == 201
    found = server.get(f"{MAPS}/a")
    assert found["data"] == {"k": "v"}
    assert [(each["manager"], each["operation"]) for each in found["metadata"]["managedFields"]] == [("me", "Apply")]
    answer = server("PATCH", target, b"\xff", kind=kind)
    assert answer.code == 400 and "CBOR" in answer.message


def frames(form: str, data: bytes) -> list[tuple[str, Any]]:
    """(type, object) of a watch's events."""
    found: list[tuple[str, Any]] = []
    while data:
        if form == PROTOBUF:
            (size,) = struct.unpack(">I", data[:4])
            event, data = parts(data[4 : 4 + size]), data[4 + size :]
            found.append((event[1][0].decode(), reading.loads(parts(event[2][0])[1][0])))
        else:
            event = cbor2.loads(data)
            size = len(cbor2.dumps(event))
            found.append((event["type"], event["object"]))
            data = data[size:]
    return found


@pytest.mark.parametrize(("form", "told"), [(PROTOBUF, f"{PROTOBUF};stream=watch"), (CBOR, "application/cbor-seq")])
@pytest.mark.parametrize("shape", ["", PARTIAL])
def test_a_watch_tells_event_by_event(server: Server, form: str, told: str, shape: str):
    server.create(configmap("a", k="v"))
    target = f"{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    accept = (("accept", form + shape),)
    response = server.send(http.Request("GET", target, accept, user=ADMIN))
    assert (response.code, response.header("content-type")) == (200, told)
    seen: list[tuple[str, Any]] = []

    def until(count: int) -> None:
        while len(seen) < count:
            seen.extend(frames(form, server.run(anext(response.body))))  # type: ignore[arg-type]

    until(2)
    server.create(configmap("b"))
    server.ok("DELETE", f"{MAPS}/a")
    until(4)
    assert [(kind, obj["metadata"].get("name", "")) for kind, obj in seen] == [
        ("ADDED", "a"),
        ("BOOKMARK", ""),
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]
    assert ("data" in seen[0][1]) == (not shape)
    server.run(response.body.aclose())  # type: ignore[union-attr]
    assert server.api.watches.open_count == 0


@pytest.mark.parametrize("form", [PROTOBUF, CBOR])
def test_a_watch_that_cannot_go_on_says_so_in_its_form(server: Server, form: str):
    server.store._history._changes_max = 1
    server.create(configmap("a"))
    server.create(configmap("b"))
    request = http.Request("GET", f"{MAPS}?watch=1&resourceVersion=1", (("accept", form),), user=ADMIN)
    response = server.send(request)
    events = frames(form, server.run(anext(response.body)))  # type: ignore[arg-type]
    assert [(kind, status["code"]) for kind, status in events] == [("ERROR", 410)]
    server.run(response.body.aclose())  # type: ignore[union-attr]


def test_what_pods_answer_is_left_alone(server: Server):
    response = server.send(http.Request("GET", "/healthz", (("accept", PROTOBUF),), user=ADMIN))
    assert server.run(whole(response)) == b"ok" and response.header("content-type").startswith("text/plain")
