"""How far a long step has come, on standard error: a line that changes on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator

LINE_BYTES = 256 << 20  # How much must be done for another line where nothing can be written over.


@contextlib.contextmanager
def shown() -> Generator[Callable[[str, int, int], None]]:
    """A function to call with (what is done, how many bytes of it, of how many)."""
    is_terminal = sys.stderr.isatty()
    told: dict[str, int] = {}

    def tell(what: str, done: int, total: int) -> None:
        step = total // 200 if is_terminal else LINE_BYTES
        last = told.get(what, 0)
        if done - last < step and not (last and done >= total > last):
            return
        told[what] = done
        line = f"{what} {done / 1e6:.0f} of {total / 1e6:.0f} MB"
        print(f"\r{line}\033[K" if is_terminal else line, end="" if is_terminal else "\n", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if is_terminal and told:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
