"""One cluster shared by the end-to-end tests that only use it, and a factory for those that break it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import IMAGES, Cluster
from tests.e2e.leftovers import leftovers

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Whoever ran the tests may have it ignored (nohup); petset would, too.


@pytest.fixture(scope="session")
def built_images() -> Path:
    """The images of the post, built once and shared by all instances of the tests."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    return IMAGES


@pytest.fixture(scope="module")
def make_cluster(built_images: Path) -> Iterator:
    """Instances of one module, each in a short directory of its own (socket paths are limited); all are destroyed."""
    made: list[Cluster] = []

    def make() -> Cluster:
        cluster = Cluster(Path(tempfile.mkdtemp(prefix="petset-e2e-", dir="/tmp")))
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.destroy()
        left = leftovers(cluster.state)
        cluster.petset("destroy", "--yes", check=False)
        left += [str(path) for path in cluster.state.glob("*") if path.name != "kubectl-cache"]
        shutil.rmtree(cluster.state, ignore_errors=True)
        assert not left, f"petset down left behind: {left}"


@pytest.fixture(scope="module")
def cluster(make_cluster) -> Cluster:
    """A running cluster."""
    cluster = make_cluster()
    cluster.up()
    return cluster


@pytest.fixture
def namespace(cluster: Cluster, request) -> Iterator[str]:
    """A namespace of the test's own, deleted with all that is in it."""
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "").lower()[:50].strip("-")
    cluster.kubectl("create", "namespace", name)
    yield name
    subprocess.run([cluster.kubectl.path, "delete", "namespace", name, "--wait=false"], env=cluster.kubectl.environment)
