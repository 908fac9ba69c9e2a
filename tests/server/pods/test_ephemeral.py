"""pods/ephemeralcontainers: containers are added to a pod that is there, and nothing else of it is changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Server, collection, pod

WHERE = f"{collection('v1', 'Pod')}/p/ephemeralcontainers"
STRATEGIC = "application/strategic-merge-patch+json"


def debugger(name: str = "d", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "tools", **more}


def patch(*containers: Any) -> dict[str, Any]:
    return {"spec": {"ephemeralContainers": list(containers)}}


@pytest.fixture
def made(server: Server) -> Server:
    server.create(pod("p"))
    return server


def test_they_are_added_and_read(made: Server):
    before = made.get(WHERE)
    after = made.ok("PATCH", WHERE, patch(debugger(targetContainerName="c", tty=True)), kind=STRATEGIC)
    (one,) = after["spec"]["ephemeralContainers"]
    filled = {"imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log"}
    assert one.items() >= {"targetContainerName": "c", **filled}.items()
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    both = made.ok("PATCH", WHERE, patch(debugger("e")), kind=STRATEGIC)
    assert sorted(one["name"] for one in both["spec"]["ephemeralContainers"]) == ["d", "e"]
    assert made.get(WHERE) == made.get(WHERE.removesuffix("/ephemeralcontainers"))


def test_nothing_else_is_changed(made: Server):
    given = made.get(WHERE)
    given["metadata"]["labels"] = {"a": "b"}
    given["spec"] |= {"containers": [{"name": "c", "image": "other"}], "ephemeralContainers": [debugger()]}
    after = made.ok("PUT", WHERE, given)
    assert "labels" not in after["metadata"] and after["spec"]["containers"][0]["image"] == "i"
    assert [one["name"] for one in after["spec"]["ephemeralContainers"]] == ["d"]


@pytest.mark.parametrize(
    ("wrong", "field", "why"),
    [
        (debugger("c"), "[0].name", 'Duplicate value: "c"'),
        (debugger(targetContainerName="x"), "[0].targetContainerName", 'Not found: "x"'),
        (debugger(ports=[{"containerPort": 80}]), "[0].ports", "cannot be set for an Ephemeral Container"),
        (debugger(resources={"limits": {"cpu": "1"}}), "[0].resources", "cannot be set for an Ephemeral Container"),
        (debugger(livenessProbe={"exec": {"command": ["a"]}}), "[0].livenessProbe", "cannot be set"),
        (debugger(lifecycle={"preStop": {"exec": {"command": ["a"]}}}), "[0].lifecycle", "cannot be set"),
        (debugger(image=""), "[0].image", "Required value"),
        (debugger(restartPolicy="Always"), "[0].restartPolicy", "cannot be set for an Ephemeral Container"),
    ],
)
def test_what_they_may_not_be(made: Server, wrong: Any, field: str, why: str):
    answer = made("PATCH", WHERE, patch(wrong), kind=STRATEGIC)
    assert answer.code == 422
    (cause,) = answer.body["details"]["causes"]
    assert cause["field"] == f"spec.ephemeralContainers{field}" and why in cause["message"]


@pytest.mark.parametrize(
    ("then", "why"),
    [([], "may not be removed"), ([debugger(command=["other"])], "may not be changed")],
)
def test_those_that_are_there_stay_as_they_are(made: Server, then: Any, why: str):
    given = made.ok("PATCH", WHERE, patch(debugger()), kind=STRATEGIC)
    answer = made("PUT", WHERE, {**given, "spec": {**given["spec"], "ephemeralContainers": then}})
    assert answer.code == 422 and f'existing ephemeral containers "d" {why}' in answer.message


def test_no_other_way_leads_to_them(made: Server):
    whole = WHERE.removesuffix("/ephemeralcontainers")
    answer = made("PATCH", whole, patch(debugger()), kind=STRATEGIC)
    assert answer.code == 422 and "pod updates may not change fields other than" in answer.message
    new = made("POST", collection("v1", "Pod"), pod("q", ephemeralContainers=[debugger()]))
    assert new.code == 422 and new.body["details"]["causes"][0]["field"] == "spec.ephemeralContainers"
    made.ok("PATCH", WHERE, patch(debugger()), kind=STRATEGIC)
    made.ok("PATCH", whole, {"metadata": {"labels": {"a": "b"}}}, kind=STRATEGIC)  # What is there is no hindrance.
    template = {"metadata": {"name": "t"}, "apiVersion": "v1", "kind": "PodTemplate"}
    inside = {"spec": pod("x", ephemeralContainers=[debugger()])["spec"]}
    refused = made("POST", collection("v1", "PodTemplate"), {**template, "template": inside})
    assert refused.code == 422 and "not allowed in pod template" in refused.message
    assert made("POST", WHERE, debugger()).code == 405
