"""The sentinel example: the master's death elects another, without what a replica had confirmed being lost."""

from __future__ import annotations

from petset.cli.proofs import stage as stages
from petset.kinds.stateful_set import STATEFULSETS

PETS = ("rs-0", "rs-1", "rs-2")


async def prove(stage: stages.Stage) -> None:
    async def redis(pet: str, script: str) -> str:
        return await stage.run(pet, "redis", "bash", "-c", script)

    async def master(asked: str) -> str:
        name = await redis(asked, "redis-cli -p 26379 sentinel get-master-addr-by-name rs")
        return name.partition(".")[0]

    old = await master(PETS[0])
    others = [pet for pet in PETS if pet != old]
    stage.says(f"the sentinels agree that {old} is the master, {' and '.join(others)} follow it")
    value = f"written on {old}"
    confirmed = await redis(old, f"printf 'set petset:demo \"{value}\"\\nwait 1 5000\\n' | redis-cli")
    if confirmed.split()[:1] != ["OK"] or confirmed.split()[-1] not in ("1", "2"):
        raise stages.Unproven(f"{old} took the key, but no replica confirmed it ({confirmed})")
    stage.says(f"a key written on {old} was confirmed by {confirmed.split()[-1]} of its replicas")

    volume = await stage.volume(f"data-{old}")
    before, after = await stage.replace(old)
    stage.came_back(before, after, volume, await stage.volume(f"data-{old}"))

    async def elected() -> bool:
        return await master(others[0]) != old

    await stage.until("the election of another master", elected)
    new = await master(others[0])
    stage.says(f"while it was away the sentinels elected {new} the master")
    if await redis(new, "redis-cli get petset:demo") != value:
        raise stages.Unproven(f"{new} does not have the key")
    stage.says(f"the key is on {new}, and {old} follows it now")


EXAMPLE = stages.Example(
    folder="redis-sentinel",
    set_name="rs",
    resource=STATEFULSETS,
    recipes=("debian", "redis"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc",
        "kubectl exec rs-0 -c sentinel -- redis-cli -p 26379 sentinel get-master-addr-by-name rs",
        "kubectl delete pod rs-0 --grace-period=0 --force && kubectl logs -f rs-1 -c sentinel",
    ),
)
