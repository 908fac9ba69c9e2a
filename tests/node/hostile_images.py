"""Images that nobody should build: OCI layouts whose layers say whatever a test wants them to."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SYMLINK, HARD_LINK, DIRECTORY, BLOCK_DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.BLKTYPE


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "linkname": link, "data": data, **more}


def layer(*entries: dict[str, Any], form: int = tarfile.PAX_FORMAT) -> bytes:
    """The tar stream of one layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for one in entries:
            info = tarfile.TarInfo()
            for key in [key for key in one if key != "data"]:
                setattr(info, key, one[key])
            info.size = len(one["data"])
            archive.addfile(info, io.BytesIO(one["data"]))
    return stream.getvalue()


def layout(
    folder: Path,
    *layers: bytes,
    config: Any = None,
    change: Callable[[dict[str, Any]], Any] = lambda manifest: None,
    compress: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1),
) -> str:
    """A layout with one image, example.org/hostile:1, whose manifest may be changed; its path."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    contents: Sequence[str] = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]
    text = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/x"]} if config is None else config,
        "rootfs": {"type": "layers", "diff_ids": contents},
    }
    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps(text).encode(), "config.v1+json"),
        "layers": [blob(compress(one), "layer.v1.tar+gzip") for one in layers],
    }
    change(manifest)
    described = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": "example.org/hostile:1"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    return str(folder)
