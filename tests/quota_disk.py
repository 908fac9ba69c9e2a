"""A disk of ext4 in a file, where the kernel keeps its quotas (CONFIG_QFMT_V2)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(directory: Path, megabytes: int) -> Generator[Path]:
    """Where it is while the block runs. Skips the test on a machine that mounts none."""
    image, place = directory / "disk", directory / "m"
    place.mkdir()
    image.touch()
    os.truncate(image, megabytes << 20)
    make = ["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", str(image)]
    for argv in (make, ["mount", "-o", "loop,prjquota", str(image), str(place)]):
        try:
            subprocess.run(argv, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this machine mounts no disk with project quotas: {error}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
