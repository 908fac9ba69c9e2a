"""Why a node cannot take a pod, in the words that kubectl's users know, and whether it could were others away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    reasons: tuple[str, ...]
    is_final: bool = False  # Nothing changes it that pods do.


def told(total: int, refusals: Iterable[Refusal], before: str = "", after: str = "") -> str:
    """One sentence for all nodes: how many have which reason. `before` is a reason that holds for all alike."""
    counts: dict[str, int] = {}
    for refusal in refusals:
        for reason in refusal.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    reasons = before or ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{total} nodes are available: {reasons}." + (f" {after}" if after else "")
