"""The path loop: somebody exchanges a directory for a link to the host's without end, while we open, make, remove."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from petset.node import paths
from tests.swapping import swapping

HOSTS_FILE = "file"


@dataclass
class Figures:
    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def run(directory: Path, attempts: int, seed: int) -> Figures:
    """That many attempts at a volume in which `d` is a directory at one moment and leads to the host at the next."""
    figures, chance = Figures(), random.Random(seed)
    outside, volume = directory / "outside", directory / "volume"
    outside.mkdir(mode=0o700)
    (outside / HOSTS_FILE).write_text("the host's")
    (volume / "d").mkdir(parents=True)
    (volume / "d" / HOSTS_FILE).write_text("the pod's")
    (volume / "link").symlink_to(outside)
    hosts = [one.stat().st_ino for one in (outside, outside / HOSTS_FILE)]
    with swapping(volume, "d", "link"), paths.opened(volume) as place:
        for _ in range(attempts):
            figures.attempts += 1
            attempt = chance.choice(ATTEMPTS)
            try:
                outcome = attempt(place, hosts)
            except paths.LeadsOut:
                outcome = "refused"
            except OSError as error:  # What was there a moment ago is not.
                outcome = type(error).__name__
            figures.outcomes[outcome] += 1
            if outcome == "outside":
                figures.wrong.append(f"{attempt.__name__} came to the host's")
    if os.listdir(outside) != [HOSTS_FILE] or (outside / HOSTS_FILE).read_text() != "the host's":
        figures.wrong.append(f"the host's directory has {os.listdir(outside)}")
    return figures


def opened(place: int, hosts: list[int]) -> str:
    return judged(paths.beneath(place, f"d/{HOSTS_FILE}", os.O_RDONLY), hosts)


def opened_by_detours(place: int, hosts: list[int]) -> str:
    return judged(paths.beneath(place, "./d/../d"), hosts)


def made(place: int, hosts: list[int]) -> str:
    return judged(paths.made_beneath(place, "d/new/er"), hosts)


def removed(place: int, hosts: list[int]) -> str:
    directory = paths.beneath(place, "d", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(FileNotFoundError):
            paths.remove_beneath(directory, "new")
        return "outside" if os.fstat(directory).st_ino in hosts else "inside"
    finally:
        os.close(directory)


def walked(place: int, hosts: list[int]) -> str:
    return "outside" if any(found.st_ino in hosts for _, _, found in paths.walk(place)) else "inside"


def judged(descriptor: int, hosts: list[int]) -> str:
    try:
        return "outside" if os.fstat(descriptor).st_ino in hosts else "inside"
    finally:
        os.close(descriptor)


Attempt = Callable[[int, list[int]], str]
ATTEMPTS: tuple[Attempt, ...] = (opened, opened, opened_by_detours, made, removed, walked)
