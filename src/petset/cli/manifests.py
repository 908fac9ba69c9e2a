"""The objects in manifests: files, directories (what is YAML or JSON in them, by name) and `-`, standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from petset.cli.main import CommandError
from petset.objects import documents, meta
from petset.objects.meta import Object

SUFFIXES = (".yaml", ".yml", ".json")
MANIFEST_BYTES_MAX = 16 << 20


def read(places: Sequence[str]) -> list[Object]:
    """All of them, namespaces and definitions of kinds first, else in their order. Raises CommandError."""
    found = [obj for place in places for obj in _of(place)]
    if not found:
        raise CommandError(f"cannot run {' '.join(places)}: there is no object in it")
    return sorted(found, key=lambda obj: FIRST.index(obj["kind"]) if obj["kind"] in FIRST else len(FIRST))


FIRST = ("Namespace", "CustomResourceDefinition", "StorageClass", "ServiceAccount", "ConfigMap", "Secret", "Service")


def _of(place: str) -> Iterator[Object]:
    if place == "-":
        yield from _objects(sys.stdin.buffer.read(MANIFEST_BYTES_MAX + 1), "standard input")
        return
    path = Path(place)
    try:
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
            if not files:
                raise CommandError(f"cannot read {place}: there is no {', '.join(SUFFIXES)} in it")
            for file in files:
                yield from _objects(file.read_bytes(), str(file))
        else:
            yield from _objects(path.read_bytes(), place)
    except OSError as error:
        raise CommandError(f"cannot read {place}: {error.strerror}; name a file, a directory or -") from None


def _objects(text: bytes, where: str) -> Iterator[Object]:
    if len(text) > MANIFEST_BYTES_MAX:
        raise CommandError(f"cannot read {where}: it has more than {MANIFEST_BYTES_MAX} bytes")
    try:
        trees = documents.load_all(text)
    except ValueError as error:
        raise CommandError(f"cannot read {where}: {str(error).splitlines()[0]}") from None
    for tree in trees:
        yield from _checked(tree, where)


def _checked(tree: Any, where: str) -> Iterator[Object]:
    if tree is None:
        return
    if not meta.is_struct(tree) or not isinstance(tree.get("kind"), str) or not isinstance(tree.get("apiVersion"), str):
        raise CommandError(f"cannot read {where}: it has something that is no object: it lacks apiVersion or kind")
    if tree["kind"].endswith("List") and meta.is_list(tree.get("items")):
        for item in tree["items"]:
            yield from _checked(item, where)
        return
    metadata: Any = tree.get("metadata")
    if not meta.is_struct(metadata) or not isinstance(metadata.get("name"), str):
        raise CommandError(f"cannot read {where}: a {tree['kind']} in it has no metadata.name")
    yield tree
