"""The tutorials of the documentation that need several nodes, as the demos run and prove them."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.services


def test_zookeeper_keeps_its_quorum_while_nodes_are_emptied(make_cluster):
    """The second time it begins with what the first has left."""
    cluster = make_cluster()
    cluster.up()
    refused = cluster.petset("demo", "zookeeper-budget", check=False)
    assert refused.returncode == 1 and "it needs 3 nodes, and there is 1" in refused.stderr
    cluster.down()
    for _ in range(2):
        said = cluster.petset("demo", "zookeeper-budget").stdout
        assert said.count("✓") == 7, said
