"""The post's redis set under failures: a master and two replicas, nobody elected, each write on the master's disk.

`appendfsync always` makes an acknowledged write durable where the master's volume is; the master always comes back, so
nothing is lost. While it is away there are no writes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.services import failures, redis_client

pytestmark = pytest.mark.services

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "redis"


@pytest.fixture(scope="module")
def rd(cluster):
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    return redis_client.Pets(cluster, "rd", "datadir")


def test_the_demo_proves_it(rd):
    said = rd.service.cluster.petset("demo", "redis").stdout
    assert said.count("✓") == 4, said


@pytest.mark.parametrize("failure", failures.FAILURES)
def test_no_acknowledged_write_is_lost_when(rd, failure):
    failures.survive(rd.service, failure)
    assert rd.leader() == "rd-0", "the master comes back as the master"


def test_each_pet_has_all_of_it(rd):
    rd.service.wait_in_sync()
    for pet in rd.names:
        there = {int(number) for number in rd.client(pet).smembers("numbers")}
        assert rd.service.acknowledged <= there
