"""Which kinds a server has, and which one a word means: `pods`, `po`, `Pod`, `statefulsets.apps`.

A word is looked up as kubectl does: plural, singular, kind or short name, with its group after a dot where several
have it, first in the order of discovery. What is not among the known kinds is asked of the server's discovery: custom
kinds come and go.
Follows: "API Discovery" in "Kubernetes API Concepts".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from petset.client.client import Client
from petset.objects import encoding, errors, meta
from petset.objects.registry import Kind, Kinds


def called(kinds: Iterable[Kind], word: str) -> Kind | None:
    """The first kind that the word means."""
    name, _, group = word.lower().partition(".")
    for kind in kinds:
        names = (kind.plural, kind.singular, kind.kind.lower(), *kind.short_names)
        if name in names and group in ("", kind.group, f"{kind.version}.{kind.group}"):
            return kind
    return None


async def others(client: Client, known: Kinds) -> list[Kind]:
    """The kinds that the server has and that are not known. Raises ApiError, OSError."""
    groups: Any = encoding.loads(await client.raw("/apis"))
    versions = [
        one.get("groupVersion") for group in meta.parts(groups, "groups") for one in meta.parts(group, "versions")
    ]
    found: list[Kind] = []
    for group_version in versions:
        of_group = await of_version(client, str(group_version))
        found += [kind for kind in of_group if known.at(kind.group, kind.version, kind.plural) is None]
    return found


async def of_version(client: Client, api_version: str) -> list[Kind]:
    """The kinds of one group version; none where it is not served, or whose server is not there now. Raises OSError."""
    group, _, version = api_version.rpartition("/")
    try:
        answer = await client.raw(f"/apis/{api_version}" if group else f"/api/{version}")
    except errors.ApiError:
        return []
    listed: Any = encoding.loads_answer(answer)
    resources = [(str(one.get("name", "")), one) for one in meta.parts(listed, "resources")]
    return [_kind(group, version, plural, one) for plural, one in resources if "/" not in plural]


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
