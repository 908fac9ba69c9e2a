"""The kinds of this server and of the others, for who looks after objects wherever they are kept: pure.

Of another server's those that can be listed and deleted, as long as he is there; while he is not, his group version is
lacking: nothing is known of what it has. A resource that this server has in another version of the group is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.server.described import remotes

_NEEDED = ("delete", "list")


def kinds(own: Kinds, versions: Sequence[remotes.Version]) -> Kinds:
    """All of them; this server's own snapshot where there are no others."""
    if not versions:
        return own
    mine = {(kind.group, kind.plural) for kind in own}
    others = [
        kind for one in versions if one.is_current for kind in _kinds(one) if (kind.group, kind.plural) not in mine
    ]
    lacking = [f"{one.group}/{one.version}" for one in versions if not one.is_current]
    return Kinds((*own, *others), lacking)


def _kinds(version: remotes.Version) -> Iterable[Kind]:
    for one in version.resources:
        verbs, name = tuple(meta.texts(one, "verbs")), meta.part(one, "responseKind").get("kind")
        if name and all(verb in verbs for verb in _NEEDED):
            yield Kind(
                version.group, version.version, one["resource"], name, _is_namespaced(one), verbs=verbs, elsewhere=True
            )


def _is_namespaced(resource: Object) -> bool:
    return resource.get("scope") == "Namespaced"
