"""A newer petset opens what an older one left; an older one leaves what a newer one has written as it is, and says so.

`tests/releases/` has a state directory of each release, packed by scripts/keep-state when the release was made.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import petset
from petset.base import state
from petset.cli import main
from petset.cli.asking import connection
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta

KEPT = Path(__file__).with_name("releases")
RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in KEPT.glob("*.tar.xz"))


def spawned(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "petset", "--state", str(directory), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_this_release_is_kept():
    assert petset.__version__ in RELEASES, "run scripts/keep-state"


@pytest.fixture(params=RELEASES)
def opened(request, tmp_path) -> state.State:
    """An instance of an earlier release, and this petset running it."""
    with tarfile.open(KEPT / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path)
    instance = state.State(tmp_path / "state")
    done = spawned(instance.directory, "up", "--detach", "--simulate")
    assert done.returncode == 0, done.stderr
    yield instance
    assert spawned(instance.directory, "down").returncode == 0


def test_the_state_directory_of_a_release_is_opened(opened):
    async def look():
        async with connection.connect(opened) as connected:
            client = connected.client
            kept = await client.get(STATEFULSETS, "kept", "default")
            assert meta.annotations(kept)["kept"] == "yes" and kept["status"]["replicas"] == 2
            names = [meta.name(pod) for pod in (await client.list(PODS, "default"))[0]]
            assert sorted(names) == ["kept-0", "kept-1", "kept-2016-0", "kept-2016-1"]
            boat = json.loads(await client.raw("/apis/example.com/v1/namespaces/default/boats/kept"))
            assert boat["spec"] == {"sails": 3}
            secret = json.loads(await client.raw("/api/v1/namespaces/default/secrets/kept"))
            assert secret["data"] == {"word": "a2VwdA=="}

    asyncio.run(look())
    record = opened.read(state.RECORD)
    assert record is not None and (record["format"], record["petset"]) == (state.FORMAT, petset.__version__)


# The other way round


@pytest.fixture
def newer(tmp_path) -> Path:
    """A state directory that a petset of times to come has written."""
    directory = tmp_path / "state"
    assert spawned(directory, "up", "--detach", "--simulate").returncode == 0
    assert spawned(directory, "down").returncode == 0
    instance = state.State(directory)
    instance.write(
        state.RECORD, {**(instance.read(state.RECORD) or {}), "format": state.FORMAT + 1, "petset": "99.0.0"}
    )
    return directory


@pytest.mark.parametrize(
    "words", [["up", "--simulate"], ["up", "-d", "--simulate"], ["destroy", "--yes"]], ids=" ".join
)
def test_what_a_newer_one_has_written_is_left_alone(newer, words):
    before = {path: path.stat().st_mtime_ns for path in newer.iterdir() if path.name != state.LOCK}
    done = spawned(newer, *words)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert len(said) == 1 and said[0].startswith(f"petset: cannot use the state directory {newer}: petset 99.0.0 has ")
    assert f"this petset {petset.__version__} knows formats up to {state.FORMAT}; use that petset" in said[0]
    after = {path: path.stat().st_mtime_ns for path in newer.iterdir() if path.name != state.LOCK}
    assert {path.name for path in before} <= {path.name for path in after}
    assert all(after[path] == when for path, when in before.items() if not path.name.startswith("petset.log"))


def test_what_is_known_of_an_instance_is_written_when_it_changes(tmp_path):
    instance = state.State(tmp_path)
    instance.keep(api_port=7001)
    written = instance.path(state.RECORD).stat().st_mtime_ns
    instance.keep()
    assert instance.path(state.RECORD).stat().st_mtime_ns == written
    instance.keep(node_name="box")
    assert instance.read(state.RECORD) == {
        **{"api_port": 7001, "node_name": "box"},
        **{"format": state.FORMAT, "petset": petset.__version__},
    }


def test_the_version_names_the_one_of_kubernetes(capsys):
    assert main.main(["--version"]) == 0
    version = ".".join(petset.KUBERNETES_VERSION)
    assert capsys.readouterr().out == f"petset {petset.__version__} (Kubernetes {version})\n"
