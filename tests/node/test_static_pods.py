"""Static pods: what is read of a directory, and which mirror pods are made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from petset.node import static_pods
from petset.objects import meta
from petset.objects.meta import Object

HASH, MIRROR = "kubernetes.io/config.hash", "kubernetes.io/config.mirror"


def manifest(name: str = "web", image: str = "x", **spec: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": image}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"a": "b"}}, "spec": spec}


def of(tree: Any) -> Object:
    return static_pods.of_manifest(json.dumps(tree).encode(), "n1")


def test_a_manifest_is_a_pod_of_the_node():
    pod = of(manifest())
    assert (meta.key(pod), meta.labels(pod), pod["spec"]["nodeName"]) == ("default/web-n1", {"a": "b"}, "n1")
    assert {"operator": "Exists", "effect": "NoExecute"} in pod["spec"]["tolerations"]
    marks = meta.annotations(pod)
    assert marks[HASH] == marks[MIRROR] and marks["kubernetes.io/config.source"] == "file"
    assert marks[MIRROR] != meta.annotations(of(manifest(image="y")))[MIRROR]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[", "."),
        (b"a: b", "it is no Pod of v1"),
        (b"{apiVersion: v1, kind: Pod, metadata: {}, spec: {}}", "it has no name"),
        (b"{apiVersion: v1, kind: Pod, metadata: {name: a}}", "it has no metadata or no spec"),
        (b"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {volumes: x}}", "."),
        (json.dumps(manifest(serviceAccountName="a")).encode(), "may refer to no ServiceAccount"),
        (json.dumps(manifest(volumes=[{"name": "v", "secret": {"secretName": "s"}}])).encode(), "Secret"),
        (b"x" * (static_pods.FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_what_is_no_static_pod(data: bytes, why: str):
    with pytest.raises((static_pods.NoPod, ValueError), match=why):
        static_pods.of_manifest(data, "n1")


def test_files_of_a_directory(tmp_path: Path):
    for name, tree in (("a.yaml", manifest("a")), ("b.json", manifest("a")), (".c.yaml", manifest("c")), ("d", {})):
        (tmp_path / name).write_text(json.dumps(tree))
    (tmp_path / "e.yml").write_text("nonsense")
    found = static_pods.read(tmp_path, "n1")
    assert list(found.pods) == ["default/a-n1"]
    assert found.wrong == {"b.json": "there is another one of the name default/a-n1", "e.yml": "it is no Pod of v1"}


def test_mirror_pods_follow_their_files():
    one, other = of(manifest()), of(manifest(image="y"))
    wanted = {meta.key(one): one}
    plain: Object = {"metadata": {"name": "plain", "namespace": "default"}}
    assert static_pods.changes(wanted, [plain]) == ([one], [])
    assert static_pods.changes(wanted, [plain, one]) == ([], [])
    assert static_pods.changes(wanted, [other]) == ([], [other])  # It is made anew once the old one is gone.
    deleted = meta.changed(other, ("metadata", "deletionTimestamp"), "2026-01-01T00:00:00Z")
    assert static_pods.changes(wanted, [deleted]) == ([], [])
    assert static_pods.changes({}, [plain, one]) == ([], [one])
