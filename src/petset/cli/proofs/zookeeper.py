"""The ZooKeeper example: an ensemble with a leader, a write read elsewhere, and an election when the leader dies."""

from __future__ import annotations

import asyncio

from petset.cli.proofs import stage as stages
from petset.kinds.stateful_set import STATEFULSETS

PETS = ("zk-0", "zk-1", "zk-2")


async def prove(stage: stages.Stage) -> None:
    async def modes() -> dict[str, str]:
        said = await asyncio.gather(*(stage.run(pet, "zookeeper", "zkServer.sh", "status") for pet in PETS))
        return {pet: line.split()[-1] for pet, line in zip(PETS, said, strict=True)}

    async def epoch(pet: str) -> int:
        said = await stage.run(pet, "zookeeper", "bash", "/scripts/ask.sh", "srvr")
        return int(said.partition("Zxid: ")[2].split()[0], 16) >> 32

    async def cli(pet: str, *commands: str) -> str:
        script = 'printf "%s\\n" "$@" | ZOO_HEAP=48m zkCli.sh -server localhost:2181 2>&1 || true'
        return await stage.run(pet, "zookeeper", "bash", "-c", script, "cli", *commands)

    async def leading() -> str:
        found = await modes()
        leaders = [pet for pet, mode in found.items() if mode == "leader"]
        if not leaders:
            raise stages.Unproven(f"no pet leads the ensemble ({found})")
        return leaders[0]

    leader = await leading()
    followers = [pet for pet in PETS if pet != leader]
    stage.says(f"they found each other by name: {leader} was elected leader, {' and '.join(followers)} follow it")
    writer, reader = followers
    value = f"written on {writer}"
    await cli(writer, "create /petset-demo")  # It may be there from the last demo.
    await cli(writer, f'set /petset-demo "{value}"')
    if value not in await cli(reader, "sync /petset-demo", "get /petset-demo"):
        raise stages.Unproven(f"{reader} does not have what {writer} was given")
    stage.says(f"a node written on {writer} is read on {reader}")

    before_epoch, volume = await epoch(leader), await stage.volume(f"data-{leader}")
    before, after = await stage.replace(leader)
    stage.came_back(before, after, volume, await stage.volume(f"data-{leader}"))
    elected = await leading()
    if await epoch(elected) <= before_epoch:
        raise stages.Unproven("no leader was elected")
    stage.says(f"with the leader gone the others elected a new one: now {elected} leads")
    if value not in await cli(leader, "sync /petset-demo", "get /petset-demo"):
        raise stages.Unproven(f"the new {leader} does not have the data")
    stage.says(f"the new {leader} has the data of the old one")


EXAMPLE = stages.Example(
    folder="zookeeper",
    set_name="zk",
    resource=STATEFULSETS,
    recipes=("debian", "java", "zookeeper"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc",
        "kubectl exec zk-0 -- zkCli.sh -server zk:2181 config",
        "kubectl scale statefulset zk --replicas=5 && kubectl get pods -w",
    ),
)
