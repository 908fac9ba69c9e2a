"""The wheel is the program: what somebody has who installed it, in an empty directory outside of any checkout."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

import petset
from petset.base import state
from petset.node.images import recipes
from tests import wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> wheel.Installed:
    return wheel.Installed(tmp_path_factory.mktemp("wheel"))


def below(folder: Path) -> list[str]:
    return [f"{folder.name}/{path}" for path in recipes.files(str(folder))]


def test_the_recipes_and_the_examples_travel_in_it(installed):
    there = [name.removeprefix("petset/") for name in zipfile.ZipFile(installed.wheel).namelist()]
    for folder in ("images", "examples"):
        own = below(wheel.ROOT / folder)
        assert own and [name for name in there if name.startswith(f"{folder}/")] == sorted(own, key=there.index)


def test_an_image_of_it_is_the_image_of_a_checkout(installed):
    """Nothing is lost, no file that may be run is one that may not, and what pip compiles gets into no image."""
    own, its = (
        recipes.Recipes(str(folder)) for folder in (wheel.ROOT / "images", installed.packages / "petset" / "images")
    )
    assert own.names() == its.names() and own.stand_ins == its.stand_ins
    for name in own.names():
        assert own.key(own.recipe(name), "parent") == its.key(its.recipe(name), "parent"), name


def test_it_says_its_version(installed):
    assert installed.petset("--version").stdout.startswith(f"petset {petset.__version__}")


def test_it_lists_its_recipes(installed):
    listed = installed.petset("image", "build", "--list").stdout.split()
    assert listed == recipes.Recipes(str(wheel.ROOT / "images")).names()


def test_it_runs_a_cluster(installed, tmp_path):
    of = {"PETSET_STATE": str(tmp_path / "state")}
    assert "node:" in installed.petset("up", "--detach", "--simulate", **of).stdout
    try:
        assert '"api": "answers"' in installed.petset("status", "-o", "json", **of).stdout
    finally:
        installed.petset("destroy", "--yes", **of)
    assert list(installed.elsewhere.iterdir()) == []


def test_its_state_directory_is_where_those_of_programs_are(installed):
    code = "from petset.base import state; print(state.checkout(), state.default_directory())"
    said = subprocess.run(
        [installed.python, "-c", code],
        cwd=installed.elsewhere,
        env={"XDG_DATA_HOME": "/data"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert said[0] == "None" and said[1] in ("/var/lib/petset", "/data/petset")
    assert state.checkout() == wheel.ROOT
