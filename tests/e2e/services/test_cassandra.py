"""The Cassandra example: a ring of three, written and read by quorum through the Python driver, and what it survives.

Three replicas of each row, quorum writes and quorum reads: two of three have an acknowledged write, and the commit log
is on disk before the acknowledgement (commitlog_sync: batch). So none may be lost, not even when all pets are killed.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import cassandra.cluster
import cassandra.policies
import cassandra.query
import pytest
from cassandra import ConsistencyLevel

from tests.e2e.services import failures

pytestmark = pytest.mark.services

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "cassandra"
PETS = ("cassandra-0", "cassandra-1", "cassandra-2")
ANSWER_SECONDS_MAX = 10
READY_SECONDS_MAX = 300


class Ring:
    """The pets, as the driver sees them from outside."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.service = failures.Service(
            cluster,
            PETS,
            "data",
            "java",
            self.write,
            self.read_all,
            self.in_sync,
            lambda: PETS[0],  # All are equal; the first is the seed that others ask.
            seconds=READY_SECONDS_MAX,
        )
        self.driver: cassandra.cluster.Cluster | None = None
        self.session: cassandra.cluster.Session

    def connected(self) -> cassandra.cluster.Session:
        """One session for all: the driver itself moves on from a pet that does not answer."""
        if self.driver is None:
            profile = cassandra.cluster.ExecutionProfile(
                load_balancing_policy=cassandra.policies.RoundRobinPolicy(),
                consistency_level=ConsistencyLevel.QUORUM,
                request_timeout=ANSWER_SECONDS_MAX,
            )
            self.driver = cassandra.cluster.Cluster(
                [self.service.address(pet) for pet in PETS],
                execution_profiles={cassandra.cluster.EXEC_PROFILE_DEFAULT: profile},
                reconnection_policy=cassandra.policies.ConstantReconnectionPolicy(1, max_attempts=1000),
                protocol_version=5,
                connect_timeout=ANSWER_SECONDS_MAX,
            )
            self.session = self.driver.connect()
        return self.session

    def write(self, number: int) -> None:
        self.connected().execute("insert into test.numbers (n) values (%s)", (number,))

    def read_all(self) -> list[int]:
        return [row.n for row in self.connected().execute("select n from test.numbers")]

    def ask(self, pet: str, statement: str, consistency: int = ConsistencyLevel.ONE) -> list:
        """What this pet answers."""
        session, address = self.connected(), self.service.address(pet)
        assert self.driver is not None and self.driver.metadata is not None
        host = next(h for h in self.driver.metadata.all_hosts() if h.address == address)
        return list(
            session.execute(cassandra.query.SimpleStatement(statement, consistency_level=consistency), host=host)
        )

    def in_sync(self) -> bool:
        """Each pet, asked itself, gets an answer from all three replicas."""
        for pet in PETS:
            self.ask(pet, "select n from test.numbers where n = -1", ConsistencyLevel.ALL)
        return True

    def identity(self, pet: str) -> tuple:
        (row,) = self.ask(pet, "select host_id, tokens from system.local")
        return row.host_id, sorted(row.tokens)

    def status(self, pet: str) -> dict[str, str]:
        """nodetool's word for each member, by address: UN is up and normal."""
        said = self.cluster.exec(pet, "nodetool", "status")
        return {address: word for word, address in re.findall(r"^([UD][NLJM])\s+(\S+)", said, re.MULTILINE)}

    def all_normal(self, *pets: str) -> bool:
        wanted = {self.service.address(pet): "UN" for pet in pets}
        return self.status(pets[-1]) == wanted

    def close(self) -> None:
        if self.driver is not None:
            self.driver.shutdown()


@pytest.fixture(scope="module")
def ring(cluster):
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    cluster.wait_ready(*PETS, seconds=READY_SECONDS_MAX)
    ring = Ring(cluster)
    ring.connected().execute(
        "create keyspace test with replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}", timeout=30
    )
    ring.connected().execute("create table test.numbers (n int primary key)", timeout=30)
    yield ring
    ring.close()


def test_all_are_up_and_normal_and_joined_in_order(ring):
    for pet in PETS:
        ring.cluster.wait(lambda pet=pet: ring.status(pet) == {ring.service.address(p): "UN" for p in PETS}, "UN")
    for earlier, later in itertools.pairwise(PETS):
        conditions = {c["type"]: c for c in ring.cluster.pod(earlier)["status"]["conditions"]}
        assert conditions["Ready"]["lastTransitionTime"] <= ring.cluster.pod(later)["metadata"]["creationTimestamp"]


def test_a_row_written_by_quorum_at_one_pet_is_read_by_quorum_at_another(ring):
    ring.service.wait_in_sync()
    for number in range(20):
        ring.ask("cassandra-0", f"insert into test.numbers (n) values ({number})", ConsistencyLevel.QUORUM)
    ring.service.acknowledged.update(range(20))
    assert len(ring.ask("cassandra-2", "select n from test.numbers", ConsistencyLevel.QUORUM)) == 20


def test_a_deleted_pet_is_drained_and_comes_back_with_its_tokens_and_data(ring):
    ring.service.wait_in_sync()
    before, pods = ring.identity("cassandra-2"), ring.service.identities()
    uid = ring.service.uid("cassandra-2")
    ring.cluster.kubectl("delete", "pod", "cassandra-2", timeout=90)
    ring.cluster.wait(lambda: ring.service.uid("cassandra-2") != uid, "a new cassandra-2")
    ring.service.wait_in_sync()
    assert ring.identity("cassandra-2") == before
    assert ring.service.identities() == pods
    log = ring.cluster.kubectl("logs", "cassandra-2")
    assert "Starting to bootstrap" not in log, "it took its data from the others"
    replayed = re.findall(r"Log replay complete, (\d+) replayed mutations", log)
    assert replayed in ([], ["0"]), "it was not drained before it was stopped"
    assert ring.service.acknowledged <= set(ring.read_all())


@pytest.mark.parametrize("failure", failures.FAILURES)
def test_no_acknowledged_write_is_lost_when(ring, failure):
    ring.service.wait_in_sync()
    before = [ring.identity(pet) for pet in PETS]
    failures.survive(ring.service, failure)
    assert [ring.identity(pet) for pet in PETS] == before


def test_a_fourth_joins_and_leaves_and_takes_no_data_with_it(ring):
    ring.service.wait_in_sync()
    ring.cluster.kubectl("scale", "statefulset", "cassandra", "--replicas=4")
    ring.cluster.wait_ready("cassandra-3", seconds=READY_SECONDS_MAX)
    assert "Starting to bootstrap" in ring.cluster.kubectl("logs", "cassandra-3")
    ring.cluster.wait(lambda: ring.all_normal(*PETS, "cassandra-3"), "four members")
    ring.cluster.kubectl("exec", "cassandra-3", "--", "nodetool", "decommission", timeout=180)
    ring.cluster.wait(lambda: ring.all_normal(*PETS), "three members")
    ring.cluster.kubectl("scale", "statefulset", "cassandra", "--replicas=3")
    find = ring.cluster.kubectl.run
    ring.cluster.wait(lambda: "NotFound" in find("get", "pod", "cassandra-3").stderr, "cassandra-3 to go", 90)
    assert ring.service.acknowledged <= set(ring.read_all())
