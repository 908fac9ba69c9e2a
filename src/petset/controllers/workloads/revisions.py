"""The history of a set's template: one ControllerRevision for each template it ever had, named by its hash.

`history` compares the set's template with the revisions it owns and answers which is current, which is the one to
update to, and the steps that make the history so: adopt, create, renumber (a rollback brings an old one to the front),
and forget the oldest beyond the limit.

The data's bytes and their hash are those of upstream to the bit (FNV-1 over sorted, HTML-escaped JSON and the collision
count), so that pods and revisions made there are recognised here, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks, well_known
from petset.controllers import actions
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.objects import encoding, meta, selectors
from petset.objects.meta import Object

LIMIT_DEFAULT = 10
NAME_CHARACTERS_MAX = 223


@dataclass(frozen=True, slots=True)
class History:
    current: Object
    update: Object
    collisions: int
    steps: tuple[actions.Action, ...]  # To be done before pods are made from it.
    forget: tuple[actions.Action, ...]  # To be done at leisure.


def revision_name(pod: Object) -> str:
    """The revision that a pod was made of; "" where it does not say."""
    return meta.labels(pod).get(well_known.REVISION_LABEL, "")


def history(set_: Object, revisions: Iterable[Object], in_use: Iterable[str]) -> History:
    """Which revisions count for a set, given all ControllerRevisions of its namespace and the names its pods have."""
    in_namespace = {meta.name(revision): revision for revision in revisions}
    owned = [revision for revision in in_namespace.values() if meta.is_controlled_by(revision, set_)]
    adopted = [] if meta.is_deleting(set_) else _orphans(set_, in_namespace.values())
    known = sorted([*owned, *adopted], key=lambda revision: (revision.get("revision", 0), meta.name(revision)))
    steps: list[actions.Action] = [actions.StillThere(set_)] if adopted else []
    steps += [actions.Update(_owned_by(set_, revision)) for revision in adopted]

    collisions = meta.get(set_, "status", "collisionCount", default=0)
    newest = known[-1].get("revision", 0) if known else 0
    data = data_of(set_)
    same = [revision for revision in known if encoded(revision.get("data") or {}) == encoded(data)]
    if same:
        update = same[-1]
        if update.get("revision", 0) < newest and not adopted:
            update = meta.changed(update, ("revision",), newest + 1)
            steps.append(actions.Update(update))
    else:
        update, collisions = _new(set_, data, newest + 1, collisions, in_namespace)
        steps.append(actions.Create(update))

    current_name = meta.get(set_, "status", "currentRevision", default="")
    current = next((revision for revision in known if meta.name(revision) == current_name), update)
    live = [meta.name(current), meta.name(update), *in_use]
    return History(current, update, collisions, tuple(steps), tuple(_forgotten(set_, owned, live)))


def template_of(revision: Object) -> Object:
    """The pod template a revision keeps."""
    template = meta.get(revision, "data", "spec", "template", default={})
    return {key: value for key, value in template.items() if key != "$patch"}


def data_of(set_: Object) -> dict[str, Any]:
    """What of a set is a revision: the template, as a patch that replaces it."""
    return {"spec": {"template": {**meta.get(set_, "spec", "template", default={}), "$patch": "replace"}}}


def encoded(data: Object) -> bytes:
    """The data's canonical bytes."""
    text = encoding.dumps_sorted(data)
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def hash_of(data: bytes, collisions: int | None) -> str:
    """A revision's hash: FNV-1 32 of its data and the collision count, spelled without vowels."""
    hash_ = 0x811C9DC5
    for byte in data + (b"" if collisions is None else str(collisions).encode()):
        hash_ = (hash_ * 0x01000193 & 0xFFFFFFFF) ^ byte
    letters = tasks.NAME_ALPHABET
    return "".join(letters[ord(character) % len(letters)] for character in str(hash_))


def _new(
    set_: Object, data: Object, number: int, collisions: int, in_namespace: dict[str, Object]
) -> tuple[Object, int]:
    """A new revision under a name that no other template has taken."""
    text = encoded(data)
    while True:
        hash_ = hash_of(text, collisions)
        name = f"{meta.name(set_)[:NAME_CHARACTERS_MAX]}-{hash_}"
        if name not in in_namespace:
            break
        collisions += 1
    labels = meta.get(set_, "spec", "template", "metadata", "labels", default={})
    annotations = meta.annotations(set_)
    revision = {
        "apiVersion": CONTROLLERREVISIONS.api_version,
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": meta.namespace(set_),
            "labels": {**labels, well_known.CONTROLLER_HASH_LABEL: hash_, **_as_daemons_have_it(set_, hash_)},
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [meta.owner_reference(set_)],
        },
        "data": encoding.loads(text),  # In the order of its bytes, by which clients compare it with a template.
        "revision": number,
    }
    return revision, collisions


def _as_daemons_have_it(set_: Object, hash_: str) -> dict[str, str]:
    """Of a DaemonSet the revision has its hash under the name that pods have it by, too."""
    return {well_known.REVISION_LABEL: hash_} if set_["kind"] == "DaemonSet" else {}


def _orphans(set_: Object, revisions: Iterable[Object]) -> list[Object]:
    """Revisions without a controller that were a set's of this name: left by a delete that orphaned them."""
    selector = selectors.from_object(set_["spec"].get("selector"))
    prefix = meta.name(set_)[:NAME_CHARACTERS_MAX] + "-"
    return [
        revision
        for revision in revisions
        if meta.controller_of(revision) is None
        and not meta.is_deleting(revision)
        and meta.name(revision) == prefix + meta.labels(revision).get(well_known.CONTROLLER_HASH_LABEL, "?")
        and selector.matches(meta.labels(revision))
    ]


def _owned_by(set_: Object, obj: Object) -> Object:
    references = [*(obj["metadata"].get("ownerReferences") or ()), meta.owner_reference(set_)]
    return meta.changed(obj, ("metadata", "ownerReferences"), references)


def _forgotten(set_: Object, owned: Sequence[Object], live: Sequence[str]) -> list[actions.Action]:
    limit = meta.get(set_, "spec", "revisionHistoryLimit", default=LIMIT_DEFAULT)
    old = [revision for revision in owned if meta.name(revision) not in live and not meta.is_deleting(revision)]
    old.sort(key=lambda revision: (revision.get("revision", 0), meta.name(revision)))
    return [actions.Delete(revision) for revision in old[: max(0, len(old) - limit)]]
