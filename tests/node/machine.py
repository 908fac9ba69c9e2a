"""A real runtime on this machine for tests: a state directory, a busybox image, and a look at what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from petset.base import networks
from petset.node import linux
from petset.node.containers import host, oci
from petset.node.network import bridge
from petset.node.runtime import Container, ContainerConfig, Image, Mount
from petset.wire.streaming import ExecOptions, LogOptions

BUSYBOX = shutil.which("busybox")
why_not = host.check() or ("" if BUSYBOX else "busybox-static is not installed; apt-get install busybox-static")
needs_machine = pytest.mark.skipif(bool(why_not), reason=why_not or "it can")


def on_machine(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run an async test on a machine that can run containers."""

    @needs_machine
    @functools.wraps(test)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        async def in_time() -> Any:
            async with asyncio.timeout(TEST_SECONDS_MAX):
                return await test(*args, **kwargs)

        return asyncio.run(in_time())

    return wrapped


HOSTS = "127.0.0.1\tlocalhost\n$(POD_IP)\tweb-0.nginx.default.svc.cluster.local\tweb-0\n"
RESOLV = "nameserver 10.0.0.10\nsearch default.svc.cluster.local\n"
SECONDS_MAX = 20.0
TEST_SECONDS_MAX = 60.0


def rootfs(directory: Path) -> Path:
    """A root file system of one program."""
    for name in ("bin", "etc", "root", "tmp", "data", "proc", "sys", "dev"):
        (directory / name).mkdir(parents=True)
    assert BUSYBOX is not None
    shutil.copy(os.path.realpath(BUSYBOX), directory / "bin" / "busybox")
    listed = subprocess.run([str(directory / "bin" / "busybox"), "--list"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        if name != "busybox":
            (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nredis:x:999:998:redis:/data:/bin/sh\n")
    (directory / "etc" / "group").write_text("root:x:0:\nredis:x:998:\nextra:x:1500:redis\n")
    return directory


def pod(name: str = "web-0", uid: str = "", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"},
        "spec": {"hostname": name, "containers": [{"name": "main", "image": "busybox"}], **spec},
    }


def config(of: dict[str, Any], *command: str, root: Path, **changes: Any) -> ContainerConfig:
    container = {"name": changes.get("name", "main"), "image": "busybox", **changes.pop("container", {})}
    image = Image("busybox", "sha256:0", str(root), env=("PATH=/bin",), **changes.pop("image", {}))
    return ContainerConfig(
        pod_uid=of["metadata"]["uid"],
        name=container["name"],
        attempt=changes.get("attempt", 0),
        image=image,
        command=command,
        env=tuple(changes.get("env", ())),
        working_dir=changes.get("working_dir", ""),
        mounts=tuple(changes.get("mounts", ())),
        pod=of,
        container=container,
        termination_message_path=changes.get("termination_message_path", "/dev/termination-log"),
    )


class Machine:
    """One instance: its network is up, its runtime started."""

    def __init__(self, state: Path, root: Path):
        self.state, self.root = state, root
        self.plan = networks.choose_networks(state).nodes[0]
        self.network = bridge.PodNetwork(self.plan, state)
        self.runtime = oci.OciRuntime(state, self.plan, self.network)

    async def restart(self) -> None:
        """Like a petset that was killed and started again: nothing is told to the containers."""
        await self.runtime.close()
        await self.network.close()
        self.network = bridge.PodNetwork(self.plan, self.state)
        self.runtime = oci.OciRuntime(self.state, self.plan, self.network)
        await self.network.setup()
        await self.runtime.start()

    async def sandbox(self, name: str = "web-0", **spec: Any) -> dict[str, Any]:
        of = pod(name, **spec)
        await self.runtime.create_sandbox(of, HOSTS, RESOLV)
        return of

    async def run(self, of: dict[str, Any], *command: str, **changes: Any) -> Container:
        return (await self.runtime.start_container(config(of, *command, root=self.root, **changes)))[0]

    async def run_to_end(self, of: dict[str, Any], *command: str, **changes: Any) -> Container:
        container = await self.run(of, *command, **changes)
        return await self.until(lambda: self.seen(container) if self.seen(container).state == "exited" else None)

    async def output(self, of: dict[str, Any], *command: str, **changes: Any) -> str:
        """What a container writes until it ends."""
        container = await self.run_to_end(of, *command, **changes)
        return await self.log(of, container.name)

    async def log(self, of: dict[str, Any], name: str = "main", **options: Any) -> str:
        pieces = self.runtime.streams.logs(of["metadata"]["uid"], name, LogOptions(**options))
        return b"".join([piece async for piece in pieces]).decode()

    async def exec(self, of: dict[str, Any], *command: str, name: str = "main") -> str:
        """What a command in a running container writes."""
        session = await self.runtime.streams.exec(of["metadata"]["uid"], name, ExecOptions(command))
        data = b"".join([piece async for _, piece in session.output()])
        await session.close()
        return data.decode()

    def seen(self, container: Container) -> Container:
        _, there = self.runtime.observe()[container.pod_uid]
        return next(one for one in there if one.id == container.id)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for a condition, looking at every event of the runtime."""
        if found := condition():
            return found
        async with asyncio.timeout(SECONDS_MAX):
            async for _ in self.runtime.events():
                if found := condition():
                    return found
        raise AssertionError("the runtime has no more events")

    async def left_behind(self) -> list[str]:
        """Mounts, interfaces, cgroups, tables and processes of this instance."""
        found = [f"mount {path}" for path in linux.mount_points(str(self.state))]
        for _ in range(100):  # The kernel takes interfaces away with their namespace, in its own time.
            links = [f"interface {name}" for name in os.listdir("/sys/class/net") if self.plan.cluster.instance in name]
            if not links:
                break
            await asyncio.sleep(0.05)
        found += links
        for directory, below, _ in os.walk("/sys/fs/cgroup"):
            found += [f"cgroup {directory}/{name}" for name in below if self.plan.cluster.instance in name]
            if directory.count("/") > 5:
                below.clear()
        found += [line for line in _tables() if self.plan.table in line]
        for entry in os.listdir("/proc"):
            if entry.isdigit() and linux.process(int(entry)) is not None:
                with contextlib.suppress(OSError):
                    line = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if str(self.state) in line and "pytest" not in line:
                        found.append(f"process {entry} {line}")
        return found


def _tables() -> list[str]:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout.splitlines()


@contextlib.asynccontextmanager
async def running(state: Path, root: Path) -> AsyncIterator[Machine]:
    """An instance that is taken down at the end, and has then left nothing."""
    state.mkdir(parents=True, exist_ok=True)
    machine = Machine(state, root)
    try:
        await machine.network.setup()
        await machine.runtime.start()
        yield machine
    finally:
        await machine.runtime.shut_down()
        await machine.network.teardown()
        await machine.runtime.close()
        await machine.network.close()
    assert await machine.left_behind() == []


__all__ = ["Machine", "Mount", "config", "needs_machine", "on_machine", "pod", "rootfs", "running"]
