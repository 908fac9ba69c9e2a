"""Instances side by side: each has its own context and log, and is destroyed alone and only when asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from petset.base import state
from petset.cli import kubeconfig as command
from petset.cli import main
from petset.client.reaching import kubeconfig
from petset.objects import documents
from tests.waiting import until

ACCESS = kubeconfig.Access("https://127.0.0.1:6443", b"ca", b"certificate", b"key")


def made(directory: Path) -> state.State:
    """An instance as `petset up` leaves it, in a few files."""
    instance = state.State(directory)
    with instance.lock():
        context = kubeconfig.context(instance.name)
        state.write_private(instance.kubeconfig, kubeconfig.render(ACCESS, context, str(directory)))
        (directory / "volumes" / "pvc-1").mkdir(parents=True)
        instance.log.write_text(
            "2016-08-03T00:00:00Z info petset: starting\n2016-08-03T00:00:01Z info petset: stopped\n"
        )
    return instance


# Contexts


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        (state.default_directory(), "petset"),
        (Path("/srv/blue"), "petset-blue"),
        (Path("/home/ann/petset-2/.petset"), "petset-petset-2"),
        (Path("/srv/Größe 1_x"), "petset-gr-e-1-x"),
        (Path("/"), "petset-other"),
    ],
)
def test_the_name_of_a_context(directory: Path, name: str) -> None:
    assert kubeconfig.context(state.State(directory).name) == name


def contexts(file: Path) -> list[str]:
    config = documents.load(file.read_bytes())
    assert [entry["name"] for entry in config["clusters"]] == [entry["name"] for entry in config["users"]]
    for entry in config["contexts"]:
        assert entry["context"] == {"cluster": entry["name"], "user": entry["name"]}
    return [entry["name"] for entry in config["contexts"]]


def test_instances_write_a_context_each(tmp_path: Path) -> None:
    file = tmp_path / "config"
    blue, green, other_blue = (made(tmp_path / name) for name in ("blue", "green", "other/blue"))
    for instance in (blue, green, other_blue, blue, other_blue):
        said = command.write(instance, str(file))
    assert contexts(file) == ["petset-green", "petset-blue", "petset-blue-2"]
    assert said == f"context petset-blue-2 is in {file} and current"


def test_a_context_of_an_instance_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "config"
    command.write(made(tmp_path / "blue"), str(file))
    assert main.main(["--state", str(tmp_path / "blue"), "destroy", "--yes"]) == 0
    command.write(made(tmp_path / "other" / "blue"), str(file))
    assert contexts(file) == ["petset-blue"]


# Destroying


def test_destroy_deletes_what_is_petsets_and_nothing_else(tmp_path: Path, capsys) -> None:
    instance = made(tmp_path / "blue")
    (instance.directory / "mine.txt").write_text("")
    assert main.main(["--state", str(instance.directory), "destroy", "--yes"]) == 0
    assert "what is not petset's stays" in capsys.readouterr().out
    assert os.listdir(instance.directory) == ["mine.txt"]
    assert main.main(["--state", str(instance.directory), "destroy", "--yes"]) == 0
    assert "nothing to destroy" in capsys.readouterr().out
    assert os.listdir(instance.directory) == ["mine.txt"]


def test_a_directory_of_somebody_else_is_not_touched(tmp_path: Path, capsys) -> None:
    for name in ("images", "volumes", "node"):
        (tmp_path / name).mkdir()
    assert main.main(["--state", str(tmp_path), "destroy", "--yes"]) == 0
    assert "nothing to destroy" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == ["images", "node", "volumes"]


@pytest.mark.parametrize(("answer", "is_there"), [("yes", False), ("y", True), ("", True)])
def test_destroy_asks(answer: str, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    instance = made(tmp_path / "blue")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    main.main(["--state", str(instance.directory), "destroy"])
    assert "1 volumes with their data" in capsys.readouterr().out
    assert instance.directory.exists() is is_there


def test_destroy_asks_nobody_who_is_not_there(tmp_path: Path, capsys) -> None:
    instance = made(tmp_path / "blue")
    assert main.main(["--state", str(instance.directory), "destroy"]) == 1
    assert "say it with --yes" in capsys.readouterr().err
    assert instance.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_what_is_mounted_in_an_instance_is_not_deleted(tmp_path: Path, capsys) -> None:
    instance = made(tmp_path / "blue")
    volume = instance.volumes / "pvc-1"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", volume], check=True)
    (volume / "data").write_text("")
    try:
        assert main.main(["--state", str(instance.directory), "destroy", "--yes"]) == 1
        assert f"{volume} is still mounted" in capsys.readouterr().err
        assert (volume / "data").exists()
    finally:
        subprocess.run(["umount", volume], check=True)


# Logs


def test_the_log_and_its_end(tmp_path: Path, capsys) -> None:
    directory = str(made(tmp_path / "blue").directory)
    assert main.main(["--state", directory, "logs"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("starting")
    assert main.main(["--state", directory, "logs", "--tail", "1"]) == 0
    assert capsys.readouterr().out == "2016-08-03T00:00:01Z info petset: stopped\n"


def test_a_log_is_followed_over_its_rotation(tmp_path: Path) -> None:
    instance = made(tmp_path / "blue")
    command = [sys.executable, "-m", "petset", "--state", str(instance.directory), "logs", "-f", "--tail", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        try:
            asyncio.run(until(lambda: watches_something(following.pid)))
            with instance.log.open("a") as log:
                log.write("one\n")
            assert following.stdout.readline() == "one\n"
            instance.log.rename(instance.log.with_suffix(".log.1"))
            instance.log.write_text("two\n")
            assert following.stdout.readline() == "two\n"
        finally:
            following.kill()


def watches_something(process: int) -> bool:
    """Whether it has an inotify watch."""
    with contextlib.suppress(FileNotFoundError):  # It is just opening and closing files.
        return any("inotify wd:" in info.read_text() for info in Path(f"/proc/{process}/fdinfo").iterdir())
    return False


def test_a_start_and_a_stop_are_in_the_log(tmp_path: Path, capsys) -> None:
    directory = tmp_path / "blue"
    for words in (["up", "-d", "--simulate"], ["down"]):
        subprocess.run([sys.executable, "-m", "petset", "--state", directory, *words], check=True, capture_output=True)
    main.main(["--state", str(directory), "logs"])
    said = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said[0].startswith("info petset: starting: simulated petset ")
    assert said[-2:] == ["info petset: stopping: SIGTERM came; pods get their grace", "info petset: stopped"]
    assert any(line.startswith("info petset: node: ") for line in said)
