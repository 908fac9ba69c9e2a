"""The zookeeper set of 2016: servers that join one by one, installed at start, probed by zkCli.sh as they were then."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.services

MANIFEST = Path(__file__).resolve().parents[1] / "manifests" / "2016" / "zookeeper.yaml"
PETS = ("zoo-0", "zoo-1", "zoo-2")
CLI = "/opt/zookeeper/bin/zkCli.sh"


@pytest.fixture(scope="module")
def zoo(cluster):
    cluster.kubectl("create", "-f", str(MANIFEST))
    cluster.wait_ready(*PETS, seconds=180)
    return cluster


def modes(zoo) -> list[str]:
    said = [zoo.exec(pet, "/opt/zookeeper/bin/zkServer.sh", "status", container="zk") for pet in PETS]
    return sorted(line.split()[-1] for line in said)


def test_they_join_one_by_one_and_elect_a_leader(zoo):
    assert modes(zoo) == ["follower", "follower", "leader"]
    assert zoo.exec("zoo-0", CLI, "config", container="zk").count("participant") == 3
    for pet in PETS:
        ends = [c["state"]["terminated"]["exitCode"] for c in zoo.pod(pet)["status"]["initContainerStatuses"]]
        assert ends == [0, 0]


def test_a_write_on_one_pet_is_read_on_another(zoo):
    zoo.exec("zoo-0", CLI, "create", "/hello", "world", container="zk")
    zoo.wait(lambda: "world" in zoo.exec("zoo-2", CLI, "get", "/hello", container="zk"), "the node on zoo-2", 30)


def test_a_deleted_pet_comes_back_as_a_member_with_its_volume(zoo):
    before, claim = zoo.pod("zoo-1"), zoo.kubectl.json("get", "pvc", "datadir-zoo-1")["spec"]["volumeName"]
    zoo.kubectl("delete", "pod", "zoo-1", "--grace-period=0", "--force")
    zoo.wait(lambda: zoo.pod("zoo-1")["metadata"]["uid"] != before["metadata"]["uid"], "a new zoo-1")
    zoo.wait_ready("zoo-1")
    assert zoo.pod("zoo-1")["status"]["podIP"] == before["status"]["podIP"]
    assert zoo.kubectl.json("get", "pvc", "datadir-zoo-1")["spec"]["volumeName"] == claim
    assert "a member already" in zoo.kubectl("logs", "zoo-1", "-c", "bootstrap")
    assert "world" in zoo.exec("zoo-1", CLI, "get", "/hello", container="zk")
