"""`petset destroy`: stops the instance and deletes it with its data, after asking.

Only what petset has made is deleted, by name: a state directory may hold files of its owner, and these stay. Images
in a store that several instances share (PETSET_IMAGES) stay too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil

from petset.base import state
from petset.cli import down, exit_codes
from petset.cli.failures import CommandError
from petset.cli.given import consent
from petset.cli.showing import progress


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    instance = args.instance
    if not instance.exists():
        print(f"nothing to destroy: there is no instance in {instance.directory}")
        return 0
    lost = f"This deletes {instance.directory} for ever: {_described(instance)}."
    if not consent.given(args.yes, "destroy the cluster", lost=lost):
        return exit_codes.NOT_SO
    down.stop(instance)
    with instance.lock(), progress.working(f"deleting {instance.directory}"):
        kept = _delete(instance)
    print(f"destroyed; what is not petset's stays in {instance.directory}: {', '.join(kept)}" if kept else "destroyed")
    return 0


def _described(instance: state.State) -> str:
    try:
        volumes = len(os.listdir(instance.volumes))
    except FileNotFoundError:
        volumes = 0
    return f"the store with all objects, the keys, the images, and {volumes} volumes with their data"


def _delete(instance: state.State) -> list[str]:
    """Delete what is petset's; the names of what is not. The lock goes last. Raises CommandError."""
    from petset.node import linux

    directory = os.path.realpath(instance.directory)
    if mounted := [target for target in linux.mount_points(directory) if target != directory]:
        raise CommandError(f"cannot destroy {directory}: {mounted[0]} is still mounted; unmount it and try again")
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name == state.LOCK):
        if not state.is_ours(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    with contextlib.suppress(OSError):  # Something is left, or it is a mount point.
        os.rmdir(directory)
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []
