"""What a node says to a pod that somebody bound to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.node.pods.admission import Ledger, Refusal
from petset.objects import meta
from tests.node.node_fixture import NodeUnderTest, container, is_gone, is_ready, play, pod

TAKEN = Refusal("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")


def wants(uid: str, cpu: str = "", port: int = 0, address: str = "") -> dict[str, Any]:
    resources = {"resources": {"requests": {"cpu": cpu}}} if cpu else {}
    ports = [{"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": "TCP"}] if port else []
    return {"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "ports": ports, **resources}]}}


def test_a_port_is_for_one_pod_at_a_time():
    ledger = Ledger({"cpu": "1"})
    assert ledger.admit(wants("a", port=8080)) is None
    assert ledger.admit(wants("a", port=8080)) is None  # Asked again, it is the same pod.
    assert ledger.admit(wants("b", port=8080, address="127.0.0.1")) == TAKEN
    assert ledger.admit(wants("c", port=8081)) is None
    ledger.release("a")
    ledger.release("a")
    assert ledger.admit(wants("b", port=8080, address="127.0.0.1")) is None
    assert ledger.admit(wants("d", port=8080, address="10.0.0.1")) is None
    assert ledger.admit(wants("e", port=8080)) == TAKEN


def test_resources_are_counted_and_given_back():
    ledger = Ledger({"cpu": "1", "pods": "3"})
    ledger.enter(wants("a", cpu="700m"))
    said = "Node didn't have enough resource: cpu, requested: 400, used: 700, capacity: 1000"
    assert ledger.admit(wants("b", cpu="400m")) == Refusal("OutOfcpu", said)
    assert ledger.admit(wants("c", cpu="300m")) is None and ledger.admit(wants("d")) is None
    said = "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    assert ledger.admit(wants("e")) == Refusal("OutOfpods", said)
    ledger.release("a")
    assert ledger.admit(wants("b", cpu="400m")) is None


def test_resources_of_other_domains_are_those_that_the_nodes_status_names():
    def device(uid: str, amount: int) -> dict[str, Any]:
        resources = {"requests": {"example.com/device": str(amount)}}
        return {"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "resources": resources}]}}

    ledger = Ledger({"cpu": "1"})
    assert ledger.admit(device("unknown", 9)) is None, "as upstream: nobody has said how many there are"
    ledger.release("unknown")
    ledger.has({"cpu": "100", "example.com/device": "5"})
    assert ledger.admit(device("a", 3)) is None
    refusal = ledger.admit(device("b", 3))
    assert refusal is not None and refusal.reason == "OutOfexample.com/device"
    refusal = ledger.admit(wants("c", cpu="2"))
    assert refusal is not None and refusal.reason == "OutOfcpu", "its CPU the node knows itself"


def listening(name: str, port: int = 21017) -> Any:
    return pod(name, container("c", ports=[{"containerPort": 80, "hostPort": port}]), terminationGracePeriodSeconds=1)


def test_a_bound_pod_whose_port_is_taken_fails_and_a_later_one_does_not(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(listening("first"))
        await node.until("first", is_ready)
        await node.create(listening("second"))
        status = (await node.until("second", lambda one: meta.get(one, "status", "phase") == "Failed"))["status"]
        assert (status["reason"], status["message"]) == (TAKEN.reason, TAKEN.message)
        assert not status.get("containerStatuses") and "podIP" not in status
        assert await node.events("second") == [("Warning", TAKEN.reason, TAKEN.message)]
        assert [name for name, *_ in node.machine.started] == ["first"]

        await node.kill()
        await node.boot()
        await node.until("first", is_ready)
        await node.delete("first")
        await node.until("first", is_gone)
        await node.create(listening("third"))
        await node.until("third", is_ready)
        assert (await node.pod("second"))["status"]["phase"] == "Failed"  # type: ignore[index]

    play(story, tmp_path)


@pytest.mark.parametrize("seed", range(8))  # In whatever order the workers come to look.
def test_what_runs_is_never_refused_after_a_restart(tmp_path: Path, seed: int):
    async def story(node: NodeUnderTest) -> None:
        await node.create(listening("zed"))
        await node.until("zed", is_ready)
        await node.kill()
        await node.create(listening("abc"))  # Comes first by name, but came later.
        await node.boot()
        await node.until("abc", lambda one: meta.get(one, "status", "reason") == TAKEN.reason)
        assert is_ready(await node.pod("zed"))

    play(story, tmp_path, seed=seed)
