"""`petset logs`: the instance's log on standard output; with -f also what is added to it, until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections import deque
from pathlib import Path
from typing import TextIO

from petset.cli.failures import CommandError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until interrupted")
    parser.add_argument("--tail", type=int, default=None, metavar="LINES", help="only the last lines (default: all)")


def run(args: argparse.Namespace) -> int:
    path = args.instance.log
    if not path.exists():
        raise CommandError(f"cannot show the log: there is none in {args.instance.directory}; `petset up` begins one")
    with path.open(errors="replace") as log:
        if args.tail is not None:
            sys.stdout.writelines(deque(log, maxlen=max(0, args.tail)))
        _copy(log)
        if args.follow:
            asyncio.run(_follow(path, log))
    return 0


def _copy(log: TextIO) -> None:
    shutil.copyfileobj(log, sys.stdout)
    sys.stdout.flush()


async def _follow(path: Path, log: TextIO) -> None:
    """A log that is full is renamed and begun anew: read the old one to its end, then the new one."""
    from petset.node.containers import logs

    watcher = logs.Watcher()
    with watcher.watch(str(path)) as changed:
        while True:
            changed.clear()
            _copy(log)
            if path.exists() and not os.path.samestat(os.fstat(log.fileno()), path.stat()):
                _copy(log)
                log = path.open(errors="replace")
                continue
            await changed.wait()
