"""Names of what tests make: a test's name as a label has it, with an end that nobody else has. Pure but for chance."""

from __future__ import annotations

import re

from petset.base import tasks

NAME_CHARACTERS_MAX = 40


def of_test(test: str) -> str:
    """test_a_set_scales[3] -> a-set-scales-3-x7k2p"""
    stem = re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-").removeprefix("test-")[:NAME_CHARACTERS_MAX].strip("-")
    return tasks.generated_name(f"{stem or 'test'}-")
