"""How far a step has come: nothing where nothing can be written over, a bar on a terminal, and nothing left of it."""

from __future__ import annotations

import io

import pytest

from petset.cli.showing import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown() as tell:
        for done in (1, 1 << 30, 2 << 30):
            tell("saved", done, 2 << 30)
    with progress.counted("snapshot", 3, "volumes") as count:
        count(2)
    with progress.working("debian") as say:
        say("[fetching]")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_on_a_terminal_a_bar_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.shown() as tell:
        tell("saved", 50_000_000, 100_000_000)
    with progress.counted("snapshot [one]", 3, "volumes") as count:
        count(2)
    with progress.working("debian") as say:
        say("[fetching] packages")
    shown = terminal.getvalue()
    assert "50.0/100.0 MB" in shown and "snapshot [one]: volumes" in shown and "2/3" in shown
    assert "debian: [fetching] packages" in shown, "what others say is no markup"
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h")), "nothing is left on the screen"
