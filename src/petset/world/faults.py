"""The weather: how often what may go wrong between a program and the server goes wrong.

A request may be late, be lost on its way, be refused (429, 500, 503), meet an object that somebody else has just
changed, be carried out and its answer lost. A watch stalls, ends, breaks, or is told that its revision is gone. What
happens when is the link's chance (link.py), which is the seed's; `Faults.none()` ends it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

STALL_SECONDS_MAX = 20.0  # Of a watch.
LAG_SECONDS_MAX = 5.0  # Of a request or its answer.


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong: chances a request, and for watches a mean time between."""

    lag: float = 0.0  # The chance of a delay that is felt.
    lost_request: float = 0.0
    refused: float = 0.0
    conflict: float = 0.0
    lost_answer: float = 0.0
    stall: float = 0.0  # A watch's, for each piece.
    watch_seconds: float = 0.0  # Mean life of a watch; 0: as long as the server lets it.

    @staticmethod
    def none() -> Faults:
        return Faults()

    @property
    def stale_seconds(self) -> float:
        """How old a picture this weather may leave a program with: what is late, and what has to be asked for again."""
        again = 30.0 if self.lost_request or self.refused or self.lost_answer or self.watch_seconds else 0.0
        return again + (3 * LAG_SECONDS_MAX if self.lag else 0.0) + (2 * STALL_SECONDS_MAX if self.stall else 0.0)

    @staticmethod
    def of_seed(seed: int) -> Faults:
        return Faults.some(random.Random(f"{seed} weather"))

    @staticmethod
    def some(chance: random.Random) -> Faults:
        """A weather of its own for each seed: some are rough in one way only."""

        if chance.random() < 0.2:
            return Faults(conflict=0.2 * chance.random())

        def rate(most: float) -> float:
            return most * chance.random() if chance.random() < 0.6 else 0.0

        return Faults(
            lag=rate(0.3),
            lost_request=rate(0.1),
            refused=rate(0.1),
            conflict=rate(0.2),
            lost_answer=rate(0.1),
            stall=rate(0.1),
            watch_seconds=chance.choice((0.0, 20.0, 100.0)),
        )
