"""A disk that fills: what goes to make room, what the node says, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from petset.kinds.node import NODES
from petset.node import disk, registration, thresholds
from petset.node.disk import Disk, Marks
from petset.node.images import collection
from petset.node.images.collection import ImageSummary
from petset.node.pods import storage
from petset.node.pods.storage import Usage
from petset.node.thresholds import Lack, Watch
from petset.objects import meta
from tests.node.node_fixture import NODE, NodeUnderTest, container, is_ready, play, pod

GI = 1 << 30
FINE = Disk(100 * GI, 50 * GI, 1000, 500)
FULL = Disk(100 * GI, GI // 2, 1000, 500)


@pytest.mark.parametrize(
    ("found", "marks", "wanted"),
    [
        (FINE, Marks(), 0),
        (Disk(100 * GI, 15 * GI + 1), Marks(), 0),
        (Disk(100 * GI, 15 * GI), Marks(), 5 * GI),
        (Disk(100 * GI, 0), Marks(), 20 * GI),
        (Disk(100 * GI, 0), Marks(100, 80), 0),  # As a kubelet: that switches it off.
        (Disk(100 * GI, 45 * GI), Marks(50, 80), 5 * GI),  # The low mark is never above the high one.
        (Disk(0, 0), Marks(), 0),
    ],
)
def test_what_has_to_go(found: Disk, marks: Marks, wanted: int):
    assert disk.bytes_to_free(found, marks) == wanted


def low(**disks: Disk) -> Lack | None:
    return Watch(thresholds.HARD).look(disk.left(disks), 0.0)[1]


def test_low_is_little_both_in_bytes_and_as_a_part():
    assert low(nodefs=FINE, imagefs=FINE) is None
    assert low(nodefs=FINE, imagefs=FULL) == Lack("ephemeral-storage", GI, GI // 2)
    assert low(nodefs=Disk(10_000 * GI, 2 * GI)) is None  # Little of a large disk is enough.
    assert low(nodefs=Disk(4 * GI, GI // 4)) is None
    assert low(nodefs=Disk(4 * GI, GI // 8)) == Lack("ephemeral-storage", 4 * GI * 5 // 100, GI // 8)
    assert low(nodefs=Disk(100 * GI, 50 * GI, 1000, 9)) == Lack("inodes", 10, 9)


def test_it_looks_at_real_disks(tmp_path: Path):
    found = disk.look(nodefs=tmp_path, imagefs=tmp_path)
    assert list(found) == ["nodefs", "imagefs"]
    assert 0 < found["nodefs"].bytes_available <= found["nodefs"].bytes_total


def test_the_node_tells_its_largest_images(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        node.machine.images = [([f"docker.io/library/i{number}:1"], number + 1) for number in range(60)]
        await node.create(pod("one"))
        await node.until("one", is_ready)
        await asyncio.sleep(2 * registration.IMAGES_REST_SECONDS)
        found = (await node.admin.get(NODES, NODE))["status"]["images"]
        assert [one["sizeBytes"] for one in found] == [*range(60, 10, -1)]
        assert found[0] == {"names": ["docker.io/library/i59:1"], "sizeBytes": 60}
        version = (await node.admin.get(NODES, NODE))["metadata"]["resourceVersion"]
        await node.create(pod("two"))
        await node.until("two", is_ready)
        await asyncio.sleep(2 * registration.IMAGES_REST_SECONDS)
        assert (await node.admin.get(NODES, NODE))["metadata"]["resourceVersion"] == version

    play(story, tmp_path)


class Looks:
    """The images of a node's machine, looked at slowly; how often, and what fails."""

    def __init__(self, node: NodeUnderTest):
        self.machine, self.count, self.failures = node.machine, 0, 0
        self.seconds, self.began = 0.0, asyncio.Event()
        node.runtime.images = self.look  # type: ignore[method-assign]  # Of this one.

    async def look(self) -> list[tuple[list[str], int]]:
        self.count += 1
        self.began.set()
        found = list(self.machine.images)
        await asyncio.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise OSError("cannot read the images")
        return found


async def told(node: NodeUnderTest) -> list[int]:
    return [one["sizeBytes"] for one in meta.parts(await node.admin.get(NODES, NODE), "status", "images")]


def test_images_that_change_while_they_are_looked_at_are_told_too(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        looks = Looks(node)
        looks.seconds = 1.0
        node.machine.images = [(["a:1"], 1)]
        node.runtime.look_again("somebody")
        await looks.began.wait()
        node.machine.images = [(["a:1"], 1), (["b:1"], 2)]
        node.runtime.look_again("somebody")
        await asyncio.sleep(2 * registration.IMAGES_REST_SECONDS)
        assert await told(node) == [2, 1] and looks.count == 2

    play(story, tmp_path)


def test_a_look_at_the_images_that_failed_is_tried_again_and_none_else(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        looks = Looks(node)
        looks.failures = 2
        node.machine.images = [(["a:1"], 1)]
        node.runtime.look_again("somebody")
        await asyncio.sleep(2 * registration.IMAGES_REST_SECONDS + 1)
        assert await told(node) == [] and looks.count == 2
        await asyncio.sleep(registration.IMAGES_REST_SECONDS)
        assert await told(node) == [1] and looks.count == 3
        await asyncio.sleep(100 * registration.IMAGES_REST_SECONDS)
        assert looks.count == 3

    play(story, tmp_path)


def test_a_node_that_is_registered_anew_is_told_its_images_again(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        node.machine.images = [(["a:1"], 1)]
        node.runtime.look_again("somebody")
        await asyncio.sleep(2 * registration.IMAGES_REST_SECONDS)
        assert await told(node) == [1]
        await node.admin.delete(NODES, NODE)
        await asyncio.sleep(2 * registration.IMAGES_REST_SECONDS)
        assert await told(node) == [1]

    play(story, tmp_path)


NOW = 1_750_000_000.0


def summary(digest: str, used_ago: float, **more: Any) -> ImageSummary:
    return ImageSummary(
        digest,
        (f"docker.io/{digest}",),
        1,
        "2016-08-03T00:00:00Z",
        more.pop("recipe", ""),
        **{"used_at": NOW - used_ago if used_ago else 0.0, **more},
    )


def test_the_longest_unused_images_go_first_and_some_never():
    found = [
        summary("young", 119),
        summary("later", 200),
        summary("sooner", 3000),
        summary("never", 0),
        summary("used", 3000),
        summary("built", 3000, recipe="redis"),
        summary("loaded", 3000, loaded=True),
    ]
    going = collection.candidates(found, ["used"], NOW)
    assert [image.digest for image in going] == ["never", "sooner", "later"]


def test_an_image_is_told_by_its_digest_too():
    one = ImageSummary("sha256:0a", ("docker.io/library/a:1", "docker.io/library/a:2", "localhost:5000/b:1"), 1, "", "")
    assert one.names == ["docker.io/library/a@sha256:0a", "localhost:5000/b@sha256:0a", *one.references]


def keeping(name: str, mebibytes: int, request: str = "", **spec: Any) -> tuple[Any, Usage]:
    asked = {"resources": {"requests": {"ephemeral-storage": request}}} if request else {}
    return pod(name, container("c", **asked), **spec), Usage({"c": mebibytes << 20}, {})


def test_who_is_evicted_first():
    def first(*found: tuple[Any, Usage]) -> str | None:
        going = storage.first_to_go(found)
        return going and meta.name(going[0])

    assert first() is None
    assert first(keeping("small", 63)) is None
    assert first(keeping("a", 100), keeping("b", 200)) == "b"
    assert first(keeping("a", 100), keeping("b", 200, priority=5)) == "a"
    assert first(keeping("a", 100), keeping("b", 200, request="1Gi")) == "a"
    assert first(keeping("critical", 900, priority=2_000_001_000)) is None


def test_a_full_disk_is_collected_told_and_relieved_and_the_node_takes_its_word_back(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.kill()
        node.disks = {"nodefs": FINE, "imagefs": FINE}
        await node.boot()
        large = await node.create(pod("large"))
        await node.create(pod("small"))
        for name in ("large", "small"):
            await node.until(name, is_ready)
        node.machine.disk_bytes = {(meta.uid(large), "c"): 3 * GI}
        await asyncio.sleep(5 * disk.LOOK_SECONDS)
        assert node.machine.collections == []

        node.disks = {"nodefs": FINE, "imagefs": Disk(100 * GI, 10 * GI)}
        await asyncio.sleep(5 * disk.LOOK_SECONDS)
        assert node.machine.collections == [(10 * GI, False)]  # It found nothing, so it rests.
        assert await condition(node, "DiskPressure") == "False"
        said = f"Attempted to free {10 * GI} bytes, but only found 0 bytes eligible to free."
        assert ("Warning", "FreeDiskSpaceFailed") in [(one[0], one[1]) for one in await node.events(NODE)]
        assert any(one[2].endswith(said) for one in await node.events(NODE))

        await asyncio.sleep(disk.COLLECTION_PAUSE_SECONDS)
        node.disks = {"nodefs": FULL, "imagefs": FULL}
        await asyncio.sleep(disk.LOOK_SECONDS + 1)
        assert node.machine.collections[-1] == (disk.EVERYTHING, True)
        assert await condition(node, "DiskPressure") == "True"
        ended = await node.until("large", lambda one: one["status"]["phase"] == "Failed")
        assert ended["status"]["reason"] == "Evicted"
        assert ended["status"]["message"].startswith("The node was low on resource: ephemeral-storage. Threshold quan")
        await node.create(pod("newcomer"))
        refused = await node.until("newcomer", lambda one: meta.get(one, "status", "phase") == "Failed")
        assert refused["status"]["message"] == "The node had condition: [DiskPressure]. "
        assert is_ready(await node.pod("small"))

        node.disks = {"nodefs": FINE, "imagefs": FINE}
        await asyncio.sleep(thresholds.TRANSITION_SECONDS - disk.LOOK_SECONDS)
        assert await condition(node, "DiskPressure") == "True"
        await asyncio.sleep(2 * disk.LOOK_SECONDS)
        assert await condition(node, "DiskPressure") == "False"
        await node.create(pod("later"))
        await node.until("later", is_ready)
        reasons = [reason for _, reason, _ in await node.events(NODE)]
        assert [one for one in reasons if "Pressure" in one or "Threshold" in one] == [
            "EvictionThresholdMet",
            "NodeHasDiskPressure",
            "NodeHasNoDiskPressure",
        ]

    play(story, tmp_path)


async def condition(node: NodeUnderTest, type_: str) -> str:
    found = await node.admin.get(NODES, NODE)
    return (meta.condition(found, type_) or {})["status"]
