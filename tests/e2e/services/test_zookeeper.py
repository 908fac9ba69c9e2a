"""The ZooKeeper example: three servers elect a leader, become five, lose their quorum and find it again.

ZooKeeper promises that a write it acknowledged is on the disks of a majority: so no failure here may lose one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import kazoo.client
import kazoo.handlers.threading
import pytest

from tests.e2e.services import failures

pytestmark = pytest.mark.services

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "zookeeper"
PETS = ("zk-0", "zk-1", "zk-2")
ANSWER_SECONDS_MAX = 3


class Ensemble:
    """The pets, as kazoo and four-letter words see them from outside."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.service = failures.Service(
            cluster, PETS, "data", "java", self.write, self.read_all, self.in_sync, self.leader
        )
        self.client: kazoo.client.KazooClient | None = None

    def ask(self, pet: str, word: str) -> str:
        with socket.create_connection((self.service.address(pet), 2181), ANSWER_SECONDS_MAX) as connection:
            connection.settimeout(ANSWER_SECONDS_MAX)
            connection.sendall(word.encode())
            answer = b""
            while part := connection.recv(4096):
                answer += part
        return answer.decode()

    def stat(self, pet: str) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.ask(pet, "srvr").splitlines() if ": " in line)

    def members(self, pet: str) -> list[str]:
        """Those with a vote, by number."""
        lines = self.ask(pet, "conf").splitlines()
        return sorted(line.partition("=")[0] for line in lines if line.startswith("server.") and "participant" in line)

    def modes(self, *pets: str) -> list[str]:
        return sorted(self.stat(pet)["Mode"] for pet in pets)

    def in_sync(self) -> bool:
        return self.modes(*PETS) == ["follower", "follower", "leader"]

    def leader(self) -> str:
        return next(pet for pet in PETS if self.stat(pet)["Mode"] == "leader")

    def epoch(self) -> int:
        return int(self.stat(self.leader())["Zxid"], 16) >> 32

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        self.cluster.wait(failures.quietly(condition), what, 60)

    def connected(self) -> kazoo.client.KazooClient:
        """One client of all pets: it moves on to another one by itself."""
        if self.client is None:
            hosts = ",".join(f"{self.service.address(pet)}:2181" for pet in PETS)
            self.client = kazoo.client.KazooClient(hosts, timeout=10)
            self.client.start(timeout=30)
            self.client.ensure_path("/numbers")
        return self.client

    def write(self, number: int) -> None:
        self.connected().create_async(f"/numbers/{number}").get(timeout=ANSWER_SECONDS_MAX)

    def read_all(self) -> list[int]:
        self.connected().sync("/numbers")  # A read without it may be of an earlier state.
        return [int(name) for name in self.connected().get_children("/numbers")]

    def cli(self, pet: str, *commands: str) -> str:
        """ZooKeeper's own client, in a pet; what it says, errors too."""
        script = 'printf "%s\\n" "$@" | ZOO_HEAP=48m zkCli.sh -server localhost:2181 2>&1 || true'
        return self.cluster.exec(pet, "bash", "-c", script, "cli", *commands)

    def close(self) -> None:
        if self.client is not None:
            self.client.stop()
            self.client.close()


@pytest.fixture(scope="module")
def zk(cluster):
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    cluster.wait_ready(*PETS, seconds=120)
    ensemble = Ensemble(cluster)
    yield ensemble
    ensemble.close()


def test_one_leader_and_two_followers(zk):
    zk.service.wait_in_sync()
    assert zk.members("zk-0") == ["server.1", "server.2", "server.3"]


def test_a_write_on_one_pet_is_read_on_another(zk):
    assert "Created /greeting" in zk.cli("zk-0", "create /greeting hello")
    assert "hello" in zk.cli("zk-2", "sync /greeting", "get /greeting")


def test_the_demo_proves_it(zk):
    said = zk.cluster.petset("demo", "zookeeper").stdout
    assert said.count("✓") == 5, said


@pytest.mark.parametrize("failure", failures.FAILURES)
def test_no_acknowledged_write_is_lost_when(zk, failure):
    epoch = zk.epoch()
    failures.survive(zk.service, failure)
    if failure in ("the leader is lost", "all pets are deleted"):
        assert zk.epoch() > epoch, "no leader was elected"


def test_quorum_holds_with_one_down_is_refused_with_two_down_and_comes_back(zk):
    zk.service.wait_in_sync()
    zk.close()
    zk.client = None
    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=2")
    zk.cluster.wait(lambda: "NotFound" in zk.cluster.kubectl.run("get", "pod", "zk-2").stderr, "zk-2 to be gone")
    zk.wait(lambda: zk.modes("zk-0", "zk-1") == ["follower", "leader"], "a quorum of two")
    assert "Created /with-one-down" in zk.cli("zk-1", "create /with-one-down x")

    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=1")
    zk.cluster.wait(lambda: not zk.cluster.is_ready("zk-0"), "zk-0 not to be ready")
    assert "not currently serving" in zk.ask("zk-0", "srvr")
    assert zk.ask("zk-0", "ruok") == "imok", "a server in the minority is alive"
    lonely = kazoo.client.KazooClient(f"{zk.service.address('zk-0')}:2181", timeout=2)
    with pytest.raises(kazoo.handlers.threading.KazooTimeoutError):
        lonely.start(timeout=5)
    lonely.close()

    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=3")
    zk.service.wait_in_sync()
    assert zk.connected().exists("/with-one-down")
    assert zk.service.acknowledged <= set(zk.read_all())


def test_all_are_stopped_and_started_again_with_their_data(zk):
    zk.close()
    zk.client = None
    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=0")
    zk.cluster.wait(lambda: not zk.cluster.kubectl("get", "pods", "-l", "app=zk", "-o", "name"), "all to be gone")
    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=3")
    zk.cluster.wait_ready(*PETS, seconds=120)
    zk.service.wait_in_sync()
    assert "hello" in zk.cli("zk-2", "sync /greeting", "get /greeting")
    assert zk.service.acknowledged <= set(zk.read_all())


def test_only_the_super_user_may_change_the_membership(zk):
    refused = zk.cli("zk-0", "reconfig -remove 3")
    assert "Insufficient permission" in refused, refused
    assert zk.members("zk-0") == ["server.1", "server.2", "server.3"]


def test_three_become_five_and_three_again(zk):
    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=5")
    zk.cluster.wait_ready("zk-3", "zk-4", seconds=120)
    five = [f"server.{number}" for number in (1, 2, 3, 4, 5)]
    zk.wait(lambda: all(zk.members(pet) == five for pet in (*PETS, "zk-3", "zk-4")), "five members")
    assert zk.modes(*PETS, "zk-3", "zk-4") == ["follower"] * 4 + ["leader"]
    assert "hello" in zk.cli("zk-4", "sync /greeting", "get /greeting")

    removed = zk.cli("zk-0", "addauth digest super:change-me", "reconfig -remove 4,5")
    assert "Committed new configuration" in removed, removed
    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=3")
    zk.wait(zk.in_sync, "the three")
    assert zk.members("zk-0") == ["server.1", "server.2", "server.3"]
    assert zk.service.acknowledged <= set(zk.read_all())


def test_five_again_whose_volumes_remember_an_older_membership(zk):
    zk.cluster.wait(lambda: "NotFound" in zk.cluster.kubectl.run("get", "pod", "zk-3").stderr, "zk-3 to be gone")
    zk.cluster.kubectl("scale", "statefulset", "zk", "--replicas=5")
    zk.cluster.wait_ready("zk-3", "zk-4", seconds=120)
    assert len(zk.members("zk-4")) == 5, "a pet was ready before it had its vote"
