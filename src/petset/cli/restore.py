"""`petset restore FILE`: an instance out of a backup, in a state directory that is not there yet or is empty."""

from __future__ import annotations

import argparse
from pathlib import Path

from petset.cli.failures import CommandError
from petset.cli.showing import progress


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a file that `petset backup` wrote")


def run(args: argparse.Namespace) -> int:
    from petset import backup

    try:
        with progress.shown() as tell:
            about = backup.restore(args.instance, args.file, tell)
    except backup.BackupError as error:
        raise CommandError(str(error)) from None
    print(
        f"restored {about.objects} objects, keys and volumes as of {about.made} into {args.instance.directory}; "
        f"start it with `petset --state {args.instance.directory} up -d`"
    )
    return 0
