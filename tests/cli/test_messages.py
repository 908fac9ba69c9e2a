"""What every command has alike: its messages, its forms for programs, its exit codes, and its asking first."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from petset.cli import exit_codes, main
from petset.cli.failures import CommandError
from petset.cli.given import consent
from petset.cli.showing import printing

SOURCES = Path(main.__file__).parents[1]
SAYING = [
    *sorted(SOURCES.glob("cli/**/*.py")),
    *(SOURCES / f"{name}.py" for name in ("up", "backup", "rootless", "client/manifests")),
    *sorted(SOURCES.glob("testing/*.py")),
]
FAILURES = re.compile(r"(.*\.)?(CommandError|UpError|BackupError|RootlessError|ClusterError|ManifestError|Refused)")
PLACE = "{}"  # Of what is put into a message.


def literal(node: ast.expr) -> str | None:
    """The text of a message, with a place for each value; None when it is somebody else's."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else PLACE for part in parts)
        case _:
            return None


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and FAILURES.fullmatch(ast.unparse(node.func)) and node.args:
            text = literal(node.args[0])
            if text is not None:
                yield node.lineno, text


def is_whole(text: str) -> bool:
    """Says what cannot be done, why, and what to do, or ends with what another sentence says."""
    if text.startswith(PLACE):
        return True
    what, _, why = text.partition(": ")
    return what.startswith("cannot ") and bool(why) and ("; " in why or why.endswith(PLACE))


def test_every_message_says_what_cannot_be_done_and_why_and_what_to_do() -> None:
    wrong = [
        f"{path.relative_to(SOURCES)}:{line}: {text}"
        for path in SAYING
        for line, text in messages(ast.parse(path.read_text()))
        if not is_whole(text)
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(1 for path in SAYING for _ in messages(ast.parse(path.read_text()))) > 80


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ('raise CommandError("cannot go: it is dark; make light")', True),
        ('raise up.UpError(f"cannot go: it is {dark}; make light")', True),
        ('raise CommandError(f"cannot go: {why}")', True),
        ('raise CommandError("cannot go: it is dark")', False),
        ('raise CommandError("cannot go; make light")', False),
        ('raise CommandError(f"it is {dark}: so; make light")', False),
    ],
)
def test_the_finder_of_messages(source: str, is_one: bool) -> None:
    [(_, text)] = messages(ast.parse(source))
    assert is_whole(text) is is_one


# What prints data has it for programs, too.

NO_DATA = {
    "up": "what it says is what it does",
    "down": "as it",
    "run": "what it shows while it waits `ls` has as data, and why it waits `why`",
    "logs": "the lines of a log are as they were written",
    "kubeconfig": "it is YAML",
    "open": "a link",
    "image build": "what it says is what it does; --list has a name a line",
    "image load": "what it says is what it does",
    "image pull": "as it",
    "image push": "as it",
    "image rm": "as it",
    "image tag": "as it",
    "image prune": "as it",
    "node start": "as it",
    "node stop": "as it",
    "node partition": "as it",
    "snapshot take": "as it",
    "snapshot revert": "as it",
    "snapshot rm": "as it",
    "service install": "as it; --print has a unit for systemd",
    "service remove": "as it",
    "backup": "as it",
    "restore": "as it",
    "setup": "as it",
    "move": "as it",
    "serve": "as it",
    "demo": "a story",
    "completion": "what a shell reads",
    "man": "a page",
    "destroy": "what it says is what it does",
}


def leaves(one: main.Parser, name: str) -> Iterator[tuple[str, main.Parser]]:
    if not one.below:
        yield name, one
    for word, below in one.below.items():
        yield from leaves(below, f"{name} {word}")


COMMANDS = [leaf for command, *_ in main.COMMANDS for leaf in leaves(main.parser(command).below[command], command)]


def test_every_command_that_prints_data_has_a_form_for_programs() -> None:
    formed = {
        name: next((tuple(action.choices or ()) for action in one.takes if "-o" in action.option_strings), None)
        for name, one in COMMANDS
    }
    assert [name for name, choices in formed.items() if choices is None and name not in NO_DATA] == []
    assert [name for name, choices in formed.items() if choices not in (None, printing.FORMATS)] == []
    assert [name for name in NO_DATA if name not in formed or formed[name] is not None] == []


# The exit codes.


def test_the_page_has_every_exit_code_and_no_other() -> None:
    page = (SOURCES.parents[1] / "docs" / "exit-codes.md").read_text()
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)]
    assert told == list(exit_codes.MEANING)


# Asking first.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "agreed"), [("yes\n", True), ("YES \n", True), ("y\n", False), ("\n", False)])
def test_nothing_is_lost_before_somebody_says_yes(
    typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert consent.given(False, "empty it", lost="All is lost.") is agreed
    said = capsys.readouterr().out
    assert said.startswith("All is lost.\n") and said.endswith("nothing was changed\n") is not agreed


def test_where_nobody_can_answer_it_has_to_be_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    with pytest.raises(CommandError, match="cannot empty it: it asks first, and nobody is there"):
        consent.given(False, "empty it", lost="All is lost.")
    assert consent.given(True, "empty it", lost="All is lost.")
