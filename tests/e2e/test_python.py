"""petset.Cluster with real containers: what only they can show to a test."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

import petset
from tests.e2e.leftovers import leftovers
from tests.test_house import ROOT


@pytest.fixture(scope="module")
def real(built_images: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETSET_IMAGES", str(built_images))
        with petset.Cluster(simulate=False) as cluster:
            directory = cluster.directory
            yield cluster
    assert not directory.exists() and not leftovers(directory)


@pytest.fixture
def space(real: petset.Cluster):
    with real.in_namespace() as namespace:
        yield namespace


def test_a_pet_executes_logs_and_serves(real, space):
    space.apply(ROOT / "examples" / "nginx")
    [set_] = [*space.list("petsets"), *space.list("statefulsets")]
    space.wait_for(set_, timeout=240)
    pet = space.list("pods").names[0]
    container = space.get("pod", pet)["spec"]["containers"][0]["name"]
    assert space.exec(pet, ["hostname"], container).strip() == pet
    assert space.exec(f"pod/{pet}", "cat; echo to-stderr >&2", container, stdin="hello") == "hello"
    with pytest.raises(petset.CommandFailed, match="exit code 3: no") as failed:
        space.exec(pet, "echo no >&2; exit 3", container)
    assert failed.value.exit_code == 3
    assert space.exec(pet, "exit 3", container, check=False) == ""
    with pytest.raises(petset.ApiError):
        space.logs(pet, "nobody")
    space.scale(set_, 1)
    space.wait_for("pod/web-1", "delete")  # So that every way leads to this pet.
    page = "a page\n" * 50_000
    space.exec(pet, "cat > /usr/share/nginx/html/index.html", container, stdin=page)
    for target, port in ((pet, 80), (f"pod/{pet}", "web"), ("service/nginx", "web"), (set_, 80)):
        with space.port_forward(target, port) as forwarded:
            for _ in range(2):
                assert urllib.request.urlopen(forwarded.url, timeout=20).read().decode() == page
    with space.port_forward(pet, 81) as closed, pytest.raises(OSError):
        urllib.request.urlopen(closed.url, timeout=20)
    assert "refused" in closed.failures[0]
    with pytest.raises(petset.ClusterError, match="no container of it has a port named 'none'"):
        with space.port_forward(pet, "none"):
            pass


def test_nodes_of_a_process_of_its_own_fall_silent_and_come_back(real):
    [node] = real.list("nodes").names
    real.partition_node(node)
    real.start_node(node)
    real.wait_for(f"node/{node}", "Ready")
