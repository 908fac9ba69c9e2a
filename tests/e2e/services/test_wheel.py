"""The first five minutes with a wheel: installed outside of any checkout, it builds the images and proves its demo."""

from __future__ import annotations

import pytest

from tests import wheel
from tests.e2e import leftovers

pytestmark = pytest.mark.services


def test_the_demo_of_an_installed_petset(tmp_path):
    installed = wheel.Installed(tmp_path)
    state = tmp_path / "state"
    of = {"PETSET_STATE": str(state)}  # With images of its own: they are built out of what the wheel has.
    try:
        said = installed.petset("demo", "redis", **of).stdout
        assert said.count("✓") == 4, said
    finally:
        installed.petset("down", **of)
        left = leftovers.leftovers(state)
        installed.petset("destroy", "--yes", **of)
    assert left == []
