"""Worlds, each of another seed: what the laws say holds. Each file of this folder has its share of them.

A file is one process's (`make test`), and all the worlds in one would keep it busy long after the others are done. A
failure prints the seed, the trace's last lines and the command that replays it. WORLD_SEEDS=1000 runs more of them,
WORLD_FIRST others: `make test` has the first 400, `make test-newest` the next ones.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import pytest

from tests.worlds import history

FIRST = int(os.environ.get("WORLD_FIRST", "0"))
END = FIRST + int(os.environ.get("WORLD_SEEDS", "400"))
CHUNK = 10
FILES = sorted(path.name for path in pathlib.Path(__file__).parent.glob("test_*.py"))


def laws_hold(file: str) -> Callable[[int], None]:
    """The test of a file's share: the chunks go round the files."""
    share = FILES.index(pathlib.Path(file).name)

    @pytest.mark.parametrize("first", range(FIRST + share * CHUNK, END, len(FILES) * CHUNK))
    def test_laws_hold(first: int) -> None:
        for seed in range(first, min(first + CHUNK, END)):
            history.run(seed)

    return test_laws_hold
