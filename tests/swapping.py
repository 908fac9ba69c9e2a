"""A process that exchanges two names of a directory as fast as it can: what a hostile container does to a path."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_FOREVER = """
import ctypes, os, sys
swap = ctypes.CDLL(None).syscall
place = os.open(sys.argv[1], os.O_PATH)
one, other = (name.encode() for name in sys.argv[2:])
exchange = lambda: swap({number}, place, one, place, other, 2)
assert exchange() == 0
print("swapping", flush=True)
while True:
    exchange()
"""
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}


@contextlib.contextmanager
def swapping(place: Path, one: str, other: str) -> Iterator[None]:
    """While the block runs, each of the two names is now this, now that."""
    script = _FOREVER.replace("{number}", str(_RENAMEAT2[os.uname().machine]))
    process = subprocess.Popen([sys.executable, "-c", script, str(place), one, other], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"swapping\n"
        yield
    finally:
        process.kill()
        process.communicate()
