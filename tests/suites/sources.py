"""The suites' sources: fetched by package name, pinned and checked by hash, unpacked anew for every run.

`Cache(directory)` holds what is downloaded and the virtual environment that the Python suites run in; it outlives
`make clean`. Nothing of a suite is changed: what it needs to know comes from outside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REQUIREMENTS, SOURCES = HERE / "requirements.txt", HERE / "sources.txt"


def default_directory() -> Path:
    return Path(os.environ.get("PETSET_SUITES_CACHE") or ROOT / ".cache" / "suites")


class Cache:
    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self.downloads, self.work = self.directory / "downloads", self.directory / "work"
        self.python = self.directory / "venv" / "bin" / "python"
        self.downloads.mkdir(parents=True, exist_ok=True)

    def environment(self) -> Path:
        """The Python of the suites' virtual environment, made or brought up to date when the pins have changed."""
        mark = self.directory / "venv" / "installed"
        pins = _digest(REQUIREMENTS)
        if not mark.exists() or mark.read_text() != pins:
            shutil.rmtree(self.directory / "venv", ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(self.directory / "venv")])
            _run([*self._pip("install"), "--require-hashes", "-r", str(REQUIREMENTS)])
            mark.write_text(pins)
        return self.python

    def sdist(self, name: str) -> Path:
        """A folder with a package's source archive, unpacked. SOURCES says which version and its hash."""
        version = pins()[name]
        archive = self.downloads / f"{name}-{version}.tar.gz"
        if not archive.exists():
            self.environment()  # What builds it, without which pip does not hand it over.
            only = self.downloads / f"{name}.txt"
            only.write_text(_line(name) + "\n")
            options = ["--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes"]
            _run([*self._pip("download"), *options, "-d", str(self.downloads), "-r", str(only)])
        if _digest(archive) not in _line(name):
            raise SystemExit(f"cannot run {name}: {archive} is not what {SOURCES} says; remove it")
        return self._unpacked(archive, name)

    def _unpacked(self, archive: Path, name: str) -> Path:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run(["tar", "-xf", str(archive), "-C", str(folder), "--strip-components=1", "--no-same-owner"])
        return folder

    def _pip(self, command: str) -> list[str]:
        return [str(self.python), "-m", "pip", command, "--quiet", "--disable-pip-version-check"]


def pins() -> dict[str, str]:
    """{package: version} of the source archives."""
    named = (line.split()[0].partition("==") for line in SOURCES.read_text().splitlines() if "==" in line)
    return {name: version for name, _, version in named}


def _line(name: str) -> str:
    [line] = [line for line in SOURCES.read_text().splitlines() if line.startswith(f"{name}==")]
    return line


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: list[str]) -> None:
    # A path of modules is for the suites' own programs, and not for pip.
    done = subprocess.run(command, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, check=False)
    if done.returncode:
        raise SystemExit(f"cannot set up the suites: {' '.join(command)} failed")
