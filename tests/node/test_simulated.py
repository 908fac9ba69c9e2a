"""The simulated machine's own: its script, its crashes and reboots; test_runtime.py holds what any runtime keeps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset.base import tasks
from petset.node.runtime import Container, ContainerConfig, Image, ImageError, RuntimeError_
from petset.node.simulated import Behaviour, LowestFree, Machine, SimulatedRuntime
from petset.world import loop as virtual

IMAGE = Image("debian:jessie", "sha256:1", "/rootfs")


def pod(uid: str = "u1") -> Any:
    return {
        "metadata": {"name": f"p-{uid}", "namespace": "default", "uid": uid},
        "spec": {"containers": [{"name": "c"}]},
    }


def config(attempt: int = 0, uid: str = "u1") -> ContainerConfig:
    return ContainerConfig(uid, "c", attempt, IMAGE, ("run",), (), "/", (), pod(uid), {"name": "c"})


def play(story: Callable[[Machine, SimulatedRuntime], Awaitable[None]], behaviour: Behaviour | None = None) -> None:
    async def main(loop: virtual.VirtualLoop) -> None:
        with tasks.environment(tasks.Environment(lambda: 1e9 + loop.time(), random.Random(1), threads=False)):
            machine = Machine(lambda config: behaviour or Behaviour())
            await story(machine, SimulatedRuntime(machine))

    virtual.run(main, 1)


def states(runtime: SimulatedRuntime, uid: str = "u1") -> list[tuple[int, str, int | None]]:
    return [(one.attempt, one.state, one.exit_code) for one in runtime.observe_pod(uid)[1]]


def test_an_end_is_told_and_seen_by_the_next_runtime():
    async def story(machine: Machine, runtime: SimulatedRuntime) -> None:
        await runtime.create_sandbox(pod(), "", "")
        await runtime.start_container(config())
        again = SimulatedRuntime(machine)
        assert states(again) == [(0, "running", None)]
        async for event in again.events():
            assert event.pod_uid == "u1"
            break
        assert states(again) == [(0, "exited", 3)]
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)

    play(story, Behaviour(runs_seconds=5, exit_code=3))


def test_a_reboot_leaves_records_of_what_ended():
    async def story(machine: Machine, runtime: SimulatedRuntime) -> None:
        first = await runtime.create_sandbox(pod(), "", "")
        await runtime.start_container(config())
        machine.reboot()
        sandbox, containers = runtime.observe_pod("u1")
        assert sandbox is not None and not sandbox.alive
        assert [(one.state, one.exit_code) for one in containers] == [("exited", 137)]
        second = await runtime.create_sandbox(pod(), "", "")
        assert (second.ip, second.attempt, second.alive) == (first.ip, 1, True)

    play(story)


def test_a_grace_that_is_too_short_kills():
    async def story(machine: Machine, runtime: SimulatedRuntime) -> None:
        await runtime.create_sandbox(pod(), "", "")
        started, _ = await runtime.start_container(config())
        await runtime.stop_container("u1", "c", 2)
        (ended,) = runtime.observe_pod("u1")[1]
        assert isinstance(ended, Container) and ended.exit_code == 137
        assert ended.finished_at - started.started_at == pytest.approx(2, abs=0.1)

    play(story, Behaviour(stop_seconds=60))


def test_images_and_starts_that_fail():
    async def story(machine: Machine, runtime: SimulatedRuntime) -> None:
        machine.images_missing["x"] = "no such host"
        with pytest.raises(ImageError, match="no such host") as caught:
            await runtime.ensure_image("x", "IfNotPresent", ())
        assert caught.value.reason == "ErrImagePull"
        await runtime.create_sandbox(pod(), "", "")
        with pytest.raises(RuntimeError_, match="no such file"):
            await runtime.start_container(config())
        assert states(runtime) == []

    play(story, Behaviour(start_error=("RunContainerError", "no such file")))


def test_ten_thousand_sandboxes_have_an_address_each_and_give_it_back() -> None:
    addresses = LowestFree("10.128.4.")
    taken = [addresses.take() for _ in range(10_000)]
    assert len(dict.fromkeys(taken)) == 10_000
    assert taken[0] == "10.128.4.2" and taken[999] == "10.128.7.251" and taken[1000] == "100.64.0.2"
    for address in (taken[5], taken[3]):
        addresses.give_back(address)
    assert [addresses.take() for _ in range(3)] == [taken[3], taken[5], "100.64.36.2"]
