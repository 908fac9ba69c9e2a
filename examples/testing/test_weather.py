"""The same manifests in virtual time: what takes hours elsewhere, and what goes wrong once a year."""

from pathlib import Path

import pytest

MANIFESTS = Path(__file__).parent / "manifests"


@pytest.fixture
def web(clock):
    clock.cluster.apply(MANIFESTS)
    clock.settle()
    return clock.cluster


def test_the_set_outlives_the_scheduler_and_the_controllers(web, clock, faults):
    faults.kill("controllers", down_seconds=60)
    faults.kill("scheduler", down_seconds=90)
    web.delete("pod/web-2")
    clock.settle()
    assert web.get("statefulset/web")["status"]["readyReplicas"] == 3


def test_a_pet_on_a_lost_node_waits_for_it(web, clock, faults):
    """A StatefulSet never runs two pets of one name: the pod stays until its node is back, or is said to be gone."""
    node = web.get("pod/web-0")["spec"]["nodeName"]
    uid = web.get("pod/web-0")["metadata"]["uid"]
    with faults.partition(node):
        clock.advance(minutes=10)
        lost = web.get("pod/web-0")
        assert lost["metadata"]["uid"] == uid and lost["metadata"]["deletionTimestamp"]
    clock.settle()
    assert web.get("pod/web-0")["metadata"]["uid"] != uid


@pytest.mark.parametrize("replicas", [0, 5])
def test_it_scales_in_any_weather(web, clock, faults, replicas):
    web.scale("statefulset/web", replicas)
    with faults.storm(), faults.conflicts(0.3), faults.lost_watches(10):
        clock.advance(minutes=5)
    clock.settle()
    assert len(web.list("pods", labels="app=web")) == replicas
