"""The MySQL example: three MariaDB servers of one Galera cluster that all take writes, and what they survive.

A write that Galera acknowledged has reached all members and is on the disk of the one that took it: none may be lost.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pymysql
import pytest

from tests.e2e.services import failures

pytestmark = pytest.mark.services

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "mysql"
PETS = ("mysql-0", "mysql-1", "mysql-2")
ANSWER_SECONDS_MAX = 10


class Galera:
    """The pets, as PyMySQL sees them from outside. The writer keeps to one pet until it fails, then takes the next."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.service = failures.Service(
            cluster, PETS, "data", "mariadbd", self.write, self.read_all, self.in_sync, self.writes_to
        )
        self.at = 0
        self.connection: pymysql.Connection | None = None

    def connect(self, pet: str) -> pymysql.Connection:
        return pymysql.connect(
            host=self.service.address(pet),
            user="root",
            autocommit=True,
            connect_timeout=2,
            read_timeout=ANSWER_SECONDS_MAX,
            write_timeout=ANSWER_SECONDS_MAX,
        )

    def sql(self, pet: str, statement: str) -> list[tuple]:
        with self.connect(pet) as connection, connection.cursor() as cursor:
            cursor.execute("set session wsrep_sync_wait = 15")  # Wait for what others have acknowledged.
            cursor.execute(statement)
            return list(cursor.fetchall())

    def status(self, pet: str) -> dict[str, str]:
        with self.connect(pet) as connection, connection.cursor() as cursor:
            cursor.execute("show status like 'wsrep%'")
            return dict(cursor.fetchall())

    def write(self, number: int) -> None:
        try:
            if self.connection is None:
                self.connection = self.connect(PETS[self.at])
            with self.connection.cursor() as cursor:
                cursor.execute("insert into test.numbers values (%s)", (number,))
        except Exception:
            if self.connection is not None:
                with contextlib.suppress(Exception):
                    self.connection.close()
                self.connection = None
            self.at = (self.at + 1) % len(PETS)
            raise

    def read_all(self) -> list[int]:
        """What every pet has: they are to have the same."""
        found = [{row[0] for row in self.sql(pet, "select n from test.numbers")} for pet in PETS]
        assert found[0] == found[1] == found[2]
        return sorted(found[0])

    def in_sync(self) -> bool:
        seen = [self.status(pet) for pet in PETS]
        return all(
            (s["wsrep_cluster_size"], s["wsrep_local_state_comment"], s["wsrep_cluster_status"])
            == ("3", "Synced", "Primary")
            for s in seen
        )

    def writes_to(self) -> str:
        """There is no leader: losing the one that takes the writes comes nearest."""
        return PETS[self.at]

    def decisions(self) -> list[str]:
        return [re.findall(r"start.sh: decision: (\w+)", self.cluster.kubectl("logs", pet))[-1] for pet in PETS]

    def transfers(self, pet: str) -> set[str]:
        """How this pod got what it had missed: IST is the missing writes, SST a copy of everything."""
        return set(re.findall(r"rsync (IST|SST) completed on joiner", self.cluster.kubectl("logs", pet)))

    def gone(self, *pets: str) -> None:
        find = self.cluster.kubectl.run
        for pet in pets:
            self.cluster.wait(lambda pet=pet: "NotFound" in find("get", "pod", pet).stderr, f"{pet} to be gone")

    def insert(self, pet: str, numbers: range) -> None:
        self.sql(pet, "insert into test.numbers values " + ", ".join(f"({number})" for number in numbers))
        self.service.acknowledged.update(numbers)


@pytest.fixture(scope="module")
def mysql(cluster):
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    cluster.wait_ready(*PETS, seconds=120)
    galera = Galera(cluster)
    galera.service.wait_in_sync()
    galera.sql("mysql-0", "create database test")
    galera.sql("mysql-0", "create table test.numbers (n int primary key)")
    return galera


def test_one_pet_founded_the_cluster_and_the_others_joined(mysql):
    assert mysql.decisions() == ["found", "join", "join"]
    assert mysql.transfers("mysql-2") == {"SST"}


def test_a_row_written_on_one_pet_is_read_on_another(mysql):
    mysql.insert("mysql-0", range(10))
    found = mysql.cluster.exec("mysql-2", "mariadb", "-N", "-e", "set wsrep_sync_wait = 15; select n from test.numbers")
    assert found.split() == [str(number) for number in range(10)]


def test_a_killed_pet_rejoins_by_incremental_transfer(mysql):
    mysql.service.wait_in_sync()
    failures.delete_now(mysql.service, "mysql-2")
    mysql.insert("mysql-0", range(10, 40))
    mysql.service.wait_in_sync()
    assert mysql.transfers("mysql-2") == {"IST"}
    assert mysql.service.acknowledged <= set(mysql.read_all())


@pytest.mark.parametrize("failure", failures.FAILURES)
def test_no_acknowledged_write_is_lost_when(mysql, failure):
    failures.survive(mysql.service, failure)
    if failure == "all pets are deleted":
        assert sorted(mysql.decisions()) == ["found", "join", "join"]


def test_the_most_advanced_pet_founds_the_cluster_again(mysql):
    """mysql-0 stops first and misses writes: started in order, the cluster would begin with the past."""
    mysql.service.wait_in_sync()
    mysql.cluster.kubectl("patch", "statefulset", "mysql", "-p", '{"spec": {"replicas": 2, "ordinals": {"start": 1}}}')
    mysql.gone("mysql-0")
    mysql.insert("mysql-1", range(40, 80))
    mysql.cluster.kubectl("scale", "statefulset", "mysql", "--replicas=0")
    mysql.gone("mysql-1", "mysql-2")
    mysql.cluster.kubectl("patch", "statefulset", "mysql", "-p", '{"spec": {"replicas": 3, "ordinals": {"start": 0}}}')
    mysql.service.wait_in_sync()
    assert mysql.decisions()[0] == "join" and "found" in mysql.decisions()
    assert mysql.service.acknowledged <= set(mysql.read_all())


def test_the_whole_set_stops_and_starts_again(mysql):
    mysql.service.wait_in_sync()
    before = mysql.read_all()
    mysql.cluster.kubectl("delete", "statefulset", "mysql")
    mysql.gone(*PETS)
    mysql.cluster.kubectl("apply", "-f", str(EXAMPLE))
    mysql.service.wait_in_sync()
    assert mysql.read_all() == before
    assert all(mysql.transfers(pet) <= {"IST"} for pet in PETS)


def test_one_without_the_majority_refuses_writes_and_goes_on_once_all_are_known(mysql):
    """Servers are missed seconds after they died, so two killed at once leave the third in a minority."""
    mysql.service.wait_in_sync()
    uids = {pet: mysql.service.uid(pet) for pet in PETS}
    for pet in ("mysql-1", "mysql-2"):
        failures.kill_server(uids[pet], "mariadbd")
    lonely = lambda: mysql.status("mysql-0")["wsrep_cluster_status"] == "non-Primary"  # noqa: E731
    mysql.cluster.wait(failures.quietly(lonely), "mysql-0 to be in a minority", 20)
    with pytest.raises(pymysql.err.OperationalError, match="WSREP has not yet prepared node"):
        mysql.insert("mysql-0", range(80, 81))
    mysql.service.wait_in_sync()
    assert "mysql-0.galera.default.svc.cluster.local goes on" in mysql.cluster.kubectl("logs", "mysql-1")
    assert {pet: mysql.service.uid(pet) for pet in PETS} == uids
    assert mysql.service.acknowledged <= set(mysql.read_all())


def test_a_backup_to_a_claim_brings_back_what_was_dropped(mysql):
    backup = str(EXAMPLE / "backup" / "backup.yaml")
    mysql.cluster.kubectl("create", "-f", backup)
    done = mysql.cluster.wait(
        lambda: mysql.cluster.pod("mysql-backup")["status"]["phase"] in ("Succeeded", "Failed"), "the backup to end"
    )
    said = mysql.cluster.kubectl("logs", "mysql-backup")
    assert done and mysql.cluster.pod("mysql-backup")["status"]["phase"] == "Succeeded", said
    (name,) = re.findall(r"\S+\.sql$", said, re.MULTILINE)
    before = mysql.read_all()
    claim = mysql.cluster.kubectl.json("get", "pvc", "mysql-backup")["spec"]["volumeName"]
    volume = mysql.cluster.kubectl.json("get", "pv", claim)["spec"]["hostPath"]["path"]
    dump = (Path(volume) / name).read_text()
    mysql.sql("mysql-1", "drop database test")
    mysql.cluster.exec("mysql-0", "mariadb", stdin=dump)
    assert mysql.read_all() == before
