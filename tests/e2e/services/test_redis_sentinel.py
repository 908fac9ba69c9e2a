"""The sentinel example: when the master dies, another pet becomes it, and the old one comes back as its replica.

Redis replicates after it has answered. What an elected master is sure to have are the writes a replica has confirmed
(WAIT 1): those are the ones that count as acknowledged here, and none may be lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.services import failures, redis_client

pytestmark = pytest.mark.services

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "redis-sentinel"


@pytest.fixture(scope="module")
def rs(cluster):
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    return redis_client.Pets(cluster, "rs", "data", sentinels="rs", replicas_min=1)


def test_the_demo_proves_it(rs):
    said = rs.service.cluster.petset("demo", "redis-sentinel").stdout
    assert said.count("✓") == 5, said


@pytest.mark.parametrize("failure", failures.FAILURES)
def test_no_acknowledged_write_is_lost_when(rs, failure):
    rs.service.wait_in_sync()
    before = rs.leader()
    failures.survive(rs.service, failure)
    if failure == "the leader is lost":
        assert rs.leader() != before, "no other master was elected"
        assert rs.replication(before)["role"] == "slave"
    else:
        assert rs.leader() == before, "another master was elected without need"


def test_the_master_s_server_killed_in_place_hands_over_too(rs):
    rs.service.wait_in_sync()
    before = rs.leader()
    failures.kill_server(rs.service.uid(before), "redis-server")
    rs.service.cluster.wait(lambda: rs.leader() != before, "another master", 60)
    rs.service.wait_in_sync()
    assert rs.replication(before)["role"] == "slave"
    assert rs.service.acknowledged <= set(rs.read_all())


def test_each_pet_has_all_of_it(rs):
    for pet in rs.names:
        there = {int(number) for number in rs.client(pet).smembers("numbers")}
        assert rs.service.acknowledged <= there
