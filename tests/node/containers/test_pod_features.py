"""What a pod's spec asks of its containers' processes and mounts, by the containers themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset.node import linux
from petset.node.runtime import Mount
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
