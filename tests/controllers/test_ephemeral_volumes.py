"""Claims made for pods' ephemeral volumes."""

from __future__ import annotations

from typing import Any

from petset.client.views import Snapshot
from petset.controllers import actions, ephemeral_volumes
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS

SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}


def pod(**metadata: Any) -> dict[str, Any]:
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": TEMPLATE}}, {"name": "other", "emptyDir": {}}]
    named = {"name": "p", "namespace": "default", "uid": "u1", **metadata}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": {"volumes": volumes, "containers": []}}


def steps(*objects: Any) -> list[actions.Action]:
    return ephemeral_volumes.reconcile("default/p", Snapshot(objects), 0)


def test_a_claim_is_made_that_goes_with_its_pod():
    (made,) = steps(pod())
    assert isinstance(made, actions.Create)
    metadata = made.object["metadata"]
    assert (metadata["name"], metadata["labels"]) == ("p-scratch", {"a": "b"}) and made.object["spec"] == SPEC
    (owner,) = metadata["ownerReferences"]
    assert owner["uid"] == "u1" and owner["controller"] and owner["blockOwnerDeletion"]
    assert steps(pod(), made.object) == [], "then it rests"
    assert ephemeral_volumes.keys_of_claim(made.object, Snapshot([pod()])) == ("default/p",)


def test_none_is_made_for_a_pod_that_goes():
    assert steps(pod(deletionTimestamp="2026-01-01T00:00:00Z")) == steps({**pod(), "status": {"phase": "Failed"}}) == []


def test_a_claim_of_somebody_else_is_left_alone_and_told():
    named = {"name": "p-scratch", "namespace": "default"}
    other = {"apiVersion": PERSISTENTVOLUMECLAIMS.api_version, "kind": "PersistentVolumeClaim", "metadata": named}
    (event,) = steps(pod(), {**other, "spec": SPEC})
    assert isinstance(event, actions.EmitEvent) and "was not created for pod default/p" in event.message
    assert list(ephemeral_volumes.keys_of_claim({**other, "spec": SPEC}, Snapshot([pod()]))) == ["default/p"]
