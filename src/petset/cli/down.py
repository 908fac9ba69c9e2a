"""`petset down`: stops every pod with its grace, takes the network away, and leaves the data."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal

from petset.base import state
from petset.cli.failures import CommandError
from petset.cli.showing import progress

DOWN_SECONDS_MAX = 180


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=int, default=DOWN_SECONDS_MAX, metavar="SECONDS", help="how long to wait for it (default 180)"
    )


def run(args: argparse.Namespace) -> int:
    if not args.instance.directory.is_dir():
        print(f"nothing to stop: there is no instance in {args.instance.directory}")
        return 0
    print(stop(args.instance, args.timeout))
    return 0


def stop(instance: state.State, seconds: int = DOWN_SECONDS_MAX) -> str:
    """Stop an instance and whatever it left running; what was done. Raises CommandError."""
    from petset import up

    process = instance.running_process()
    if process is None:
        # Nobody runs it, but containers may: a killed petset leaves them alone on purpose.
        with progress.working("stopping what a killed petset left"):
            return f"petset was not running; {up.stop_left_over(instance)}"
    with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile.
        descriptor = os.pidfd_open(process)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            with progress.working("stopping the pods, each with its grace"):
                ended, _, _ = select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)
        if not ended:
            raise CommandError(
                f"cannot stop within {seconds} s: process {process} is still stopping its pods; see {instance.log}"
            )
    if up.has_left_over(instance):  # It was killed before it could.
        with progress.working("stopping what a killed petset left"):
            return f"petset was killed; {up.stop_left_over(instance)}"
    return f"stopped; the data stays in {instance.directory}"
