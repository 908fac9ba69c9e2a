"""`petset backup FILE`: objects, keys and volumes of an instance in one file, also while it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from petset.cli.failures import CommandError
from petset.cli.showing import progress


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the file to write; it must not exist yet")


def run(args: argparse.Namespace) -> int:
    from petset import backup

    try:
        with progress.shown() as tell:
            about = backup.save(args.instance, args.file, tell)
    except backup.BackupError as error:
        raise CommandError(str(error)) from None
    size = args.file.stat().st_size
    print(f"{args.file}: {about.objects} objects at revision {about.revision}, keys and volumes; {size / 1e6:.1f} MB")
    return 0
