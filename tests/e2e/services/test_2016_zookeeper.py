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


def test_all_are_stopped_and_started_again_with_their_data(zoo):
    """One after another: the first must be ready, on its old volume, before there is anybody to form a quorum with."""
    zoo.exec("zoo-0", CLI, "create", "/foo", "bar", container="zk")
    zoo.kubectl("scale", "petset", "zoo", "--replicas=0")
    zoo.wait(lambda: not zoo.kubectl("get", "pods", "-l", "app=zk", "-o", "name"), "all pets to be gone", 120)
    zoo.kubectl("scale", "petset", "zoo", "--replicas=3")
    zoo.wait(lambda: all(zoo.is_ready(pet) for pet in PETS), "all three to be ready", 300)
    zoo.wait(lambda: modes(zoo) == ["follower", "follower", "leader"], "a leader", 60)
    assert zoo.exec("zoo-2", CLI, "get", "/foo", container="zk").split()[-1] == "bar"
    assert "world" in zoo.exec("zoo-2", CLI, "get", "/hello", container="zk")
    zoo.exec("zoo-1", CLI, "create", "/again", "x", container="zk")


def test_a_fourth_and_a_fifth_join(zoo):
    zoo.kubectl("scale", "petset", "zoo", "--replicas=5")
    zoo.wait_ready("zoo-3", "zoo-4", seconds=180)
    assert zoo.exec("zoo-0", CLI, "config", container="zk").count("participant") == 5
    assert "bar" in zoo.exec("zoo-4", CLI, "get", "/foo", container="zk")
