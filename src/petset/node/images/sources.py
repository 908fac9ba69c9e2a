"""Where images come from, in skopeo's words: the images of an archive, and why one could not be had.

An archive is what `docker save` or skopeo writes (docker-archive, oci-archive), or the directory of an OCI layout. What
is in it is a stranger's: whatever is wrong with it is an ImageError that says so.
Follows: OCI image-spec 1.0 (layout, index), containers-transports(5).
"""

from __future__ import annotations

import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Sequence
from typing import Any

from petset.node.runtime import ImageError
from petset.objects import encoding, meta
from petset.objects.meta import Json, Object

DOCUMENT_BYTES_MAX = 4 << 20
REF_NAME = "org.opencontainers.image.ref.name"


def images_in(path: str) -> list[tuple[str, str]]:
    """[(skopeo's name of the source, the image's own name or "")] of an archive or a layout directory."""
    what = f"cannot load {path}"
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ImageError(
            "ErrImagePull", f"{what}: it is neither a file nor a directory; save the image to a file first"
        )
    try:
        if os.path.isdir(path):
            with open(os.path.join(path, "index.json"), "rb") as file:
                return _of_index("oci", path, encoding.loads(file.read(DOCUMENT_BYTES_MAX)))
        with tarfile.open(path, "r:*") as archive:
            documents: dict[str, Any] = {}
            for member in archive:
                name = member.name.removeprefix("./")
                if name not in ("manifest.json", "index.json") or member.size > DOCUMENT_BYTES_MAX:
                    continue
                if member.isreg() and (content := archive.extractfile(member)) is not None:
                    documents[name] = encoding.loads(content.read())
        if "manifest.json" in documents:
            return [
                (f"docker-archive:{path}:@{number}" if not tags else f"docker-archive:{path}:{tag}", tag)
                for number, tags in enumerate(_tags(documents["manifest.json"]))
                for tag in tags or [""]
            ]
        if "index.json" in documents:
            return _of_index("oci-archive", path, documents["index.json"])
    except FileNotFoundError as error:
        raise ImageError("ErrImagePull", f"{what}: there is no {error.filename}; check the path") from None
    except tarfile.TarError:  # Its words are a list of all that was tried.
        raise ImageError("ErrImagePull", f"{what}: it is no tar archive; make one with docker save") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        message = f"{what}: it is no image archive ({error}); make one with docker save"
        raise ImageError("ErrImagePull", message) from None
    raise ImageError("ErrImagePull", f"{what}: it has neither manifest.json nor index.json; make one with docker save")


def _tags(manifest: Any) -> list[tuple[str, ...]]:
    """The names of each image of a docker archive."""
    try:
        return [texts(image.get("RepoTags")) for image in manifest]
    except (AttributeError, TypeError):
        raise ValueError("its manifest.json is malformed") from None


def _of_index(transport: str, path: str, index: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        entries: Sequence[Object] = index["manifests"]
        notes = [meta.part(entry, "annotations") for entry in entries]
        names = [text(note.get(REF_NAME)) for note in notes]
        fulls = [text(note.get("io.containerd.image.name")) for note in notes]
    except (AttributeError, KeyError, TypeError):
        raise ValueError("its index.json is malformed") from None
    if len(entries) == 1:
        full = fulls[0] or names[0]
        return [(f"{transport}:{path}" + (f":{names[0]}" if names[0] else ""), full)]
    return [(f"{transport}:{path}:{name}", name) for name in names if name]


def text(value: Json) -> str:
    """A text of a stranger's document, "" when it is null. Raises TypeError."""
    if not isinstance(value, str | None):
        raise TypeError(f"{value!r} is no text")
    return value or ""


def texts(value: Json) -> tuple[str, ...]:
    """A list of texts, likewise."""
    if not isinstance(value, list | None):
        raise TypeError(f"{value!r} is no list")
    return tuple(map(text, value or ()))


# ---- errors

ANSWER_CHARS_MAX = 200
REFUSED = r"unauthorized|authentication required|denied|invalid username|(?<![^\s:])40[13]\b(?!/)"  # Not in a path.
_LOAD_INSTEAD = "check the network, or load the image with petset image load"
_IS_IT_THERE = "check its name and that it runs"
_TRUST_IT, _INSTALL_IT = "install its CA on this machine", "install the package skopeo"
# (what skopeo says, why, what to do where an image is fetched, and where one is put into a registry)
_REASONS = (
    (
        r"manifest unknown|name unknown|name invalid|not found: |was not found|does not exist",
        "the registry has no such image or tag",
        "check the name and the tag",
        _IS_IT_THERE,
    ),
    (
        REFUSED,
        "the registry refuses it without other credentials",
        "check the name, and give a pull secret in imagePullSecrets",
        "log in with skopeo login {host}",
    ),
    (
        r"connection refused",
        "nothing answers there (connection refused)",
        "start the registry or check its address",
        _IS_IT_THERE,
    ),
    (
        r"no such host|server misbehaving|Temporary failure in name resolution",
        "the registry's name is not known to DNS",
        _LOAD_INSTEAD,
        _IS_IT_THERE,
    ),
    (
        r"i/o timeout|did not end within|deadline exceeded|Timeout|network is unreachable|no route to host",
        "the registry does not answer in time",
        _LOAD_INSTEAD,
        _IS_IT_THERE,
    ),
    (
        r"HTTP response to HTTPS client",
        "the registry speaks plain HTTP",
        "name it as an insecure registry",
        "say --tls-verify=false if that is meant",
    ),
    (r"certificate", "its certificate is not trusted", _TRUST_IT, _TRUST_IT),
    (
        r"no image found in (manifest list|image index)|no matching",
        "it has no image for this machine's architecture",
        "choose another image",
        _IS_IT_THERE,
    ),
    (r"is not installed", "skopeo is not installed", _INSTALL_IT, _INSTALL_IT),
    (r"[Nn]o space left on device", "the disk is full", "make room, or remove unused images", "make room there"),
    (
        r"SIGXFSZ|file too large",
        "it is larger than this machine takes",
        "make room, or choose another image",
        _IS_IT_THERE,
    ),
)


def pull_failure(name: str, source: str, said: str) -> str:
    """skopeo's last line as a sentence that says what to do."""
    doing = f'cannot pull image "{name}"' if source.startswith("docker://") else f"cannot load image {name}"
    host = source.removeprefix("docker://").partition("/")[0] if source.startswith("docker://") else ""
    return _failure(doing, host, said)


def push_failure(name: str, host: str, said: str) -> str:
    """The same where an image was to be put into a registry."""
    return _failure(f"cannot push {name}", host, said, pushes=True)


def _failure(doing: str, host: str, said: str, pushes: bool = False) -> str:
    found = re.search(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"', said)
    text = found[1].replace('\\"', '"') if found else said
    for pattern, why, of_fetching, of_pushing in _REASONS:
        if answer := re.search(pattern, text):
            said = f" ({text[answer.start() :][:ANSWER_CHARS_MAX]})" if pattern == REFUSED else ""
            remedy = of_pushing.format(host=host) if pushes else of_fetching
            return f"{doing}: {host + ': ' if host else ''}{why}{said}; {remedy}"
    return f"{doing}: {text.rpartition(': ')[2] if len(text) > 200 else text}; see the registry's answer"
