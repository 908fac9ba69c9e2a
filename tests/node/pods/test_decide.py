"""What a pod's spec and what is seen of it decide: steps and status, by comparison alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from petset.base import tasks
from petset.node.pods import decide as pods
from petset.node.pods import status
from petset.node.pods.decide import (
    CreateSandbox,
    Decision,
    EnsureImage,
    Finish,
    MountVolumes,
    RemoveContainer,
    StartContainer,
    StopContainer,
)
from petset.node.pods.view import Memory, RestartDelay, Trouble, View
from petset.node.runtime import Container, Image, Sandbox
from petset.objects import meta

NOW = 1_750_000_000.0
IMAGE = Image("debian:jessie", "sha256:1", "/rootfs")
UID = "u1"


def pod(*containers: str, init: tuple[str, ...] = (), metadata: Mapping[str, Any] | None = None, **spec: Any) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": UID, **(metadata or {})},
        "spec": {
            "containers": [{"name": name, "image": "debian:jessie"} for name in containers or ("c",)],
            **({"initContainers": [{"name": name, "image": "debian:jessie"} for name in init]} if init else {}),
            **spec,
        },
    }


def sandbox(**changes: Any) -> Sandbox:
    return Sandbox(
        **{
            **{"pod_uid": UID, "pod_name": "p", "namespace": "default", "ip": "10.0.0.2", "created_at": NOW - 100},
            **changes,
        }
    )


def attempt(
    name: str = "c", number: int = 0, exit_code: int | None = None, ended: float = NOW - 1, **changes: Any
) -> Container:
    given: dict[str, Any] = {
        "pod_uid": UID,
        "name": name,
        "attempt": number,
        "id": f"{name}{number}",
        "state": "running" if exit_code is None else "exited",
        "image": "debian:jessie",
        "image_digest": "sha256:1",
        "created_at": NOW - 50,
        "started_at": NOW - 50,
        "finished_at": 0.0 if exit_code is None else ended,
        "exit_code": exit_code,
    }
    return Container(**{**given, **changes})


def view(*containers: Container, **changes: Any) -> View:
    return View(**{**{"now": NOW, "sandbox": sandbox(), "containers": containers, "volumes_ready": True}, **changes})


def with_image(*names: str) -> dict[str, Memory]:
    return {name: Memory(image=IMAGE) for name in names}


def ready(container: Container, **changes: Any) -> dict[str, Memory]:
    return {container.name: Memory(**{**{"container_id": container.id, "started": True, "ready": True}, **changes})}


CASES: dict[str, tuple[Any, View, Decision]] = {
    "everything a start needs is had at the same time": (
        pod(init=("i",)),
        View(NOW),
        Decision((EnsureImage("i"), EnsureImage("c"), MountVolumes(), CreateSandbox())),
    ),
    "an older pod of the name is waited for": (pod(), View(NOW, older_alive=True), Decision()),
    "a trouble is waited out": (
        pod(),
        view(volumes_ready=False, volumes_trouble=Trouble("FailedMount", "", NOW, NOW + 3), memories=with_image("c")),
        Decision((), NOW + 3),
    ),
    "the name is waited for": (
        pod(),
        view(memories=with_image("c"), name_published=False, name_wait_until=NOW + 2),
        Decision((), NOW + 2),
    ),
    "but not for ever": (
        pod(),
        view(memories=with_image("c"), name_published=False, name_wait_until=NOW),
        Decision((StartContainer("c", 0),)),
    ),
    "containers start together": (
        pod("c", "d"),
        view(memories=with_image("c", "d")),
        Decision((StartContainer("c", 0), StartContainer("d", 0))),
    ),
    "the first init container starts alone": (
        pod(init=("i", "j")),
        view(memories=with_image("i", "j", "c")),
        Decision((StartContainer("i", 0),)),
    ),
    "the second waits for the first": (
        pod(init=("i", "j")),
        view(attempt("i"), memories=with_image("j", "c")),
        Decision(),
    ),
    "the second follows the first": (
        pod(init=("i", "j")),
        view(attempt("i", exit_code=0), memories=with_image("j", "c")),
        Decision((StartContainer("j", 0),)),
    ),
    "a failed init container is tried again": (
        pod(init=("i",)),
        view(attempt("i", exit_code=1), memories=with_image("i", "c")),
        Decision((StartContainer("i", 1),)),
    ),
    "a failed init container of a pod that never restarts ends it": (
        pod(init=("i",), restartPolicy="Never"),
        view(attempt("i", exit_code=1), memories=with_image("c")),
        Decision(),
    ),
    "a crash is restarted at once the first time": (
        pod(),
        view(attempt(exit_code=1), memories=with_image("c")),
        Decision((StartContainer("c", 1),)),
    ),
    "a restart needs its image again": (pod(), view(attempt(exit_code=1)), Decision((EnsureImage("c"),))),
    "a second crash waits": (
        pod(),
        view(attempt(number=1, exit_code=1), memories={"c": Memory(image=IMAGE, delay=RestartDelay(10, NOW - 5))}),
        Decision((), NOW + 9),
    ),
    "a completed container of an OnFailure pod stays ended": (
        pod(restartPolicy="OnFailure"),
        view(attempt(exit_code=0)),
        Decision(),
    ),
    "a failed one is restarted": (
        pod(restartPolicy="OnFailure"),
        view(attempt(exit_code=1), memories=with_image("c")),
        Decision((StartContainer("c", 1),)),
    ),
    "old attempts go, the last before stays": (
        pod(),
        view(attempt(number=0, exit_code=1), attempt(number=1, exit_code=1), attempt(number=2)),
        Decision((RemoveContainer("c", 0),)),
    ),
    "an unhealthy container is stopped": (
        pod(terminationGracePeriodSeconds=7),
        view(attempt(), memories=ready(attempt(), unhealthy="why", unhealthy_at=NOW - 1)),
        Decision((StopContainer("c", 0, NOW + 6, "why"),)),
    ),
    "a lost sandbox is made anew": (
        pod(),
        view(attempt(exit_code=0), sandbox=sandbox(alive=False), memories=with_image("c")),
        Decision((CreateSandbox(),)),
    ),
    "in a new sandbox the init containers run again": (
        pod(init=("i",)),
        view(
            attempt("i", exit_code=0),
            attempt(exit_code=0),
            sandbox=sandbox(created_at=NOW - 1),
            memories=with_image("i", "c"),
        ),
        Decision((StartContainer("i", 1),)),
    ),
    "a pod that never restarts does not survive its sandbox": (
        pod(restartPolicy="Never"),
        view(attempt(exit_code=137), sandbox=sandbox(alive=False)),
        Decision(),
    ),
    "deletion stops the containers within the grace": (
        pod("c", "d", metadata={"deletionTimestamp": tasks.rfc3339(NOW + 30)}),
        view(attempt("c"), attempt("d")),
        Decision(
            (
                StopContainer("c", 0, NOW + 30, "Stopping container c"),
                StopContainer("d", 0, NOW + 30, "Stopping container d"),
            )
        ),
    ),
    "and then finishes": (
        pod(metadata={"deletionTimestamp": tasks.rfc3339(NOW + 30)}),
        view(attempt(exit_code=143)),
        Decision((Finish(gone=False),)),
    ),
    "a deleted pod that never started finishes": (
        pod(metadata={"deletionTimestamp": tasks.rfc3339(NOW + 30)}),
        View(NOW),
        Decision((Finish(gone=False),)),
    ),
    "a pod that is gone is stopped at once, without hooks": (
        pod(),
        view(attempt(), gone_at=NOW - 0.5),
        Decision((StopContainer("c", 0, NOW + 0.5, "Stopping container c", hook=False),)),
    ),
    "a pod that wants no grace gets none when it is gone": (
        pod(terminationGracePeriodSeconds=0),
        view(attempt(), gone_at=NOW - 0.5),
        Decision((StopContainer("c", 0, NOW - 0.5, "Stopping container c", hook=False),)),
    ),
    "nothing left of a pod that is gone": (pod(), view(gone_at=NOW, sandbox=None), Decision((Finish(gone=True),))),
    "a pod past its deadline is stopped": (
        {**pod(activeDeadlineSeconds=60), "status": {"startTime": tasks.rfc3339(NOW - 61)}},
        view(attempt()),
        Decision((StopContainer("c", 0, NOW + 29, "Stopping container c"),)),
    ),
    "the deadline wakes": (
        {**pod(activeDeadlineSeconds=60), "status": {"startTime": tasks.rfc3339(NOW - 10)}},
        view(attempt()),
        Decision((), NOW + 50),
    ),
    "a restartCount that only the API remembers goes on": (
        {**pod(), "status": {"containerStatuses": [{"name": "c", "restartCount": 4, "containerID": "crun://x"}]}},
        view(memories=with_image("c")),
        Decision((StartContainer("c", 5),)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_decide(case: str):
    given, seen, then = CASES[case]
    assert pods.decide(given, seen) == then


def test_restart_delays_double_up_to_five_minutes_and_are_forgotten_after_ten():
    delay, now, waits = RestartDelay(), NOW, []
    for _ in range(8):
        ended = now + 1
        waits.append(delay.until(ended) - ended)
        now = delay.until(ended)
        delay = delay.after_restart(ended, now)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert delay.until(now + 601) == now + 601
    assert delay.after_restart(now + 601, now + 601).seconds == 10


# ---- status


def states(given: Any, seen: View) -> Any:
    return status.status(given, seen)["containerStatuses"][0]


def test_a_running_ready_container():
    one = attempt(number=2)
    assert states(pod(), view(attempt(number=1, exit_code=3), one, memories=ready(one))) == {
        "name": "c",
        "state": {"running": {"startedAt": tasks.rfc3339(NOW - 50)}},
        "lastState": {
            "terminated": {
                "exitCode": 3,
                "reason": "Error",
                "startedAt": tasks.rfc3339(NOW - 50),
                "finishedAt": tasks.rfc3339(NOW - 1),
                "containerID": "crun://c1",
            }
        },
        "ready": True,
        "restartCount": 2,
        "image": "debian:jessie",
        "imageID": "debian@sha256:1",
        "containerID": "crun://c2",
        "started": True,
        "resources": {},
    }


@pytest.mark.parametrize(
    ("given", "seen", "waiting"),
    [
        (pod(), View(NOW), {"reason": "ContainerCreating"}),
        (pod(init=("i",)), View(NOW), {"reason": "PodInitializing"}),
        (
            pod(),
            view(memories={"c": Memory(image_trouble=Trouble("ErrImagePull", "no host", NOW - 1, NOW + 9))}),
            {"reason": "ErrImagePull", "message": "no host"},
        ),
        (
            pod(),
            view(memories={"c": Memory(image_trouble=Trouble("ErrImagePull", "no host", NOW - 3, NOW + 7))}),
            {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "debian:jessie": ErrImagePull: no host'},
        ),
        (
            pod(init=("i",)),
            view(attempt("i"), memories={"c": Memory(image_trouble=Trouble("ErrImagePull", "", NOW, NOW + 9))}),
            {"reason": "PodInitializing"},
        ),
        (
            pod(),
            view(memories={"c": Memory(start_trouble=Trouble("RunContainerError", "no such file", NOW, NOW + 9))}),
            {"reason": "RunContainerError", "message": "no such file"},
        ),
        (
            pod(),
            view(attempt(exit_code=1), memories={"c": Memory(delay=RestartDelay(80, NOW - 5))}),
            {
                "reason": "CrashLoopBackOff",
                "message": "back-off 1m20s restarting failed container=c pod=p_default(u1)",
            },
        ),
        (pod(), view(attempt(exit_code=0), sandbox=sandbox(alive=False)), {"reason": "ContainerCreating"}),
    ],
)
def test_why_a_container_waits(given: Any, seen: View, waiting: Any):
    assert states(given, seen)["state"] == {"waiting": waiting}


def test_the_out_of_memory_killer_is_named():
    ended = attempt(exit_code=137, oom_killed=True, message="last words")
    shown = states(pod(restartPolicy="Never"), view(ended))["state"]["terminated"]
    assert (shown["reason"], shown["exitCode"], shown["message"]) == ("OOMKilled", 137, "last words")


@pytest.mark.parametrize(
    ("given", "seen", "phase"),
    [
        (pod(), View(NOW), "Pending"),
        (pod(init=("i",)), view(attempt("i")), "Pending"),
        (pod(init=("i",), restartPolicy="Never"), view(attempt("i", exit_code=1)), "Failed"),
        (pod("c", "d"), view(attempt("c")), "Pending"),
        (pod(), view(attempt()), "Running"),
        (pod(), view(attempt(exit_code=0)), "Running"),
        (pod(restartPolicy="OnFailure"), view(attempt(exit_code=1)), "Running"),
        (pod(restartPolicy="OnFailure"), view(attempt(exit_code=0)), "Succeeded"),
        (pod(restartPolicy="Never"), view(attempt(exit_code=0)), "Succeeded"),
        (pod("c", "d", restartPolicy="Never"), view(attempt("c", exit_code=0), attempt("d", exit_code=1)), "Failed"),
        (pod("c", "d", restartPolicy="Never"), view(attempt("c", exit_code=0), attempt("d")), "Running"),
        (pod(metadata={"deletionTimestamp": tasks.rfc3339(NOW)}), view(attempt(exit_code=143)), "Failed"),
        (pod(metadata={"deletionTimestamp": tasks.rfc3339(NOW)}), view(attempt(exit_code=0)), "Succeeded"),
        (pod(metadata={"deletionTimestamp": tasks.rfc3339(NOW)}), view(attempt()), "Running"),
        ({**pod(), "status": {"phase": "Failed"}}, view(attempt()), "Failed"),
        (pod(), view(attempt(exit_code=0), sandbox=sandbox(alive=False)), "Running"),
    ],
)
def test_phase(given: Any, seen: View, phase: str):
    assert status.status(given, seen)["phase"] == phase


def test_conditions_keep_their_times_and_those_of_others():
    old = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2016-08-03T00:00:00Z"},
        {"type": "example.com/gate", "status": "False", "lastTransitionTime": "2016-08-03T00:00:01Z"},
        {"type": "Ready", "status": "True", "lastTransitionTime": "2016-08-03T00:00:02Z"},
    ]
    given = {**pod(readinessGates=[{"conditionType": "example.com/gate"}]), "status": {"conditions": old}}
    one = attempt()
    found = status.status(given, view(one, memories=ready(one)))
    conditions = {item["type"]: item for item in found["conditions"]}
    assert conditions["PodScheduled"] == old[0] and conditions["example.com/gate"] == old[1]
    assert conditions["ContainersReady"]["status"] == "True"
    assert conditions["Ready"] == {
        "type": "Ready",
        "status": "False",
        "reason": "ReadinessGatesNotReady",
        "message": 'the readiness gate "example.com/gate" is not True',
        "lastTransitionTime": tasks.rfc3339(NOW),
    }
    unready = status.status(pod("c", "d", init=("i",)), view(attempt("i", exit_code=1)))
    assert meta.condition({"status": unready}, "Ready")["message"] == "containers with unready status: [c d]"  # type: ignore[index]
    assert meta.condition({"status": unready}, "Initialized")["message"] == "containers with incomplete status: [i]"  # type: ignore[index]


@pytest.mark.parametrize("field", ["containerStatuses", "initContainerStatuses"])
def test_a_status_of_a_container_without_a_name_counts_as_none(field: str):
    """One that was stored before such a status was refused must not hold up its pod for ever."""
    given = pod(init=("i",)) | {"status": {field: [{}]}}
    seen = view(containers=(attempt("i", exit_code=0), attempt()))
    assert pods.decide(given, seen) == pods.decide(pod(init=("i",)), seen)
    wanted = status.status(given, seen)
    assert wanted == status.status(pod(init=("i",)), seen)
    assert status.back_offs(given, given["status"], wanted) == status.back_offs(given, {}, wanted)


def test_a_status_worked_out_twice_is_the_same():
    one = attempt()
    given, seen = pod(), view(one, memories=ready(one))
    first = status.status(given, seen)
    assert status.status({**given, "status": first}, seen) == first


def resources(**limits: Any) -> Any:
    return {"name": "c", "image": "x", "resources": limits}


# ---- ephemeral containers

DEBUGGER = {"ephemeralContainers": [{"name": "d", "image": "debian:jessie", "targetContainerName": "c"}]}


@pytest.mark.parametrize(
    ("given", "seen", "then"),
    [
        (pod(**DEBUGGER), view(attempt()), (EnsureImage("d"),)),
        (pod(**DEBUGGER), view(attempt(), memories=with_image("d")), (StartContainer("d", 0),)),
        (pod(**DEBUGGER), view(attempt(), attempt("d")), ()),
        (pod(**DEBUGGER), view(attempt(), attempt("d", exit_code=1), memories=with_image("d")), ()),
        # The init container does not end: all the more reason to look.
        (pod(init=("i",), **DEBUGGER), view(attempt("i"), memories=with_image("c", "d")), (StartContainer("d", 0),)),
        # It ran in a sandbox that is gone, and the node has forgotten it.
        (
            pod(**DEBUGGER) | {"status": {"ephemeralContainerStatuses": [{"name": "d", "containerID": "crun://d0"}]}},
            view(attempt(), memories=with_image("d")),
            (),
        ),
    ],
)
def test_an_ephemeral_container_is_started_once(given: Any, seen: View, then: tuple[Any, ...]):
    assert pods.decide(given, seen).steps == then


def test_what_is_told_of_an_ephemeral_container():
    given = pod(**DEBUGGER)

    def told(seen: View, of: Any = given) -> Any:
        whole = status.status(of, seen)
        assert [one["name"] for one in whole["containerStatuses"]] == ["c"] and whole["phase"] == "Running"
        (one,) = whole["ephemeralContainerStatuses"]
        return one

    assert told(view(attempt()))["state"] == {"waiting": {"reason": "ContainerCreating"}}
    runs = told(view(attempt(), attempt("d")))
    assert (list(runs["state"]), runs["ready"], runs["containerID"]) == (["running"], False, "crun://d0")
    ended = told(view(attempt(), attempt("d", exit_code=3)))
    assert ended["state"]["terminated"]["exitCode"] == 3 and ended["restartCount"] == 0
    assert (
        told(view(attempt()), {**given, "status": {"ephemeralContainerStatuses": [ended]}})["state"] == ended["state"]
    )


def test_a_pod_whose_own_containers_are_done_does_not_wait_for_an_ephemeral_one():
    given = pod(restartPolicy="Never", **DEBUGGER)
    seen = view(attempt(exit_code=0), attempt("d"))
    assert [type(step) for step in pods.decide(given, seen).steps] == [StopContainer]
