"""Objects out of manifests: a text of YAML or JSON of any number of documents, a file, or a directory of files.

In a directory every .yaml, .yml and .json is read, by name. A `List` is its items. What is no object, or has no name,
is refused with the place where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object

SUFFIXES = (".yaml", ".yml", ".json")
MANIFEST_BYTES_MAX = 16 << 20


class ManifestError(ValueError):
    """What is wrong with a manifest, in one line that says what to do."""


def of_path(path: Path) -> Iterator[Object]:
    """Those of a file, or of the files of a directory. Raises ManifestError."""
    try:
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
            if not files:
                raise ManifestError(f"cannot read {path}: there is no {', '.join(SUFFIXES)} in it; name another")
            for file in files:
                yield from of_path(file)
            return
        with path.open("rb") as file:
            text = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ManifestError(f"cannot read {path}: {why}; name a file or a directory of manifests") from None
    yield from of_text(text, str(path))


def of_text(text: bytes | str, where: str) -> Iterator[Object]:
    """Those of its documents. Raises ManifestError."""
    from petset.objects import documents  # YAML is read when there is some.

    if len(text) > MANIFEST_BYTES_MAX:
        raise ManifestError(f"cannot read {where}: it has more than {MANIFEST_BYTES_MAX} bytes; split it")
    try:
        trees = documents.load_all(text)
    except ValueError as error:
        why = str(error).replace('in "<unicode string>", ', "at ").replace('in "<byte string>", ', "at ")
        raise ManifestError(f"cannot read {where}: {why}; mend it there") from None
    yield from of_trees(trees, where)


def of_trees(trees: Iterable[Any], where: str) -> Iterator[Object]:
    """Each as an object. Raises ManifestError."""
    for tree in trees:
        if not meta.is_struct(tree):
            raise ManifestError(
                f"cannot read {where}: {str(tree)[:60]!r} is no object; begin one with apiVersion and kind"
            )
        kind = tree.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and meta.is_list(tree.get("items")):
            yield from of_trees(tree["items"], where)
            continue
        if not isinstance(kind, str) or not isinstance(tree.get("apiVersion"), str):
            raise ManifestError(f"cannot read {where}: an object in it lacks apiVersion or kind; give it both")
        metadata: Any = tree.get("metadata")
        names = [metadata.get(key) for key in ("name", "generateName")] if meta.is_struct(metadata) else []
        if not any(isinstance(name, str) and name for name in names):
            raise ManifestError(f"cannot read {where}: a {kind} in it has no metadata.name; give it one")
        yield tree
