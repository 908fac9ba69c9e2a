"""`petset down`: stops every pod with its grace, takes the network away, and leaves the data."""

from __future__ import annotations

import argparse
import os
import select
import signal

from petset.cli.main import CommandError

DOWN_SECONDS_MAX = 180


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=int, default=DOWN_SECONDS_MAX, metavar="SECONDS", help="how long to wait for it (default 180)"
    )


def run(args: argparse.Namespace) -> int:
    instance = args.instance
    if not instance.directory.is_dir():
        print(f"nothing to stop: there is no instance in {instance.directory}")
        return 0
    process = instance.running_process()
    if process is None:
        # Nobody runs it, but containers may: a killed petset leaves them alone on purpose.
        from petset import up

        try:
            stopped = up.stop_left_over(instance)
        except up.UpError as error:
            raise CommandError(str(error)) from None
        print(f"petset was not running; {stopped}")
        return 0
    descriptor = os.pidfd_open(process)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        ended, _, _ = select.select([descriptor], [], [], args.timeout)
    finally:
        os.close(descriptor)
    if not ended:
        raise CommandError(
            f"cannot stop within {args.timeout} s: process {process} is still stopping its pods; see {instance.log}"
        )
    print("stopped; the data stays in " + str(instance.directory))
    return 0
