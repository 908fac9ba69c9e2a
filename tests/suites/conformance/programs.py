"""What is built of upstream's module: the suite itself, the programs of its images, ginkgo and kubectl of its version.

go.mod and go.sum beside this file hold the module and all that it needs to their hashes. Nothing of it is changed. What
the go command has kept is not compiled again; the first time takes the better part of an hour.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.suites import go_suites

HERE = Path(__file__).parent
MODULE = "k8s.io/kubernetes"
IMAGES = f"{MODULE}/test/images"
BUILD_SECONDS_MAX = 3 * 3600
SUITE, GINKGO, KUBECTL = "e2e.test", "ginkgo", "kubectl"
# Where the suite's programs stand in their images: program -> (package, recipe, path there).
IN_IMAGES = {
    "agnhost": (f"{IMAGES}/agnhost", "conformance-agnhost", "agnhost"),
    "nonewprivs": (f"{IMAGES}/nonewprivs", "conformance-nonewprivs", "usr/local/bin/nnp"),
    "regression-issue-74839": (
        f"{IMAGES}/regression-issue-74839", "conformance-regression-issue-74839", "regression-issue-74839",
    ),
    "sample-apiserver": ("k8s.io/sample-apiserver", "conformance-sample-apiserver", "sample-apiserver"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Programs:
    folder: Path
    module: Path  # upstream's source, as the go command keeps it
    version: str

    def path(self, name: str) -> str:
        return str(self.folder / name)


def build(folder: Path, processes: int = 1) -> Programs:
    """All programs, compiled into `folder`, behind all else that wants the processors."""
    folder.mkdir(parents=True, exist_ok=True)
    of = version()
    module = Path(json.loads(go("mod", "download", "-json", MODULE))["Dir"])
    how = flags(of, processes)
    for program, (package, *_) in IN_IMAGES.items():
        go("build", *how, "-o", str(folder / program), package)
    go("build", *how, "-o", str(folder / GINKGO), "github.com/onsi/ginkgo/v2/ginkgo")
    go("build", *how, "-o", str(folder / KUBECTL), f"{MODULE}/cmd/kubectl")
    go("test", "-c", "-vet=off", *how, "-o", str(folder / SUITE), f"{MODULE}/test/e2e")
    return Programs(folder, module, of)


def version() -> str:
    """Of Kubernetes, as go.mod has it."""
    return json.loads(go("list", "-m", "-json", MODULE))["Version"]


def flags(of: str, processes: int = 1) -> tuple[str, ...]:
    """For the go command: the programs know which version they are."""
    major, minor = of.removeprefix("v").split(".")[:2]
    stamp = " ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in (("gitVersion", of), ("gitMajor", major), ("gitMinor", minor))
    )
    return ("-mod=readonly", "-p", str(processes), f"-ldflags=-s -w {stamp}")


def recipes(programs: Programs, own: Path, folder: Path) -> str:
    """A folder of recipes for the image store: the own ones, and those beside this file with their programs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "images", folder)
    for recipe in own.iterdir():
        (folder / recipe.name).symlink_to(recipe)
    for program, (_, recipe, path) in IN_IMAGES.items():
        _add(programs.folder / program, folder / recipe / "files" / path)
    certificate = programs.module / "test" / "images" / "agnhost" / "porter"
    for name in ("localhost.crt", "localhost.key"):
        _add(certificate / name, folder / "conformance-agnhost" / "files" / name)
    for name in ("kitten", "nautilus"):
        for page in (programs.module / "test" / "images" / name / "html").iterdir():
            _add(page, folder / f"conformance-{name}" / "files" / page.name)
    return str(folder)


def _add(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def go(*words: str, module: Path = HERE) -> str:
    """What the go command says, in the folder of a go.mod. Raises SystemExit."""
    done = subprocess.run(
        ["nice", "-n", "19", "go", *words], cwd=module, env={**os.environ, **go_suites.ENVIRONMENT},
        capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"cannot build it: go {' '.join(words)}:\n{done.stderr or done.stdout}")
    return done.stdout
