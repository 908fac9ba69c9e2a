"""Which kind a word means: `pods`, `po`, `Pod`, `statefulsets.apps`, or what an object says of itself.

A word is looked up as kubectl does: plural, singular, kind or short name, with its group after a dot where several
have it, first in the order of discovery. What is not among the known kinds is asked of the server's discovery: custom
kinds come and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petset.client.client import Client
from petset.objects import encoding, errors, meta
from petset.objects.registry import Kind, Kinds
from petset.testing.failures import NotFound


def find(kinds: Iterable[Kind], word: str) -> Kind | None:
    """The first kind that the word means."""
    name, _, group = word.lower().partition(".")
    for kind in kinds:
        names = (kind.plural, kind.singular, kind.kind.lower(), *kind.short_names)
        if name in names and group in ("", kind.group, f"{kind.version}.{kind.group}"):
            return kind
    return None


def of(kinds: Kinds, obj: Mapping[str, Any]) -> Kind | None:
    return kinds.named(str(obj.get("apiVersion", "")), str(obj.get("kind", "")))


def unknown(word: str) -> NotFound:
    """What a word that no kind has is answered with."""
    return NotFound(
        404, "NotFound", f"cannot find the kind {word!r}: the server has none of that name; is its definition applied?"
    )


async def discovered(client: Client, known: Kinds) -> list[Kind]:
    """The kinds that the server has and that are not known."""
    groups: Any = encoding.loads(await client.raw("/apis"))
    versions = [
        one.get("groupVersion") for group in meta.parts(groups, "groups") for one in meta.parts(group, "versions")
    ]
    found: list[Kind] = []
    for group_version in versions:
        try:
            listed: Any = encoding.loads(await client.raw(f"/apis/{group_version}"))
        except errors.ApiError:
            continue  # Of a server that is not there now.
        group, _, version = str(group_version).rpartition("/")
        for one in meta.parts(listed, "resources"):
            plural = str(one.get("name", ""))
            if "/" not in plural and known.at(group, version, plural) is None:
                found.append(_kind(group, version, plural, one))
    return found


def _kind(group: str, version: str, plural: str, says: meta.Object) -> Kind:
    return Kind(
        group,
        version,
        plural,
        str(says.get("kind", "")),
        bool(says.get("namespaced")),
        short_names=(*meta.texts(says, "shortNames"), str(says.get("singularName") or "")),
        verbs=tuple(meta.texts(says, "verbs")),
    )
