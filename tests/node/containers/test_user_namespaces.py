"""Pods with users of their own (hostUsers: false): who is root inside is nobody on the machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from petset.base import user_ids
from petset.node import linux
from petset.node.containers import records
from petset.node.runtime import Container, RuntimeError_
from petset.wire.streaming import ExecOptions
from tests.node import machine
from tests.node.machine import Mount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes such pods")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


def process_of(here: machine.Machine, one: Container) -> linux.Process:
    record = records.read_container(records.place(here.state.resolve(), one.pod_uid, one.name, one.attempt))
    assert record is not None and record.process is not None
    return record.process


def first_of(here: machine.Machine, pod: Any) -> int:
    record = records.read_sandbox(records.pod_directory(here.state, pod["metadata"]["uid"]) / "sandbox")
    assert record is not None
    return record.users


@machine.on_machine
async def test_two_pods_have_ids_of_their_own_and_know_them_as_root_and_all_the_others(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pods = [await here.sandbox(name, hostUsers=False) for name in ("a-0", "a-1")]
        ranges: list[list[int]] = []
        for pod in pods:
            said = await here.output(pod, "sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u", name="look")
            of_users, of_groups, user = said.splitlines()
            assert of_users.split() == of_groups.split() and user == "0"
            inside, outside, count = map(int, of_users.split())
            assert (inside, count) == (0, user_ids.COUNT) and outside == first_of(here, pod)
            ranges.append([outside, outside + count])
            one = await here.run(pod, "sleep", "1000")
            assert os.stat(f"/proc/{process_of(here, one).pid}").st_uid == outside
        (first, _), (_, ended) = sorted(ranges)
        assert min(ended_ for _, ended_ in ranges) <= max(began for began, _ in ranges) and first < ended
        # What the machine's root alone may read is nobody's inside, whoever asks.
        said = await here.exec(
            pods[0], "sh", "-c", "stat -c %u /proc/kmsg; cat /proc/kmsg; echo 1 >/proc/sys/vm/swappiness"
        )
        assert (said.splitlines()[0] == "65534" and "denied" in said) or "not permitted" in said


@machine.on_machine
async def test_everything_in_a_container_belongs_to_its_root_and_output_can_be_opened_by_name(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        seen = "/ /bin/busybox /etc/hosts /etc/hostname /etc/resolv.conf /dev/termination-log /dev/shm /dev"
        look = f"stat -c '%u %g' {seen} | sort -u; touch /bin/new /dev/shm/x && chown 12:34 /bin/new"
        write = "echo over >>/etc/hosts && echo done >/dev/termination-log; echo out >/dev/stdout; echo 1 >/dev/null"
        one = await here.run_to_end(pod, "sh", "-c", f"{look} && stat -c %u:%g /bin/new; hostname; {write}")
        assert (await here.log(pod)).splitlines() == ["0 0", "12:34", "web-0", "out"]
        assert one.message == "done\n"
        mine = {"securityContext": {"runAsUser": 999}}
        said = await here.output(pod, "sh", "-c", "id -u; echo out >/dev/stdout", name="redis", container=mine)
        assert said.splitlines() == ["999", "out"]


@machine.on_machine
async def test_volumes_keep_the_ids_that_containers_give_them(tmp_path, root):
    memory = tmp_path / "memory"
    memory.mkdir()
    linux.mount("test", str(memory), "tmpfs")
    try:
        async with machine.running(tmp_path / "s", root) as here:
            disk = tmp_path / "disk"
            (disk / "deep").mkdir(parents=True)
            os.chmod(disk, 0o700)
            (disk / "secret").write_text("of root\n")
            os.chmod(disk / "secret", 0o400)
            os.chown(disk / "deep", 0, 2000)
            os.chmod(disk / "deep", 0o2770)
            pod = await here.sandbox(hostUsers=False, securityContext={"fsGroup": 2000})
            mounts = [
                Mount(str(disk), "/disk"),
                Mount(str(disk), "/sub", sub_path="deep"),
                Mount(str(memory), "/memory"),
            ]
            said = await here.output(
                pod,
                "sh",
                "-c",
                "cat /disk/secret; touch /disk/by-root /memory/by-root; stat -c %u:%g /disk/by-root /disk/deep /memory",
                mounts=mounts,
            )
            assert said.splitlines() == ["of root", "0:0", "0:2000", "0:0"]
            mine = {"securityContext": {"runAsUser": 999, "runAsGroup": 998}}
            read = "cat /disk/secret 2>&1 | grep -o denied; touch /sub/mine; stat -c %u:%g /sub/mine"
            said = await here.output(pod, "sh", "-c", read, name="redis", container=mine, mounts=mounts)
            assert said.splitlines() == ["denied", "999:2000"]
            owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in disk.rglob("*")}
            assert owners["by-root"] == (0, 0) and owners["mine"] == (999, 2000)
            assert (memory / "by-root").stat().st_uid == 0
            refused = [Mount(str(disk), "/disk", read_only=True)]
            said = await here.output(pod, "sh", "-c", "touch /disk/x 2>&1", name="reader", mounts=refused)
            assert "Read-only" in said
    finally:
        linux.unmount(str(memory))


@machine.on_machine
async def test_what_cannot_be_mounted_with_other_ids_is_said_and_nothing_runs(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        with pytest.raises(
            RuntimeError_, match=r"/sys/kernel at /host in a pod with hostUsers false: it lies on sysfs"
        ):
            await here.run(pod, "sleep", "1000", mounts=[Mount("/sys/kernel", "/host")])
        with pytest.raises(RuntimeError_, match=r"cannot run as 70000: .* at most 65535"):
            await here.run(pod, "sleep", "1000", container={"securityContext": {"runAsUser": 70000}})
        assert [one for _, containers in here.runtime.observe().values() for one in containers] == []
        await here.run(pod, "sleep", "1000", container={"securityContext": {"runAsUser": 65535}})


@machine.on_machine
async def test_terminals_belong_to_it_and_signals_come_to_it(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        look = "tty; stat -c %u $(tty); echo said >$(tty); trap 'exit 5' TERM; while :; do usleep 10000; done"
        one = await here.run(pod, "sh", "-c", look, container={"tty": True})
        session = await here.runtime.streams.exec(
            one.pod_uid, "main", ExecOptions(("stat", "-c", "%u", "/dev/tty"), tty=True)
        )
        assert b"".join([piece async for _, piece in session.output()]).strip() == b"65534"  # As the machine's node is.
        await session.close()
        await here.runtime.stop_container(one.pod_uid, "main", 10.0)
        assert here.seen(one).exit_code == 5
        assert (await here.log(pod)).split() == ["/dev/pts/0", "0", "said"]


@machine.on_machine
async def test_its_root_may_do_in_its_namespaces_what_root_may(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        sysctls = [
            {"name": "kernel.shm_rmid_forced", "value": "1"},
            {"name": "net.ipv4.ip_unprivileged_port_start", "value": "1024"},
        ]
        pod = await here.sandbox(hostUsers=False, securityContext={"sysctls": sysctls})
        look = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start"
        assert (await here.output(pod, "sh", "-c", look)).split() == ["1", "1024"]
        assert Path("/proc/sys/kernel/shm_rmid_forced").read_text().strip() == "0"
        admin = {"securityContext": {"capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}}}
        do = "ip link set lo mtu 1300 && cat /sys/class/net/lo/mtu; mount -t tmpfs x /tmp && echo mounted"
        bind = "nc -l -p 80 & while ! netstat -lnt | grep :80; do usleep 10000; done | wc -l"
        said = await here.output(pod, "sh", "-c", f"{do}; {bind}", name="admin", container=admin)
        assert said.split() == ["1300", "mounted", "1"]
        bare = {"securityContext": {"privileged": True}}
        said = await here.output(pod, "sh", "-c", "mknod /tmp/d b 1 1 2>&1; id -u", name="privileged", container=bare)
        assert "Operation not permitted" in said and said.split()[-1] == "0"


@machine.on_machine
async def test_containers_of_one_pod_share_their_users_and_their_processes_where_asked(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False, shareProcessNamespace=True)
        one = await here.run(pod, "sleep", "1000")
        said = await here.output(
            pod,
            "sh",
            "-c",
            "for p in /proc/[0-9]*; do readlink $p/ns/user; done | sort -u | wc -l; kill -9 $(pidof sleep)",
            name="b",
        )
        assert said.split() == ["1"]
        await here.until(lambda: here.seen(one).state == "exited")
        assert here.seen(one).exit_code == 137


@machine.on_machine
async def test_an_ephemeral_container_sees_the_processes_of_its_target(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        await here.run(pod, "sleep", "1234")
        debugger = {"targetContainerName": "main"}
        pod["spec"]["ephemeralContainers"] = [{"name": "look", "image": "busybox", **debugger}]
        assert "sleep 1234" in await here.output(pod, "ps", name="look", container=debugger)


@machine.on_machine
async def test_what_runs_is_adopted_with_its_users_and_the_next_attempt_has_them_too(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        one = await here.run(pod, "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done")
        before = await here.exec(pod, "cat", "/proc/self/uid_map")
        (user_ids.reservation(first_of(here, pod))).unlink()  # As when somebody has cleaned up below /run.
        await here.restart()
        assert here.seen(one).state == "running" and await here.exec(pod, "cat", "/proc/self/uid_map") == before
        assert user_ids.holder(first_of(here, pod))
        await here.runtime.stop_container(one.pod_uid, "main", 10.0)
        assert here.seen(one).exit_code == 7
        assert await here.output(pod, "cat", "/proc/self/uid_map", attempt=1) == before
        await here.runtime.remove_sandbox(one.pod_uid)
        assert not user_ids.holder(int(before.split()[1]))


@machine.on_machine
async def test_a_sandbox_that_was_let_go_comes_back_with_users(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        await here.run_to_end(pod, "true")
        await here.runtime.stop_sandbox(pod["metadata"]["uid"])
        assert not user_ids.holder(first_of(here, pod))
        await here.runtime.create_sandbox(pod, machine.HOSTS, machine.RESOLV)
        said = await here.output(pod, "cat", "/proc/self/uid_map", attempt=1)
        assert int(said.split()[1]) == first_of(here, pod) and user_ids.holder(first_of(here, pod))


@machine.on_machine
async def test_a_port_of_it_can_be_reached_and_forwarded(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(hostUsers=False)
        await here.run(pod, "sh", "-c", "while :; do echo hello | nc -l -p 80; done")
        address = here.runtime.observe_pod(pod["metadata"]["uid"])[0].ip

        async def answer() -> bytes:
            while True:
                try:
                    reader, writer = await asyncio.open_connection(address, 80)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                said = await reader.read()
                writer.close()
                return said

        assert await asyncio.wait_for(answer(), machine.SECONDS_MAX) == b"hello\n"
