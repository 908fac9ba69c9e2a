"""The flag of `petset up` that names the scheduler's configuration, and what it comes to.

What is wrong with the file is said in one line before anything begins.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from petset.cli.failures import CommandError

if TYPE_CHECKING:
    from petset.scheduler.profiles import Profiles

FILE_BYTES_MAX = 1 << 20
# (flag, its name, what reads it, metavar, help)
CONFIG = (
    "--scheduler-config",
    "scheduler_config",
    os.path.abspath,
    "FILE",
    "the scheduler's profiles: a KubeSchedulerConfiguration",
)


def profiles(args: argparse.Namespace) -> Profiles | None:
    """None where no file is named. Raises CommandError when something is wrong with it."""
    file = getattr(args, "scheduler_config", None)
    if file is None:
        return None
    from petset.scheduler import profiles

    try:
        with open(file, "rb") as opened:
            return profiles.read(opened.read(FILE_BYTES_MAX))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(
            f"cannot read the scheduler's configuration: {file}: {why}; mend it, or name another"
        ) from None
