"""How far a long step has come, on standard error: a bar or a line on a terminal, elsewhere nothing.

`shown` is of bytes, `counted` of things, `working` of what nobody knows the length of. All are rich's, which is
imported only for a terminal, and nothing is left of them: what came out is said on standard output.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Count = Callable[[int], None]


@contextlib.contextmanager
def shown() -> Generator[Callable[[str, int, int], None]]:
    """A function to call with (what is done, how many bytes of it, of how many)."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    with _bars(of_bytes=True) as bars:
        yield _Told(bars).tell


@contextlib.contextmanager
def counted(what: str, total: int, things: str) -> Generator[Count]:
    """A function to call with how many are done."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with _bars() as bars:
        told = _Told(bars)
        yield lambda done: told.tell(f"{what}: {things}", done, total)


@contextlib.contextmanager
def working(what: str) -> Generator[Callable[[str], None]]:
    """A function to call with each line that is said meanwhile, of which a terminal shows the last one."""
    if not sys.stderr.isatty():
        yield lambda line: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(what)) as status:
        yield lambda line: status.update(escape(f"{what}: {line}"))


class _Told:
    """A bar for each thing that is told of."""

    def __init__(self, bars: Progress):
        self._bars = bars
        self._known: dict[str, TaskID] = {}

    def tell(self, what: str, done: int, total: int) -> None:
        if what not in self._known:
            self._known[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._known[what], completed=done, total=total)


def _bars(of_bytes: bool = False) -> Progress:
    from rich import progress
    from rich.console import Console

    amount = progress.DownloadColumn() if of_bytes else progress.MofNCompleteColumn()
    columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), amount)
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)
