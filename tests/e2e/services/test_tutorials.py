"""The tutorials of the documentation, as the demos run and prove them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.services


SENTENCES = {"statefulset-basics": 7, "mysql-replicated": 6}


@pytest.mark.parametrize("tutorial", sorted(SENTENCES))
def test_a_tutorial_is_shown_twice_over(cluster, tutorial):
    """The second time it begins with what the first has left."""
    for _ in range(2):
        said = cluster.petset("demo", tutorial).stdout
        assert said.count("✓") == SENTENCES[tutorial], said
