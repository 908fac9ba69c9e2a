"""The documentation's tutorial of replicated MySQL: one server takes writes, the others follow, a new one is a copy."""

from __future__ import annotations

from petset.cli.proofs import stage as stages
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta

SET, CONTAINER, PRIMARY = "mysql", "mysql", "mysql-0"
WORD = "select word from petset_demo.said"
ASKED = 20  # Times: that all of three are asked in vain but for one happens once in three thousand.


async def prove(stage: stages.Stage) -> None:
    await _only_three(stage)  # Another proof may have been broken off.
    await _sql(stage, PRIMARY, "create database if not exists petset_demo")
    await _sql(stage, PRIMARY, "create or replace table petset_demo.said (word text)")
    await _sql(stage, PRIMARY, "insert into petset_demo.said values ('written on mysql-0')")
    for pet in ("mysql-1", "mysql-2"):
        await stage.until(f"the row on {pet}", lambda pet=pet: _has(stage, pet, "written on mysql-0"))
    stage.says("a row written on mysql-0 is read on mysql-1 and mysql-2")
    insert = "mysql -e \"insert into petset_demo.said values ('of a follower')\" 2>&1 || true"
    if "read-only" not in await stage.run("mysql-1", CONTAINER, "sh", "-c", insert):
        raise stages.Unproven("mysql-1 takes writes")
    stage.says("mysql-1 refuses to be written to: it follows")
    await _read_by_any(stage)
    await _come_back(stage)
    await _grow(stage)


async def _read_by_any(stage: stages.Stage) -> None:
    asked = f"for i in $(seq {ASKED}); do mysql -h mysql-read -N -e 'select @@server_id'; done | sort -u"
    found = (await stage.run(PRIMARY, CONTAINER, "bash", "-c", asked)).split()
    if len(found) < 2 or not {*found} <= {"100", "101", "102"}:
        raise stages.Unproven(f"mysql-read led to {', '.join(found) or 'nobody'}")
    stage.says(f"mysql-read leads to any of them: {ASKED} questions were answered by servers {', '.join(found)}")


async def _come_back(stage: stages.Stage) -> None:
    volume = await stage.volume("data-mysql-2")
    before, after = await stage.replace("mysql-2")
    await _sql(stage, PRIMARY, "insert into petset_demo.said values ('written meanwhile')")
    stage.came_back(before, after, volume, await stage.volume("data-mysql-2"))
    await stage.until("the new mysql-2 following", lambda: _has(stage, "mysql-2", "written meanwhile"))
    stage.says("the new mysql-2 goes on following from where the old one was")


async def _grow(stage: stages.Stage) -> None:
    await _scale(stage, 4)
    if not await _has(stage, "mysql-3", "written on mysql-0"):
        raise stages.Unproven("mysql-3 began without the data of the others")
    await _sql(stage, PRIMARY, "insert into petset_demo.said values ('for four')")
    await stage.until("mysql-3 following", lambda: _has(stage, "mysql-3", "for four"))
    stage.says("a fourth, mysql-3, began as a copy of mysql-2 and follows mysql-0")
    await _only_three(stage)


async def _only_three(stage: stages.Stage) -> None:
    """And no data of a fourth, which would come back to it."""
    await _scale(stage, 3)
    try:
        await stage.client.delete(PERSISTENTVOLUMECLAIMS, "data-mysql-3", stage.namespace)
    except errors.ApiError as error:
        if error.reason != "NotFound":
            raise


async def _scale(stage: stages.Stage, replicas: int) -> None:
    async def done() -> bool:
        found = await stage.client.get(STATEFULSETS, SET, stage.namespace)
        status = meta.part(found, "status")
        is_of_it = status.get("observedGeneration") == found["metadata"]["generation"]
        return is_of_it and status.get("readyReplicas", 0) == status.get("replicas") == replicas

    await stage.client.patch(STATEFULSETS, SET, stage.namespace, {"spec": {"replicas": replicas}})
    await stage.until(f"{SET} with {replicas} pets", done)


async def _sql(stage: stages.Stage, pet: str, statement: str) -> str:
    return await stage.run(pet, CONTAINER, "mysql", "-N", "-e", statement)


async def _has(stage: stages.Stage, pet: str, word: str) -> bool:
    """Whether it has the row; it may not have the table yet."""
    return word in await stage.run(pet, CONTAINER, "sh", "-c", f"mysql -N -e '{WORD}' 2> /dev/null || true")


EXAMPLE = stages.Example(
    folder="tutorials/mysql-replicated",
    set_name=SET,
    resource=STATEFULSETS,
    recipes=("debian", "mariadb-galera", "mysql", "xtrabackup"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc",
        "kubectl exec mysql-1 -c mysql -- mysql -e 'show slave status\\G'",
        "kubectl scale statefulset mysql --replicas=5",
    ),
)
