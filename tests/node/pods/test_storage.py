"""What pods keep on the node's disk: limits, what is measured, and the end of a pod that keeps too much."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from petset.node import meter
from petset.node.pods import storage
from petset.node.pods.storage import Usage
from petset.node.volumes import empty_dirs
from petset.objects import meta
from tests import waiting
from tests.node import machine
from tests.node.node_fixture import NodeUnderTest, container, is_ready, play, pod, state


def limited(*limits: str, **volumes: Any) -> Any:
    """Containers c0, c1, ... with these limits, and emptyDirs by name."""
    containers = [container(f"c{i}", **storage_limit(limit)) for i, limit in enumerate(limits or ("",))]
    return pod("p", *containers, volumes=[{"name": name, "emptyDir": source} for name, source in volumes.items()])


def storage_limit(amount: str) -> dict[str, Any]:
    return {"resources": {"limits": {"ephemeral-storage": amount}}} if amount else {}


MI = 1 << 20


@pytest.mark.parametrize(
    ("given", "usage", "said"),
    [
        (limited(), Usage({"c0": 1 << 40}, {}), ""),
        (limited(v={}), Usage({}, {"v": 1 << 40}), ""),
        (limited(v={"sizeLimit": "0"}), Usage({}, {"v": 1 << 40}), ""),
        (limited(v={"sizeLimit": "1Mi"}), Usage({}, {"v": MI}), ""),
        (
            limited(v={"sizeLimit": "1Mi"}, w={"sizeLimit": "2Mi"}),
            Usage({}, {"v": MI, "w": 2 * MI + 1}),
            'Usage of EmptyDir volume "w" exceeds the limit "2Mi". ',
        ),
        (limited("1Mi"), Usage({"c0": MI}, {}), ""),
        (
            limited("1Mi", "2Mi", v={}),
            Usage({"c0": MI, "c1": MI}, {"v": MI + 1}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. ",
        ),
        (limited("1Mi", v={"medium": "Memory"}), Usage({"c0": MI}, {"v": 5 * MI}), ""),
        (
            limited("1Mi", "2Mi"),
            Usage({"c0": MI + 1, "c1": MI}, {}),
            'Container c0 exceeded its local ephemeral storage limit "1Mi". ',
        ),
        (limited("1Mi", ""), Usage({"c0": 0, "c1": MI // 2}, {}), ""),
    ],
)
def test_the_first_limit_that_is_passed_is_told(given: Any, usage: Usage, said: str):
    assert storage.excess(given, usage) == said


def test_only_pods_with_limits_are_measured():
    assert not storage.is_limited(limited(v={}))
    assert not storage.is_limited(limited(v={"sizeLimit": "0"}))
    assert storage.is_limited(limited(v={"sizeLimit": "1Mi"})) and storage.is_limited(limited("", "1Gi"))


@pytest.mark.parametrize(
    ("limit", "of_containers", "size"),
    [
        (None, ("",), None),
        ("0", ("",), None),
        ("1Mi", ("",), MI),
        (None, ("2Mi", "1Mi"), 3 * MI),
        ("4Mi", ("2Mi", "1Mi"), 3 * MI),
        ("1Mi", ("2Mi",), MI),
        (None, ("2Mi", ""), None),
    ],
)
def test_memory_volumes_are_as_large_as_the_pod_s_memory_at_most(
    limit: str | None, of_containers: tuple[str, ...], size: int | None
):
    containers = [
        container(f"c{i}", **({"resources": {"limits": {"memory": one}}} if one else {}))
        for i, one in enumerate(of_containers)
    ]
    assert empty_dirs.memory_bytes(pod("p", *containers), {"medium": "Memory", "sizeLimit": limit}) == size


def test_what_is_measured(tmp_path: Path):
    """Files once, however many names they have; no link is followed; absent or strangely named is no trouble."""
    place = tmp_path / "a new\nline"
    for name in ("one", "two", "outside"):
        (place / name / "deep").mkdir(parents=True)
    (place / "one" / "deep" / "file").write_bytes(bytes(300_000))
    os.link(place / "one" / "deep" / "file", place / "one" / "again")
    (place / "one" / "odd\n999999\tone").write_bytes(b"x")
    (place / "outside" / "file").write_bytes(bytes(900_000))
    (place / "two" / "link").symlink_to(place / "outside")

    found = asyncio.run(meter.Meter().bytes_in(place, ["one", "two", "gone"]))
    assert list(found) == ["one", "two"]
    assert 300_000 <= found["one"] < 400_000 and found["two"] < 100_000


@pytest.fixture
def measured(monkeypatch) -> None:
    """No program runs in virtual time."""

    async def bytes_in(self: meter.Meter, directory: Path, names: list[str]) -> dict[str, int]:
        return {name: sum(one.stat().st_size for one in (directory / name).rglob("*")) for name in names}

    monkeypatch.setattr(meter.Meter, "bytes_in", bytes_in)


def test_a_pod_that_fills_a_volume_beyond_its_limit_is_evicted(tmp_path: Path, measured: None):
    async def story(node: NodeUnderTest) -> None:
        volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
        made = await node.create(pod("p", volumes=volumes, terminationGracePeriodSeconds=600))
        await node.until("p", is_ready)
        place = tmp_path / "volumes" / meta.uid(made) / "v"
        (place / "file").write_bytes(bytes(MI))
        await asyncio.sleep(3 * storage.LOOK_SECONDS)
        assert is_ready(await node.pod("p"))

        (place / "file").write_bytes(bytes(MI + 1))
        said = 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
        ended = await node.until("p", lambda one: one["status"]["phase"] == "Failed", seconds=2 * storage.LOOK_SECONDS)
        assert (ended["status"]["reason"], ended["status"]["message"]) == ("Evicted", said)
        assert "terminated" in state(ended, "c")["state"]
        assert (meta.condition(ended, "DisruptionTarget") or {})["reason"] == "TerminationByKubelet"
        assert ("Warning", "Evicted", said) in await node.events("p")
        await node.until("p", lambda one: not place.exists())  # What it filled is free again.
        assert node.machine.running() == []

    play(story, tmp_path)


def test_a_container_that_writes_beyond_its_limit_is_evicted(tmp_path: Path, measured: None):
    async def story(node: NodeUnderTest) -> None:
        made = await node.create(pod("p", container("c", **storage_limit("1Mi"))))
        await node.until("p", is_ready)
        node.machine.disk_bytes[(meta.uid(made), "c")] = 2 * MI
        ended = await node.until("p", lambda one: one["status"]["phase"] == "Failed")
        assert ended["status"]["message"].startswith("Pod ephemeral local storage usage exceeds")

    play(story, tmp_path)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


@machine.on_machine
async def test_a_real_container_s_layer_and_logs_are_measured(tmp_path: Path, root: Path):
    async with machine.running(tmp_path / "s", root) as here:
        given = await here.sandbox()
        quiet = await here.run(given, "sleep", "1000", name="quiet")
        script = "head -c 3000000 /dev/zero > /big; head -c 500000 /dev/zero | tr '\\0' x; echo; sleep 1000"
        await here.run(given, "sh", "-c", script, name="busy")
        await waiting.until(lambda: os.path.getsize(log_of(here, "busy")) > 500_000)
        found = await here.runtime.disk_usage("uid-web-0")
        assert found["busy"] >= 3_500_000
        assert found["quiet"] < 100_000 and found["busy"] < 4_500_000
        await here.runtime.stop_container("uid-web-0", "busy", 0)
        await here.runtime.stop_container("uid-web-0", "quiet", 0)
        await here.runtime.stop_sandbox("uid-web-0")
        sandbox, _ = here.runtime.observe_pod("uid-web-0")
        assert sandbox is not None and not sandbox.alive and here.seen(quiet).state == "exited"
        assert await here.log(given, "busy") == "x" * 500_000 + "\n"  # The logs of a pod that ended stay.


def log_of(here: machine.Machine, name: str) -> str:
    found = here.runtime._find("uid-web-0", name, False)
    assert found is not None
    return found.record.log_path
