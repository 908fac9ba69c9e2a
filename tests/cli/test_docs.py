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

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()
SECONDS_MAX = 60.0
# What is not the same twice: (as it is told, what it is compared as).
VARYING = (
    (r"(?m)^web-\d: .*\n", ""),  # What changes at once is told in one line.
    (r"\b(\d+\.){3}\d+\b", "ADDRESS"),
    (r"pvc-[0-9a-f]{8}(-[0-9a-f]{4,}){4}", "VOLUME"),
    (r"\b(\d+[smhd])+\b", "AGE"),
    (r"\b\d+(\.\d+)? s\b", "SECONDS"),
    (r"[0-9a-f]{64}", "DIGEST"),
    (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "MOMENT"),
    (r"\b(web)-[0-9a-f]{8,10}\b", "REVISION"),
    (r"node vm\S*|\bvm\b", "NODE"),
    (r" +", " "),
)
# By the heading of a section: how the instance is started, and what is in it.
STARTS = {
    "run": ((), ""),
    "ls,": ((), "examples/nginx/nginx.yaml"),
    "snapshot": ((), "examples/nginx/nginx.yaml"),
    "kubectl": ((), "examples/nginx/nginx.yaml"),
    "why": (("--enable-hostpath-provisioner=false",), "examples/nginx/nginx.yaml"),
}


def sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """(its first word, its commands and what they print) of each section that has any."""
    found = []
    for section in PAGE.split("\n## ")[1:]:
        blocks = re.findall(r"```console\n(.*?)```", section, re.S)
        commands = [tuple(one.split("\n", 1)) for block in blocks for one in re.split(r"^\$ ", block, flags=re.M)[1:]]
        if commands:
            found.append((section.partition(":")[0].split()[0], commands))
    return found


def compared(text: str) -> str:
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


async def apply(directory: Path, file: str) -> None:
    async with connection.connect(state.State(directory)) as connected:
        for obj in documents.load_all((ROOT / file).read_bytes()):
            namespaced = {**obj, "metadata": {"namespace": "default", **obj["metadata"]}}
            await connected.client.create(namespaced)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"


@pytest.mark.parametrize(("name", "commands"), sections(), ids=[name for name, _ in sections()])
def test_a_section_is_true(at: Path, name: str, commands: list[tuple[str, str]]) -> None:
    options, file = STARTS[name]
    with running(at, *options):
        if file and options:
            asyncio.run(apply(at, file))  # It never gets ready.
        elif file:
            assert main.main(["--state", str(at), "run", str(ROOT / file)]) == 0
        for command, said in commands:
            words = shlex.split(command.replace("kubectl petset", "kubectl-petset"))
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
                if compared(done.stdout + done.stderr) == compared(said) or time.monotonic() > give_up:
                    break
            assert compared(done.stdout + done.stderr) == compared(said), command
