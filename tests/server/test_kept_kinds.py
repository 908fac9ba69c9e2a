"""Kinds that are kept though nothing acts on them: what of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Server

DEVICES = "/apis/resource.k8s.io/v1"
CLAIMS = f"{DEVICES}/namespaces/default/resourceclaims"
MIGRATIONS = "/apis/storagemigration.k8s.io/v1/storageversionmigrations"
POOL = {"name": "x", "generation": 1, "resourceSliceCount": 1}
OLD_POOL = {**POOL, "generation": -1}


def claimed(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"devices": {"requests": list(requests)}}


def exactly(name: str, class_: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "exactly": {"deviceClassName": class_, **more}}


@pytest.mark.parametrize(
    ("path", "spec", "field"),
    [
        (f"{DEVICES}/deviceclasses", {"selectors": [{"cel": {"expression": ""}}]}, "spec.selectors[0].cel.expression"),
        (CLAIMS, claimed(exactly("X")), "spec.devices.requests[0].name"),
        (CLAIMS, claimed(exactly("x"), exactly("x")), "spec.devices.requests[1].name"),
        (CLAIMS, claimed({"name": "x"}), "spec.devices.requests[0]"),
        (CLAIMS, claimed(exactly("x", "")), "spec.devices.requests[0].exactly.deviceClassName"),
        (CLAIMS, claimed(*[exactly(f"x{i}") for i in range(33)]), "spec.devices.requests"),
        (f"{DEVICES}/resourceslices", {"driver": "X", "nodeName": "x", "pool": POOL}, "spec.driver"),
        (f"{DEVICES}/resourceslices", {"driver": "x.y", "pool": POOL}, "spec"),
        (f"{DEVICES}/resourceslices", {"driver": "x.y", "allNodes": True, "pool": OLD_POOL}, "spec.pool.generation"),
        (f"{DEVICES}/devicetaintrules", {"taint": {"key": "x", "effect": "Never"}}, "spec.taint.effect"),
        (MIGRATIONS, {"resource": {"group": "", "resource": "Pods"}}, "spec.resource.resource"),
        (MIGRATIONS, {"resource": {"resource": "pods", "group": "X"}}, "spec.resource.group"),
    ],
)  # fmt: skip
def test_what_is_refused(server: Server, path: str, spec: dict[str, Any], field: str) -> None:
    answer = server("POST", path, {"metadata": {"name": "x"}, "spec": spec})
    assert answer.code == 422
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [field]


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        ("/apis/storage.k8s.io/v1/csinodes", {"drivers": None}),
        ("/apis/storage.k8s.io/v1/csinodes", {}),
        (MIGRATIONS, {"resource": {"resource": "pods"}}),
    ],
)
def test_what_may_be_left_out_is_empty(server: Server, path: str, spec: dict[str, Any]) -> None:
    assert server("POST", path, {"metadata": {"name": "x"}, "spec": spec}).code == 201


def test_a_claim_stays_what_it_was_and_says_whether_it_has_something(server: Server) -> None:
    made = server.ok("POST", CLAIMS, {"metadata": {"name": "x"}, "spec": claimed(exactly("x"))})
    assert server("PUT", f"{CLAIMS}/x", {**made, "spec": claimed(exactly("y"))}).code == 422
    as_table = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    assert server.get(CLAIMS, headers=as_table)["rows"][0]["cells"][1] == "pending"
    server.ok("PUT", f"{CLAIMS}/x/status", {**made, "status": {"allocation": {}}})
    assert server.get(CLAIMS, headers=as_table)["rows"][0]["cells"][1] == "allocated"


def test_a_migration_ends_once(server: Server) -> None:
    made = server.ok(
        "POST", MIGRATIONS, {"metadata": {"name": "x"}, "spec": {"resource": {"group": "", "resource": "pods"}}}
    )

    def said(*ends: str) -> dict[str, Any]:
        when = "2016-08-03T00:00:00Z"
        conditions = [
            {"type": end, "status": "True", "reason": "Done", "message": "", "lastTransitionTime": when} for end in ends
        ]
        live = server.get(f"{MIGRATIONS}/x")
        return {**live, "status": {"conditions": conditions}}

    assert server("PUT", f"{MIGRATIONS}/x/status", said("Succeeded", "Failed")).code == 422
    server.ok("PUT", f"{MIGRATIONS}/x/status", said("Succeeded"))
    assert server("PUT", f"{MIGRATIONS}/x/status", said()).code == 422
    other = {**made, "spec": {"resource": {"group": "", "resource": "nodes"}}}
    assert server("PUT", f"{MIGRATIONS}/x", {**other, "metadata": {"name": "x"}}).code == 422
