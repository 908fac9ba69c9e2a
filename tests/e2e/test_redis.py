"""The post's redis set, byte for byte: three real servers that find each other, and what happens when one dies."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
from pathlib import Path

import pytest

MANIFESTS = Path(__file__).parent / "manifests"
PETS = ("rd-0", "rd-1", "rd-2")


@pytest.fixture(scope="module")
def redis(cluster):
    cluster.kubectl("create", "-f", str(MANIFESTS / "redis-service.yaml"))
    cluster.kubectl("create", "-f", str(MANIFESTS / "redis-petset.yaml"))
    cluster.wait_ready(*PETS, seconds=180)
    return cluster


def cli(cluster, pet: str, *command: str) -> str:
    return cluster.exec(pet, "/opt/redis/redis-cli", "-h", f"{pet}.redis", *command, container="redis").strip()


def replication(cluster, pet: str) -> dict[str, str]:
    lines = cli(cluster, pet, "info", "replication").splitlines()
    return dict(line.strip().split(":", 1) for line in lines if ":" in line)


def in_sync(cluster, pet: str) -> bool:
    found = replication(cluster, pet)
    return found["role"] == "slave" and found["master_link_status"] == "up"


def kill_server(uid: str) -> None:
    """SIGKILL from outside: inside its own process namespace the first process cannot be killed so."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "redis-server\n" and uid in cgroups(entry):
                os.kill(int(entry.name), signal.SIGKILL)
                return
        except OSError:
            continue
    raise AssertionError(f"no redis-server of pod {uid} is running")


def cgroups(process: Path) -> str:
    return (process / "cgroup").read_text() + (process / "mountinfo").read_text()


def test_the_master_is_reached_by_port_forward(redis):
    forwarding = redis.kubectl.start("port-forward", "rd-0", ":6379", "--address=127.0.0.1")
    try:
        port = int(re.search(r":(\d+) -> ", forwarding.stdout.readline())[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
    finally:
        forwarding.terminate()
        forwarding.communicate(timeout=20)


def test_files_are_copied_there_and_back(redis, tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(1 << 20))
    redis.kubectl("cp", str(tmp_path / "a"), "rd-0:/tmp/b", "-c", "redis")
    redis.kubectl("cp", "rd-0:/tmp/b", str(tmp_path / "c"), "-c", "redis")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


def test_one_master_and_two_replicas_in_sync(redis):
    assert replication(redis, "rd-0")["role"] == "master"
    for pet in PETS[1:]:
        redis.wait(lambda pet=pet: in_sync(redis, pet), f"{pet} to be in sync")
    assert replication(redis, "rd-0")["connected_slaves"] == "2"


def test_they_started_in_order(redis):
    for earlier, later in itertools.pairwise(PETS):
        conditions = {c["type"]: c for c in redis.pod(earlier)["status"]["conditions"]}
        assert conditions["Ready"]["lastTransitionTime"] <= redis.pod(later)["metadata"]["creationTimestamp"]


def test_init_containers_came_from_the_annotation(redis):
    pod = redis.pod("rd-1")
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["install", "bootstrap"]
    ends = [c["state"]["terminated"]["exitCode"] for c in pod["status"]["initContainerStatuses"]]
    assert ends == [0, 0]


def test_a_key_written_on_the_master_is_read_on_a_replica(redis):
    assert cli(redis, "rd-0", "set", "replicated:test", "true") == "OK"
    redis.wait(lambda: cli(redis, "rd-2", "get", "replicated:test") == "true", "the key on rd-2", 10)


def test_a_killed_server_restarts_in_place_and_rejoins(redis):
    before = redis.pod("rd-1")
    kill_server(before["metadata"]["uid"])
    redis.wait(lambda: redis.pod("rd-1")["status"]["containerStatuses"][0]["restartCount"] == 1, "a restart in place")
    redis.wait_ready("rd-1")
    after = redis.pod("rd-1")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["podIP"] == before["status"]["podIP"]
    redis.wait(lambda: in_sync(redis, "rd-1"), "rd-1 to rejoin")
    assert redis.kubectl("logs", "--previous", "rd-1", "-c", "redis")


def test_a_deleted_pet_comes_back_with_its_name_volume_and_data(redis):
    before, claim = redis.pod("rd-1"), redis.kubectl.json("get", "pvc", "datadir-rd-1")["spec"]["volumeName"]
    redis.kubectl("delete", "pod", "rd-1")
    redis.wait(lambda: redis.pod("rd-1")["metadata"]["uid"] != before["metadata"]["uid"], "a new rd-1")
    redis.wait_ready("rd-1")
    assert redis.kubectl.json("get", "pvc", "datadir-rd-1")["spec"]["volumeName"] == claim
    assert redis.pod("rd-1")["status"]["podIP"] == before["status"]["podIP"]
    redis.wait(lambda: cli(redis, "rd-1", "get", "replicated:test") == "true", "the key on rd-1", 10)


def test_the_service_lists_one_target_a_pet(redis):
    """peer-finder asks exactly this: SRV of the bare service name, through the search path."""
    said = redis.exec("rd-2", "sh", "-c", "echo") is not None and redis.kubectl(
        "get", "endpoints", "redis", "-o", "jsonpath={.subsets[*].addresses[*].hostname}"
    )
    assert sorted(said.split()) == list(PETS)
