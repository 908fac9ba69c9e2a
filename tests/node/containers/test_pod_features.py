"""What a pod's spec asks of its containers' processes and mounts, by the containers themselves."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from petset.node import linux
from petset.node.containers import cgroups, host
from petset.node.runtime import Container, Mount, RuntimeError_
from tests import waiting
from tests.node import machine


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


@machine.on_machine
async def test_users_are_told_and_what_is_mounted_below_is_read_only(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        volume = tmp_path / "volume"
        (volume / "below").mkdir(parents=True)
        linux.mount("x", str(volume / "below"), "tmpfs")
        try:
            pod = await here.sandbox(securityContext={"supplementalGroups": [3000], "fsGroup": 2000})
            write = "touch /v/below/x 2>/dev/null && echo wrote || echo refused"
            for name, recursive in (("plain", False), ("all", True)):
                mounts = [Mount(str(volume), "/v", read_only=True, recursive=recursive)]
                said = await here.output(pod, "sh", "-c", f"{write}; id -G", name=name, mounts=mounts)
                assert said.splitlines() == ["refused" if recursive else "wrote", "0 2000 3000"]
            own = {"securityContext": {"runAsUser": 999}}
            one = await here.run(pod, "sleep", "1000", name="redis", container=own)
            assert one.user == (999, 998, 998, 1500, 2000, 3000)
            await here.restart()
            assert here.seen(one).user == one.user
        finally:
            linux.unmount(str(volume / "below"))


def limits(here: machine.Machine, one: Container) -> tuple[int, int]:
    """The kernel's limit of memory, and how much of a CPU in a tenth of a second."""
    found, group = cgroups.detect(), f"{here.plan.cgroup}/pod{one.pod_uid}/{one.id}"
    if found.version == "v2":
        place = Path(found.hierarchies["unified"] + group)
        memory, quota = (place / "memory.max").read_text(), (place / "cpu.max").read_text().split()[0]
    else:
        memory = Path(found.hierarchies["memory"] + group, "memory.limit_in_bytes").read_text()
        quota = Path(found.hierarchies["cpu"] + group, "cpu.cfs_quota_us").read_text()
    return int(memory), int(quota)


def used(here: machine.Machine, one: Container) -> int:
    return cgroups.used(cgroups.detect(), f"{here.plan.cgroup}/pod{one.pod_uid}/{one.id}").memory_bytes


@machine.on_machine
async def test_limits_change_while_a_container_runs(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        own = {"resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}}
        one = await here.run(pod, "sh", "-c", "x=$(head -c 12000000 /dev/zero | tr '\\0' a); sleep 1000", container=own)
        assert limits(here, one) == (64 << 20, 50_000)
        spec = {"name": "main", "resources": {"limits": {"cpu": "2", "memory": "128Mi"}, "requests": {"cpu": "1"}}}
        await here.runtime.resize_container(pod, spec, 0)
        assert limits(here, one) == (128 << 20, 200_000)
        await waiting.until(lambda: used(here, one) > 8 << 20)
        spec["resources"]["limits"] = {"cpu": "500m", "memory": "4Mi"}
        with pytest.raises(RuntimeError_, match="below current usage"):
            await here.runtime.resize_container(pod, spec, 0)
        spec["resources"]["limits"]["memory"] = "96Mi"
        await here.runtime.resize_container(pod, spec, 0)
        assert limits(here, one) == (96 << 20, 50_000)
        await here.restart()
        assert here.seen(one).resources == {**spec["resources"]}
        assert here.seen(one).state == "running"


@pytest.mark.skipif("runc" not in host.runtimes(), reason="runc is not installed; apt-get install runc")
@machine.on_machine
async def test_a_pod_s_class_says_which_runtime_it_is_under(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = machine.pod()
        await here.runtime.create_sandbox(pod, machine.HOSTS, machine.RESOLV, handler="runc")
        one = await here.run(pod, "sleep", "1000")
        record = here.runtime._pods[one.pod_uid].containers["main", 0]
        tools = here.runtime._tools.of(record)
        assert tools.runtime == host.runtimes()["runc"]
        assert tools.run("state", one.id).returncode == 0
        assert await here.exec(pod, "hostname") == "web-0\n"
        await here.restart()
        assert here.seen(one).state == "running"
        await here.runtime.stop_container(one.pod_uid, "main", 0)
        await here.runtime.remove_sandbox(one.pod_uid)


@machine.on_machine
async def test_containers_share_their_processes_where_the_pod_says_so(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(shareProcessNamespace=True)
        uid = pod["metadata"]["uid"]
        first = here.runtime._pods[uid].sandbox.pause
        orphan = "(sleep 0.1 &); exec sleep 1000"
        one = await here.run(pod, "sh", "-c", orphan, name="one")
        await here.run(pod, "sleep", "2000", name="two")
        seen = await here.exec(pod, "sh", "-c", "ps -o pid,comm,args | cat", name="two")
        assert "pause" in seen.splitlines()[1] and "sleep 1000" in seen and "sleep 2000" in seen
        root_of_first = await here.exec(pod, "sh", "-c", "ls /proc/1/root/ 2>&1; ls /proc/1/root/etc 2>&1", name="two")
        assert "passwd" not in root_of_first
        zombies = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"

        async def none() -> bool:
            return (await here.exec(pod, "sh", "-c", zombies, name="two")).strip() == "0"

        async with asyncio.timeout(5):
            while not await none():
                pass
        await here.exec(pod, "kill", "1", name="two")  # Which it does not heed.
        await here.runtime.stop_container(uid, "one", 0)
        assert first.alive() and here.seen(one).state == "exited"
        await here.run(pod, "sleep", "3000", name="one", attempt=1)
        await here.restart()
        assert here.runtime.observe_pod(uid)[0].alive
        os.kill(first.pid, signal.SIGKILL)
        await here.until(lambda: all(one.state == "exited" for one in here.runtime.observe_pod(uid)[1]))
        with pytest.raises(RuntimeError_, match="first process is gone"):
            await here.run(pod, "sleep", "3000", name="one", attempt=2)
        assert not here.runtime.observe_pod(uid)[0].alive
        await here.runtime.create_sandbox(pod, machine.HOSTS, machine.RESOLV)
        await here.run(pod, "sleep", "3000", name="one", attempt=2)
