"""The objects in manifests: files, directories, and `-`, standard input; those first that others need."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from petset.cli.failures import CommandError
from petset.client import manifests
from petset.objects import meta
from petset.objects.meta import Object

FIRST = ("Namespace", "CustomResourceDefinition", "StorageClass", "ServiceAccount", "ConfigMap", "Secret", "Service")


def read(places: Sequence[str]) -> list[Object]:
    """All of them, namespaces and definitions of kinds first, else in their order. Raises CommandError."""
    try:
        found = [obj for place in places for obj in _of(place)]
    except manifests.ManifestError as error:
        raise CommandError(str(error)) from None
    if not found:
        raise CommandError(f"cannot run {' '.join(places)}: there is no object in it; name files with manifests")
    return sorted(found, key=lambda obj: FIRST.index(obj["kind"]) if obj["kind"] in FIRST else len(FIRST))


def _of(place: str) -> Iterator[Object]:
    if place == "-":
        text = sys.stdin.buffer.read(manifests.MANIFEST_BYTES_MAX + 1)
        found = manifests.of_text(text, "standard input")
    else:
        found = manifests.of_path(Path(place))
    for obj in found:
        if not meta.name(obj):
            raise CommandError(
                f"cannot read {place}: a {obj['kind']} in it has no metadata.name to apply it by; give it one"
            )
        yield obj
