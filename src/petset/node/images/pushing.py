"""The stand-ins in a registry of the user's: what they are called there, and which names of 2016 are to lead to them.

A recipe's image is `<registry>/<recipe>:<petset's version>`: recipes change with petset, and whoever reads the names is
of the version that pushed them. `image_map` says the same for who makes pods in a cluster that pulls from there, in
every spelling that a manifest may have (docker.io and library/ may be left out). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from petset import __version__
from petset.node.images.image_names import DEFAULT_REGISTRY, Reference, parse_reference

LIBRARY = "library/"


def name_in(registry: str, recipe: str) -> Reference:
    """What a recipe's image is called in a registry (a host, perhaps with a path). Raises ImageError."""
    return parse_reference(f"{registry.rstrip('/')}/{recipe}:{__version__.replace('+', '_')}")


def image_map(registry: str, stand_ins: Iterable[tuple[str, str]]) -> Sequence[str]:
    """`FROM=TO` for each pattern of names that a recipe stands in for. Raises ImageError."""
    return [
        f"{spelling}={name_in(registry, recipe)}" for pattern, recipe in stand_ins for spelling in _spellings(pattern)
    ]


def _spellings(pattern: str) -> list[str]:
    host, _, rest = pattern.partition("/")
    if host != DEFAULT_REGISTRY:
        return [pattern]
    short = [rest.removeprefix(LIBRARY)] if rest.startswith(LIBRARY) else []
    return [pattern, *(f"{host}/{one}" for one in short), rest, *short]
