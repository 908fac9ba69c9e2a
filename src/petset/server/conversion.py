"""One kind in several versions: its objects are stored once, and converted on their way in and out.

A `Kind` that is `stored_as` another keeps its objects under the other's keys and in the other's form. Whoever works
above this seam (rest, lists, watch and all that call them) sees them in the form that was asked for; the store and
what reads it directly see the stored form only. A conversion takes a batch and may be awaited, since a custom kind's
is a webhook. A kind that has no other version never comes here: its entries' bytes go out as they are stored.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence

from petset.objects import encoding
from petset.objects.meta import Object
from petset.objects.registry import Convert, Kind
from petset.server import weight
from petset.store import store as stores

SHOWN_CACHED_BYTES_MAX = 1 << 20


async def stored(kind: Kind, obj: Object) -> Object:
    """An object of the kind as it is stored."""
    if kind.stored_as is None:
        return obj
    (made,) = await _converted(kind.to_stored, kind.stored_as, [obj])
    return made


async def shown(kind: Kind, found: stores.Entry) -> stores.Entry:
    """What is stored, as the kind shows it."""
    if kind.stored_as is None:
        return found
    (made,) = await _converted(kind.from_stored, kind, [found.object])
    return _entry(found, made)


async def between(kind: Kind, other: Kind, obj: Object) -> Object:
    """An object of one version in the form of another version of the same kind."""
    if kind is other:
        return obj
    kept = await stored(kind, obj)
    if other.stored_as is None:
        return kept
    (made,) = await _converted(other.from_stored, other, [kept])
    return made


async def all_shown(kind: Kind, entries: Sequence[stores.Entry], work: weight.Work) -> Sequence[stores.Entry]:
    """Many of them, run by run; decoded and encoded beside the loop where they are long."""
    if kind.stored_as is None:
        return entries
    result: list[stores.Entry] = []
    for run in weight.runs(entries, _size):
        size = sum(map(_size, run))
        trees = await work.beside(size, _objects, run)
        made = await _converted(kind.from_stored, kind, trees)
        result += await work.beside(size, _entries, run, made)
    return result


class Shown:
    """Changes as a kind shows them, made once for all who watch it."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[Kind, str, int], stores.Entry] = OrderedDict()
        self._bytes = 0

    async def changes(self, kind: Kind, changes: Sequence[stores.Change]) -> Sequence[stores.Change]:
        if kind.stored_as is None:
            return changes
        entries = {(kind, one.key, one.revision): one for change in changes for one in _versions(change)}
        made = {place: self._made[place] for place in entries if place in self._made}
        missing = [one for place, one in entries.items() if place not in made]
        if missing:
            trees = await _converted(kind.from_stored, kind, _objects(missing))
            for entry in _entries(missing, trees):
                made[kind, entry.key, entry.revision] = entry
                self._keep((kind, entry.key, entry.revision), entry)
        return [_change(change, made, kind) for change in changes]

    def _keep(self, place: tuple[Kind, str, int], entry: stores.Entry) -> None:
        if place in self._made:  # Another watch was quicker.
            return
        self._made[place] = entry
        self._bytes += len(entry.encoded)
        while self._bytes > SHOWN_CACHED_BYTES_MAX:
            _, oldest = self._made.popitem(last=False)
            self._bytes -= len(oldest.encoded)


def _versions(change: stores.Change) -> Sequence[stores.Entry]:
    return [change.entry] if change.previous is None else [change.entry, change.previous]


def _change(change: stores.Change, made: dict[tuple[Kind, str, int], stores.Entry], kind: Kind) -> stores.Change:
    entry, previous = change.entry, change.previous
    return stores.Change(
        change.type,
        made[kind, entry.key, entry.revision],
        made[kind, previous.key, previous.revision] if previous is not None else None,
    )


async def _converted(convert: Convert | None, into: Kind, objects: Sequence[Object]) -> Sequence[Object]:
    if convert is None:
        return [{**obj, "apiVersion": into.api_version, "kind": into.kind} for obj in objects]
    made = convert(objects)
    return await made if inspect.isawaitable(made) else made


def _entry(found: stores.Entry, obj: Object) -> stores.Entry:
    return stores.Entry(found.key, found.revision, found.created_revision, encoding.dumps(obj), obj)


def _entries(found: Sequence[stores.Entry], objects: Sequence[Object]) -> list[stores.Entry]:
    return [_entry(one, obj) for one, obj in zip(found, objects, strict=True)]


def _objects(entries: Sequence[stores.Entry]) -> list[Object]:
    return [found.object for found in entries]


def _size(found: stores.Entry) -> int:
    return len(found.encoded)
