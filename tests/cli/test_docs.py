"""docs/cli.md: each command is run, and prints what it says there, but for addresses, volumes and ages."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from petset.base import state
from petset.cli import main
from petset.cli.asking import connection
from petset.objects import documents
from tests.cli.test_start import running
from tests.site import console

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()
SECONDS_MAX = 60.0
CHANGED_AT_ONCE = r"(?m)^web-\d: .*\n"  # Told in one line, or in several.
# By the heading of a section: how the instance is started, and what is in it.
STARTS = {
    "run": ((), ""),
    "ls,": ((), "examples/nginx/nginx.yaml"),
    "snapshot": ((), "examples/nginx/nginx.yaml"),
    "kubectl": ((), "examples/nginx/nginx.yaml"),
    "why": (("--enable-hostpath-provisioner=false",), "examples/nginx/nginx.yaml"),
}


def sections() -> list[tuple[str, list[console.Step]]]:
    """(its first word, its steps) of each section that has any."""
    found = [(section.partition(":")[0].split()[0], console.steps(section)) for section in PAGE.split("\n## ")[1:]]
    return [(name, steps) for name, steps in found if steps]


def is_true(step: console.Step, said: str) -> bool:
    expected, told = (re.sub(CHANGED_AT_ONCE, "", text) for text in (step.answer, said))
    return console.is_answer(expected, told)


async def apply(directory: Path, file: str) -> None:
    async with connection.connect(state.State(directory)) as connected:
        for obj in documents.load_all((ROOT / file).read_bytes()):
            namespaced = {**obj, "metadata": {"namespace": "default", **obj["metadata"]}}
            await connected.client.create(namespaced)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"


@pytest.mark.parametrize(("name", "steps"), sections(), ids=[name for name, _ in sections()])
def test_a_section_is_true(at: Path, name: str, steps: list[console.Step]) -> None:
    options, file = STARTS[name]
    with running(at, *options):
        if file and options:
            asyncio.run(apply(at, file))  # It never gets ready.
        elif file:
            assert main.main(["--state", str(at), "run", str(ROOT / file)]) == 0
        for step in steps:
            words = shlex.split(step.command.replace("kubectl petset", "kubectl-petset"))
            program = {"petset": "petset", "kubectl-petset": "petset.cli.plugin"}[words[0]]
            environment = {**os.environ, "PETSET_STATE": str(at), "KUBECONFIG": str(at / "kubeconfig")}
            give_up = time.monotonic() + SECONDS_MAX
            while True:
                done = subprocess.run(
                    [sys.executable, "-m", program, *words[1:]],
                    capture_output=True,
                    text=True,
                    env=environment,
                    cwd=ROOT,
                )
                if is_true(step, done.stdout + done.stderr) or time.monotonic() > give_up:
                    break
            assert is_true(step, done.stdout + done.stderr), f"$ {step.command}\n{done.stdout}{done.stderr}"
