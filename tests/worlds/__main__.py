"""Replay worlds: `python -m tests.worlds 17`, `python -m tests.worlds 0-299` (`-v` prints the whole trace)."""

from __future__ import annotations

import sys
import time

from petset.world import laws, world
from tests.worlds import history


def main(arguments: list[str]) -> int:
    verbose = "-v" in arguments
    failed: list[int] = []
    if verbose:
        laws.TRACE_LINES_MAX = 1_000_000
        world.SHOWN_LINES = 1_000_000
    began = time.perf_counter()
    seeds = [seed for text in arguments if not text.startswith("-") for seed in seeds_of(text)]
    for seed in seeds:
        try:
            lived = history.run(seed)
        except laws.Broken as broken:
            print(broken, flush=True)
            failed.append(seed)
        else:
            if verbose:
                print("\n".join(lived.laws.trace))
            if len(seeds) == 1:
                plan, digest = history.scenario_of(seed), lived.laws.digest.hexdigest()
                print(f"seed {seed}: {plan.told()}; {lived.laws.writes} writes, {digest}")
    took = time.perf_counter() - began
    print(f"{len(seeds)} worlds, {len(failed)} broken {failed or ''} in {took:.1f} s ({took / len(seeds):.3f} s each)")
    return 1 if failed else 0


def seeds_of(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
