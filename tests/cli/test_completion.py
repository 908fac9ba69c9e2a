"""What shells complete, asked of the shells themselves: commands, flags, choices, and names that something knows."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from petset.cli import completion, main, proofs
from petset.node.images import recipes
from tests import wheel

SECONDS_MAX = 60
COMMANDS = [name for name, *_ in main.COMMANDS]

# A shell's program: the script is in $SCRIPT, the line in $LINE; a line an answer.
ASKED = {
    "bash": """
        source "$SCRIPT"
        COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9 COMP_WORDBREAKS=$' \\t\\n=:'
        _python_argcomplete petset
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        autoload -U compinit; compinit -D; source "$SCRIPT"
        [[ $_comps[petset] == _python_argcomplete ]] || exit 1
        _describe() { print -l -- ${(P)2}; }
        words=(petset) BUFFER=$LINE CURSOR=${#LINE}
        _python_argcomplete
    """,
    "fish": """
        source $SCRIPT
        complete -C $LINE
    """,
}
START = {"bash": ("bash", "--norc", "-c"), "zsh": ("zsh", "-f", "-c"), "fish": ("fish", "--no-config", "-c")}
DESCRIBED = {"bash": "", "zsh": ":", "fish": "\t"}  # What is between a word and a few words about it.


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A directory with the command petset."""
    directory = tmp_path_factory.mktemp("bin")
    (directory / "petset").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m petset "$@"\n')
    (directory / "petset").chmod(0o755)
    return directory


def completed(shell: str, line: str, installed: Path, **environment: str) -> list[str]:
    assert shutil.which(shell), f"{shell} is not installed; run make system-test"
    environment = {
        **os.environ,
        "PATH": f"{installed}:{os.environ['PATH']}",
        "HOME": str(installed),
        "LINE": line,
        "SCRIPT": str(installed / f"script.{shell}"),
        **environment,
    }
    if not Path(environment["SCRIPT"]).exists():
        made = subprocess.run(
            ["petset", "completion", shell], env=environment, capture_output=True, text=True, check=True
        )
        Path(environment["SCRIPT"]).write_text(made.stdout)
    done = subprocess.run(
        [*START[shell], ASKED[shell]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
        cwd=installed,
    )
    assert done.returncode == 0 and not done.stderr, done
    between = DESCRIBED[shell]
    return [(line.split(between)[0] if between else line).strip() for line in done.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize("shell", completion.SHELLS)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("petset ", COMMANDS),
        ("petset des", ["destroy"]),
        ("petset demo ", sorted(proofs.EXAMPLES)),
        ("petset image build redis", ["redis", "redis-install"]),
        ("petset up --simulated", ["--simulated-nodes"]),
        ("petset --state /srv/blue node st", ["start", "stop"]),
    ],
)
def test_what_is_completed(shell, line, words, installed):
    assert sorted(completed(shell, line, installed)) == sorted(words)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_script_is_a_script_of_the_shell(shell, capsys):
    assert main.main(["completion", shell]) == 0
    check = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}[shell]
    done = subprocess.run(
        [*check, "/dev/stdin"], input=capsys.readouterr().out, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_of_an_instance_that_runs(installed, tmp_path):
    of = {"PETSET_STATE": str(tmp_path / "state")}
    command = [installed / "petset", "up", "--detach", "--simulate", "--nodes=2"]
    subprocess.run(command, env={**os.environ, **of}, capture_output=True, check=True)
    try:
        first, second = sorted(completed("bash", "petset node stop ", installed, **of))
        assert second == f"{first}-1"
        assert str(tmp_path / "state") in completed("bash", "petset --state ", installed)
        subprocess.run(
            ["kubectl", "create", "-f", wheel.ROOT / "examples" / "redis" / "redis.yaml"],
            env={**os.environ, "KUBECONFIG": str(tmp_path / "state" / "kubeconfig")},
            capture_output=True,
            check=True,
        )
        assert completed("bash", "petset ls r", installed, **of) == ["rd"]
        assert "rd" in completed("bash", "petset why r", installed, **of)  # And its pets, as they come.
    finally:
        subprocess.run([installed / "petset", "destroy", "--yes"], env={**os.environ, **of}, check=True)


def test_who_does_not_answer_has_no_names(installed, tmp_path):
    assert completed("bash", "petset node stop ", installed, PETSET_STATE=str(tmp_path / "none")) == []
    assert list(tmp_path.iterdir()) == []


def test_every_place_of_names_is_an_argument():
    for command, where in completion.NAMES:
        assert where in {action.dest for action in completion._actions(main.parser(command))}, (command, where)


def test_recipes_are_those_of_the_package():
    assert list(completion._recipes(None)) == recipes.Recipes(recipes.default_folder()).names()
