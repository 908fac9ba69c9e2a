"""Schedules by the hundred thousand: a range of seeds over several processes, and what they came to.

A schedule is one whole little history: a few dozen steps of several parties in an order drawn from its seed, with the
real deciding code inside (sets.py: the set's `reconcile`; stores.py: the store's core), judged as it goes and at its
end. Half of the seeds go to each. Two schedules are counted as different when anything that was done differs.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tests.worlds.schedules import sets, stores

PIECE = 500  # Schedules handed to a process at once.
TOLD_MAX = 5
RUNNERS = {"sets": sets.Runner, "stores": stores.Runner}


class Runner(Protocol):
    def run(self, seed: int) -> str: ...


@dataclass
class Figures:
    schedules: int = 0
    different: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


_runners: dict[str, Runner] = {}  # Of this process.


def piece(given: tuple[str, int, int]) -> tuple[array[int], list[str]]:
    """(what each schedule of a range did, hashed; how some broke)."""
    name, first, count = given
    if name not in _runners:
        _runners[name] = RUNNERS[name]()
    done: array[int] = array("Q")
    wrong: list[str] = []
    for seed in range(first, first + count):
        try:
            said = _runners[name].run(seed)
        except AssertionError as broken:
            wrong.append(f"{name} {seed}:\n{broken}")
            said = str(broken)
        done.append(int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest()))
    return done, wrong


def run(count: int, seed: int, processes: int = 1) -> Figures:
    """That many schedules, from the seed's own range on."""
    began = time.monotonic()
    first, half = seed * 10_000_000, count // 2
    pieces = [
        (name, at, min(PIECE, first + share - at))
        for name, share in (("sets", half), ("stores", count - half))
        for at in range(first, first + share, PIECE)
    ]
    figures = Figures()
    if processes == 1:
        gather(figures, map(piece, pieces))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            gather(figures, pool.imap_unordered(piece, pieces))
    figures.seconds = time.monotonic() - began
    return figures


def gather(figures: Figures, results: Iterable[tuple[array[int], list[str]]]) -> None:
    different: set[int] = set()
    for done, wrong in results:
        figures.schedules += len(done)
        different.update(done)
        figures.wrong += wrong
    figures.different = len(different)
