"""Kubernetes' protobuf: an envelope, then fields by number; read as JSON would be, and written to read the same."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds import builtin
from petset.objects import documents, schema
from petset.objects.protobuf import messages, reading, writing

OF_EACH_KIND = documents.load_all((Path(__file__).parents[1] / "clients" / "kinds.yaml").read_bytes())


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
    return messages.MAGIC + field(1, field(1, version) + field(2, kind)) + field(2, raw)


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
    tree = reading.loads(envelope("v1", "Pod", field(1, metadata) + field(2, pod_spec)))
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
    tree = reading.loads(envelope("v1", "Secret", secret))
    assert tree["data"] == {"k": "/w=="} and tree["immutable"] is False
    spec = field(1, "me") + field(2, 5) + field(4, field(1, 1470182400) + field(2, 123456000))
    lease = reading.loads(envelope("coordination.k8s.io/v1", "Lease", field(2, spec)))
    assert lease["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 5,
        "renewTime": "2016-08-03T00:00:00.123456Z",
    }
    priority = reading.loads(envelope("v1", "Pod", field(2, field(25, -7))))
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
            reading.loads(event)
        return
    tree = reading.loads(event)
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
            json.dumps(reading.loads(bytes(wrong[: chance.randint(0, len(wrong))])))
        except ValueError:
            pass
    for wrong_kind in (b"", b"k8s\0", envelope("v1", "Dog", b""), envelope("v1", "Pod", b"\x0a\xff")):
        with pytest.raises(ValueError):
            reading.loads(wrong_kind)


# -- Writing.


def said(tree: Any) -> Any:
    """A tree without what protobuf does not tell from nothing."""
    if isinstance(tree, dict):
        parts = {key: said(value) for key, value in tree.items()}
        return {key: value for key, value in parts.items() if value not in ("", 0, None, {}, []) or value is False}
    return [said(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize("given", [obj for obj in OF_EACH_KIND if obj["kind"] != "PetSet"], ids=lambda obj: obj["kind"])
def test_what_is_written_reads_the_same(given):
    kind = builtin.KINDS.named(given["apiVersion"], given["kind"])
    obj, _, _ = schema.check(given, kind)
    obj = kind.default({**obj, "metadata": {**obj["metadata"], "creationTimestamp": "2016-07-14T00:00:00Z"}})
    data = writing.dumps(obj)
    assert said(reading.loads(data)) == said(obj)
    head = {"apiVersion": kind.api_version, "kind": kind.list_kind, "metadata": {"resourceVersion": "7"}}
    raw = writing.writer(messages.of_kind(kind.api_version, kind.kind))(obj)
    assert data.endswith(field(2, raw) + field(3, "") + field(4, ""))
    assert field(2, raw) * 2 in writing.dumps({**head, "items": [obj, obj]})


def test_every_kind_of_kubernetes_can_be_written():
    without = {
        f"{kind.api_version} {kind.kind}"
        for kind in builtin.KINDS
        if kind.kind and not writing.has(kind.api_version, kind.kind)
    }
    assert {one for one in without if not one.startswith("metrics.k8s.io/")} == {"apps/v1alpha1 PetSet"}


def test_an_object_a_list_and_an_event_byte_by_byte():
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"priority": -7}}
    raw = field(1, field(1, "a")) + field(2, field(25, -7))
    end = field(3, "") + field(4, "")
    assert writing.dumps(pod) == envelope("v1", "Pod", raw) + end
    pods = {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": [pod]}
    assert writing.dumps(pods) == envelope("v1", "PodList", field(1, field(2, "5")) + field(2, raw)) + end
    event = field(1, "ADDED") + field(2, field(1, writing.dumps(pod)))
    assert writing.event("ADDED", writing.dumps(pod)) == len(event).to_bytes(4, "big") + event
    with pytest.raises(ValueError, match="no form"):
        writing.dumps({"apiVersion": "apps/v1alpha1", "kind": "PetSet", "metadata": {}})


SCHEMA = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "object"])},
        optional={
            "default": st.none() | st.integers(-5, 5) | st.lists(st.text(max_size=3), max_size=2),
            "enum": st.lists(st.integers(0, 3) | st.text(max_size=3), min_size=1, max_size=3),
            "minimum": st.integers(-(2**40), 2**40) | st.just(0.5),
            "required": st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=2),
        },
    ),
    lambda schemas: st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.text(min_size=1, max_size=3), schemas, min_size=1, max_size=2),
            "items": schemas | st.lists(schemas, min_size=1, max_size=2),
            "additionalProperties": schemas | st.booleans(),
            "dependencies": st.dictionaries(
                st.just("a"), schemas | st.lists(st.text(min_size=1, max_size=3), min_size=1), min_size=1
            ),
            "not": schemas,
        },
    ),
    max_leaves=6,
)


@given(SCHEMA)
def test_schemas_of_custom_kinds_read_the_same(given):
    spec = {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": given}}]}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
    read = reading.loads(writing.dumps(definition))
    assert said(read["spec"]["versions"][0]["schema"]["openAPIV3Schema"]) == said(given)


WORDS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "replicas": st.integers(0, 2**31 - 1),
            "maxUnavailable": st.integers(-(2**31), 2**31 - 1) | st.text(max_size=5),
            "labels": st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1),
            "quantity": st.sampled_from(["1", "100m", "1Gi", "1e3"]),
            "raw": st.dictionaries(st.text(max_size=3), WORDS, min_size=1),
        },
    )
)
def test_values_of_every_shape_read_the_same(given):
    limits = {"cpu": given["quantity"]} if "quantity" in given else {}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "labels": given.get("labels"),
            "managedFields": [{"manager": "m", "fieldsV1": given.get("raw")}],
        },
        "spec": {
            "replicas": given.get("replicas"),
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": given.get("maxUnavailable")}},
            "template": {"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}},
        },
    }
    assert said(reading.loads(writing.dumps(obj))) == said(obj)
