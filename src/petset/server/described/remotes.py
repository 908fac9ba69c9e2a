"""Group versions that other servers have, as discovery shows them beside those of this server: pure.

What each of them serves was read when it was last reached (`resources`): its plain APIResourceList in the aggregated
form. One that cannot be reached now is shown as it was, and is Stale. `order` puts all groups and versions into theirs:
by the priorities that APIServices name, what this server has of itself keeping its own order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects import meta
from petset.objects.meta import Json, Object

RESOURCES_MAX = 1_000  # Of one group version; more are not shown.


@dataclass(frozen=True, slots=True)
class Version:
    group: str
    version: str
    group_priority: int
    version_priority: int
    resources: Sequence[Object] = ()  # As apidiscovery.k8s.io has them.
    is_current: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """Of the aggregated list."""
        freshness = "Current" if self.is_current else "Stale"
        return {"version": self.version, "resources": list(self.resources), "freshness": freshness}


@dataclass(frozen=True, slots=True, eq=False)
class Remotes:
    """A snapshot of all, replaced as a whole."""

    versions: tuple[Version, ...] = ()


NOBODY = Remotes()


def order(
    own: Mapping[str, Sequence[str]],
    remotes: Remotes,
    priority: Callable[[str], int],
    own_version_priority: Callable[[str], int],
    by_name: Callable[[str], Any],
) -> dict[str, list[str | Version]]:
    """Every group with its versions, the first ones first: names of own ones, and what others have."""
    groups: dict[str, tuple[int, list[tuple[int, Any, str | Version]]]] = {
        group: (priority(group), [(-own_version_priority(group), by_name(one), one) for one in versions])
        for group, versions in own.items()
    }
    for one in remotes.versions:
        before, versions = groups.get(one.group, (0, []))
        versions = [entry for entry in versions if entry[2] != one.version]
        versions.append((-one.version_priority, by_name(one.version), one))
        groups[one.group] = max(before, one.group_priority), versions
    in_order = sorted(groups.items(), key=lambda item: (-item[1][0], item[0]))
    return {name: [one for _, _, one in sorted(found, key=lambda v: v[:2])] for name, (_, found) in in_order}


def resources(tree: Json, group: str, version: str) -> list[Object]:
    """What a stranger's APIResourceList says, as the aggregated form has it. Raises ValueError when it is none."""
    if not meta.is_struct(tree) or tree.get("kind") != "APIResourceList" or not isinstance(tree.get("resources"), list):
        raise ValueError("it is no APIResourceList")
    found: dict[str, dict[str, Any]] = {}
    below: list[tuple[str, Object]] = []
    given: list[Any] = tree["resources"][:RESOURCES_MAX]
    for one in given:
        name: Any = one.get("name") if meta.is_struct(one) else None
        if not isinstance(name, str) or not name:
            continue
        plural, slash, sub = name.partition("/")
        verbs = list(_texts(one, "verbs"))
        kind = {
            "group": _text(one, "group") or group,
            "version": _text(one, "version") or version,
            "kind": _text(one, "kind"),
        }
        if slash:
            below.append((plural, {"subresource": sub, "responseKind": kind, "verbs": verbs}))
            continue
        found[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if one.get("namespaced") is True else "Cluster",
            "singularResource": _text(one, "singularName"),
            "verbs": verbs,
            **{key: list(texts) for key in ("shortNames", "categories") if (texts := _texts(one, key))},
        }
    for plural, one in below:
        if plural in found:
            found[plural].setdefault("subresources", []).append(one)
    return list(found.values())


def _text(obj: Object, key: str) -> str:
    value: Any = obj.get(key)
    return value if isinstance(value, str) else ""


def _texts(obj: Object, key: str) -> Iterable[str]:
    value: Any = obj.get(key)
    return value if meta.is_texts(value) else ()
