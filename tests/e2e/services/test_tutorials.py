"""The tutorials of the documentation, as the demos run and prove them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.services


def test_the_basics_of_a_statefulset_are_shown_twice_over(cluster):
    """The second time it begins with what the first has left."""
    for _ in range(2):
        said = cluster.petset("demo", "statefulset-basics").stdout
        assert said.count("✓") == 7, said
