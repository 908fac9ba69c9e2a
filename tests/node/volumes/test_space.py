"""How full the volumes of claims are: looked at while they are used, no more often than it is worth, and said once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from petset.base import tasks, well_known
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.node import meter
from petset.node.volumes import space
from petset.node.volumes.claims import Claimed
from petset.node.volumes.space import Figures, Space
from petset.objects import errors, meta
from petset.server.access import users
from tests.node.node_fixture import NODE, NodeUnderTest, is_gone, is_ready, play, pod

MI = 1 << 20
CONDITION = well_known.NEARLY_FULL_CONDITION


def figures(used: int, capacity: int = 100 * MI) -> Figures:
    return Figures(0.0, used, capacity, max(0, capacity - used), 3, 1000, 900)


def claim(*conditions: Any) -> Any:
    return {"metadata": {"name": "data"}, "status": {"conditions": list(conditions)}}


def said(percent: int, claim_: Any | None = None) -> tuple[str, str] | None:
    found = space.condition(claim() if claim_ is None else claim_, figures(percent * MI), 0.0)
    return (found["status"], found["message"]) if found is not None else None


def having(percent: int) -> Any:
    return claim(space.condition(claim(), figures(percent * MI), 0.0))


@pytest.mark.parametrize(
    ("before", "percent", "then"),
    [
        (None, 0, ("False", "0Ki of 100Mi are used (0 %)")),
        (None, 90, ("True", "90Mi of 100Mi are used (90 %)")),
        (0, 9, None),
        (0, 10, ("False", "10Mi of 100Mi are used (10 %)")),
        (80, 71, None),
        (80, 70, ("False", "70Mi of 100Mi are used (70 %)")),
        (89, 90, ("True", "90Mi of 100Mi are used (90 %)")),
        (90, 99, None),
        (95, 120, ("True", "120Mi of 100Mi are used (120 %)")),
        (90, 89, ("False", "89Mi of 100Mi are used (89 %)")),
    ],
)
def test_a_claim_says_so_when_it_is_nearly_full_and_when_the_figure_has_moved(
    before: int | None, percent: int, then: Any
) -> None:
    assert said(percent, having(before) if before is not None else None) == then


def test_the_time_of_a_condition_is_that_of_its_turn() -> None:
    first = space.condition(claim(), figures(90 * MI), 0.0)
    assert first is not None
    later = space.condition(claim(first), figures(120 * MI), 60.0)
    assert later is not None and later["lastTransitionTime"] == first["lastTransitionTime"] != later["lastProbeTime"]
    assert later["reason"] == "VolumeNearlyFull" and first["type"] == CONDITION


# ---- when it is looked at


class Scale(meter.Meter):
    """Says what it is told, and how often it was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.bytes, self.looks, self.seconds = 0, 0, seconds

    async def held_in(self, directory: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        self.looks += 1
        await asyncio.sleep(self.seconds)
        return dict.fromkeys(names, (self.bytes, 7))


def bound(directory: Path, name: str = "pv", source: str = "hostPath", ours: bool = True) -> Claimed:
    made_by = {well_known.PROVISIONED_BY_ANNOTATION: well_known.HOST_PATH_PROVISIONER} if ours else {}
    spec = {"capacity": {"storage": "100Mi"}, source: {"path": str(directory)}}
    return Claimed(
        {"metadata": {"name": "data", "namespace": "default", "uid": "c"}},
        {"metadata": {"name": name, "annotations": made_by}, "spec": spec},
    )


async def keep(one: Space) -> None:
    while True:
        for batch in space.batches(await one.until_due()):
            await one.look(batch)
        one.rest()


def during(story: Callable[[Space], Awaitable[None]], scale: Scale | None, directory: Path) -> None:
    async def scene(node: NodeUnderTest) -> None:
        one = Space(scale)
        async with asyncio.TaskGroup() as group:
            keeper = tasks.spawn(group, keep(one), "keep")
            await story(one)
            keeper.cancel()

    play(scene, directory)


def test_a_volume_is_looked_at_every_minute_while_it_is_used(tmp_path: Path) -> None:
    scale = Scale()

    async def story(one: Space) -> None:
        one.use("p", "v", bound(tmp_path), str(tmp_path))
        one.use("p", "v", bound(tmp_path), str(tmp_path))  # As when its other volumes are made anew.
        one.use("q", "w", bound(tmp_path), str(tmp_path))
        await asyncio.sleep(space.LOOK_SECONDS - 1)
        assert scale.looks == 0 and one.of_pod("p") == []
        await asyncio.sleep(2 * space.LOOK_SECONDS)
        assert scale.looks == 2
        assert [(name, found.capacity_bytes) for name, _, found in one.of_pod("p")] == [("v", 100 * MI)]
        assert [name for name, *_ in one.of_pod("q")] == ["w"]
        one.leave("p")
        one.leave("q")
        await asyncio.sleep(10 * space.LOOK_SECONDS)
        assert scale.looks == 2 and one.of_pod("p") == []

    during(story, scale, tmp_path)


def test_who_asks_is_told_what_is_fresh(tmp_path: Path) -> None:
    scale = Scale()

    async def story(one: Space) -> None:
        await one.fresh()
        one.use("p", "v", bound(tmp_path), str(tmp_path))
        scale.bytes = 95 * MI
        for _ in range(3):
            await one.fresh()
        ((_, _, found),) = one.of_pod("p")
        assert (found.used_bytes, found.available_bytes, found.inodes_used, scale.looks) == (95 * MI, 5 * MI, 7, 1)
        scale.bytes = 120 * MI
        await asyncio.sleep(space.FRESH_SECONDS)
        await one.fresh()
        ((_, _, found),) = one.of_pod("p")
        assert (found.used_bytes, found.available_bytes, scale.looks) == (120 * MI, 0, 2)

    during(story, scale, tmp_path)


def test_what_takes_long_keeps_nobody_waiting_and_rests_long(tmp_path: Path) -> None:
    scale = Scale(seconds=20.0)

    async def story(one: Space) -> None:
        one.use("p", "v", bound(tmp_path), str(tmp_path))
        began = tasks.now()
        await one.fresh()
        assert tasks.now() - began == pytest.approx(space.WAIT_SECONDS_MAX) and one.of_pod("p") == []
        await asyncio.sleep(space.LEISURE * scale.seconds)
        await one.fresh()
        assert scale.looks == 1 and len(one.of_pod("p")) == 1

    during(story, scale, tmp_path)


@pytest.mark.parametrize(("source", "known"), [("local", 1), ("hostPath", 0)])
def test_of_what_was_made_by_hand_the_file_system_is_asked_where_it_is_local(
    tmp_path: Path, source: str, known: int
) -> None:
    scale = Scale()

    async def story(one: Space) -> None:
        one.use("p", "v", bound(tmp_path, source=source, ours=False), str(tmp_path))
        await one.fresh()
        assert len(one.of_pod("p")) == known and scale.looks == 0

    during(story, scale, tmp_path)


def test_without_a_meter_nothing_is_looked_at(tmp_path: Path) -> None:
    async def story(one: Space) -> None:
        one.use("p", "v", bound(tmp_path), str(tmp_path))
        await one.fresh()
        assert one.of_pod("p") == []

    during(story, None, tmp_path)


def test_a_volume_that_is_gone_misses_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = Scale()
    here, gone, counted = (tmp_path / name for name in ("here", "gone", "counted"))
    here.mkdir()
    counted.mkdir()
    asked: list[str] = []

    def held(path: str) -> tuple[int, int] | None:
        asked.append(path)
        if not Path(path).exists():
            raise FileNotFoundError(path)
        return (3 * MI, 2) if path == str(counted) else None

    monkeypatch.setattr(space.project_quotas, "held", held)

    async def story(one: Space) -> None:
        scale.bytes = 5 * MI
        for place in (gone, here, counted):
            one.use("p", place.name, bound(place, name=place.name), str(place))
        await one.fresh()
        assert asked == [str(gone), str(here), str(counted)]
        assert {name: found.used_bytes for name, _, found in one.of_pod("p")} == {"here": 5 * MI, "counted": 3 * MI}

    during(story, scale, tmp_path / "node")


def test_a_place_that_cannot_be_measured_keeps_no_other_from_it(tmp_path: Path) -> None:
    class Stuck(Scale):
        async def held_in(self, directory: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
            if directory.name == "bad":
                raise FileNotFoundError(directory)
            return await super().held_in(directory, names)

    async def story(one: Space) -> None:
        for name in ("bad", "good"):
            (tmp_path / name / "pv").mkdir(parents=True)
            one.use("p", name, bound(tmp_path / name / "pv", name=name), str(tmp_path / name / "pv"))
        await one.fresh()
        assert [name for name, *_ in one.of_pod("p")] == ["good"]

    during(story, Stuck(), tmp_path / "node")


def test_du_counts_bytes_and_files(tmp_path: Path) -> None:
    (tmp_path / "pvc-1" / "deep").mkdir(parents=True)
    (tmp_path / "pvc-1" / "deep" / "file").write_bytes(b"x" * 3 * MI)
    (tmp_path / "pvc-2").mkdir()
    found = asyncio.run(meter.Meter().held_in(tmp_path, ["pvc-1", "pvc-2", "nosuch"]))
    used, files = found["pvc-1"]
    assert 3 * MI <= used < 4 * MI and files == 3 and found["pvc-2"][1] == 1 and len(found) == 2


def test_many_are_measured_in_one_go_and_who_has_many_files_alone(tmp_path: Path) -> None:
    scale = Scale()

    async def story(one: Space) -> None:
        for number in range(150):
            one.use("p", f"v{number}", bound(tmp_path, name=f"pv{number}"), str(tmp_path))
        await asyncio.sleep(space.LOOK_SECONDS + 1)
        assert scale.looks == 3 and len(one.of_pod("p")) == 150

    during(story, scale, tmp_path)
    many = space.InUse(bound(tmp_path), "", 0.0, figures=space.replace(figures(1), inodes_used=10**6))
    few = [space.InUse(bound(tmp_path), "", 0.0) for _ in range(3)]
    assert space.batches([few[0], many, *few[1:]]) == [few, [many]]


# ---- the node


def test_a_node_says_once_that_a_claim_is_nearly_full_until_it_is_not(tmp_path: Path) -> None:
    scale = Scale()

    async def story(node: NodeUnderTest) -> None:
        node.space = Space(scale)
        await node.kill()
        await node.boot()
        (tmp_path / "data").mkdir()
        one = bound(tmp_path / "data")
        asks = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
        made = await node.admin.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "namespace": "default"},
                "spec": {**asks, "volumeName": "pv", "storageClassName": ""},
            }
        )
        reference = {"name": "data", "namespace": "default", "uid": meta.uid(made)}
        spec = {**one.volume["spec"], "accessModes": ["ReadWriteOnce"], "claimRef": reference}
        await node.admin.create({"apiVersion": "v1", "kind": "PersistentVolume", **one.volume, "spec": spec})
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
        await node.create(pod("p", volumes=[volume], terminationGracePeriodSeconds=0))
        await node.until("p", is_ready)

        async def condition() -> tuple[str, str]:
            await asyncio.sleep(space.LOOK_SECONDS + 1)
            found = meta.condition(await node.admin.get(PERSISTENTVOLUMECLAIMS, "data", "default"), CONDITION)
            return (found or {}).get("status", ""), (found or {}).get("message", "")

        warned: list[int] = []
        for percent, status in ((1, "False"), (95, "True"), (97, "True"), (40, "False"), (93, "True")):
            scale.bytes = percent * MI
            assert (await condition())[0] == status
            warned.append(sum(reason == "VolumeNearlyFull" for _, reason, _ in await node.events("data")))
        assert warned == [0, 1, 1, 1, 2]
        assert await condition() == ("True", "93Mi of 100Mi are used (93 %)")
        await node.kill()
        await node.boot()  # It says nothing anew that stands there.
        await node.until("p", is_ready)
        await condition()
        assert sum(reason == "VolumeNearlyFull" for _, reason, _ in await node.events("data")) == 2
        # What was asked for is not what it has once it has grown.
        scale.bytes += 1
        grown = {"status": {"capacity": {"storage": "1Gi"}, "phase": "Bound"}}
        await node.admin.patch(PERSISTENTVOLUMECLAIMS, "data", "default", grown, "merge", "status")
        assert await condition() == ("False", "93Mi of 1Gi are used (9 %)")
        await node.delete("p")
        await node.until("p", is_gone)

    play(story, tmp_path)


def test_a_node_may_say_how_full_a_claim_of_its_pods_is_and_nothing_else(tmp_path: Path) -> None:
    async def story(node: NodeUnderTest) -> None:
        client = node.server.client(users.of_node(NODE))
        asks = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        for name in ("mine", "others"):
            metadata = {"name": name, "namespace": "default"}
            made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": asks}
            await node.admin.create(made)
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "mine"}}
        await node.create(pod("p", volumes=[volume]))
        say = {"status": {"conditions": [{"type": CONDITION, "status": "False"}]}}

        async def patch(name: str, what: Any) -> int:
            try:
                await client.patch(PERSISTENTVOLUMECLAIMS, name, "default", what, "strategic", "status")
            except errors.ApiError as error:
                return error.code
            return 200

        assert await patch("mine", say) == 200
        assert await patch("others", say) == 403
        assert await patch("mine", {"status": {"phase": "Lost"}}) == 403
        assert await patch("mine", {"status": {"capacity": {"storage": "1Ti"}}}) == 403

    play(story, tmp_path)
