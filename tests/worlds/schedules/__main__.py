"""Replay one schedule, `python -m tests.worlds.schedules sets 17`, or explore: `... explore 100000 [SEED]`."""

from __future__ import annotations

import sys

from tests.worlds.schedules import explore


def main(arguments: list[str]) -> int:
    what, *numbers = arguments
    if what in explore.RUNNERS:
        try:
            print(explore.RUNNERS[what]().run(int(numbers[0])))
        except AssertionError as broken:
            print(broken)
            return 1
        return 0
    figures = explore.run(int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0)
    print(f"{figures.schedules} schedules, {figures.different} different, {len(figures.wrong)} broken")
    print("\n\n".join(figures.wrong[: explore.TOLD_MAX]))
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
