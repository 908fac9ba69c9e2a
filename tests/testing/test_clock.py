"""Virtual time for who does not await: what a test sees of it, and what may go wrong in it."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest

import petset
from petset.testing import faults as all_faults
from tests.testing.conftest import petset_of
from tests.testing.test_clusters import CRD, claim

LEAVE = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20}
    for key in ("not-ready", "unreachable")
]


def leaving(name: str, replicas: int):
    """A Deployment whose pods leave a lost node soon."""
    made = petset_of(name, replicas)
    del made["spec"]["serviceName"]
    template = made["spec"]["template"]
    template = {**template, "spec": {**template["spec"], "tolerations": LEAVE}}
    return {**made, "kind": "Deployment", "spec": {**made["spec"], "template": template}}


def test_time_passes_when_it_is_told_to(clock):
    began = clock.now
    assert clock.cluster.list("nodes").names == ["node-0"] and (clock.now - began).total_seconds() < 1
    clock.advance(hours=1, seconds=1)
    assert 3601 <= (clock.now - began).total_seconds() < 3602
    clock.cluster.wait_for("node/node-0", "Ready")


def test_time_in_which_nothing_happens_is_jumped(clock):
    """Counted in turns of the loop, which were thousands: leases, bookmarks, watches that end."""
    loop = clock.world._loop

    def turns(hours: int) -> int:
        clock.advance(hours=hours)
        return loop.turns

    clock.settle()
    empty = turns(1)
    for name in "abc":
        clock.cluster.apply(petset_of(name, 3))
    clock.settle()
    assert empty < 150 and turns(1) < 600, "in which the events of their start expire"
    assert turns(1) < 150
    lease = clock.cluster.get("lease", "node-0", namespace="kube-node-lease")
    assert datetime.datetime.fromisoformat(lease["spec"]["renewTime"]) <= clock.now, "nobody sees the future"
    clock.advance(seconds=45)
    clock.cluster.wait_for("node/node-0", "Ready", timeout=1)
    newer = clock.cluster.get("lease", "node-0", namespace="kube-node-lease")
    assert newer["spec"]["renewTime"] > lease["spec"]["renewTime"], "a short time is lived through as always"


def test_a_node_that_is_cut_off_after_a_long_quiet_time_is_silent_as_soon_as_any(clock, faults):
    clock.advance(hours=3)
    with faults.partition("node-0"):
        clock.advance(seconds=38)
        assert clock.cluster.wait_for("node/node-0", "Ready", timeout=0.5)
        clock.advance(seconds=5)
        (ready,) = [
            one for one in clock.cluster.get("node", "node-0")["status"]["conditions"] if one["type"] == "Ready"
        ]
        assert ready["status"] == "Unknown"
        clock.advance(hours=3)
    clock.cluster.wait_for("node/node-0", "Ready", timeout=120)
    clock.advance(hours=3)
    clock.cluster.wait_for("node/node-0", "Ready", timeout=1)


def test_a_set_comes_up_and_settles(clock):
    clock.cluster.apply(petset_of("web", 3, volumeClaimTemplates=[claim()]))
    ready = clock.cluster.wait_for("sts/web", timeout=600)
    assert ready["status"]["readyReplicas"] == 3
    clock.settle()
    assert "StatefulSet default/web: 3 of 3 ready" in repr(clock.cluster)
    with pytest.raises(petset.WaitTimeout, match="there is none"):
        clock.cluster.wait_for("pod/nobody", timeout=1000)


def test_a_job_of_every_hour_runs_every_hour(clock):
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example/job:1"}]}
    spec = {
        "schedule": "0 * * * *",
        "jobTemplate": {"spec": {"template": {"spec": pod}}},
        "successfulJobsHistoryLimit": 9,
    }
    clock.cluster.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "hourly"}, "spec": spec})
    clock.advance(hours=2)
    assert len(clock.cluster.list("jobs")) == 2


def test_kinds_of_ones_own_are_served_there_too_and_after_the_server_has_died(clock, faults):
    clock.cluster.apply(CRD)
    clock.cluster.apply({"apiVersion": "shop.example.com/v1", "kind": "Toy", "metadata": {"name": "bear"}})
    faults.kill("server", down_seconds=3)
    assert clock.cluster.list("toys").names == ["bear"]
    clock.cluster.delete("crd/toys.shop.example.com", wait=True)


def test_who_is_killed_comes_back_and_goes_on(clock, faults):
    faults.kill("kube-scheduler", down_seconds=60)
    clock.cluster.apply(petset_of("web", 1))
    with pytest.raises(petset.WaitTimeout):
        clock.cluster.wait_for("sts/web", timeout=50)
    clock.cluster.wait_for("sts/web")
    faults.kill("node-0")
    faults.reboot("node-0")
    clock.settle()
    pod = clock.cluster.get("pod/web-0")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
    with pytest.raises(petset.ClusterError, match="there are controllers, scheduler, dns, node-0, server"):
        faults.kill("nobody")


def test_a_container_that_is_killed_is_started_again_later_each_time(clock, faults):
    clock.cluster.apply(petset_of("web", 1))
    clock.cluster.wait_for("sts/web")
    waits = []
    for times in range(1, 4):
        before = clock.seconds
        faults.kill_container("web-0")
        with pytest.raises(petset.ClusterError, match="it does not run"):
            faults.kill_container("web-0")
        clock.cluster.wait_for(
            "pod/web-0",
            lambda pod, times=times: (
                pod["status"]["containerStatuses"][0]["restartCount"] == times
                and pod["status"]["containerStatuses"][0]["ready"]
            ),
            timeout=600,
        )
        waits.append(clock.seconds - before)
    assert waits[2] > waits[1] + 5 > waits[0]


def test_a_node_that_is_cut_off_loses_its_pods(clock_of_two, faults_of_two):
    cluster = clock_of_two.cluster
    cluster.apply(leaving("web", 4))
    cluster.wait_for("deploy/web", timeout=600)
    with faults_of_two.partition("node-1"):
        cluster.wait_for("node/node-1", "condition=Ready=Unknown", timeout=120)
        clock_of_two.advance(minutes=5)
        there = [pod["spec"]["nodeName"] for pod in cluster.list("pods") if "deletionTimestamp" not in pod["metadata"]]
        assert there == ["node-0"] * 4
    cluster.wait_for("node/node-1", "Ready", timeout=120)
    clock_of_two.settle()


@pytest.fixture
def clock_of_two():
    with petset.Clock(seed=3, nodes=2) as clock:
        yield clock


@pytest.fixture
def faults_of_two(clock_of_two):
    return all_faults.Faults(clock_of_two)


def test_a_slow_node_takes_its_time(clock, faults):
    clock.cluster.apply(petset_of("quick", 5))
    clock.cluster.wait_for("sts/quick", timeout=3600)
    quick = clock.seconds
    with faults.slow_node("node-0", times=50):
        clock.cluster.apply(petset_of("slow", 5))
        clock.cluster.wait_for("sts/slow", timeout=36_000)
    assert clock.seconds - quick > 3 * quick


def test_what_is_under_test_may_be_in_the_weather(clock, faults):
    clock.cluster.apply(petset_of("web"))
    theirs = faults.cluster
    with faults.weather(refused=1.0), pytest.raises(petset.ApiError):
        theirs.list("pods")
    with faults.weather(lost_request=1.0), pytest.raises(ConnectionError):
        theirs.list("pods")
    with faults.conflicts(1.0):
        seen = theirs.get("sts/web")
        with pytest.raises(petset.Conflict):
            theirs.patch(
                "sts/web", {"metadata": {"resourceVersion": seen["metadata"]["resourceVersion"], "labels": {"a": "b"}}}
            )
    with pytest.raises(ValueError, match="from 0 to 1"), faults.weather(lag=2):
        pass
    clock.settle()


def test_a_reconciler_that_polls_is_called_while_time_passes(clock, faults):
    theirs = faults.cluster

    def reconcile():
        for wish in theirs.list("configmaps", labels="wants=a-set"):
            theirs.apply(petset_of(wish["metadata"]["name"], 1))

    def persistently():
        try:
            reconcile()
        except (petset.ApiError, ConnectionError):
            pass

    clock.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "labels": {"wants": "a-set"}}}
    )
    with faults.storm(), faults.lost_watches(), faults.conflicts(0.3):
        clock.advance(minutes=5, each=persistently)
    clock.settle()
    assert clock.cluster.get("sts/web")["status"]["readyReplicas"] == 1


def story(seed):
    with petset.Clock(seed, nodes=2) as clock:
        faults = all_faults.Faults(clock)
        clock.cluster.apply(petset_of("web", 3, volumeClaimTemplates=[claim()]))
        with faults.storm(), faults.conflicts():
            clock.advance(minutes=3)
        clock.settle()
        pods = clock.cluster.list("pods")
        return clock.seconds, [(pod["metadata"]["uid"], pod["spec"]["nodeName"]) for pod in pods]


def test_one_seed_is_one_run_and_another_one_another():
    assert story(1) == story(1) != story(2)


def test_there_are_no_sockets(clock):
    clock.cluster.apply(petset_of("web", 1))
    clock.cluster.wait_for("sts/web")
    with pytest.raises(petset.ClusterError, match="no sockets"):
        clock.cluster.exec("web-0", "hostname")


def test_time_passes_also_for_who_is_in_a_loop_of_his_own():
    """As notebooks are, and asynchronous tests."""

    async def inside():
        with petset.Clock() as clock:
            clock.advance(hours=1)
            clock.cluster.apply(petset_of("web", 1))
            clock.settle()
            return clock.seconds, asyncio.get_running_loop().time()

    seconds, _ = asyncio.run(inside())
    assert seconds > 3600


def test_when_it_is_over_it_says_so():
    with petset.Clock() as clock:
        disk = clock.world.it.disk
    with pytest.raises(petset.ClusterError, match="its virtual time is over"):
        clock.cluster.list("pods")
    clock.stop()
    assert not Path(disk).exists()
