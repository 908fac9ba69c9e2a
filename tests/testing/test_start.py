"""What a cluster for tests costs, counted: modules that its start imports, steps that a namespace takes."""

from __future__ import annotations

import petset
from tests import steps
from tests.test_idle import HEAVY, imported

START = """
import petset
with petset.Cluster(nodes=2):
    import json, sys
    found = sorted(sys.modules)
"""
# Of petset's own, but for kinds and controllers, of which there is one a file. One more is a third of a millisecond.
MODULES_MAX = 310
# What a start must not import: each takes milliseconds, and most tests never need it.
LATER = ("yaml", "sqlite3", "uvloop", "pytest", "petset.store.sqlite", "petset.cli", "petset.up", "petset.world.world")

WITH_KEYS = ["cryptography", "email"]  # What makes keys and certificates.


def test_a_start_imports_what_it_needs_and_no_more():
    found = imported(START)
    assert [name for name in found if name in (*HEAVY, *LATER)] == WITH_KEYS
    own = [name for name in found if name.startswith("petset.") and name.split(".")[1] not in ("kinds", "controllers")]
    assert "petset.node.agent" in own and len(own) <= MODULES_MAX


def test_a_namespace_takes_no_more_steps_when_there_are_many():
    with petset.Clock() as clock:

        def made(number: int) -> int:
            obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"test-{number}"}}
            with steps.counted() as counted:
                clock.cluster.create(obj)
            return counted.count

        for number in range(5):
            made(number)
        few = min(made(number) for number in range(5, 10))
        for number in range(10, 50):
            made(number)
        many = min(made(number) for number in range(50, 55))
    assert many <= few * 1.5
