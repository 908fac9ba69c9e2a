"""Which levels of the Pod Security Standards a namespace asks for, by its labels: enforced, audited, warned of.

A level is privileged, baseline or restricted, each as some version of Kubernetes had it: `latest` or v1.<minor>. What
is not said is privileged; a warning follows what is enforced. A label that cannot be read counts as the strictest where
it is enforced, and as nothing elsewhere.
Follows: "Enforce Pod Security Standards with Namespace Labels" of the Kubernetes documentation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from petset.base import well_known
from petset.objects.errors import FieldError

PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")
LATEST = "latest"
ENFORCE, AUDIT, WARN = "enforce", "audit", "warn"
NEWEST_MINOR = 37  # The newest version that a standard changed in; those after it are the same.

_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,8})", re.ASCII)
POLICIES_CACHED_MAX = 256


@dataclass(frozen=True, slots=True)
class Level:
    """restricted:v1.30, as people read it."""

    name: str = PRIVILEGED
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def minor(self) -> int:
        newest = self.version == LATEST
        return NEWEST_MINOR if newest else min(int(self.version.partition(".")[2]), NEWEST_MINOR)

    def is_stricter(self, other: Level) -> bool:
        return LEVELS.index(self.name) > LEVELS.index(other.name)


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Level = Level()
    audit: Level = Level()
    warn: Level = Level()
    wrong: tuple[FieldError, ...] = ()  # Labels that cannot be read.

    @property
    def is_silent(self) -> bool:
        """Whether it says nothing about any pod."""
        return not self.wrong and self.enforce.name == self.audit.name == self.warn.name == PRIVILEGED


NOTHING = Policy()


def of(labels: Mapping[str, str]) -> Policy:
    """What a namespace with these labels asks for."""
    if not any(label.startswith(well_known.POD_SECURITY_PREFIX) for label in labels):
        return NOTHING
    return _policy(tuple(labels.get(label) for label in _LABELS))


_LABELS = tuple(
    f"{well_known.POD_SECURITY_PREFIX}{mode}{end}" for mode in (ENFORCE, AUDIT, WARN) for end in ("", "-version")
)


@functools.lru_cache(maxsize=POLICIES_CACHED_MAX)
def _policy(given: tuple[str | None, ...]) -> Policy:
    wrong: list[FieldError] = []
    levels: list[Level] = []
    for place in range(0, len(given), 2):
        name, version = given[place], given[place + 1]
        if name is not None and name not in LEVELS:
            wrong.append(_invalid(_LABELS[place], name, f"must be one of {', '.join(LEVELS)}"))
            name = PRIVILEGED if place else RESTRICTED
        if version is not None and version != LATEST and not _VERSION.fullmatch(version):
            wrong.append(_invalid(_LABELS[place + 1], version, 'must be "latest" or "v1.x"'))
            version = LATEST
        levels.append(Level(name or PRIVILEGED, version or LATEST))
    enforce, audit, warn = levels
    if given[4] is None and given[0] in LEVELS and enforce.is_stricter(warn):
        warn = Level(enforce.name, warn.version if given[5] is not None else enforce.version)
    return Policy(enforce, audit, warn, tuple(wrong))


def _invalid(label: str, value: str, why: str) -> FieldError:
    return FieldError.invalid(f"metadata.labels[{label}]", value, why)
