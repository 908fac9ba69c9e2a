"""`make bench`: what petset costs, as ratios to the same work done by hand in the same run.

Each part prints lines of the form `what: ours, by hand, ratio`. Numbers without a ratio say nothing about another
machine; the ratio does. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import sys

from bench import (
    connections,
    idle,
    jobs,
    memory,
    ownership,
    pets,
    rates,
    rollouts,
    scale,
    serve,
    services,
    startup,
    testing,
    watches,
    writes,
)

PARTS = {
    "pets": pets.main,
    "startup": startup.main,
    "idle": idle.main,
    "memory": memory.main,
    "rates": rates.main,
    "watches": watches.main,
    "ownership": ownership.main,
    "scale": scale.main,
    "serve": serve.main,
    "rollouts": rollouts.main,
    "services": services.main,
    "connections": connections.main,
    "jobs": jobs.main,
    "writes": writes.main,
    "testing": testing.main,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts (default: all)")
    for part in parser.parse_args().parts or PARTS:
        print(f"== {part}", flush=True)
        PARTS[part]()
    return 0


sys.exit(main())
