"""What is said of a step that may fail: what kind of failure and where, in a line; and less and less of the same."""

from __future__ import annotations

import re

import pytest

from petset.base import tasks


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_said", tasks.Repetitions())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_defect_is_named_with_its_class_and_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with tasks.best_effort("test it"):
        tasks.parse_rfc3339("no time")
    (line,) = lines(caplog)
    assert re.fullmatch(r"cannot test it: ValueError: Invalid .* \(petset/base/tasks\.py:\d+\)", line)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("cannot do: it is so")])
def test_what_was_foreseen_is_said_as_it_is(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    with tasks.best_effort("test it"):
        raise error
    assert lines(caplog) == [f"cannot test it: {error}"]


def test_a_text_of_many_lines_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with tasks.best_effort("test it"):
        raise OSError("one\n  two")
    assert lines(caplog) == ["cannot test it: one two"]


def test_the_same_failure_is_said_at_growing_gaps(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        for why in ("this", "that"):
            with tasks.best_effort("test it"):
                raise OSError(why)
    times = ["", " (2 times)", " (4 times)", " (8 times)"]
    assert lines(caplog) == [f"cannot test it: {why}{often}" for often in times for why in ("this", "that")]
    assert tasks.best_effort_failures()["test it"] >= 20


def test_failures_that_are_never_the_same_are_not_kept_for_ever() -> None:
    said = tasks.Repetitions()
    for number in range(3 * tasks.REPETITIONS_KEPT_MAX):
        assert said.times(f"failure {number}") == 1
    assert len(said) <= tasks.REPETITIONS_KEPT_MAX


def test_it_is_counted_by_what_was_done_and_said_with_what_it_was_done_to(caplog: pytest.LogCaptureFixture) -> None:
    before = tasks.best_effort_failures()
    for pod in ("web-0", "web-1"):
        with tasks.best_effort("test the pod", pod):
            raise OSError("it is gone")
    assert lines(caplog) == [f"cannot test the pod {pod}: it is gone" for pod in ("web-0", "web-1")]
    assert tasks.best_effort_failures() == {**before, "test the pod": 2}
