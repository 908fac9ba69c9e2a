"""Rules of single containers for when they begin again, and what one of them does to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.node.pods import decide as pods
from petset.node.pods import restarting, status
from petset.node.pods.decide import Decision, StartContainer, StopContainer
from petset.node.pods.view import Memory, RestartDelay
from petset.objects import meta
from tests.node.node_fixture import NodeUnderTest, container, play, state
from tests.node.node_fixture import pod as bound
from tests.node.pods.test_decide import IMAGE, NOW, attempt, pod, ready, view, with_image


def ruled(*rules: tuple[str, str, list[int]], policy: str = "Never", name: str = "c") -> dict[str, Any]:
    return {
        "name": name,
        "image": "debian:jessie",
        "restartPolicy": policy,
        "restartPolicyRules": [
            {"action": action, "exitCodes": {"operator": operator, "values": values}}
            for action, operator, values in rules
        ],
    }


RESTART_42 = ("Restart", "In", [42])
ALL_42 = ("RestartAllContainers", "In", [42])


@pytest.mark.parametrize(
    ("spec", "of_pod", "code", "again"),
    [
        ({"name": "c"}, "Always", 0, True),
        ({"name": "c"}, "OnFailure", 0, False),
        ({"name": "c", "restartPolicy": "Never"}, "Always", 1, False),
        ({"name": "c", "restartPolicy": "Always"}, "Never", 0, True),
        ({"name": "c", "restartPolicy": "OnFailure"}, "Never", 1, True),
        (ruled(RESTART_42), "Always", 42, True),
        (ruled(RESTART_42), "Always", 1, False),
        (ruled(("Restart", "NotIn", [0, 1])), "Always", 2, True),
        (ruled(("Restart", "NotIn", [0, 1])), "Always", 1, False),
        (ruled(RESTART_42, policy="OnFailure"), "Never", 1, True),
    ],
)
def test_rules_come_before_the_containers_policy_and_that_before_the_pods(
    spec: Any, of_pod: str, code: int, again: bool
):
    assert restarting.begins_again(spec, attempt(exit_code=code), of_pod) is again


@pytest.mark.parametrize(
    ("policy", "of_pod", "again"), [("Never", "Always", False), ("OnFailure", "Never", True), ("", "Never", False)]
)
def test_an_init_container_that_fails(policy: str, of_pod: str, again: bool):
    spec = {"name": "i", **({"restartPolicy": policy} if policy else {})}
    ended = attempt("i", exit_code=1)
    assert restarting.begins_again(spec, ended, of_pod, init=True) is again
    given = pod(init=("i",), restartPolicy=of_pod)
    given["spec"]["initContainers"] = [{**spec, "image": "x"}]
    assert pods.init_failed(given, view(ended)) is not again


def test_a_pod_ends_when_its_own_policies_restart_nothing():
    given = pod(restartPolicy="Always")
    given["spec"]["containers"] = [ruled(RESTART_42)]
    assert status.status(given, view(attempt(exit_code=1)))["phase"] == "Failed"
    assert status.status(given, view(attempt(exit_code=42)))["phase"] == "Running"
    given["spec"]["containers"] = [{**ruled(), "restartPolicy": "OnFailure"}]
    assert status.status(given, view(attempt(exit_code=0)))["phase"] == "Succeeded"


def all_anew(policy: str = "Never") -> Any:
    given = pod(init=("i",), restartPolicy=policy)
    given["spec"]["containers"] = [ruled(ALL_42, policy=policy), {"name": "d", "image": "debian:jessie"}]
    return given


def seen(*containers: Any, **changes: Any) -> Any:
    begun = restarting.began_anew(pods.all_containers(all_anew()), containers)
    return view(*containers, begun_at=begun, **changes)


def test_one_end_has_all_containers_started_anew():
    init, ended = attempt("i", exit_code=0, ended=NOW - 49), attempt("c", exit_code=42, ended=NOW - 1)
    beside = attempt("d")
    now = seen(init, ended, beside, memories=with_image("i", "c", "d"))
    assert now.begun_at == NOW - 1
    stop = StopContainer("d", 0, NOW, restarting.ALL_MESSAGE, hook=False)
    assert pods.decide(all_anew(), now) == Decision((stop,))
    told = status.status(all_anew(), now)
    assert told["phase"] == "Running"
    assert meta.is_condition_true({"status": told}, "AllContainersRestarting")

    stopped = attempt("d", exit_code=137, ended=NOW)
    now = seen(init, ended, stopped, memories=with_image("i", "c", "d"))
    assert pods.decide(all_anew(), now) == Decision((StartContainer("i", 1),))  # Though it failed and never restarts.
    again = attempt("i", 1, exit_code=0, ended=NOW + 1, created_at=NOW)
    now = seen(init, again, ended, stopped, memories=with_image("c", "d"))
    assert pods.decide(all_anew(), now) == Decision((StartContainer("c", 1), StartContainer("d", 1)))

    one, other = attempt("c", 1, created_at=NOW + 1), attempt("d", 1, created_at=NOW + 1)
    now = seen(init, again, ended, one, stopped, other, memories=ready(one) | ready(other))
    told = status.status(all_anew(), now)
    assert not meta.is_condition_true({"status": told}, "AllContainersRestarting") and meta.is_pod_ready(
        {"status": told}
    )
    assert [one["restartCount"] for one in told["containerStatuses"]] == [1, 1]
    done = [attempt(name, 1, exit_code=0, created_at=NOW + 1) for name in ("c", "d")]
    assert status.status(all_anew(), seen(init, again, ended, done[0], stopped, done[1]))["phase"] == "Succeeded"


def test_who_ends_again_and_again_waits_before_all_are_started_anew():
    ended = attempt("c", 1, exit_code=42)
    given = all_anew("Always")
    given["spec"].pop("initContainers")
    now = seen(ended, attempt("d", exit_code=0), memories={"c": Memory(image=IMAGE, delay=RestartDelay(20, NOW - 5))})
    assert StartContainer("c", 2) not in pods.decide(given, now).steps
    assert pods.decide(given, now).wake_at == NOW - 1 + 20


def test_an_agent_starts_them_all_anew(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        given = bound("p", {**container("c"), **ruled(ALL_42)}, container("d"), restartPolicy="Never")
        created = await node.create(given)
        await node.until("p", meta.is_pod_ready)
        await node.crash(created, "c", 42)
        pod = await node.until("p", lambda one: meta.is_pod_ready(one) and state(one, "d")["restartCount"] == 1)
        assert state(pod, "c")["restartCount"] == 1
        assert state(pod, "d")["lastState"]["terminated"]

    play(story, tmp_path)
