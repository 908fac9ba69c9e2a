"""kill -9 loses no acknowledged write and stops no pet; down and up is a reboot that keeps pods and data."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.e2e.leftovers import leftovers
from tests.e2e.test_redis import PETS, cli, in_sync, kill_server

MANIFESTS = Path(__file__).parent / "manifests"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "redis" / "redis.yaml"


@pytest.fixture(scope="module")
def redis(make_cluster):
    cluster = make_cluster()
    cluster.up()
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    cluster.wait_ready(*PETS, seconds=120)
    return cluster


def pets(cluster) -> dict[str, tuple]:
    """What must not change: uid, container ids and restart counts."""
    return {
        name: (
            pod["metadata"]["uid"],
            [(c["containerID"], c["restartCount"]) for c in pod["status"]["containerStatuses"]],
        )
        for name in PETS
        for pod in [cluster.pod(name)]
    }


def test_killed_petset_loses_no_write_and_no_container(redis):
    before = pets(redis)
    acknowledged: list[int] = []
    stopped = threading.Event()

    def write() -> None:
        number = 0
        while not stopped.is_set():
            if (
                redis.kubectl.run("create", "configmap", f"write-{number}", f"--from-literal=n={number}").returncode
                == 0
            ):
                acknowledged.append(number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        redis.wait(lambda: len(acknowledged) >= 5, "some writes")
        redis.kill()
        at_kill = len(acknowledged)
    finally:
        stopped.set()
        writer.join()
    assert at_kill >= 5
    redis.up()
    names = {item["metadata"]["name"] for item in redis.kubectl.json("get", "configmaps")["items"]}
    assert {f"write-{number}" for number in acknowledged} <= names
    redis.wait_ready(*PETS)
    assert pets(redis) == before
    assert cli(redis, "rd-0", "set", "after:kill", "1") == "OK"


def test_a_restart_of_the_service_stops_no_container(redis):
    """systemd's SIGHUP (RestartKillSignal of the unit) ends petset alone."""
    before = pets(redis)
    redis.kill(signal.SIGHUP)
    redis.up()
    redis.wait_ready(*PETS)
    assert pets(redis) == before


def test_an_exec_and_logs_work_on_adopted_containers(redis):
    assert redis.exec("rd-0", "hostname", container="redis").strip() == "rd-0"
    assert "redis" in redis.kubectl("logs", "rd-0", "-c", "redis").lower()


def test_a_container_that_dies_while_petset_is_dead_is_restarted(redis):
    uid = redis.pod("rd-2")["metadata"]["uid"]
    redis.kill()
    kill_server(uid)
    redis.up()
    redis.wait(lambda: redis.pod("rd-2")["status"]["containerStatuses"][0]["restartCount"] == 1, "one restart")
    redis.wait_ready("rd-2")


def test_a_state_directory_in_use_is_refused(redis):
    second = redis.petset("up", check=False, timeout=30)
    assert second.returncode == 1
    assert "running in it already" in second.stderr and len(second.stderr.strip().splitlines()) == 1


def test_down_leaves_nothing_and_up_brings_the_pods_back(redis):
    assert cli(redis, "rd-0", "set", "kept", "yes") == "OK"
    redis.wait(lambda: cli(redis, "rd-1", "get", "kept") == "yes", "the key on rd-1", 10)
    before = {name: redis.pod(name) for name in PETS}
    redis.down()
    assert leftovers(redis.state) == []
    redis.up()
    redis.wait_ready(*PETS, seconds=120)
    for name in PETS:
        after = redis.pod(name)
        assert after["metadata"]["uid"] == before[name]["metadata"]["uid"]
        counts = [p["status"]["containerStatuses"][0]["restartCount"] for p in (before[name], after)]
        assert counts[1] == counts[0] + 1
    redis.wait(lambda: any(in_sync(redis, pet) for pet in PETS), "a replica in sync", 60)
    assert cli(redis, "rd-0", "get", "kept") == "yes"
