"""Python distributions that an image gets: what this petset runs on, and petset itself, as they are installed here.

So an image has just the versions that were pinned, checked by their hashes and tested, and nobody is asked for them. A
distribution is its files as its record says them (PEP 376), without tests, sources and what was compiled; petset is the
package that runs, without the examples, recipes and pages that only the machine it was installed on has a use for.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from petset.objects import package_data

OWN = "petset"
LEFT_OUT_FOLDERS = ("__pycache__", "tests", "testing")
OWN_LEFT_OUT_FOLDERS = ("images", "examples", "dashboard")  # At the top: packages further down are called so, too.
LEFT_OUT_SUFFIXES = (".pyc", ".c", ".h", ".pxd", ".pyx", ".pyi")
RELEASE = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Missing(Exception):
    """What is not installed here, in one line."""


def files(names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """(where it lies, its path among Python's packages) of each file of these distributions. Raises Missing."""
    for name in names:
        yield from _own() if name == OWN else _of(name)


def _own() -> Iterator[tuple[Path, str]]:
    root = Path(str(package_data.place("")))
    for path in sorted(root.rglob("*")):  # Which follows no links: recipes and examples are some in a checkout.
        inside = path.relative_to(root)
        if path.is_file() and inside.parts[0] not in OWN_LEFT_OUT_FOLDERS and _is_wanted(inside):
            yield path, f"{OWN}/{inside}"


def _of(name: str) -> Iterator[tuple[Path, str]]:
    import importlib.metadata  # For an image that is built, perhaps never; 2 MiB, for it reads what looks like mail.

    try:
        found = importlib.metadata.distribution(name).files or ()
    except importlib.metadata.PackageNotFoundError:
        raise Missing(f"the Python distribution {name} is not installed here") from None
    for file in sorted(found):
        path = Path(str(file.locate()))
        if ".." not in file.parts and path.is_file() and _is_wanted(file):
            yield path, str(file)


def _is_wanted(path: PurePath) -> bool:
    return path.suffix not in LEFT_OUT_SUFFIXES and not any(part in LEFT_OUT_FOLDERS for part in path.parts[:-1])


def digest(names: Sequence[str]) -> bytes:
    """Another one where any of their files is another. Raises Missing."""
    total = hashlib.sha256(RELEASE.encode())
    for path, inside in files(names):
        total.update(f"{inside}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.digest()


def copy(names: Sequence[str], folder: str) -> None:
    """Into a folder of an image's Python, 0644 (libraries 0755). Raises Missing, OSError."""
    for path, inside in files(names):
        target = Path(folder, inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if ".so" in path.suffixes else 0o644)
    for made in Path(folder).rglob("*"):
        if made.is_dir():
            made.chmod(0o755)
