"""How many bytes, and files, a place on the node's disk holds.

Invariants: measuring follows no link and leaves no file system; it runs in a program of its own, one at a time of each
meter, so that a directory of a million files slows nobody else down.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path

from petset.node import programs

MEASURING_SECONDS_MAX = 120.0


class Meter:
    """Measures one place after another; pods' own volumes have one, the runtime, copies and claims' volumes, too."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Semaphore(1)

    async def bytes_in(self, directory: Path, names: Sequence[str]) -> dict[str, int]:
        """The bytes on disk of what lies in a directory under these names, and is there."""
        async with self._one_at_a_time:
            return await self._measured(directory, names, "-B1")

    async def held_in(self, directory: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """(bytes on disk, files and directories) of what is there of these, and could be measured in time."""
        async with self._one_at_a_time:
            sizes = await self._measured(directory, names, "-B1")
            files = await self._measured(directory, names, "--inodes")
        return {name: (sizes[name], files[name]) for name in names if name in sizes and name in files}

    async def _measured(self, directory: Path, names: Sequence[str], count: str) -> dict[str, int]:
        there = [name for name in names if os.path.lexists(directory / name)]
        if not there:
            return {}
        try:
            lines = await programs.run(
                ["nice", "-n", "19", "du", "-s", "-x", count, "--", *there],
                timeout_seconds=MEASURING_SECONDS_MAX,
                cwd=str(directory),
            )
        except programs.ProgramFailed as error:  # A file that vanished while it was looked at is told as a failure.
            lines = list(error.lines)
        found = [match for line in lines if (match := _MEASURED.match(line))]
        return {match[2]: int(match[1]) for match in found if match[2] in there}


_MEASURED = re.compile(r"(\d+)\t(.*)\Z")
