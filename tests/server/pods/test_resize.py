"""pods/resize: CPU and memory of containers, by this way alone, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Server, collection, pod

WHERE = f"{collection('v1', 'Pod')}/p/resize"
STRATEGIC = "application/strategic-merge-patch+json"
RESTARTS = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]


def has(cpu: str = "1", **more: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, **more}, "limits": {"cpu": "4", "memory": "1Gi", **more}}


def patch(resources: Any, field: str = "containers", **more: Any) -> dict[str, Any]:
    return {"spec": {field: [{"name": "c" if field == "containers" else "i", "resources": resources, **more}]}}


@pytest.fixture
def made(server: Server) -> Server:
    init = {"name": "i", "image": "i", "resources": has()}
    own = {"name": "c", "image": "i", "resources": has(), "resizePolicy": RESTARTS}
    server.create(pod("p", containers=[own], initContainers=[init]))
    return server


def test_resources_change_by_this_way_alone(made: Server):
    before = made.get(WHERE)
    after = made.ok("PATCH", WHERE, patch(has("2")), kind=STRATEGIC)
    assert after["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2"
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    answer = made("PATCH", WHERE.removesuffix("/resize"), patch(has("3")), kind=STRATEGIC)
    assert answer.code == 422 and "pod updates may not change fields" in answer.message
    after = made.ok("PATCH", WHERE, patch(has("2"), "initContainers"), kind=STRATEGIC)
    assert after["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] == "2"


def test_nothing_else_is_changed(made: Server):
    given = made.get(WHERE)
    given["metadata"]["labels"] = {"a": "b"}
    given["spec"]["containers"][0] |= {"image": "other", "resources": has("2")}
    given["spec"]["activeDeadlineSeconds"] = 9
    after = made.ok("PUT", WHERE, given)
    assert "labels" not in after["metadata"] and "activeDeadlineSeconds" not in after["spec"]
    (one,) = after["spec"]["containers"]
    assert one["image"] == "i" and one["resources"]["requests"]["cpu"] == "2" and one["resizePolicy"] == RESTARTS
    assert made.ok("PUT", WHERE, after)["metadata"]["generation"] == after["metadata"]["generation"]


@pytest.mark.parametrize(
    ("wrong", "field", "why"),
    [
        (patch({"limits": {"cpu": None}}), "spec.containers[0].resources.limits", "resource limits cannot be removed"),
        (patch(has(**{"ephemeral-storage": "1Gi"})), "spec", "only cpu and memory resources are mutable"),
        (
            patch(has(**{"ephemeral-storage": "1Gi"}), "initContainers"),
            "spec.initContainers[0]",
            "only cpu and memory resources for init or sidecar containers are mutable",
        ),
        (patch({"requests": {"cpu": "5"}}), "spec.containers[0].resources.requests", "cpu limit of 4"),
        ({"spec": {"containers": [{"name": "d", "image": "i"}]}}, "spec.containers", "may not be added or removed"),
        ({"spec": {"resources": {"limits": {"cpu": "9"}}}}, "spec.resources", "petset does not resize"),
    ],
)
def test_what_is_refused(made: Server, wrong: Any, field: str, why: str):
    answer = made("PATCH", WHERE, wrong, kind=STRATEGIC)
    assert answer.code == 422
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [field]
    assert why in answer.message


def test_a_pod_keeps_its_class_of_service_and_needs_a_node_that_knows(made: Server):
    guaranteed = {"cpu": "4", "memory": "1Gi"}
    both = {"requests": guaranteed, "limits": guaranteed}
    wanted = {"spec": {**patch(both)["spec"], **patch(both, "initContainers")["spec"]}}
    answer = made("PATCH", WHERE, wanted, kind=STRATEGIC)
    assert answer.code == 422 and "Pod QOS Class may not change" in answer.message
    told = {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": True, "restartCount": 0}]}
    told["containerStatuses"][0]["state"] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    made.ok("PATCH", WHERE.replace("/resize", "/status"), {"status": told}, kind="application/merge-patch+json")
    answer = made("PATCH", WHERE, patch(has("2")), kind=STRATEGIC)
    assert answer.code == 422 and "node without support for resize" in answer.message
