"""What the agent relies on in any runtime: each promise is kept by the simulated one and by real containers.

A promise is one story over `Side`, which hides only how a container that runs until it is stopped is asked for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from petset.base import tasks
from petset.node import simulated
from petset.node.pods import hooks, probes
from petset.node.runtime import ContainerConfig, ImageError, Runtime, RuntimeError_
from petset.world import loop as virtual
from tests.node import machine

UID = "uid-web-0"


@dataclass
class Side:
    """One implementation of the interface."""

    runtime: Runtime
    attempts: probes.Attempts
    ends_with: Callable[[int], tuple[str, ...]]  # The command of a container that ends with this code, alone.
    restart: Callable[[], Awaitable[Runtime]]  # As after kill -9: another runtime over the same machine.
    root: Path = field(default_factory=Path)

    async def sandbox(self, uid: str = UID) -> Any:
        return await self.runtime.create_sandbox(pod(uid), machine.HOSTS, machine.RESOLV)

    def config(self, attempt: int = 0, *command: str) -> ContainerConfig:
        return machine.config(pod(UID), *(command or ("sleep", "1000")), root=self.root, attempt=attempt)

    def seen(self) -> list[tuple[int, str]]:
        return [(one.attempt, one.state) for one in self.runtime.observe_pod(UID)[1]]

    async def until_ended(self) -> None:
        async with asyncio.timeout(machine.SECONDS_MAX):
            async for event in self.runtime.events():
                assert event.pod_uid == UID
                if all(state == "exited" for _, state in self.seen()):
                    return


def pod(uid: str) -> dict[str, Any]:
    return machine.pod(uid.removeprefix("uid-"))


async def every_step_may_be_repeated(side: Side) -> None:
    runtime = side.runtime
    first = await side.sandbox()
    assert await side.sandbox() == first and first.alive and first.attempt == 0
    one, _ = await runtime.start_container(side.config())
    assert (await runtime.start_container(side.config()))[0].id == one.id
    for _ in range(2):
        await runtime.stop_container(UID, "main", 0)
    assert side.seen() == [(0, "exited")]
    for _ in range(2):
        await runtime.remove_container(UID, "main", 0)
    assert side.seen() == []
    for _ in range(2):
        await runtime.remove_sandbox(UID)
    assert dict(runtime.observe()) == {}


async def what_is_not_known_is_nothing(side: Side) -> None:
    runtime = side.runtime
    sandbox, containers = runtime.observe_pod("nobody")
    assert sandbox is None and not containers
    await runtime.stop_container("nobody", "main", 1)
    await runtime.remove_container("nobody", "main", 0)
    await runtime.stop_sandbox("nobody")
    await runtime.remove_sandbox("nobody")
    assert dict(await runtime.disk_usage("nobody")) == {}
    assert await runtime.collect(1 << 40, True) == 0


async def one_attempt_runs_at_a_time_and_only_in_a_sandbox(side: Side) -> None:
    with pytest.raises(RuntimeError_, match="no sandbox") as caught:
        await side.runtime.start_container(side.config())
    assert caught.value.reason == "CreateContainerError"
    await side.sandbox()
    await side.runtime.start_container(side.config())
    with pytest.raises(RuntimeError_, match="still runs") as caught:
        await side.runtime.start_container(side.config(1))
    assert caught.value.reason == "CreateContainerError"
    await side.runtime.stop_container(UID, "main", 0)
    await side.runtime.start_container(side.config(1))
    assert side.seen() == [(0, "exited"), (1, "running")]  # The oldest first.


async def an_end_is_told_with_its_code_and_times(side: Side) -> None:
    await side.sandbox()
    started, _ = await side.runtime.start_container(side.config(0, *side.ends_with(3)))
    await side.until_ended()
    (ended,) = side.runtime.observe_pod(UID)[1]
    assert (ended.id, ended.exit_code, ended.signal, ended.oom_killed) == (started.id, 3, None, False)
    assert 0 < ended.created_at <= ended.started_at <= ended.finished_at
    assert (ended.image, ended.image_digest) == ("busybox", "sha256:0")


async def a_kill_is_137(side: Side) -> None:
    await side.sandbox()
    await side.runtime.start_container(side.config())
    await side.runtime.stop_container(UID, "main", 0)
    assert [one.exit_code for one in side.runtime.observe_pod(UID)[1]] == [137]


async def a_sandbox_that_was_stopped_is_made_anew_with_its_address_and_the_records_stay(side: Side) -> None:
    first = await side.sandbox()
    await side.runtime.start_container(side.config())
    await side.runtime.stop_container(UID, "main", 0)
    await side.runtime.stop_sandbox(UID)
    stopped, _ = side.runtime.observe_pod(UID)
    assert stopped is not None and not stopped.alive and stopped.ip == first.ip
    assert side.seen() == [(0, "exited")]
    with pytest.raises(RuntimeError_, match="no sandbox"):
        await side.runtime.start_container(side.config(1))
    second = await side.sandbox()
    assert (second.ip, second.attempt, second.alive) == (first.ip, 1, True)
    assert side.seen() == [(0, "exited")]


async def the_next_runtime_finds_what_runs_and_says_that_it_is_there(side: Side) -> None:
    sandbox = await side.sandbox()
    started, _ = await side.runtime.start_container(side.config(0))
    side.runtime = await side.restart()
    found, (container,) = side.runtime.observe_pod(UID)
    assert found == sandbox and (container.id, container.state) == (started.id, "running")
    assert dict(side.runtime.observe()) == {UID: (found, [container])}
    assert (await side.runtime.start_container(side.config(0)))[0] == container
    await side.runtime.stop_container(UID, "main", 0)
    await side.until_ended()


async def addresses_are_one_pod_s_at_a_time(side: Side) -> None:
    first, second = await side.sandbox(), await side.sandbox("uid-web-1")
    assert first.ip and second.ip and first.ip != second.ip
    await side.runtime.remove_sandbox("uid-web-1")
    assert (await side.sandbox()).ip == first.ip


async def an_image_that_must_not_be_fetched_says_so(side: Side) -> None:
    with pytest.raises(ImageError) as caught:
        await side.runtime.ensure_image("missing", "Never", ())
    assert caught.value.reason == "ErrImageNeverPull" and caught.value.message


async def probes_and_hooks_hear_from_the_container_while_it_runs(side: Side) -> None:
    """What an attempt answers is what the schedule counts and what a hook's end is told by."""
    probe = {"exec": {"command": ["true"]}}
    container = {"name": "main", "lifecycle": {"postStart": probe, "preStop": {"sleep": {"seconds": 0}}}}
    of, sandbox = pod(UID), await side.sandbox()

    async def never() -> None:
        await asyncio.Event().wait()

    started, _ = await side.runtime.start_container(side.config())

    async def look(progress: probes.Progress) -> tuple[probes.Progress, probes.Outcome]:
        outcome = await side.attempts.probe(of, container, probe, sandbox.ip)
        return probes.after(progress, probe, outcome.ok, probes.next_at(progress), probes.next_at(progress))[0], outcome

    progress, outcome = await look(probes.begin("readiness", probe, started.started_at, started.started_at))
    assert progress.passed and outcome == probes.Outcome(True)
    assert await hooks.post_start(side.attempts, of, container, sandbox.ip, never) == ""
    assert await hooks.pre_stop(side.attempts, of, container, sandbox.ip, machine.SECONDS_MAX) == ""
    await side.runtime.stop_container(UID, "main", 0)
    for _ in range(probes.FAILURE_THRESHOLD_DEFAULT):
        assert progress.passed
        progress, outcome = await look(progress)
        assert not outcome.ok and outcome.message
    assert not progress.passed


PROMISES = (
    every_step_may_be_repeated,
    what_is_not_known_is_nothing,
    one_attempt_runs_at_a_time_and_only_in_a_sandbox,
    an_end_is_told_with_its_code_and_times,
    a_kill_is_137,
    a_sandbox_that_was_stopped_is_made_anew_with_its_address_and_the_records_stay,
    the_next_runtime_finds_what_runs_and_says_that_it_is_there,
    addresses_are_one_pod_s_at_a_time,
    an_image_that_must_not_be_fetched_says_so,
    probes_and_hooks_hear_from_the_container_while_it_runs,
)
every_promise = pytest.mark.parametrize("promise", PROMISES, ids=lambda one: one.__name__)


@every_promise
def test_the_simulated_runtime_keeps(promise: Callable[[Side], Awaitable[None]]):
    def script(config: ContainerConfig) -> simulated.Behaviour:
        ends = config.command[0] == "ends"
        code = int(config.command[1]) if ends else 0
        return simulated.Behaviour(runs_seconds=1 if ends else None, exit_code=code)

    async def main(loop: virtual.VirtualLoop) -> None:
        with tasks.environment(tasks.Environment(lambda: 1e9 + loop.time(), random.Random(1), threads=False)):
            of = simulated.Machine(script, images_missing={"missing": "it is not here"})

            async def restart() -> Runtime:
                return simulated.SimulatedRuntime(of)

            await promise(
                Side(
                    simulated.SimulatedRuntime(of),
                    simulated.SimulatedAttempts(of),
                    lambda code: ("ends", str(code)),
                    restart,
                )
            )

    virtual.run(main, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


@every_promise
@machine.on_machine
async def test_real_containers_keep(promise: Callable[[Side], Awaitable[None]], tmp_path: Path, root: Path):
    async with machine.running(tmp_path / "s", root) as here:

        async def restart() -> Runtime:
            await here.restart()
            return here.runtime

        await promise(
            Side(
                here.runtime,
                probes.Prober(here.runtime.streams),
                lambda code: ("sh", "-c", f"exit {code}"),
                restart,
                root,
            )
        )
