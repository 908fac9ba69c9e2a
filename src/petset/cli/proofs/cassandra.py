"""The Cassandra example: a ring of three, and a member that comes back with its tokens."""

from __future__ import annotations

from petset.cli.proofs import stage as stages
from petset.kinds.stateful_set import STATEFULSETS

PETS = ("cassandra-0", "cassandra-1", "cassandra-2")


async def prove(stage: stages.Stage) -> None:
    async def nodetool(pet: str, *command: str) -> str:
        return await stage.run(pet, "cassandra", "nodetool", *command)

    async def members(pet: str) -> list[str]:
        """The lines of those that are up and normal."""
        return [line for line in (await nodetool(pet, "status")).splitlines() if line.startswith("UN ")]

    async def tokens(pet: str) -> list[str]:
        return sorted(line for line in (await nodetool(pet, "info", "-T")).splitlines() if line.startswith("Token "))

    async def whole() -> bool:
        return len(await members("cassandra-0")) == len(PETS)

    await stage.until("a ring of three", whole)
    stage.says("nodetool says UN, up and normal, of all three: they found each other by the names of the first two")
    mine, volume = await tokens("cassandra-2"), await stage.volume("data-cassandra-2")
    before, after = await stage.replace("cassandra-2")
    stage.came_back(before, after, volume, await stage.volume("data-cassandra-2"))
    if not mine or await tokens("cassandra-2") != mine:
        raise stages.Unproven("the new cassandra-2 has other tokens")
    await stage.until("a ring of three", whole)
    stage.says(f"the new cassandra-2 has the {len(mine)} tokens of the old one: nothing had to be moved")


EXAMPLE = stages.Example(
    folder="cassandra",
    set_name="cassandra",
    resource=STATEFULSETS,
    recipes=("debian", "java", "cassandra"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc",
        "kubectl exec cassandra-0 -- nodetool status",
        "kubectl scale statefulset cassandra --replicas=4 && kubectl get pods -w",
        "kubectl exec cassandra-3 -- nodetool decommission && kubectl scale statefulset cassandra --replicas=3",
    ),
)
