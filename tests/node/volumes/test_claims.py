"""The volumes of claims: for one pod at a time where the claim says so, and refused in words where there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from petset.base import tasks, well_known
from petset.node import simulated
from petset.node.environment import ConfigError, Facts
from petset.node.volumes.claims import Claimed, Holders
from petset.node.volumes.volumes import Mounted, VolumeError, Volumes
from petset.objects import meta
from tests.node.node_fixture import NodeUnderTest, is_gone, is_ready, play, pod, waits_with

ONE_POD, ONE_NODE = "ReadWriteOncePod", "ReadWriteOnce"


def claimed(name: str, mode: str = ONE_POD) -> Claimed:
    spec = {"accessModes": [mode], "volumeName": f"pv-{name}"}
    return Claimed({"metadata": {"name": name}, "spec": spec}, {"metadata": {"name": f"pv-{name}"}, "spec": {}})


def test_a_volume_for_one_pod_is_held_until_nothing_is_left_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        holders = Holders(tmp_path, on_disk=True)
        await holders.take("a", {"x": claimed("x"), "shared": claimed("shared", ONE_NODE)})
        await holders.take("a", {"x": claimed("x")})
        await holders.take("b", {"shared": claimed("shared", ONE_NODE)})
        with pytest.raises(ConfigError, match='claim "x" is ReadWriteOncePod, and another pod'):
            await holders.take("b", {"y": claimed("y"), "x": claimed("x")})
        await holders.take("c", {"y": claimed("y")})  # b got nothing, so it keeps nobody waiting.
        again = Holders(tmp_path, on_disk=True)
        again.load(["a", "c"])
        with pytest.raises(ConfigError):
            await again.take("b", {"x": claimed("x")})
        again.release("a")
        await again.take("b", {"x": claimed("x")})

    asyncio.run(story())


def test_what_could_not_be_written_is_not_held(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "a").write_text("no directory")
        holders = Holders(tmp_path, on_disk=True)
        with pytest.raises(OSError):
            await holders.take("a", {"x": claimed("x")})
        await holders.take("b", {"x": claimed("x")})

    asyncio.run(story())


async def bound_claim(node: NodeUnderTest, directory: Path, mode: str) -> None:
    directory.mkdir()
    asks = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    has: dict[str, Any] = {"accessModes": [mode], "capacity": {"storage": "1Gi"}, "hostPath": {"path": str(directory)}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    metadata = {"name": "data", "namespace": "default"}
    made = await node.admin.create({**claim, "metadata": metadata, "spec": {**asks, "volumeName": "pv"}})
    has["claimRef"] = {**metadata, "uid": meta.uid(made)}
    await node.admin.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": has})


def user(name: str) -> Any:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    return pod(name, volumes=[volume], terminationGracePeriodSeconds=5)


def test_a_bound_pod_waits_for_the_one_that_uses_its_claim(tmp_path: Path) -> None:
    async def story(node: NodeUnderTest) -> None:
        await bound_claim(node, tmp_path / "data", ONE_POD)
        await node.create(user("first"))
        await node.until("first", is_ready)
        await node.create(user("second"))
        await node.until("second", waits_with("ContainerCreating"))
        await asyncio.sleep(60)
        assert [name for name, *_ in node.machine.started] == ["first"]
        refused = 'claim "data" is ReadWriteOncePod, and another pod of this node uses its volume'
        told = f'MountVolume.SetUp failed for volume "v" : {refused}'
        assert ("Warning", "FailedMount", told) in await node.events("second")
        await node.delete("first")
        await node.until("second", is_ready)

    play(story, tmp_path)


def test_after_a_restart_who_still_runs_has_it_even_when_the_api_has_let_go(tmp_path: Path) -> None:
    async def story(node: NodeUnderTest) -> None:
        await bound_claim(node, tmp_path / "data", ONE_POD)
        first = await node.create(user("first"))
        await node.until("first", is_ready)
        await node.kill()
        await node.delete("first", grace=0)
        await node.create(user("second"))
        await node.boot()
        assert is_running(node, meta.uid(first))
        await node.until("second", lambda pod: len(node.machine.started) > 1)
        assert not is_running(node, meta.uid(first))
        await node.until("second", is_ready)

    play(story, tmp_path, lambda config: simulated.Behaviour(stop_seconds=3))


def is_running(node: NodeUnderTest, uid: str) -> bool:
    return any(record.seen(tasks.now()).state == "running" for record in node.machine.records.get(uid, ()))


def test_a_claim_for_a_node_is_for_all_its_pods(tmp_path: Path) -> None:
    async def story(node: NodeUnderTest) -> None:
        await bound_claim(node, tmp_path / "data", ONE_NODE)
        for name in ("first", "second"):
            await node.create(user(name))
            await node.until(name, is_ready)
        await node.delete("first")
        await node.until("first", is_gone)

    play(story, tmp_path)


# ---- volumes made by hand


def mounted(directory: Path, volume: Any, device: bool = False) -> Mounted:
    container = {"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}] if device else []}
    source = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    given = {"metadata": {"name": "p", "uid": "u1"}, "spec": {"volumes": [source], "containers": [container]}}
    annotations = {well_known.PROVISIONED_BY_ANNOTATION: well_known.HOST_PATH_PROVISIONER}
    made_by = annotations if volume.pop("ours", False) else {}
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": [ONE_NODE], "volumeName": "pv"}}
    one = Claimed(claim, {"metadata": {"name": "pv", "annotations": made_by}, "spec": volume})
    volumes = Volumes(directory / "state")
    return asyncio.run(volumes.prepare(given, Facts(given), {"data": one}, {}))["v"]


def test_a_host_path_made_by_hand_is_as_one_in_a_pod(tmp_path: Path) -> None:
    path = str(tmp_path / "made" / "here")
    assert mounted(tmp_path, {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}) == Mounted(path)
    assert mounted(tmp_path, {"hostPath": {"path": f"{path}/deeper", "type": ""}}) == Mounted(f"{path}/deeper")
    with pytest.raises(VolumeError, match=r"type check failed: .* is not a socket"):
        mounted(tmp_path, {"hostPath": {"path": path, "type": "Socket"}})
    with pytest.raises(VolumeError, match="is gone; restore it or delete the claim"):  # Not made anew without its data.
        mounted(tmp_path, {"hostPath": {"path": f"{path}/lost", "type": ""}, "ours": True})


def test_a_local_volume_is_a_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert mounted(tmp_path, {"local": {"path": str(tmp_path)}}) == Mounted(str(tmp_path))
    with pytest.raises(VolumeError, match="is gone"):
        mounted(tmp_path, {"local": {"path": str(tmp_path / "nosuch")}})
    with pytest.raises(VolumeError, match="is not a directory, which alone can be mounted"):
        mounted(tmp_path, {"local": {"path": str(tmp_path / "file")}})


def test_the_mount_options_of_a_local_volume_are_those_of_its_mounts(tmp_path: Path) -> None:
    local = {"path": str(tmp_path)}
    found = mounted(tmp_path, {"local": local, "mountOptions": ["noexec", "noatime", "rw"]})
    assert found == Mounted(str(tmp_path), options=("noexec", "noatime"))
    assert mounted(tmp_path, {"local": local, "mountOptions": ["ro"]}) == Mounted(str(tmp_path), read_only=True)


@pytest.mark.parametrize(
    ("volume", "device", "why"),
    [
        ({"local": {"path": "/"}, "mountOptions": ["noexec", "data=journal"]}, False, "with the options data=journal"),
        ({"hostPath": {"path": "/"}, "mountOptions": ["ro", "x"]}, False, "options ro x: hostPath volumes have none"),
        ({"local": {"path": "/dev/null"}, "volumeMode": "Block"}, True, "petset mounts directories only"),
        ({"local": {"path": "/"}, "volumeMode": "Block"}, False, "use a volume with volumeMode Filesystem"),
        ({"local": {"path": "/"}}, True, 'volume "pv" has volumeMode Filesystem, and volumeDevices are for Block'),
        ({"nfs": {"server": "a", "path": "/"}}, False, "does not offer volumes of type nfs"),
    ],
)
def test_what_a_volume_cannot_be_is_refused_before_the_pod_starts(
    tmp_path: Path, volume: Any, device: bool, why: str
) -> None:
    with pytest.raises(VolumeError) as caught:
        mounted(tmp_path, volume, device)
    assert caught.value.message.startswith('MountVolume.SetUp failed for volume "v" : ') and why in caught.value.message
