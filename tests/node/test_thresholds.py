"""Eviction thresholds: how a kubelet's flags are read, and what is crossed for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset import cluster, machine
from petset.base import state
from petset.cli import main
from petset.node import thresholds
from petset.node.thresholds import Lack, Left, Threshold, ThresholdError, Watch

GI = 1 << 30


def test_thresholds_are_read():
    assert thresholds.read_thresholds("memory.available<1.5Gi, nodefs.inodesFree<5%,imagefs.available<0%") == [
        Threshold("memory.available", amount=3 * GI // 2),
        Threshold("nodefs.inodesFree", percent=5),
    ]
    assert thresholds.read_thresholds("") == []
    soft = thresholds.read("memory.available<1Gi", "nodefs.available<10%", "nodefs.available=1m30s", 60)
    assert soft.thresholds[1] == Threshold("nodefs.available", percent=10, after_seconds=90)
    assert soft.pod_grace_seconds_max == 60
    assert thresholds.read(None, "", "").thresholds == list(thresholds.HARD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("memory.available=1Gi", "is not written like memory.available<100Mi"),
        ("memory<1Gi", "'memory' is none of memory.available, "),
        ("memory.available<lots", "'lots' of memory.available is no quantity"),
        ("memory.available<-1Gi", "is not more than nothing"),
        ("memory.available<0", "is not more than nothing"),
        ("memory.available<101%", "is no part from 0% to 100%"),
        ("memory.available<-1%", "is no part from 0% to 100%"),
        ("memory.available<1Gi,memory.available<2Gi", "memory.available is there twice"),
    ],
)
def test_what_is_no_threshold_is_said_in_one_line(text: str, why: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ThresholdError, match=why):
        thresholds.read_thresholds(text)
    with pytest.raises(SystemExit):
        main.main(["up", f"--eviction-hard={text}"])
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("soft", "periods", "why"),
    [
        ("memory.available<1Gi", "", "memory.available of --eviction-soft has no time in --eviction-soft-grace-period"),
        ("", "memory.available=1m", "memory.available of --eviction-soft-grace-period is not in --eviction-soft"),
        ("memory.available<1Gi", "memory.available=soon", "'soon' of memory.available is no duration"),
    ],
)
def test_soft_thresholds_and_their_times_belong_together(soft: str, periods: str, why: str):
    with pytest.raises(ThresholdError, match=why):
        thresholds.read(None, soft, periods)


def test_a_soft_threshold_is_due_when_it_was_crossed_for_so_long():
    watch = Watch(thresholds.read("memory.available<1Gi", "memory.available<2Gi", "memory.available=30s").thresholds)

    def look(gibibytes: float, now: float) -> tuple[Lack | None, Lack | None]:
        return watch.look({"memory.available": Left(8 * GI, int(gibibytes * GI))}, now)

    soft, hard = Lack("memory", 2 * GI, 3 * GI // 2, is_hard=False), Lack("memory", GI, GI // 2)
    assert look(3, 0) == (None, None)
    assert look(1.5, 10) == look(1.5, 39) == (soft, None)
    assert look(1.5, 40) == (soft, soft)
    assert look(0.5, 41) == (hard, hard)
    assert look(3, 42) == (None, None)
    assert look(1.5, 43) == (soft, None)


def test_what_was_acted_upon_counts_until_there_is_so_much_more():
    hard, soft = "memory.available<1Gi", "memory.available<2Gi"
    read = thresholds.read(hard, soft, "memory.available=30s", 0, "memory.available=512Mi,nodefs.available=10%")
    watch = Watch(read.thresholds)

    def look(gibibytes: float, now: float) -> tuple[Lack | None, Lack | None]:
        return watch.look({"memory.available": Left(8 * GI, int(gibibytes * GI))}, now)

    def is_low(by: float) -> Lack:
        return Lack("memory", GI, int(by * GI))

    assert look(0.5, 0) == (is_low(0.5), is_low(0.5))
    assert look(1.25, 10) == (is_low(1.25), is_low(1.25))  # Above it, but not by half a gibibyte.
    only_soft = Lack("memory", 2 * GI, 3 * GI // 2, is_hard=False)
    assert look(1.5, 20) == (only_soft, None)  # It is crossed since 0, with the hard one, but for another 10 s.
    assert look(2.25, 25) == (None, None)  # Nothing was done for the soft one: what it must give back does not count.
    assert look(1.5, 26)[1] is None and look(1.5, 56)[1] == only_soft
    more = Lack("memory", 2 * GI, 9 * GI // 4, is_hard=False)
    assert look(2.25, 57) == (more, more)
    assert look(2.5, 58) == (None, None)
    assert look(1.25, 59) == (Lack("memory", 2 * GI, 5 * GI // 4, is_hard=False), None)


def test_a_part_of_the_whole_can_be_asked_back():
    (one,) = thresholds.read("nodefs.available<10Gi", "", "", 0, "nodefs.available=25%").thresholds
    watch = Watch([one])
    found = [watch.look({"nodefs.available": Left(100 * GI, left * GI)}, 0.0)[1] for left in (10, 9, 34, 35, 34)]
    assert [lack and lack.available // GI for lack in found] == [None, 9, 34, None, None]


@pytest.mark.parametrize(
    ("flag", "text", "why"),
    [
        ("minimum-reclaim", "nodefs.available<2Gi", "is not written like nodefs.available=2Gi"),
        ("minimum-reclaim", "pid.available=2", "'pid.available' is none of memory.available, "),
        ("minimum-reclaim", "nodefs.available=-1", "'-1' of nodefs.available is less than nothing"),
        ("minimum-reclaim", "nodefs.available=0%", "'0%' of nodefs.available is not more than nothing"),
        ("minimum-reclaim", "nodefs.available=200%", "is no part from 0% to 100%"),
        ("minimum-reclaim", "nodefs.available=much", "is no quantity"),
        ("pressure-transition-period", "soon", "'soon' is no duration, like 5m"),
        ("pressure-transition-period", "-1s", "'-1s' is no duration, like 5m"),
    ],
)
def test_what_cannot_be_kept_to_is_said_in_one_line(flag: str, text: str, why: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main.main(["up", f"--eviction-{flag}={text}"])
    assert why in capsys.readouterr().err


def test_no_time_of_transition_is_the_usual_one():
    assert thresholds.read(None, "", "", 0, "", "5m").transition_seconds == 300
    for text in ("", "0s"):
        assert thresholds.read(None, "", "", 0, "", text).transition_seconds == thresholds.TRANSITION_SECONDS


def test_an_instance_remembers_them(tmp_path: Path):
    instance = state.State(tmp_path)
    instance.create()
    asked = cluster.Limits(eviction_hard="memory.available<2Gi", eviction_max_pod_grace_period=9)

    def hard(limits: cluster.Limits) -> list[Threshold]:
        instance.keep(eviction=machine.eviction_asked(instance, limits))
        return list(machine.eviction(instance, limits).thresholds)

    assert hard(cluster.Limits()) == list(thresholds.HARD)
    assert hard(asked) == hard(cluster.Limits()) == [Threshold("memory.available", amount=2 * GI)]
    assert machine.eviction(instance, cluster.Limits()).pod_grace_seconds_max == 9
    assert hard(cluster.Limits(eviction_hard="")) == list(thresholds.HARD)
    more = cluster.Limits(eviction_minimum_reclaim="memory.available=1Gi", eviction_pressure_transition_period="2m")
    assert hard(more) == hard(cluster.Limits()) != list(thresholds.HARD)
    assert machine.eviction(instance, cluster.Limits()).transition_seconds == 120
    with pytest.raises(machine.MachineError, match="cannot keep to the eviction thresholds: memory"):
        machine.eviction(instance, cluster.Limits(eviction_soft="memory.available<3Gi"))
