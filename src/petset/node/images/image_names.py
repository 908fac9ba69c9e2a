"""The names of images: registry/repository[:tag][@digest], read as a pod's `image` means them.

What is left out is filled in: docker.io, library/ and latest. Pure; a name that cannot be one is an ImageError that
says what is wrong with it. Follows: the reference grammar of the distribution project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from petset.node.runtime import ImageError


@dataclass(frozen=True, slots=True)
class Reference:
    """registry/repository[:tag][@digest], with nothing left out."""

    registry: str
    repository: str
    tag: str  # "" when only a digest was given
    digest: str

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def to_fetch(self) -> str:
        """A digest says more than a tag, and skopeo takes only one of them."""
        return str(replace(self, tag="") if self.digest else self)


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)
REFERENCE_NAME_CHARS_MAX = 255
DEFAULT_REGISTRY = "docker.io"


def parse_reference(text: str) -> Reference:
    """The reference that a pod's `image` means: docker.io, library/ and latest are filled in."""
    found = _REFERENCE.fullmatch(text)
    if found is None or len(found["name"]) > REFERENCE_NAME_CHARS_MAX:
        raise ImageError("InvalidImageName", f'cannot use image "{text}": {_what_is_wrong(text)}; correct the name')
    first, slash, rest = found["name"].partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        first, rest = DEFAULT_REGISTRY, found["name"]
    if first in ("index.docker.io", "registry-1.docker.io"):
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    tag = found["tag"] or ("" if found["digest"] else "latest")
    return Reference(first, rest, tag, found["digest"] or "")


def _what_is_wrong(text: str) -> str:
    if not text.strip():
        return "the name is empty"
    if re.search(r"\s", text):
        return "a name has no spaces"
    if "://" in text:
        return "a name has no scheme such as http://"
    if "@" in text:
        return "after @ there must be sha256: and 64 hexadecimal digits"
    if re.search(r"[A-Z]", text.partition(":")[0].rpartition("/")[2]):
        return "repository names are in lower case"
    return "it is not of the form registry/name:tag"


def is_loopback(registry: str) -> bool:
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    return host in ("localhost", "[::1]") or host.startswith("127.")
