"""The operator in toys.py, as a program of its own beside the session's cluster."""

import subprocess
import sys
from pathlib import Path

import pytest

import petset

HERE = Path(__file__).parent

pytest.importorskip("kopf", reason="the operator is written with kopf")
pytest.importorskip("kubernetes", reason="the operator uses the Kubernetes client")


@pytest.fixture(scope="session")
def definitions(cluster):
    cluster.apply(HERE / "toys-crd.yaml")


@pytest.fixture
def operator(definitions, cluster, namespace, tmp_path):
    """It runs while a test does; what it has said is shown when the test fails."""
    command = [sys.executable, "-m", "kopf", "run", "--standalone", f"--namespace={namespace}", str(HERE / "toys.py")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=cluster.environment())
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)
            print((tmp_path / "log").read_text())


def toy(name: str, **spec):
    return {"apiVersion": "shop.example.com/v1", "kind": "Toy", "metadata": {"name": name}, "spec": spec}


def test_a_toy_gets_its_pets_and_tells_how_many_are_ready(operator, namespace):
    namespace.apply(toy("bear", squeaks=2))
    namespace.wait_for("toy/bear", lambda bear: bear["status"]["ready"] == 2)
    assert namespace.list("pods", labels="toy=bear").names == ["bear-0", "bear-1"]


def test_more_squeaks_are_more_pets(operator, namespace):
    namespace.apply(toy("bear", squeaks=1))
    namespace.wait_for("toy/bear", lambda bear: bear["status"]["ready"] == 1)
    namespace.apply(toy("bear", squeaks=3))
    namespace.wait_for("toy/bear", lambda bear: bear["status"]["ready"] == 3)


def test_a_toy_takes_its_set_along(operator, namespace):
    namespace.apply(toy("bear", squeaks=1))
    namespace.wait_for("statefulset/bear")
    namespace.delete("toy/bear")
    namespace.wait_for("statefulset/bear", "delete")


def test_what_the_schema_forbids_never_reaches_the_operator(definitions, namespace):
    with pytest.raises(petset.Invalid, match="squeaks"):
        namespace.create(toy("bear", squeaks=-1))
