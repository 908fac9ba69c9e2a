"""The post's Redis set: roles by name, replication, and a pet that comes back with its data."""

from __future__ import annotations

from collections.abc import Awaitable

from petset.cli.proofs import stage as stages
from petset.kinds.pet_set import PETSETS


async def prove(stage: stages.Stage) -> None:
    def cli(pet: str, *command: str) -> Awaitable[str]:
        return stage.run(pet, "redis", "/opt/redis/redis-cli", "-h", f"{pet}.redis", *command)

    async def role(pet: str) -> str:
        return (await cli(pet, "role")).splitlines()[0]

    roles = {pet: await role(pet) for pet in ("rd-0", "rd-1", "rd-2")}
    master = next((pet for pet, role in roles.items() if role == "master"), None)
    if master is None:
        raise stages.Unproven(f"no pet is the master ({roles})")
    replicas = [pet for pet in roles if pet != master]
    stage.says(f"they found each other by name: {master} is the master, {' and '.join(replicas)} follow it")
    value = f"written on {master}"
    await cli(master, "set", "petset:demo", value)
    reader = replicas[-1]

    async def arrived(pet: str) -> bool:
        return await cli(pet, "get", "petset:demo") == value

    await stage.until(f"the key on {reader}", lambda: arrived(reader))
    stage.says(f"a key written on {master} is read on {reader}")
    volume = await stage.volume("datadir-rd-1")
    before, after = await stage.replace("rd-1")
    stage.came_back(before, after, volume, await stage.volume("datadir-rd-1"))
    await stage.until("the key on the new rd-1", lambda: arrived("rd-1"))
    stage.says("the new rd-1 has the data of the old one")


EXAMPLE = stages.Example(
    folder="redis",
    set_name="rd",
    resource=PETSETS,
    recipes=("debian", "redis", "redis-install"),
    proof=prove,
    try_this=(
        "kubectl get petset,pods,pvc",
        "kubectl exec rd-0 -c redis -- /opt/redis/redis-cli -h rd-0.redis info replication",
        "kubectl delete pod rd-1 && kubectl get pods -w",
    ),
)
