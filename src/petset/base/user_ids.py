"""Ids of this machine that pods with users of their own have (hostUsers: false): 65,536 a pod, no two pods the same.

`take` reserves a range for who lives in a directory, `hold` one that is found in use, `give_back` ends it. What is
reserved is a file below networks.RESERVATIONS that is named after the range's first id and tells the directory; it ends
with that directory, so that nothing is lost to who was killed. All instances of a machine share them, under its lock.

Which ids there are: those that /etc/subuid and /etc/subgid give the user `kubelet`; else REGION, the last below 2^31,
which systemd and the tools that make users leave alone, but for what these files give anybody.
Follows: "User Namespaces" of the Kubernetes documentation; subuid(5), subgid(5).
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from petset.base import networks, state

COUNT = 65_536  # Ids of one pod.
USER = "kubelet"
FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


class IdsError(Exception):
    """Why a pod cannot have ids of its own, with what to do."""


@dataclass(frozen=True, slots=True)
class Range:
    first: int
    count: int

    def overlaps(self, other: Range) -> bool:
        return self.first < other.first + other.count and other.first < self.first + self.count


REGION = Range(0x7000_0000, 0x1000_0000)


def take(place: Path, files: Sequence[Path] = FILES) -> int:
    """The first of COUNT ids that are of nobody else on this machine, as long as the directory exists. Blocks briefly.

    Raises IdsError, OSError.
    """
    of_users, of_groups = map(_text, files)
    region = region_of(of_users, of_groups)
    others = [] if region != REGION else [given for text in (of_users, of_groups) for _, given in _entries(text)]
    number = zlib.crc32(os.fsencode(place))
    with networks.machine_lock():
        for first in candidates(region, others, number):
            if holder(first) in ("", str(place)):
                _reserve(first, place)
                return first
    raise IdsError(f"all {region.count // COUNT} ranges of {COUNT} ids from {region.first} on are in use; {_WIDEN}")


def hold(first: int, place: Path) -> None:
    """Reserve a range again that is found in use there: what is below /run may have been removed."""
    with networks.machine_lock():
        if not holder(first):
            _reserve(first, place)


def give_back(first: int, place: Path) -> None:
    with networks.machine_lock():
        if holder(first) in ("", str(place)):
            reservation(first).unlink(missing_ok=True)


def candidates(region: Range, others: Sequence[Range], number: int) -> Iterator[int]:
    """The first ids of all ranges of a region that overlap none of the others; a number says where to begin."""
    count = region.count // COUNT
    for step in range(count):
        one = Range(region.first + (number + step) % count * COUNT, COUNT)
        if not any(one.overlaps(other) for other in others):
            yield one.first


def region_of(of_users: str, of_groups: str) -> Range:
    """What the texts of subuid and subgid have for pods. Raises IdsError for what a kubelet would not start with."""
    found = [[given for name, given in _entries(text) if name == USER] for text in (of_users, of_groups)]
    if found == [[], []]:
        return REGION
    if found[0] != found[1]:
        raise IdsError(f"{' and '.join(map(str, FILES))} give {USER} different ids; give it the same in both")
    if len(found[0]) > 1:
        raise IdsError(f"{FILES[0]} gives {USER} {len(found[0])} ranges; give it one")
    (region,) = found[0]
    if region.first < COUNT or region.first % COUNT or region.count % COUNT or not region.count:
        raise IdsError(f"{FILES[0]} gives {USER} {region.count} ids from {region.first} on; {_WIDEN}")
    return region


_WIDEN = f"give {USER} in {FILES[0]} and {FILES[1]} a multiple of {COUNT} from a multiple of {COUNT} on, not from 0"


def _entries(text: str) -> Iterator[tuple[str, Range]]:
    for line in text.splitlines():
        name, *numbers = line.strip().split(":")
        if len(numbers) == 2 and all(number.isascii() and number.isdecimal() for number in numbers):
            yield name, Range(int(numbers[0]), int(numbers[1]))


def reservation(first: int) -> Path:
    return networks.RESERVATIONS / "ids" / str(first)


def holder(first: int) -> str:
    """The directory that a range is reserved for; "" when nobody has it."""
    with contextlib.suppress(FileNotFoundError):
        place = reservation(first).read_text()
        return place if place and os.path.isdir(place) else ""
    return ""


def _reserve(first: int, place: Path) -> None:
    reservation(first).parent.mkdir(parents=True, exist_ok=True)
    state.replace_whole(reservation(first), os.fsencode(place))


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""
