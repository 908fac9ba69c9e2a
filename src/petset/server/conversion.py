"""One kind in several versions: its objects are stored once, and converted on their way in and out.

A `Kind` that is `stored_as` another keeps its objects under the other's keys and in the other's form. Whoever works
above this seam (rest, lists, watch and all that call them) sees them in the form that was asked for; the store and
what reads it directly see the stored form only. A conversion takes a batch and may be awaited, since a custom kind's
may be a webhook: then who reads many hands over long runs, who watches the same waits for the one call, and a failure
is told to those who ask in that version only. A kind that has no other version never comes here: its entries' bytes go
out as they are stored.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from petset.objects import encoding, errors
from petset.objects.meta import Object
from petset.objects.registry import Convert, Kind
from petset.server import weight
from petset.store import store as stores

SHOWN_CACHED_BYTES_MAX = 1 << 20
WAITING_RUN_OBJECTS_MAX = 1000  # That somebody else is asked to convert in one call.
WAITING_RUN_BYTES_MAX = 2 << 20


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
    kept = obj if other.conversion_waits else await stored(kind, obj)  # Webhooks convert from any version.
    if other.stored_as is None:
        return kept
    (made,) = await _converted(other.from_stored, other, [kept])
    return made


async def all_shown(kind: Kind, entries: Sequence[stores.Entry], work: weight.Work) -> Sequence[stores.Entry]:
    """Many of them, run by run; decoded and encoded beside the loop where they are long."""
    if kind.stored_as is None:
        return entries
    result: list[stores.Entry] = []
    for run in _runs(kind, entries):
        size = sum(map(_size, run))
        trees = await work.beside(size, _objects, run)
        made = await _converted(kind.from_stored, kind, trees)
        result += await work.beside(size, _entries, run, made)
    return result


def _runs(kind: Kind, entries: Sequence[stores.Entry]) -> Iterator[Sequence[stores.Entry]]:
    if kind.conversion_waits:
        return weight.runs(entries, _size, WAITING_RUN_OBJECTS_MAX, WAITING_RUN_BYTES_MAX)
    return weight.runs(entries, _size)


Place = tuple[Kind, str, int]  # A kind, a key and a revision.


class Shown:
    """Changes as a kind shows them, made once for all who watch it."""

    def __init__(self) -> None:
        self._made: OrderedDict[Place, stores.Entry] = OrderedDict()
        self._bytes = 0
        self._making: dict[Place, asyncio.Future[errors.ApiError | None]] = {}  # To what has kept it from being made.

    async def changes(self, kind: Kind, changes: Sequence[stores.Change]) -> Sequence[stores.Change]:
        """Raises ApiError when one cannot be shown."""
        if kind.stored_as is None:
            return changes
        entries = {(kind, one.key, one.revision): one for change in changes for one in _versions(change)}
        made: dict[Place, stores.Entry] = {}
        while True:
            missing = [place for place in entries if place not in made]
            made |= {place: self._made[place] for place in missing if place in self._made}
            missing = [place for place in missing if place not in made]
            if not missing:
                return [_change(change, made, kind) for change in changes]
            if others := [self._making[place] for place in missing if place in self._making]:
                await asyncio.wait(others[:1])
                if (error := others[0].result()) is not None:
                    raise error
            else:
                made |= await self._make(kind, {place: entries[place] for place in missing})

    async def _make(self, kind: Kind, missing: Mapping[Place, stores.Entry]) -> dict[Place, stores.Entry]:
        done: asyncio.Future[errors.ApiError | None] = asyncio.get_running_loop().create_future()
        self._making.update(dict.fromkeys(missing, done))
        failed: errors.ApiError | None = None
        try:
            found = list(missing.values())
            made: dict[Place, stores.Entry] = {}
            for run in _runs(kind, found):
                trees = await _converted(kind.from_stored, kind, _objects(run))
                made |= {(kind, entry.key, entry.revision): entry for entry in _entries(run, trees)}
            for place, entry in made.items():
                self._keep(place, entry)
            return made
        except errors.ApiError as error:
            failed = error
            raise
        finally:  # Who is cancelled leaves it to those who wait.
            for place in missing:
                del self._making[place]
            done.set_result(failed)

    def _keep(self, place: Place, entry: stores.Entry) -> None:
        if place in self._made:  # Another watch was quicker.
            return
        self._made[place] = entry
        self._bytes += len(entry.encoded)
        while self._bytes > SHOWN_CACHED_BYTES_MAX:
            _, oldest = self._made.popitem(last=False)
            self._bytes -= len(oldest.encoded)


def _versions(change: stores.Change) -> Sequence[stores.Entry]:
    return [change.entry] if change.previous is None else [change.entry, change.previous]


def _change(change: stores.Change, made: Mapping[Place, stores.Entry], kind: Kind) -> stores.Change:
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
