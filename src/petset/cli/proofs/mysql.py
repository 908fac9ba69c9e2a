"""The MySQL example: every member takes writes and has all, and one that was away gets only what it missed."""

from __future__ import annotations

import asyncio

from petset.cli.proofs import stage as stages
from petset.kinds.stateful_set import STATEFULSETS

PETS = ("mysql-0", "mysql-1", "mysql-2")


async def prove(stage: stages.Stage) -> None:
    async def sql(pet: str, statement: str) -> str:
        # The wait is for what other members have acknowledged.
        return await stage.run(pet, "mysql", "mariadb", "-N", "-e", f"set wsrep_sync_wait = 15; {statement}")

    async def sizes() -> list[str]:
        said = await asyncio.gather(*(sql(pet, "show status like 'wsrep_cluster_size'") for pet in PETS))
        return [line.split()[-1] for line in said]

    if await sizes() != ["3", "3", "3"]:
        raise stages.Unproven("the pets are not one cluster of three")
    stage.says("they are one cluster of three: each is primary and takes writes")
    await sql("mysql-0", "create database if not exists petset_demo")
    await sql("mysql-0", "create table if not exists petset_demo.said (id int auto_increment primary key, word text)")
    await sql("mysql-0", "insert into petset_demo.said (word) values ('written on mysql-0')")
    count = "select count(*) from petset_demo.said"
    if "written on mysql-0" not in await sql("mysql-2", "select word from petset_demo.said"):
        raise stages.Unproven("mysql-2 does not have the row of mysql-0")
    stage.says("a row written on mysql-0 is read on mysql-2")

    volume = await stage.volume("data-mysql-2")
    meanwhile = "insert into petset_demo.said (word) values ('written while mysql-2 was away')"
    (before, after), _ = await asyncio.gather(stage.replace("mysql-2"), sql("mysql-0", meanwhile))
    stage.came_back(before, after, volume, await stage.volume("data-mysql-2"))
    if await sql("mysql-2", count) != await sql("mysql-0", count):
        raise stages.Unproven("the new mysql-2 does not have all rows")
    stage.says("the new mysql-2 has the rows of the old one, and what was written meanwhile")


EXAMPLE = stages.Example(
    folder="mysql",
    set_name="mysql",
    resource=STATEFULSETS,
    recipes=("debian", "mariadb-galera"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc",
        "kubectl exec mysql-1 -- mariadb -e \"show status like 'wsrep_%'\"",
        "kubectl delete pod --grace-period=0 --force -l app=mysql && kubectl get pods -w",
        "kubectl create -f examples/mysql/backup/backup.yaml && kubectl logs -f mysql-backup",
    ),
)
