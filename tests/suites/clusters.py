"""A petset of a suite's own, with the images that its pods name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import Cluster
from tests.suites.images import Mirror


@contextmanager
def own(log: Path, mirror_in: Callable[[Path], Mirror] | None, *flags: str) -> Iterator[Path]:
    """The kubeconfig of a petset of one's own, which is destroyed afterwards: only its log is kept.

    `mirror_in` makes the registry that its pods pull from in a new folder; without one pods are simulated. `flags` are
    of petset up.
    """
    directory = Path(tempfile.mkdtemp(prefix="petset-suites-", dir="/tmp"))
    mirror = mirror_in(directory / "registry") if mirror_in else None
    cluster = Cluster(directory / "state")
    cluster.state.mkdir()
    cluster.environment |= mirror.environment if mirror else {}
    try:
        cluster.up(*flags, *(() if mirror else ("--simulate",)))
        yield cluster.state / "kubeconfig"
    finally:
        if cluster.log_tail():
            shutil.copy(cluster.state / "petset.log", log)
        cluster.destroy()
        cluster.petset("destroy", "--yes", check=False)
        if mirror:
            mirror.stop()
        shutil.rmtree(directory, ignore_errors=True)
