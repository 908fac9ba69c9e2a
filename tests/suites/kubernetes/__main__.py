"""`python -m tests.suites.kubernetes COMMAND...`: a real Kubernetes of this machine's making, and a command beside it.

The programs are etcd, kube-apiserver, kube-controller-manager and kube-scheduler, compiled from their modules, which
go.mod and go.sum hold to their hashes, unless PETSET_KUBERNETES names a directory that has them; by that variable the
command finds them, too.
What the go command has kept is not compiled again; the first time takes the better part of an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e import kubernetes
from tests.suites import go_suites
from tests.suites.conformance import programs
from tests.suites.sources import Cache, default_directory

HERE = Path(__file__).parent
ETCD = "go.etcd.io/etcd/server/v3"


def build(folder: Path) -> Path:
    """The programs in a folder, behind all else that wants the processors. Raises SystemExit."""
    if without := go_suites.missing():
        raise SystemExit(
            f"cannot build Kubernetes: {without}; install it, or name its programs by {kubernetes.VARIABLE}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    flags = programs.flags(programs.version())
    programs.go("build", "-mod=readonly", "-p", "1", "-o", str(folder / "etcd"), ETCD, module=HERE / "etcd")
    for name in kubernetes.PROGRAMS[1:]:
        programs.go("build", *flags, "-o", str(folder / name), f"{programs.MODULE}/cmd/{name}")
    return folder


def main() -> int:
    folder = kubernetes.directory() or build(Cache(default_directory()).directory / "kubernetes")
    return subprocess.run(sys.argv[1:], env={**os.environ, kubernetes.VARIABLE: str(folder)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
