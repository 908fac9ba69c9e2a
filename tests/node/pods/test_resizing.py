"""CPU and memory changed while containers run: what the node agrees to, what it does, what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.kinds import requests
from petset.kinds.pod import PODS
from petset.node.pods import decide as pods
from petset.node.pods import resizing, status
from petset.node.pods.admission import Ledger
from petset.node.pods.decide import Decision, ResizeContainer, StartContainer, StopContainer
from petset.node.pods.resizing import Resize
from petset.node.pods.sysctls import Refusal
from petset.node.pods.view import Memory
from petset.objects import errors, meta
from tests.node.node_fixture import NodeUnderTest, container, play, state
from tests.node.node_fixture import pod as bound
from tests.node.pods.test_decide import IMAGE, NOW, attempt, pod, ready, view


def sized(cpu: str = "", memory: str = "") -> dict[str, Any]:
    amounts = {name: amount for name, amount in (("cpu", cpu), ("memory", memory)) if amount}
    return {"requests": amounts, "limits": amounts}


def of(cpu: str, *policies: str, uid: str = "a") -> dict[str, Any]:
    given = pod(metadata={"uid": uid, "generation": 2})
    given["spec"]["containers"] = [
        {
            "name": "c",
            "image": "x",
            "resources": sized(cpu, "1Gi"),
            "resizePolicy": [{"resourceName": name, "restartPolicy": "RestartContainer"} for name in policies],
        }
    ]
    return given


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (sized("1"), sized("1000m"), []),
        (sized("1"), sized("2"), ["cpu"]),
        (sized("1", "1Gi"), sized("1", "2Gi"), ["memory"]),
        ({"limits": {"cpu": "1"}}, {}, ["cpu"]),
    ],
)
def test_what_differs(one: Any, other: Any, found: list[str]):
    assert resizing.differing(one, other) == found


def test_a_ledger_gives_more_when_there_is_more():
    ledger, asked = Ledger({"cpu": "2", "memory": "8Gi", "pods": "9"}), list[str]()
    for uid in ("a", "b"):
        assert ledger.admit(of("1", uid=uid)) is None
    refusal = ledger.resize(of("3"), lambda: asked.append("a"))
    said = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"
    assert refusal == Refusal("Infeasible", said)
    refusal = ledger.resize(of("1500m"), lambda: asked.append("a"))
    said = "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
    assert refusal == Refusal("Deferred", said)
    assert ledger.resize(of("500m", uid="b"), lambda: asked.append("b")) is None
    assert asked == ["a"] and ledger.resize(of("1500m"), lambda: asked.append("a")) is None
    refusal = ledger.admit(of("1m", uid="c"))
    assert refusal is not None and refusal.reason == "OutOfcpu"
    ledger.release("b")
    assert asked == ["a"]


def allocation(given: Any) -> tuple[resizing.Allocation, Ledger, list[tuple[str, str]]]:
    ledger, told = Ledger({"cpu": "2", "memory": "8Gi", "pods": "9"}), list[tuple[str, str]]()
    ledger.enter(given)
    return resizing.Allocation(given, ()), ledger, told


def test_an_allocation_tells_each_thing_once():
    one, ledger, told = allocation(of("1"))

    def take(given: Any) -> list[Any]:
        return one.take(given, ledger, lambda type_, reason, message: told.append((type_, reason)), lambda: None)

    assert take(of("1")) == [] and told == []
    assert take(of("3")) == [] and one.state.pending is not None and one.state.pending.reason == "Infeasible"
    assert one.of(of("3"))["spec"] == of("1")["spec"] and take(of("3")) == []
    assert take(of("1")) == [] and one.state.pending is None  # Taken back.
    (again,) = take(of("2", "cpu"))
    assert again["name"] == "c" and one.state.generation == 2
    assert take(of("1", "memory")) == []  # Only memory wants a new start.
    assert told == [("Warning", "ResizeInfeasible"), ("Normal", "ResizeStarted"), ("Normal", "ResizeStarted")]


def test_steps_and_status():
    given, one = of("2"), attempt(resources=sized("1", "1Gi"))
    resize = Resize({"c": sized("2", "1Gi")}, generation=2)
    now = view(one, memories=ready(one), resize=resize)
    assert pods.decide(given, now) == Decision((ResizeContainer("c", 0),))
    told = status.status(given, now)
    assert meta.is_condition_true({"status": told}, "PodResizeInProgress")
    (container_,) = told["containerStatuses"]
    assert container_["allocatedResources"] == {"cpu": "2", "memory": "1Gi"}
    assert container_["resources"] == sized("1", "1Gi")

    later = view(one, memories=ready(one), resize=Resize(resize.allocated, generation=2, error="no", retry_at=NOW + 9))
    assert pods.decide(given, later) == Decision((), NOW + 9)
    condition = meta.condition({"status": status.status(given, later)}, "PodResizeInProgress")
    assert condition is not None and (condition["reason"], condition["message"]) == ("Error", "no")

    done = attempt(resources=sized("2", "1Gi"))
    now = view(done, memories=ready(done), resize=Resize(resize.allocated))
    assert pods.decide({**given, "status": told}, now) == Decision()
    assert meta.condition({"status": status.status({**given, "status": told}, now)}, "PodResizeInProgress") is None


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_a_container_that_wants_it_is_started_anew_however_it_ends(policy: str):
    given, one = of("2", "cpu"), attempt(resources=sized("1", "1Gi"))
    given["spec"]["restartPolicy"] = policy
    resize = Resize({"c": sized("2", "1Gi")}, generation=2)
    memory = {"container_id": "c0", "unhealthy": "why", "unhealthy_at": NOW, "again": True}
    now = view(one, memories=ready(one, **memory), resize=resize)
    assert pods.decide(given, now) == Decision((StopContainer("c", 0, NOW + 30, "why"),))
    ended = attempt(exit_code=0, resources=sized("1", "1Gi"))
    now = view(ended, memories={"c": Memory(image=IMAGE, **memory)}, resize=resize)
    assert pods.decide(given, now) == Decision((StartContainer("c", 1),))
    assert status.is_resizing(given, now) and status.status(given, now)["phase"] == "Running"


@pytest.mark.parametrize(("reason", "cpu"), [("", 2000), ("Deferred", 2000), ("Infeasible", 1000), (None, 2000)])
def test_what_a_pod_holds_while_it_is_resized(reason: str | None, cpu: int):
    told = {"containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "1", "memory": "1Gi"}}]}
    if reason is not None:
        told["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": reason}]
    assert requests.held({**of("2"), "status": told})["cpu"] == cpu


def test_a_pod_is_resized_by_its_agent(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        plain = container("c", resources=sized("1", "1Gi"))
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
        other = container("d", resources=sized("1", "1Gi"), resizePolicy=policy)
        await node.create(bound("p", plain, other))
        pod = await node.until("p", meta.is_pod_ready)
        assert state(pod, "c")["resources"] == sized("1", "1Gi")

        async def resize(c: Any, d: Any) -> Any:
            of = [{"name": name, "resources": one} for name, one in (("c", c), ("d", d))]
            return await node.admin.patch(PODS, "p", "default", {"spec": {"containers": of}}, "strategic", "resize")

        def has(c: Any, d: Any) -> Any:
            def check(pod: Any) -> bool:
                actual = [state(pod, name).get("resources") for name in ("c", "d")]
                done = not [one for one in pod["status"]["conditions"] if one["type"].startswith("PodResize")]
                return actual == [c, d] and done and meta.is_pod_ready(pod)

            return check

        wanted = sized("2", "1Gi"), sized("1", "2Gi")
        await resize(*wanted)
        pod = await node.until("p", has(*wanted))
        assert [state(pod, name)["restartCount"] for name in ("c", "d")] == [0, 1]
        told = [reason for _, reason, _ in await node.events("p")]
        assert told.count("ResizeStarted") == told.count("ResizeCompleted") == 1

        too_much = sized("2", "1Gi"), sized("3", "2Gi")
        await resize(*too_much)
        pending = await node.until("p", lambda pod: meta.is_condition_true(pod, "PodResizePending"))
        condition = meta.condition(pending, "PodResizePending")
        assert condition is not None and condition["reason"] == "Infeasible"  # The node has four.
        assert condition["observedGeneration"] == pending["metadata"]["generation"]
        await node.kill()
        await node.boot()
        pod = await node.until("p", lambda pod: meta.is_condition_true(pod, "PodResizePending"))
        assert state(pod, "d")["resources"] == wanted[1] and state(pod, "d")["restartCount"] == 1
        node.machine.resize_errors.append("cannot: below usage")
        wanted = sized("2", "1Gi"), sized("500m", "2Gi")
        await resize(*wanted)
        failing = await node.until("p", lambda pod: meta.is_condition_true(pod, "PodResizeInProgress"))
        await node.until("p", has(*wanted))
        assert "ResizeError" in [reason for _, reason, _ in await node.events("p")]
        assert failing is not None
        with pytest.raises(errors.ApiError, match="QOS Class may not change"):
            await resize({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}, sized("1"))

    play(story, tmp_path)


def test_a_resize_waits_for_another_pod_to_go(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        for name in ("a", "b"):
            await node.create(bound(name, container("c", resources=sized("1500m", "1Gi"))))
            await node.until(name, meta.is_pod_ready)
        change = {"spec": {"containers": [{"name": "c", "resources": sized("3", "1Gi")}]}}
        await node.admin.patch(PODS, "a", "default", change, "strategic", "resize")
        pending = await node.until("a", lambda pod: meta.is_condition_true(pod, "PodResizePending"))
        condition = meta.condition(pending, "PodResizePending")
        assert condition is not None and condition["reason"] == "Deferred"
        await node.delete("b", grace=0)
        await node.until("a", lambda pod: state(pod, "c")["resources"] == sized("3", "1Gi"))

    play(story, tmp_path)
