"""The documentation's tutorial of ZooKeeper: a node for each server, and a budget that keeps a quorum."""

from __future__ import annotations

from petset.cli.proofs import stage as stages
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta

SET, CONTAINER, BUDGET = "zk", "zookeeper", "zk-pdb"
PETS = ("zk-0", "zk-1", "zk-2")
WORD = "written on zk-0"


async def prove(stage: stages.Stage) -> None:
    for node in (await stage.client.list(NODES))[0]:  # Another proof may have been broken off.
        await _cordoned(stage, meta.name(node), False)
    await _whole(stage)
    places = [await _node_of(stage, pet) for pet in PETS]
    if len({*places}) < len(PETS):
        raise stages.Unproven(f"{SET}'s pods share nodes: {', '.join(places)}")
    stage.says(f"each has a node of its own: {', '.join(f'{pet} on {node}' for pet, node in zip(PETS, places))}")
    found = [await stage.run(pet, CONTAINER, "bash", "-c", "echo $(hostname -f) $(cat /data/myid)") for pet in PETS]
    if [line.split()[1:] for line in found] != [["1"], ["2"], ["3"]] or ".zk-hs." not in found[0]:
        raise stages.Unproven(f"they are {', '.join(found)}")
    stage.says(f"each is who it is by its ordinal: {found[0].split()[0]} is server 1, and so on")
    await _cli(stage, "zk-0", "create /petset-demo x")  # It may be there from the last demo.
    await _cli(stage, "zk-0", f'set /petset-demo "{WORD}"')
    await _is_read(stage, "zk-1")
    stage.says("what is written on zk-0 is read on zk-1")
    await _drained(stage, places)


async def _drained(stage: stages.Stage, places: list[str]) -> None:
    volume, before = await stage.volume("data-zk-0"), await stage.client.get(PODS, "zk-0", stage.namespace)
    await _cordoned(stage, places[0], True)
    try:
        if why := await _evicted(stage, "zk-0"):
            raise stages.Unproven(f"zk-0 may not be evicted: {why}")

        async def waits() -> bool:
            pod = await _pod(stage, "zk-0")
            return pod is not None and meta.uid(pod) != meta.uid(before) and _has_no_place(pod)

        await stage.until("the new zk-0 waiting for a node", waits)
        stage.says(f"{places[0]} was emptied: the new zk-0 waits, for on the other nodes there is one already")
        why = await _evicted(stage, "zk-1")
        if not why:
            raise stages.Unproven("zk-1 was evicted, too")
        await _is_read(stage, "zk-2")
        stage.says(f"zk-1 may not be evicted now ({why}), and the two serve what was written")
    finally:
        await _cordoned(stage, places[0], False)
    await _whole(stage)
    after = await stage.client.get(PODS, "zk-0", stage.namespace)
    stage.came_back(before, after, volume, await stage.volume("data-zk-0"))
    await _is_read(stage, "zk-0")
    stage.says("the new zk-0 has what was written, and the budget allows one to go again")


async def _whole(stage: stages.Stage) -> None:
    """All are ready, and one may go."""

    async def is_so() -> bool:
        budget = await stage.client.get(PODDISRUPTIONBUDGETS, BUDGET, stage.namespace)
        status = meta.part(budget, "status")
        return status.get("currentHealthy") == len(PETS) and status.get("disruptionsAllowed") == 1

    await stage.until("three healthy ones, of which one may go", is_so)


async def _node_of(stage: stages.Stage, pet: str) -> str:
    return meta.get(await stage.client.get(PODS, pet, stage.namespace), "spec", "nodeName", default="")


async def _pod(stage: stages.Stage, name: str) -> meta.Object | None:
    try:
        return await stage.client.get(PODS, name, stage.namespace)
    except errors.ApiError as error:
        if error.code == 404:
            return None
        raise


def _has_no_place(pod: meta.Object) -> bool:
    placed = meta.condition(pod, "PodScheduled") or {}
    return placed.get("reason") == "Unschedulable"


async def _cordoned(stage: stages.Stage, node: str, is_so: bool) -> None:
    await stage.client.patch(NODES, node, "", {"spec": {"unschedulable": is_so or None}})


async def _evicted(stage: stages.Stage, pet: str) -> str:
    """Why it may not be, or ""."""
    metadata = {"name": pet, "namespace": stage.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    try:
        await stage.client.create(body, PODS, "eviction", pet)
    except errors.ApiError as error:
        if error.code == 429:
            return error.message
        raise
    return ""


async def _cli(stage: stages.Stage, pet: str, *commands: str) -> str:
    script = 'printf "%s\\n" "$@" | ZOO_HEAP=48m zkCli.sh -server localhost:2181 2>&1 || true'
    return await stage.run(pet, CONTAINER, "bash", "-c", script, "cli", *commands)


async def _is_read(stage: stages.Stage, pet: str) -> None:
    if WORD not in await _cli(stage, pet, "sync /petset-demo", "get /petset-demo"):
        raise stages.Unproven(f"{pet} does not have what zk-0 was given")


EXAMPLE = stages.Example(
    folder="tutorials/zookeeper",
    set_name=SET,
    resource=STATEFULSETS,
    recipes=("debian", "java", "zookeeper"),
    proof=prove,
    nodes=3,
    try_this=(
        "kubectl get pods -o wide",
        "kubectl get pdb zk-pdb",
        "kubectl drain $(kubectl get pod zk-2 -o jsonpath={.spec.nodeName}) --ignore-daemonsets",
    ),
)
