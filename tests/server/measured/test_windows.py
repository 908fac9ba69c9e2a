"""Windows between looks, given and then: which look one begins at, what is kept, what cannot be told yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds.metrics import usage
from petset.server.measured import windows
from petset.server.measured.windows import Counted, Look, Used


def look(at: float, cpu: float = 0.0, **pods: dict[str, Counted]) -> Look:
    return Look(at, Counted(cpu, 100), pods)


@pytest.mark.parametrize(
    ("ages", "begins"),
    [
        ([], None),
        ([0.5], None),  # Too short to say anything.
        ([1.0], 1.0),
        ([5.0, 2.0], 5.0),  # None is good yet: the longest there is.
        ([30.0, 12.0, 3.0], 12.0),  # The newest of the good ones.
        ([60.0], 60.0),
        ([61.0], None),  # Of another time.
        ([-5.0], None),  # The clock was set back.
    ],
)
def test_a_window_begins_at(ages: list[float], begins: float | None) -> None:
    found = windows.window([*(look(1000 - age) for age in ages), look(1000)])
    assert (found and found.now.at - found.before.at) == begins


@given(st.lists(st.floats(0.01, 40), min_size=1, max_size=60))
def test_few_looks_are_kept_and_the_window_is_good_where_there_were_looks(steps: list[float]) -> None:
    kept: tuple[Look, ...] = ()
    at, times = 0.0, list[float]()
    for step in steps:
        at += step
        times.append(at)
        kept = windows.kept(kept, look(at))
        within = [one for one in times if at - one < windows.WINDOW_SECONDS_GOOD]
        assert len(kept) <= len(within) + 1
        good = [one for one in times if windows.WINDOW_SECONDS_GOOD <= at - one <= windows.WINDOW_SECONDS_MAX]
        found = windows.window(kept)
        if good:
            assert found is not None
            assert found.before.at == good[-1]


def test_of_a_node_two_looks_are_needed() -> None:
    found = windows.window([look(100, 50.0), look(110, 65.0)])
    assert found is not None
    assert found.node() == Used(1.5, 100, 10)


@pytest.mark.parametrize(
    ("before", "now", "used"),
    [
        ({"c": Counted(1, 5, 10)}, {"c": Counted(6, 7, 10)}, {"c": Used(0.5, 7, 10)}),
        ({}, {"c": Counted(2, 7, 106)}, {"c": Used(0.5, 7, 4)}),  # Younger than the window: since its start.
        ({"c": Counted(90, 5, 10)}, {"c": Counted(2, 7, 106)}, {"c": Used(0.5, 7, 4)}),  # It started again.
        ({}, {"c": Counted(2, 7, 109.5)}, None),  # Too young to tell.
        ({"c": Counted(0, 5, 1)}, {"c": Counted(0, 5, 1), "d": Counted(0, 1, 109.9)}, None),  # All or nothing.
        ({"c": Counted(0, 5, 1)}, {}, None),  # It ended.
    ],
)
def test_of_a_pod(before: dict[str, Counted], now: dict[str, Counted], used: dict[str, Used] | None) -> None:
    found = windows.window([look(100, u=before), look(110, u=now)])
    assert found is not None
    assert found.pod("u") == used
    assert found.pod("somebody") is None


@pytest.mark.parametrize(
    ("cores", "size", "written"),
    [
        (0.25, 64 << 20, {"cpu": "250m", "memory": "64Mi"}),
        (0.0000011234, 1500, {"cpu": "1123n", "memory": "1500"}),
        (2, 0, {"cpu": "2", "memory": "0"}),
        (-1, -1, {"cpu": "0", "memory": "0"}),
    ],
)
def test_amounts_are_written_as_quantities(cores: float, size: int, written: dict[str, str]) -> None:
    assert usage.usage(cores, size) == written
