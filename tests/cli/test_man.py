"""The man page has every command, flag and exit code, and groff understands it; the document agrees."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from petset.cli import exit_codes, main, man

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rendered() -> str:
    assert shutil.which("groff"), "groff is not installed; run make system-test"
    page = "\n".join(man.page()) + "\n"
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=200n"],
        input=page,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_every_command_is_there_with_its_flags(rendered):
    flat = " ".join(rendered.split())
    for name, *_ in main.COMMANDS:
        assert f" petset {name} " in flat
        for action in main.parser(name).below[name].takes:
            assert all(flag in flat for flag in action.option_strings if action.help != "==SUPPRESS=="), action
    for words in ("petset image build", "petset node stop", "PETSET_STATE", "NO_COLOR"):
        assert words in flat


def test_every_exit_code_is_there(rendered):
    for code, meaning in exit_codes.MEANING.items():
        assert re.search(rf"^\s+{code}\s", rendered, re.M) and meaning.split(":")[0] in " ".join(rendered.split())


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("--nodes N", "\\-\\-nodes N"),
        (".petset", "\\&.petset"),
        ("'a'", "\\&'a'"),
        ("a\\b\nc", "a\\eb c"),
        ("~/x on|off", "\\(ti/x on|\\:off"),
        ("{a,b}, c", "{a,\\:b}, c"),
    ],
)
def test_text_is_nothing_else_to_roff(text, roff):
    assert man.escaped(text) == roff


def test_the_command_prints_it(capsys):
    assert main.main(["man"]) == 0
    assert capsys.readouterr().out.startswith('.TH PETSET 1 ""')


def test_the_document_has_the_exit_codes():
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    told = {int(code): words for code, words in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.M)}
    assert {code: words.replace("`", "").replace("petset ", "") for code, words in told.items()} == exit_codes.MEANING
