"""petset as somebody has it who installed its wheel: a virtual environment outside of any checkout.

`Installed` builds the wheel out of a copy of the sources, so that nothing is left in the checkout and nothing of an
earlier build gets in, and installs it with pip. What petset needs comes from the environment that runs the tests.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS_MAX = 300
BUILT_FROM = ("src", "images", "examples", "pyproject.toml", "README.md", "LICENSE")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")


class Installed:
    """A wheel in an environment of its own."""

    def __init__(self, directory: Path):
        self.wheel = _built(directory / "sources", directory / "wheels")
        self.environment = directory / "environment"
        venv.create(self.environment, with_pip=False, symlinks=True)
        _pip("--python", str(self.python), "install", "--no-deps", "--no-index", str(self.wheel))
        (self.packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
        self.elsewhere = directory / "elsewhere"
        self.elsewhere.mkdir()

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def command(self) -> Path:
        return self.environment / "bin" / "petset"

    @property
    def packages(self) -> Path:
        [found] = self.environment.glob("lib/python3*/site-packages")
        return found

    def petset(self, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, from a directory that is empty."""
        done = subprocess.run(
            [self.command, *words],
            cwd=self.elsewhere,
            env={**{name: value for name, value in os.environ.items() if name not in OF_TESTS}, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert not check or done.returncode == 0, f"petset {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done


OF_TESTS = ("PYTHONPATH", "VIRTUAL_ENV", "PETSET_STATE", "PETSET_IMAGES", "KUBECONFIG")


def _built(sources: Path, wheels: Path) -> Path:
    sources.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, symlinks=True, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, sources)
    _pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(wheels), str(sources))
    [wheel] = wheels.iterdir()
    return wheel


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, f"pip {' '.join(words)}:\n{done.stdout}{done.stderr}"
