"""What clients learn about the server before they ask for anything."""

from __future__ import annotations

import json
import random

import pytest

from petset.kinds import builtin
from petset.objects import protobuf
from petset.wire import http
from tests.server.conftest import Server

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def test_aggregated_discovery_lists_every_kind_with_its_subresources(server):
    for version in ("v2", "v2beta1"):
        accept = {"accept": f"{AGGREGATED.format(version)},application/json"}
        found = []
        for path in ("/api", "/apis"):
            answer = server("GET", path, headers=accept)
            assert answer.headers["content-type"] == AGGREGATED.format(version)
            assert answer.body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            found += [
                (group["metadata"]["name"], version["version"], row["resource"])
                for group in answer.body["items"]
                for version in group["versions"]
                for row in version["resources"]
            ]
        assert sorted(found) == sorted((row.group, row.version, row.plural) for row in builtin.KINDS)


def test_scale_is_a_scale_of_autoscaling(server):
    plain = server.get("/apis/apps/v1alpha1")["resources"]
    scale = next(row for row in plain if row["name"] == "petsets/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    apps = next(
        group
        for group in server.get("/apis", headers={"accept": AGGREGATED.format("v2")})["items"]
        if group["metadata"]["name"] == "apps"
    )
    assert [version["version"] for version in apps["versions"]] == ["v1", "v1alpha1"]
    petsets = apps["versions"][1]["resources"][0]
    kinds = {row["subresource"]: row["responseKind"] for row in petsets["subresources"]}
    assert kinds["scale"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert kinds["status"] == {"group": "apps", "version": "v1alpha1", "kind": "PetSet"}


def test_a_kind_says_in_which_version_it_is_stored(server):
    def hash_of(path: str, name: str) -> str | None:
        return next(row for row in server.get(path)["resources"] if row["name"] == name).get("storageVersionHash")

    assert hash_of("/api/v1", "pods") == "xPOwRZ+Yhw8="  # As upstream's servers say.
    assert hash_of("/api/v1", "events") == hash_of("/apis/events.k8s.io/v1", "events") == "r2yiGXH7wu8="
    assert hash_of("/apis/authentication.k8s.io/v1", "tokenreviews") is None
    assert hash_of("/api/v1", "pods/status") is None


def test_every_name_and_kind_of_discovery_is_whole(server):
    for path in ("/api", "/apis"):
        for group in server.get(path, headers={"accept": AGGREGATED.format("v2")})["items"]:
            for version in group["versions"]:
                root = f"/apis/{group['metadata']['name']}" if group["metadata"].get("name") else "/api"
                listed = {row["name"]: row for row in server.get(f"{root}/{version['version']}")["resources"]}
                for row in version["resources"]:
                    plain = listed.pop(row["resource"])
                    assert row["singularResource"] == plain["singularName"] != ""
                    assert (row["responseKind"]["kind"], row["verbs"]) == (plain["kind"], plain["verbs"])
                    assert row.get("shortNames") == plain.get("shortNames")
                    assert row.get("categories") == plain.get("categories")
                    for sub in row.get("subresources", ()):
                        named = listed.pop(f"{row['resource']}/{sub['subresource']}")
                        kind, own = sub["responseKind"], row["responseKind"]
                        assert (kind["kind"], sub["verbs"]) == (named["kind"], named["verbs"])
                        group_version = named.get("group", own["group"]), named.get("version", own["version"])
                        assert (kind["group"], kind["version"]) == group_version
                assert listed == {}


def test_plain_discovery(server):
    assert server.get("/api")["versions"] == ["v1"]
    groups = server.get("/apis")["groups"]
    assert next(group for group in groups if group["name"] == "apps")["preferredVersion"]["version"] == "v1"
    pods = next(row for row in server.get("/api/v1")["resources"] if row["name"] == "pods")
    assert pods["shortNames"] == ["po"] and "watch" in pods["verbs"]
    assert server.get("/apis/apps")["name"] == "apps"
    assert server("GET", "/apis/nothing").code == server("GET", "/apis/apps/v9").code == 404


def test_openapi_says_that_fields_are_validated(server):
    paths = server.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/apps/v1alpha1"} <= set(paths)
    url = paths["apis/apps/v1alpha1"]["serverRelativeURL"]
    answer = server("GET", url)
    patch = answer.body["paths"]["/apis/apps/v1alpha1/namespaces/{namespace}/petsets/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "PetSet", "version": "v1alpha1"}
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    unchanged = server.send(
        http.Request("GET", url, (("if-none-match", answer.headers["etag"]),), user=http.User("a", ("system:masters",)))
    )
    assert unchanged.code == 304


def test_health(server):
    assert server.get("/readyz") == b"ok"
    assert server.get("/readyz?verbose").decode().splitlines()[0] == "[+]ping ok"
    assert server.get("/livez/ping") == b"ok" and server("GET", "/livez/x").code == 404
    sick = Server(checks={"etcd": lambda: "the disk is full"})
    answer = sick("GET", "/readyz")
    assert answer.code == 500 and b"[-]etcd failed: the disk is full" in answer.body
    assert sick("GET", "/livez").code == 200
    for path in ("/healthz", "/healthz/etcd", "/livez/etcd", "/readyz/etcd"):
        assert sick("GET", path).code == 500, path
    for path in ("/healthz/ping", "/readyz?exclude=etcd", "/healthz?exclude=etcd&exclude=ping"):
        assert sick("GET", path).body == b"ok", path
    sick.close()


# -- Protobuf, as Go clients send it: an envelope, then fields by number.


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(version: str, kind: str, raw: bytes) -> bytes:
    return protobuf.MAGIC + field(1, field(1, version) + field(2, kind)) + field(2, raw)


def test_protobuf_reads_as_json_would():
    metadata = field(1, "web") + field(2, "") + field(8, b"") + field(11, field(1, "app") + field(2, "web"))
    container = (
        field(1, "c") + field(2, "i") + field(3, "sh") + field(3, "-c") + field(6, field(1, "http") + field(3, 80))
    )
    probe = field(1, field(2, field(1, "/") + field(2, field(1, 1) + field(3, "http")))) + field(3, 0) + field(4, 5)
    resources_ = field(2, field(1, "memory") + field(2, field(1, "64Mi")))
    container += field(11, probe) + field(8, resources_)
    volume = field(1, "v") + field(2, field(2, b""))
    pod_spec = field(2, container) + field(1, volume) + field(4, 0)
    tree = protobuf.loads(envelope("v1", "Pod", field(1, metadata) + field(2, pod_spec)))
    assert (
        tree
        == {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "i",
                        "command": ["sh", "-c"],
                        "ports": [{"name": "http", "containerPort": 80}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                        "resources": {"requests": {"memory": "64Mi"}},
                    }
                ],
                "volumes": [{"name": "v", "emptyDir": {}}],
                "terminationGracePeriodSeconds": 0,
            },
        }
        or tree["spec"]["terminationGracePeriodSeconds"] == 0
    )


def test_protobuf_of_secrets_times_and_negative_numbers():
    secret = field(1, field(1, "s")) + field(2, field(1, "k") + field(2, b"\xff")) + field(5, 0)
    tree = protobuf.loads(envelope("v1", "Secret", secret))
    assert tree["data"] == {"k": "/w=="} and tree["immutable"] is False
    spec = field(1, "me") + field(2, 5) + field(4, field(1, 1470182400) + field(2, 123456000))
    lease = protobuf.loads(envelope("coordination.k8s.io/v1", "Lease", field(2, spec)))
    assert lease["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 5,
        "renewTime": "2016-08-03T00:00:00.123456Z",
    }
    priority = protobuf.loads(envelope("v1", "Pod", field(2, field(25, -7))))
    assert priority["spec"]["priority"] == -7


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "said"),
    [
        (0, 0, None),  # The message is empty: the zero time.
        (-62_135_596_800, 0, None),  # The zero time once more, in numbers.
        (-62_135_596_799, 0, "0001-01-01T00:00:01"),
        (-62_104_060_800, 5_000, "0002-01-01T00:00:00"),
        (1_505_828_956, 123_456_789, "2017-09-19T13:49:16"),
        (253_402_300_799, 0, "9999-12-31T23:59:59"),
        (253_402_300_800, 0, ValueError),
        (-62_135_596_801, 0, ValueError),
        (2**62, 0, ValueError),
    ],
)
def test_every_time_that_has_a_name_is_read(seconds, nanoseconds, said):
    time = (field(1, seconds) if seconds else b"") + (field(2, nanoseconds) if nanoseconds else b"")
    event = envelope("v1", "Event", field(7, time) + field(10, time))  # lastTimestamp and eventTime.
    if said is ValueError:
        with pytest.raises(ValueError):
            protobuf.loads(event)
        return
    tree = protobuf.loads(event)
    assert tree.get("lastTimestamp") == (said and f"{said}Z")
    assert tree.get("eventTime") == (said and f"{said}.{nanoseconds // 1000:06d}Z")


def test_wrong_protobuf_is_a_value_error_whatever_it_is():
    chance = random.Random(1)
    good = envelope("v1", "Pod", field(1, field(1, "a")) + field(2, field(2, field(1, "c") + field(2, "i"))))
    for _ in range(3000):
        wrong = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            wrong[chance.randrange(len(wrong))] = chance.randrange(256)
        try:
            json.dumps(protobuf.loads(bytes(wrong[: chance.randint(0, len(wrong))])))
        except ValueError:
            pass
    for wrong_kind in (b"", b"k8s\0", envelope("v1", "Dog", b""), envelope("v1", "Pod", b"\x0a\xff")):
        with pytest.raises(ValueError):
            protobuf.loads(wrong_kind)
