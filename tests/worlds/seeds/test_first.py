"""A share of the worlds (shares.py)."""

from __future__ import annotations

from tests.worlds.seeds import shares

test_laws_hold = shares.laws_hold(__file__)
