"""`python -m tests.torture`: torture petset for as long as one likes; exit code 1 when anything was lost or wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.torture import checker, fuzz, instance, kills
from tests.torture.history import History

SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(".petset-torture"))
    parser.add_argument("--judge", type=Path, metavar="FILE", help="check a kept history again")
    args = parser.parse_args()
    if args.judge:
        for violation in checker.check(History.load(args.judge)):
            print(*violation)
        return 0
    instance.enter_a_mount_namespace()
    if args.fuzz:
        with instance.made() as made:
            f = asyncio.run(fuzz.run(made, args.fuzz, args.seed))
            print(f.requests, sorted(f.codes.items()), f.objects, f.longest_lag_seconds, f.slowest)
            print("\n".join(f.wrong[:60]))
            print(made.log.read_text()[-3000:])
        return 0
    with instance.made() as made:
        figures = asyncio.run(kills.run(made, args.kills, args.seed, args.keep, lambda line: print(line, flush=True)))
    print(figures.mishaps, figures.outcomes, figures.codes, made.longest_start_seconds)
    for wrong in figures.wrong[:SHOWN]:
        print(wrong)
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
