"""Objects out of what a test has at hand: the text of manifests, a file, a directory of them, or objects themselves.

A text of one line without a colon is the path of a file. Every object comes out as a tree of its own that the caller
may change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from petset.client import manifests
from petset.objects import encoding
from petset.objects.meta import Object

Manifest = dict[str, Any]
Given = str | os.PathLike[str] | Mapping[str, Any] | Sequence["Given"]


def read(given: Given) -> list[Manifest]:
    """The objects, in their order. Raises ManifestError."""
    return [dict(obj) for obj in _objects(given)]


def _objects(given: Given) -> Iterator[Object]:
    if isinstance(given, os.PathLike):
        yield from manifests.of_path(Path(given))
    elif isinstance(given, str):
        yield from manifests.of_text(given, "the text") if _is_manifest(given) else manifests.of_path(Path(given))
    elif isinstance(given, Mapping):
        yield from manifests.of_trees([encoding.loads(encoding.dumps(given))], "the object")
    else:
        for one in given:
            yield from _objects(one)


def _is_manifest(text: str) -> bool:
    return "\n" in text.strip() or ":" in text or text.lstrip().startswith("{")
