"""The mysql-galera set of 2016: members that join one by one, configured at start; ready after two good probes."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

MANIFEST = Path(__file__).resolve().parents[1] / "manifests" / "2016" / "mysql-galera.yaml"
PETS = ("mysql-0", "mysql-1", "mysql-2")


@pytest.fixture(scope="module")
def mysql(cluster):
    cluster.kubectl("create", "-f", str(MANIFEST))
    cluster.wait_ready(*PETS, seconds=180)
    return cluster


def sql(cluster, pet: str, statement: str) -> list[str]:
    return cluster.exec(pet, "mysql", "-u", "root", "-N", "-e", statement, container="mysql").split()


def test_they_are_one_cluster(mysql):
    for pet in PETS:
        assert sql(mysql, pet, "show status like 'wsrep_cluster_size'") == ["wsrep_cluster_size", "3"]


def test_the_second_good_probe_made_them_ready(mysql):
    """The first can come after 15 seconds, the second 10 seconds later."""
    for pet in PETS:
        conditions = {c["type"]: c for c in mysql.pod(pet)["status"]["conditions"]}
        started = mysql.pod(pet)["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        assert seconds(conditions["Ready"]["lastTransitionTime"]) - seconds(started) >= 20


def seconds(stamp: str) -> float:
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def test_a_row_written_on_the_first_pet_is_read_on_the_last(mysql):
    sql(
        mysql,
        "mysql-0",
        "create database statefulset; use statefulset; create table foo (k varchar(20), v varchar(20))",
    )
    sql(mysql, "mysql-0", "use statefulset; insert into foo (k, v) values ('foo', 'bar')")
    assert sql(mysql, "mysql-2", "set wsrep_sync_wait = 15; use statefulset; select * from foo") == ["foo", "bar"]


def test_a_deleted_pet_comes_back_with_the_row(mysql):
    uid = mysql.pod("mysql-1")["metadata"]["uid"]
    mysql.kubectl("delete", "pod", "mysql-1")
    mysql.wait(lambda: mysql.pod("mysql-1")["metadata"]["uid"] != uid, "a new mysql-1")
    mysql.wait_ready("mysql-1")
    assert sql(mysql, "mysql-1", "set wsrep_sync_wait = 15; use statefulset; select * from foo") == ["foo", "bar"]
