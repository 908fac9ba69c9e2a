"""What the controller of PetSets keeps of a cluster with others' objects: enough to decide the same, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from petset.client.views import Snapshot
from petset.controllers.pets import family, keeping, petset
from petset.controllers.pets.translation import Translation
from petset.objects import encoding, meta
from petset.objects.meta import Object
from tests.case_files import cases
from tests.controllers import sets

OWNERS = [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}}]
NAMED = {"apiVersion", "kind", "metadata"}


def with_owners(obj: Object) -> Object:
    return meta.changed(obj, ("metadata", "managedFields"), OWNERS)


def obj(kind: str, name: str, owner: str = "", **more: Any) -> Object:
    group = "apps/v1" if owner != "PetSet" else "apps/v1alpha1"
    reference = {"apiVersion": group, "kind": owner, "name": "o", "uid": "u", "controller": True}
    metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": "5", "labels": {"a": "b"}}
    if owner:
        metadata["ownerReferences"] = [reference]
    version = "apps/v1" if kind == "ControllerRevision" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {**metadata, **more.pop("metadata", {})}, **more}


@pytest.mark.parametrize(
    ("seen", "counts"),
    [
        (obj("Pod", "web-0", "PetSet", spec={"x": 1}), True),
        (obj("Pod", "web-0", "StatefulSet", spec={"x": 1}), False),
        (obj("Pod", "web-7f9c", "ReplicaSet", spec={"x": 1}), False),
        (obj("Pod", "web-0", spec={"x": 1}), True),  # A set may adopt it.
        (obj("PersistentVolumeClaim", "data-web-0", spec={"x": 1}), True),
        (obj("PersistentVolumeClaim", "uploads", spec={"x": 1}), False),
        (obj("ControllerRevision", "web-1", "PetSet", data={"x": 1}), True),
        (obj("ControllerRevision", "web-1", "DaemonSet", data={"x": 1}), False),
        (obj("ControllerRevision", "web-1", data={"x": 1}), True),
        (obj("Service", "web", spec={"x": 1}), False),
        (
            obj(
                "Service",
                "web",
                metadata={"annotations": {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}},
                spec={"x": 1},
            ),
            True,
        ),
    ],
)
def test_who_counts_is_kept_whole_and_others_by_name(seen, counts):
    made = keeping.kept(with_owners(seen))
    assert made == (seen if counts else meta.without({k: seen[k] for k in NAMED}, ("metadata", "labels")))
    assert keeping.kept(made) == made


@pytest.mark.parametrize("case", [case for case in cases("petset") if "petset" in case.values[0]["given"]])
def test_the_same_is_decided_by_what_is_kept(case):
    """Each case of the controller, among others' objects of the same namespace."""
    _, set_, view = sets.world_of(case["given"])
    objects = [each for cache in view._caches.values() for each in cache.list()]
    others = [
        obj("Pod", "other-0", "StatefulSet", spec={}, status={}),
        obj("ControllerRevision", "other-1", "StatefulSet", data={}, revision=1),
    ]
    kind = replace(family.PETSET, translation=Translation())
    whole = petset.reconcile(kind, meta.key(set_), Snapshot([*objects, *others]), sets.NOW)
    kept = [keeping.kept(with_owners(each)) for each in (*objects, *others)]
    assert petset.reconcile(kind, meta.key(set_), Snapshot(kept), sets.NOW) == whole


def test_what_is_kept_of_others_is_small():
    pod = obj("Pod", "web-7f9c", "ReplicaSet", spec={"containers": [{"env": [{"name": "x" * 4000}]}]})
    assert len(encoding.dumps(keeping.kept(with_owners(pod)))) < 400
