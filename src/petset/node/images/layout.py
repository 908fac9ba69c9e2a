"""A directory as an OCI image layout: blobs by their digest, and an index of the manifests that have a name.

What is in a blob is a stranger's: `manifest` and `image` take out of it what is needed, once, and refuse what is not as
the specification says. The index is ours. `aside` makes a small layout that shares the blobs, for the tools that read
and write layouts; `only` is what such a tool has put there.

Invariants: a file appears by rename; nothing here locks, who changes a layout holds its lock (images.py).
Follows: OCI image-spec 1.0 (layout, index, manifest, config).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from petset.node.images import sources
from petset.node.images.sources import text, texts
from petset.node.runtime import Image, ImageError
from petset.objects import encoding
from petset.objects.meta import Object

REF_NAME = sources.REF_NAME
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Blob:
    """A descriptor: what is found under a digest."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class Entry:
    """A manifest of an index, with its annotations."""

    blob: Blob
    notes: Mapping[str, str]

    @property
    def digest(self) -> str:
        return self.blob.digest

    @property
    def name(self) -> str:
        return self.notes.get(REF_NAME, "")

    def noted(self, notes: Mapping[str, str]) -> Entry:
        return replace(self, notes=notes)


class Layout:
    def __init__(self, directory: str):
        self.directory = directory
        self.blobs = os.path.join(directory, "blobs")

    def make(self) -> None:
        os.makedirs(os.path.join(self.blobs, "sha256"), mode=0o755, exist_ok=True)
        marker = os.path.join(self.directory, "oci-layout")
        if not os.path.exists(marker):
            _write_atomically(marker, _MARKER)

    # ---- the index

    def entries(self) -> list[Entry]:
        with contextlib.suppress(FileNotFoundError):
            return _entries(self.directory)
        return []

    def entry(self, name: str) -> Entry | None:
        return next((entry for entry in self.entries() if entry.name == name), None)

    def replace_entry(self, name: str, entry: Entry | None) -> bool:
        """Let a name lead to a manifest, or to nothing; True when it led somewhere before."""
        before = self.entries()
        after = [other for other in before if other.name != name]
        _write_atomically(os.path.join(self.directory, "index.json"), _index([*after, *([entry] if entry else [])]))
        return len(after) < len(before)

    # ---- what it holds

    def blob(self, digest: str) -> str:
        """The path of a blob. Raises ValueError for what is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no digest")
        return os.path.join(self.blobs, *digest.split(":", 1))

    def _document(self, digest: str) -> Any:
        with open(self.blob(digest), "rb") as file:
            return encoding.loads(file.read(sources.DOCUMENT_BYTES_MAX))

    def manifest(self, digest: str) -> Manifest:
        """Raises ImageError, FileNotFoundError."""
        try:
            tree = self._document(digest)
            return Manifest(_blob(tree["config"]), tuple(_blob(layer) for layer in tree["layers"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _malformed(digest) from None

    def image(self, digest: str, rootfs: str) -> Image:
        """The image of a manifest, from its configuration. Raises ImageError, FileNotFoundError."""
        manifest = self.manifest(digest)
        try:
            config: Object = self._document(manifest.config.digest).get("config") or {}
            return Image(
                reference="",
                digest=digest,
                rootfs=rootfs,
                entrypoint=texts(config.get("Entrypoint")),
                command=texts(config.get("Cmd")),
                env=texts(config.get("Env")),
                working_dir=text(config.get("WorkingDir")) or "/",
                user=text(config.get("User")),
                stop_signal=text(config.get("StopSignal")) or "SIGTERM",
                size_bytes=sum(blob.size for blob in manifest.blobs),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _malformed(digest) from None

    def remove_blobs(self, roots: Iterable[str]) -> int:
        """Take away what no manifest of these digests leads to; the bytes freed."""
        kept: set[str] = set()
        for digest in roots:
            with contextlib.suppress(FileNotFoundError):
                kept |= {digest, *(blob.digest for blob in self.manifest(digest).blobs)}
        freed, folder = 0, os.path.join(self.blobs, "sha256")
        for name in os.listdir(folder):
            if f"sha256:{name}" not in kept:
                freed += os.stat(os.path.join(folder, name)).st_size
                os.unlink(os.path.join(folder, name))
        return freed

    # ---- side layouts

    def aside(self, work: str, entry: Entry | None, tag: str) -> str:
        """A small layout of one's own in a work folder, with the manifest (or none) under a tag."""
        layout = tempfile.mkdtemp(prefix="layout-", dir=work)
        os.symlink(self.blobs, os.path.join(layout, "blobs"))
        entries = [] if entry is None else [entry.noted({REF_NAME: tag})]
        for name, content in (("oci-layout", _MARKER), ("index.json", _index(entries))):
            with open(os.path.join(layout, name), "wb") as file:
                file.write(content)
        return layout


def only(layout: str) -> Entry:
    """The one manifest of a side layout."""
    (entry,) = _entries(layout)
    return entry


def _entries(directory: str) -> list[Entry]:
    with open(os.path.join(directory, "index.json"), "rb") as file:
        manifests = json.load(file)["manifests"]
    return [Entry(_blob(one), one.get("annotations") or {}) for one in manifests]


def _index(entries: Iterable[Entry]) -> bytes:
    manifests = [
        {
            **({"mediaType": entry.blob.media_type} if entry.blob.media_type else {}),
            "digest": entry.digest,
            "size": entry.blob.size,
            "annotations": dict(entry.notes),
        }
        for entry in entries
    ]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}, indent=1).encode()


def _blob(tree: Any) -> Blob:
    """From a descriptor. Raises AttributeError, KeyError, TypeError, ValueError."""
    return Blob(text(tree["digest"]), int(tree["size"]), text(tree.get("mediaType")))


def _malformed(digest: str) -> ImageError:
    message = f"cannot use image {digest}: its manifest or its configuration is malformed; have it built anew"
    return ImageError("ErrImagePull", message)


def _write_atomically(path: str, content: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(prefix=".draft-", dir=os.path.dirname(path))
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, path)
