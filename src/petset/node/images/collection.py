"""Which images go when their disk fills: those that no container uses, the longest unused first, as many as it takes.

What was fetched from a registry can be fetched again; what was loaded from an archive or built here from a recipe
cannot, or only in minutes, and stays. An image that was asked for a moment ago stays too: its container is being made.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from petset.base import tasks
from petset.node import paths

UNUSED_SECONDS_MIN = 120.0  # As long as a kubelet leaves a new image alone.


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """One image of the store, for lists and for a node's status.images."""

    digest: str
    references: tuple[str, ...]  # normalized: docker.io/library/debian:jessie
    size_bytes: int
    added: str  # RFC 3339
    recipe: str  # the recipe it was built from, or ""
    loaded: bool = False  # From an archive: nobody can fetch it again.
    used_at: float = 0.0  # When a container last asked for it, by any instance; 0: never.

    @property
    def names(self) -> list[str]:
        """Those by which a node tells of it: by its digest in each repository, then as it was asked for."""
        repositories = dict.fromkeys(one.rpartition(":")[0] for one in self.references)
        return [*(f"{one}@{self.digest}" for one in repositories), *self.references]


def candidates(found: Iterable[ImageSummary], in_use: Collection[str], now: float) -> list[ImageSummary]:
    """The images that may go, in the order in which they go."""
    idle = [
        (last, image)
        for image in found
        if image.digest not in in_use
        and not image.recipe
        and not image.loaded
        and now - (last := _last_used(image)) >= UNUSED_SECONDS_MIN
    ]
    return [image for _, image in sorted(idle, key=lambda one: (one[0], one[1].digest))]


def _last_used(image: ImageSummary) -> float:
    return max(image.used_at, tasks.parse_rfc3339(image.added) if image.added else 0.0)


# ---- what the machine says


def mounted(trees: str) -> set[str]:
    """Digests whose tree below this folder is mounted in any process's mount namespace."""
    pattern = re.compile(re.escape(trees) + r"/([0-9a-f]{64})")
    found: set[str] = set()
    seen: set[str] = set()
    for process in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"{process}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                with open(f"{process}/mountinfo", encoding="utf-8") as file:
                    found |= {f"sha256:{digest}" for digest in pattern.findall(file.read())}
    return found


def tree_bytes(path: str) -> int:
    with paths.opened(path) as tree:
        return sum(found.st_size for _, _, found in paths.walk(tree) if not stat.S_ISDIR(found.st_mode))
