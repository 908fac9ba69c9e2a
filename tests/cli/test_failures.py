"""Every command in every bad situation: one line that says what cannot be done, why, and what to do; never a traceback.

A table of what may be wrong with a state directory, a table of commands, and every pair of them. What is wrong
elsewhere (no checkout, no runtime, a port, an image file, petset dying meanwhile) has a test each below.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import petset
from petset.base import state
from petset.cli import demo, exit_codes, main

SECONDS_MAX = 120
NOISE = bytes(range(256)) * 300


def spawned(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "petset", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False, **options)


def is_one_line(said: str) -> bool:
    return said.startswith("petset: cannot ") and said.count("\n") == 1 and "defect" not in said


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done
    assert is_one_line(done.stderr), done.stderr
    return done.stderr


# What may be wrong with a state directory


def broken(name: str) -> Callable[[Path], None]:
    """The file is not what petset wrote there."""
    return lambda directory: write(directory / name, NOISE)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def valid_but_foreign(name: str) -> Callable[[Path], None]:
    return lambda directory: write(directory / name, b"[1]")


def a_directory_instead(name: str) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        (directory / name).unlink(missing_ok=True)
        (directory / name).mkdir()

    return make


FILES = ("store.db", "instance.json", "network.json", "kubeconfig", "lock", "pki/ca.crt", "pki/admin.key", "petset.log")
SITUATIONS = {
    **{f"{name} is noise": broken(name) for name in FILES},
    **{f"{name} is a list": valid_but_foreign(name) for name in FILES if "json" in name or name == "kubeconfig"},
    **{f"{name} is a directory": a_directory_instead(name) for name in FILES},
}
COMMANDS = (
    ("status",),
    ("status", "-o", "json"),
    ("logs",),
    ("kubeconfig",),
    ("kubeconfig", "--write", "KUBECONFIG"),
    ("image", "ls"),
    ("open", "--print"),
    ("down",),
    ("destroy", "--yes"),
)


@pytest.fixture(scope="module")
def used(tmp_path_factory) -> Path:
    """The state directory of an instance that has run."""
    directory = tmp_path_factory.mktemp("used") / "state"
    assert spawned("--state", str(directory), "up", "-d", "--simulate").returncode == 0
    assert spawned("--state", str(directory), "down").returncode == 0
    return directory


@pytest.fixture
def directory(used: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(used, tmp_path / "state"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_damaged_state_directory(situation: str, command: tuple[str, ...], directory: Path, capsys) -> None:
    SITUATIONS[situation](directory)
    words = [str(directory.parent / word) if word == "KUBECONFIG" else word for word in command]
    code = main.main(["--state", str(directory), *words])
    written = capsys.readouterr()
    assert code in (0, 1, 3), written
    assert code != 1 or is_one_line(written.err), written.err
    assert "Traceback" not in written.out + written.err


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_start_in_a_damaged_state_directory(situation: str, directory: Path) -> None:
    """It starts all the same, or says in one line why not."""
    SITUATIONS[situation](directory)
    done = spawned("--state", str(directory), "up", "-d", "--simulate")
    if done.returncode == 0:
        assert spawned("--state", str(directory), "down").returncode == 0
    else:
        refused(done)


# What may be wrong elsewhere


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "running"
    done = spawned("--state", str(directory), "up", "-d", "--simulate")
    assert done.returncode == 0, done
    yield directory
    assert spawned("--state", str(directory), "down").returncode == 0


def test_up_on_a_running_instance_is_fine(running: Path) -> None:
    done = spawned("--state", str(running), "up", "-d", "--simulate")
    assert (done.returncode, done.stderr) == (0, "")
    assert "petset runs already in" in done.stdout
    assert "petset is running in it already" in refused(spawned("--state", str(running), "up", "--simulate"))


def test_a_port_that_is_taken_or_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags in (("-d",), ()):
            done = spawned("--state", str(tmp_path / "s"), "up", *flags, "--simulate", f"--api-port={port}")
            assert f"cannot listen on 127.0.0.1:{port}: it is taken; choose another with --api-port" in refused(done)
    for wrong in ("99999", "-1", "http", "1.5", "٣"):
        done = spawned("--state", str(tmp_path / "s"), "up", "-d", f"--api-port={wrong}")
        assert done.returncode == exit_codes.WRONG_USAGE and is_one_line(done.stderr) and "is no port" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="without root nothing gets as far")
def test_no_runtime(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    for flags in (("-d",), ()):
        done = spawned("--state", str(tmp_path / "s"), "up", *flags, env=environment)
        assert "there is no OCI runtime; run `petset setup`" in refused(done)


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a petset that is installed, not run from a checkout."""
    package = shutil.copytree(Path(petset.__file__).parent, tmp_path / "installed" / "petset")
    return {**os.environ, "PYTHONPATH": str(package.parent), "PETSET_STATE": str(tmp_path / "s")}


def test_no_checkout(elsewhere: dict[str, str]) -> None:
    assert "the recipes are cassandra, debian," in refused(spawned("image", "build", "none", env=elsewhere, cwd="/"))
    for words in (["up", "-d", "--simulate"], ["image", "ls"], ["down"], ["destroy", "--yes"]):
        done = spawned(*words, env=elsewhere, cwd="/")
        assert (done.returncode, done.stderr) == (0, ""), words


def archive(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))

    return make


NO_IMAGES = {
    "text": lambda path: path.write_text("hello\n"),
    "nothing": lambda path: path.write_text(""),
    "noise": lambda path: path.write_bytes(NOISE),
    "a gzip of noise": lambda path: path.write_bytes(b"\x1f\x8b\x08\x00" + NOISE),
    "a directory": lambda path: path.mkdir(),
    "a directory with an index that is none": lambda path: (path.mkdir(), (path / "index.json").write_text("[]")),
    "an archive of something else": archive("README.md"),
    "an archive with an empty manifest": archive("manifest.json"),
    "an archive with an empty index": archive("index.json"),
    "half an archive": lambda path: (archive("manifest.json")(path), os.truncate(path, 300)),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_a_file_that_is_no_image(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    NO_IMAGES[kind](path)
    said = refused(spawned("--state", str(tmp_path / "s"), "image", "load", str(path)))
    assert said.startswith(f"petset: cannot load {path}: "), said


@pytest.mark.parametrize("reference", ["", "::", "http://x/y", "no such/image", "a" * 300])
def test_a_name_that_is_no_image(reference: str, tmp_path: Path) -> None:
    refused(spawned("--state", str(tmp_path / "s"), "image", "pull", reference))


mounts = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")


@contextlib.contextmanager
def full_disk(at: Path, kilobytes: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@mounts
@pytest.mark.parametrize("kilobytes", [4, 12, 24, 64, 128])
def test_a_full_disk(kilobytes: int, tmp_path: Path, capsys) -> None:
    (tmp_path / "disk").mkdir()
    image = tmp_path / "image.tar"
    archive("README.md")(image)
    with full_disk(tmp_path / "disk", kilobytes):
        done = spawned("--state", f"{tmp_path}/disk/s", "up", "-d", "--simulate")
        assert str(tmp_path / "disk") in refused(done)
        for words in (["image", "load", str(image)], ["image", "ls"], ["down"], ["logs"], ["destroy", "--yes"]):
            code = main.main(["--state", f"{tmp_path}/disk/s", *words])
            said = capsys.readouterr().err
            assert code == 0 or is_one_line(said), (words, said)


@mounts
def test_a_kubeconfig_on_a_full_disk_stays_as_it_was(directory: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "disk").mkdir()
    with full_disk(tmp_path / "disk", 4):
        target = tmp_path / "disk" / "config"
        target.write_text("clusters: []\n# " + "x" * 3000)
        assert main.main(["--state", str(directory), "kubeconfig", "--write", str(target)]) == 1
        said = capsys.readouterr().err
        assert is_one_line(said) and "No space left" in said
        assert target.read_text().startswith("clusters: []\n# x")


# petset dying meanwhile


@pytest.fixture
def dying(tmp_path: Path) -> Path:
    """The state directory of a petset that was killed."""
    directory = tmp_path / "dying"
    assert spawned("--state", str(directory), "up", "-d", "--simulate").returncode == 0
    process = state.State(directory).running_process()
    assert process is not None
    descriptor = os.pidfd_open(process)
    os.kill(process, 9)
    select.select([descriptor], [], [], SECONDS_MAX)
    os.close(descriptor)
    return directory


def test_commands_while_petset_dies(dying: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held as by a process that still runs, and nobody answers any more."""
    monkeypatch.setattr(demo, "_build", built)
    instance = state.State(dying)
    with instance.lock():
        assert main.main(["--state", str(dying), "status"]) == 0
        assert "does not answer" in capsys.readouterr().out
        assert main.main(["--state", str(dying), "demo", "nginx"]) == 1
        assert is_one_line(capsys.readouterr().err)


KILLED_IN_THE_BACKGROUND = """
import os, signal, sys
if any(word.startswith("--announce-fd") for word in sys.orig_argv):
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def built(*_: object) -> None:
    """The images are there."""


def test_petset_dies_while_it_starts(tmp_path: Path) -> None:
    """Whoever waits for the start is told so, and how it ended."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLED_IN_THE_BACKGROUND)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}/site:{Path(petset.__file__).parent.parent}"}
    done = spawned("--state", str(tmp_path / "s"), "up", "-d", "--simulate", env=environment)
    assert "signal 9 has ended it before its node was ready" in refused(done)
