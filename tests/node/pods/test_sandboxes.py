"""Pods whose sandbox cannot be as they want it, and the runtimes that a node tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.kinds.node import NODES
from petset.objects import meta
from tests.node.node_fixture import NODE, NodeUnderTest, play, pod


def class_(name: str, handler: str) -> dict[str, Any]:
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"runtimeClassName": "vm"}, 'no runtime for "kata" is configured: this node has crun'),
        (
            {"setHostnameAsFQDN": True, "subdomain": "s" * 40},
            f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN bad.{'s' * 40}.default.svc"
            ".cluster.local is too long (64 characters is the max, 70 characters requested)",
        ),
        ({"hostUsers": False}, "hostUsers is false and there are no users of its own here: nobody is root"),
    ],
)
def test_a_sandbox_that_cannot_be_had_is_told(tmp_path: Path, spec: Any, said: str):
    async def story(node: NodeUnderTest) -> None:
        node.machine.lacks_users = "nobody is root"
        await node.create(class_("vm", "kata"))
        await node.create(class_("usual", "crun"))
        await node.create(pod("good", runtimeClassName="usual"))
        await node.create(pod("bad", **spec))
        await node.until("good", meta.is_pod_ready)
        told = ("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {said}")
        assert told in await node.events("bad")
        assert not meta.is_pod_ready(await node.pod("bad") or {}) and not node.machine.sandbox_errors
        await node.delete("bad")
        await node.until("bad", lambda one: one is None)

    play(story, tmp_path)


@pytest.mark.parametrize("own_users", [True, False])
def test_a_node_tells_what_its_runtimes_can(tmp_path: Path, own_users: bool):
    async def story(node: NodeUnderTest) -> None:
        if not own_users:
            await node.kill()
            node.machine.lacks_users = "nobody is root"
            await node.boot()
        status = (await node.admin.get(NODES, NODE))["status"]
        features = {"recursiveReadOnlyMounts": True, "userNamespaces": own_users}
        assert status["runtimeHandlers"] == [{"features": features}, {"name": "crun", "features": features}]
        assert status["features"] == {"supplementalGroupsPolicy": True}

    play(story, tmp_path)
