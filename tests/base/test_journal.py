"""The instance's log: a line for each thing that happened, never more than its size, never a reason to stop."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from petset.base import journal, reasons

log = logging.getLogger("petset.node")


def test_a_line_says_when_how_bad_where_and_what(tmp_path: Path, capsys) -> None:
    with journal.kept(tmp_path / "log", also_on_stderr=True):
        log.debug("not for the log")
        log.info("adopted %d containers", 3)
        log.warning("cannot do it: said\n2016-08-03T00:00:00Z error petset: somebody else's line")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "info node: adopted 3 containers",
        "warning node: cannot do it: said | 2016-08-03T00:00:00Z error petset: somebody else's line",
    ]
    assert capsys.readouterr().err == lines[1] + "\n"
    assert log.isEnabledFor(logging.INFO)


def test_a_log_is_begun_anew_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOG_BYTES_MAX", 1000)
    with journal.kept(tmp_path / "log", also_on_stderr=False):
        for number in range(100):
            log.info("line %d", number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert (tmp_path / "log").read_text().endswith("line 99\n")


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys) -> None:
    with journal.kept(tmp_path / "nowhere" / "log", also_on_stderr=False):
        log.info("lost")
    (tmp_path / "full").symlink_to("/dev/full")
    with journal.kept(tmp_path / "full", also_on_stderr=False):
        log.info("lost")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("cannot do it: too big; make it smaller"), "cannot do it: too big; make it smaller"),
        (ExceptionGroup("", [ExceptionGroup("", [OSError("cannot reach it")])]), "cannot reach it"),
        (OSError(28, "No space left on device", "/a/b"), "cannot start: No space left on device: /a/b; free some"),
        (OSError(28, "No space left on device"), "cannot start: No space left on device: /state; free some space"),
        (IsADirectoryError(21, "Is a directory", "/a/.b.x", None, "/a/b"), "cannot start: Is a directory: /a/b"),
        (TimeoutError(), "cannot start: TimeoutError: /state"),
        (ValueError("two\nlines"), "cannot start: ValueError: two lines; this is a defect of petset"),
    ],
)
def test_the_reason_of_an_exception_is_one_line(error: Exception, said: str) -> None:
    assert reasons.reason(error, "start", "/state").startswith(said)
    assert "\n" not in reasons.reason(error, "start")
    assert reasons.is_defect(error) is ("defect" in said)
