"""The documentation's tutorial of Cassandra: a ring on volumes of its own class, which grows and shrinks in order."""

from __future__ import annotations

from petset.cli.proofs import stage as stages
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta
from petset.objects.registry import Kind

SET, CONTAINER, CLASS = "ring", "cassandra", "ring-fast"
MEMBERS = 3


async def prove(stage: stages.Stage) -> None:
    if await _is_there(stage, PERSISTENTVOLUMECLAIMS, "data-ring-3"):  # Of a proof that was broken off.
        await _grown(stage)
        await _shrunk(stage)
    await stage.until("a ring of three", lambda: _has(stage, MEMBERS))
    stage.says("nodetool says UN, up and normal, of all three: they found ring-0 by its name")
    await _comes_back(stage)
    await _grows_and_shrinks(stage)


async def _comes_back(stage: stages.Stage) -> None:
    claims = [await _claim(stage, number) for number in range(MEMBERS)]
    if any(meta.get(one, "spec", "storageClassName") != CLASS for one in claims):
        raise stages.Unproven(f"not every claim is of the class {CLASS}")
    stage.says(f"each has a volume of the class {CLASS}")
    mine, volume = await _tokens(stage, "ring-1"), await stage.volume("data-ring-1")
    before, after = await stage.replace("ring-1")
    stage.came_back(before, after, volume, await stage.volume("data-ring-1"))
    if not mine or await _tokens(stage, "ring-1") != mine:
        raise stages.Unproven("the new ring-1 has other tokens")
    await stage.until("a ring of three", lambda: _has(stage, MEMBERS))
    stage.says(f"the new ring-1 has the {len(mine)} tokens of the old one")


async def _grows_and_shrinks(stage: stages.Stage) -> None:
    await _grown(stage)
    stage.says("with four replicas ring-3 joined: the ring has four members")
    await _shrunk(stage)
    stage.says("ring-3 gave its share back and went: the ring has three members, and misses nobody")


async def _grown(stage: stages.Stage) -> None:
    await _scale(stage, MEMBERS + 1)
    await stage.until("a ring of four", lambda: _has(stage, MEMBERS + 1))


async def _shrunk(stage: stages.Stage) -> None:
    await stage.run("ring-3", CONTAINER, "nodetool", "decommission")
    await _scale(stage, MEMBERS)

    async def is_gone() -> bool:
        return not await _is_there(stage, PODS, "ring-3")

    await stage.until("ring-3 to go", is_gone)
    await stage.until("a ring of three", lambda: _has(stage, MEMBERS))
    # A member that has left may not come back with what it had.
    await stage.client.delete(PERSISTENTVOLUMECLAIMS, "data-ring-3", stage.namespace)


async def _has(stage: stages.Stage, number: int) -> bool:
    """Whether there are so many members, and all are up and normal."""
    lines = (await stage.run("ring-0", CONTAINER, "nodetool", "status")).splitlines()
    found = [line[:2] for line in lines if len(line) > 2 and line[0] in "UD" and line[1] in "NLJM" and line[2] == " "]
    return found == ["UN"] * number


async def _tokens(stage: stages.Stage, pet: str) -> list[str]:
    said = await stage.run(pet, CONTAINER, "nodetool", "info", "-T")
    return sorted(line for line in said.splitlines() if line.startswith("Token "))


async def _claim(stage: stages.Stage, number: int) -> meta.Object:
    return await stage.client.get(PERSISTENTVOLUMECLAIMS, f"data-{SET}-{number}", stage.namespace)


async def _scale(stage: stages.Stage, replicas: int) -> None:
    await stage.client.patch(STATEFULSETS, SET, stage.namespace, {"spec": {"replicas": replicas}})


async def _is_there(stage: stages.Stage, kind: Kind, name: str) -> bool:
    try:
        await stage.client.get(kind, name, stage.namespace)
    except errors.ApiError as error:
        if error.code == 404:
            return False
        raise
    return True


EXAMPLE = stages.Example(
    folder="tutorials/cassandra",
    set_name=SET,
    resource=STATEFULSETS,
    recipes=("debian", "java", "cassandra"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc -l app=ring",
        "kubectl exec ring-0 -- nodetool status",
        "kubectl scale statefulset ring --replicas=4 && kubectl get pods -w",
    ),
)
