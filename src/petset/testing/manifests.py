"""Objects out of what a test has at hand: the text of manifests, a file, a directory of them, or objects themselves.

A text is YAML or JSON, of any number of documents; a `List` is its items. A text of one line without a colon is the
path of a file. In a directory every .yaml, .yml and .json is read, by name. Every object comes out as a tree of its own
that the caller may change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from petset.objects import encoding, meta
from petset.testing.failures import ManifestError

Manifest = dict[str, Any]
Given = str | os.PathLike[str] | Mapping[str, Any] | Sequence["Given"]

SUFFIXES = (".yaml", ".yml", ".json")
MANIFEST_BYTES_MAX = 16 << 20


def read(given: Given) -> list[Manifest]:
    """The objects, in their order. Raises ManifestError."""
    return list(_objects(given))


def _objects(given: Given) -> Iterator[Manifest]:
    if isinstance(given, os.PathLike):
        yield from _of_path(Path(given))
    elif isinstance(given, str):
        yield from _of_text(given, "the text") if _is_manifest(given) else _of_path(Path(given))
    elif isinstance(given, Mapping):
        yield from _checked([encoding.loads(encoding.dumps(given))], "the object")
    else:
        for one in given:
            yield from _objects(one)


def _is_manifest(text: str) -> bool:
    return "\n" in text.strip() or ":" in text or text.lstrip().startswith("{")


def _of_path(path: Path) -> Iterator[Manifest]:
    try:
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
            if not files:
                raise ManifestError(f"cannot read manifests: {path} has no {', '.join(SUFFIXES)}")
            for file in files:
                yield from _of_path(file)
            return
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise ManifestError(f"cannot read {path}: it has more than {MANIFEST_BYTES_MAX} bytes")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or error if isinstance(error, OSError) else "it is no text"
        raise ManifestError(f"cannot read {path}: {why}; give a file, a directory, text or objects") from None
    yield from _of_text(text, str(path))


def _of_text(text: str, where: str) -> Iterator[Manifest]:
    from petset.objects import documents

    try:
        found = documents.load_all(text)
    except ValueError as error:
        raise ManifestError(f"cannot read {where}: {error}") from None
    yield from _checked(found, where)


def _checked(trees: Iterable[Any], where: str) -> Iterator[Manifest]:
    for tree in trees:
        if not meta.is_struct(tree):
            raise ManifestError(f"cannot read {where}: {str(tree)[:60]!r} is no object")
        kind = tree.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and meta.is_list(tree.get("items")):
            yield from _checked(tree["items"], where)
            continue
        if not isinstance(kind, str) or not isinstance(tree.get("apiVersion"), str):
            raise ManifestError(f"cannot read {where}: an object says no apiVersion or no kind")
        if not meta.is_struct(tree.get("metadata")) or not (
            tree["metadata"].get("name") or tree["metadata"].get("generateName")
        ):
            raise ManifestError(f"cannot read {where}: a {kind} has no name")
        yield tree
