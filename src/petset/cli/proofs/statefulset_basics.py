"""The documentation's first tutorial of StatefulSets: names, pages on volumes, order, scaling, an update in stages."""

from __future__ import annotations

from petset.base import tasks
from petset.cli.proofs import stage as stages
from petset.client.client import Client
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta
from petset.objects.meta import Object

SET, CONTAINER, PAGE = "web", "nginx", "/usr/share/nginx/html/index.html"


async def prove(stage: stages.Stage) -> None:
    await _patched(stage, {"updateStrategy": {"rollingUpdate": {"partition": 0}}})  # Of a proof that was broken off.
    await stage.until("the set as it was applied", lambda: _updated(stage, 2))
    await _names_and_pages(stage)
    await _down_and_up_again(stage)
    await _in_stages(stage)


async def _names_and_pages(stage: stages.Stage) -> None:
    await stage.run("web-0", CONTAINER, "sh", "-c", f"echo the page of $(hostname) > {PAGE}")
    if "the page of web-0" not in await _asked(stage, "web-0"):
        raise stages.Unproven("web-1 does not get web-0's page")
    stage.says("web-1 reads the page of web-0 by its name, web-0.nginx")
    volume = await stage.volume("www-web-0")
    before, after = await stage.replace("web-0")
    stage.came_back(before, after, volume, await stage.volume("www-web-0"))
    if "the page of web-0" not in await _asked(stage, "web-0"):
        raise stages.Unproven("the page is gone")
    stage.says("the new web-0 serves the page of the old one")


async def _down_and_up_again(stage: stages.Stage) -> None:
    await _scale(stage, 3)
    await stage.run("web-2", CONTAINER, "sh", "-c", f"echo the page of $(hostname) > {PAGE}")
    volume = await stage.volume("www-web-2")
    await _scale(stage, 2)
    await _scale(stage, 4)
    await _in_order(stage)
    page = await stage.run("web-2", CONTAINER, "cat", PAGE)
    if page != "the page of web-2" or await stage.volume("www-web-2") != volume:
        raise stages.Unproven("web-2 came back without its page")
    stage.says("web-2 went when the set was made smaller, its claim stayed, and it came back to its page")
    await _scale(stage, 3)


async def _in_order(stage: stages.Stage) -> None:
    first, second = [await _pod(stage.client, stage.namespace, ordinal) for ordinal in (2, 3)]
    ready = next(one for one in meta.parts(first, "status", "conditions") if one["type"] == "Ready")
    made = meta.get(second, "metadata", "creationTimestamp", default="")
    if tasks.parse_rfc3339(made) < tasks.parse_rfc3339(ready["lastTransitionTime"]):
        raise stages.Unproven("web-3 was made before web-2 was ready")
    stage.says("the set grew in order: web-3 was made when web-2 was ready")


async def _in_stages(stage: stages.Stage) -> None:
    stage_now = tasks.rfc3339(tasks.now())  # Another text each time, so that there is something to update.
    container = {"name": CONTAINER, "env": [{"name": "STAGE", "value": stage_now}]}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    template = {"spec": {"containers": [container]}}
    await _patched(stage, {"updateStrategy": strategy})
    await _patched(stage, {"template": template})
    await stage.until("the canary's update", lambda: _updated(stage, 1))
    if [await _stage_of(stage, ordinal) == stage_now for ordinal in (0, 1, 2)] != [False, False, True]:
        raise stages.Unproven("the partition did not hold back web-0 and web-1")
    stage.says("with partition 2 an update reached web-2 and no other")
    await _patched(stage, {"updateStrategy": {"rollingUpdate": {"partition": 0}}})
    await stage.until("the update of all", lambda: _updated(stage, 3))
    if [await _stage_of(stage, ordinal) == stage_now for ordinal in (0, 1, 2)] != [True, True, True]:
        raise stages.Unproven("the update did not reach every pet")
    stage.says("with partition 0 it reached web-1, then web-0")


async def _asked(stage: stages.Stage, name: str) -> str:
    """What web-1 gets when it asks another one for its page."""
    ask = f"exec 3<>/dev/tcp/{name}.nginx/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    return await stage.run("web-1", CONTAINER, "bash", "-c", ask)


async def _pod(client: Client, namespace: str, ordinal: int) -> Object:
    return await client.get(PODS, f"{SET}-{ordinal}", namespace)


async def _stage_of(stage: stages.Stage, ordinal: int) -> str:
    return await stage.run(f"{SET}-{ordinal}", CONTAINER, "sh", "-c", "echo $STAGE")


async def _patched(stage: stages.Stage, spec: Object) -> None:
    body = {"spec": spec}
    await stage.client.patch(STATEFULSETS, SET, stage.namespace, body, "strategic")


async def _scale(stage: stages.Stage, replicas: int) -> None:
    """Returns when there are as many, all ready, and no more."""

    async def done() -> bool:
        status = await _status(stage)
        if status.get("readyReplicas", 0) != replicas or status.get("replicas") != replicas:
            return False
        try:
            await _pod(stage.client, stage.namespace, replicas)
        except errors.ApiError as error:
            return error.reason == "NotFound"
        return False

    await _patched(stage, {"replicas": replicas})
    await stage.until(f"{SET} with {replicas} pets", done)


async def _updated(stage: stages.Stage, pets: int) -> bool:
    status = await _status(stage)
    return status.get("updatedReplicas", 0) == pets and status.get("readyReplicas") == status.get("replicas")


async def _status(stage: stages.Stage) -> Object:
    """The set's status; an empty one while it is of an older generation."""
    found = await stage.client.get(STATEFULSETS, SET, stage.namespace)
    status = meta.part(found, "status")
    return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}


EXAMPLE = stages.Example(
    folder="tutorials/statefulset-basics",
    set_name=SET,
    resource=STATEFULSETS,
    recipes=("debian", "nginx"),
    proof=prove,
    try_this=(
        "kubectl get statefulset,pods,pvc",
        "kubectl get pods -L controller-revision-hash",
        "kubectl rollout undo statefulset web",
    ),
)
