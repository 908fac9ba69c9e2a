"""List: which objects, at which revision, in which pieces.

A list is a snapshot of the newest revision. When a limit cuts it, the rest of that very snapshot is kept for a while
under the continue token, so that the pieces together are one consistent list; a token whose snapshot is gone is
answered 410 and the client lists again. An older revision than the newest is only to be had that way. A read that names
a later one waits for it a moment, and is answered 504 when it does not come.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks, well_known
from petset.objects import encoding, errors, selectors
from petset.server import answers, conversion
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http

FRESH_SECONDS_MAX = 3.0  # As long as upstream waits for a revision that it has not seen yet.
SNAPSHOTS_MAX = 64
SNAPSHOTS_BYTES_MAX = 32 << 20  # Of encoded objects that all of them may keep from going; the newest always stays.
SNAPSHOT_SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Selection:
    """The objects a list, a watch or a deletion of many is about."""

    prefix: str
    labels: selectors.Selector
    fields: selectors.FieldSelector
    is_converted: bool = False  # The kind shows others' objects: only of their metadata the store can be asked,
    is_converted_elsewhere: bool = False  # and of their names alone where a webhook may change even labels.

    @property
    def everything(self) -> bool:
        return self.labels.empty and self.fields.empty

    @property
    def interest(self) -> stores.Interest | None:
        """What an object must have been or be for a watch to hear of it; None: anything."""
        if fixed := self.fields.fixed_name() if self.is_converted else self.fields.fixed():
            return stores.Interest(fixed[0], (fixed[1],))
        if not self.is_converted_elsewhere and (marks := self.labels.narrowest()):
            return stores.Interest(selectors.label_marks, marks)
        return None

    def matches(self, obj: Any) -> bool:
        return self.labels.matches(obj["metadata"].get("labels")) and self.fields.matches(obj)

    def labelled(self, entries: Sequence[stores.Entry]) -> list[stores.Entry]:
        return [found for found in entries if self.labels.matches(found.object["metadata"].get("labels"))]

    def among(self, entries: Sequence[stores.Entry]) -> list[stores.Entry]:
        return [found for found in entries if self.matches(found.object)]


def selection(call: Call) -> Selection:
    """Raises ApiError 400 for a selector that cannot be read."""
    resource, route = call.resource, call.route
    text = call.parameter("labelSelector")
    labels = selectors.parse_labels(text)
    fields = resource.field_selector(call.parameter("fieldSelector"))
    if route.name:
        only = resource.field_selector(f"metadata.name={route.name}")
        fields = selectors.FieldSelector(only.terms + fields.terms, route.name, fields.namespace)
    is_converted = resource.stored_as is not None
    return Selection(resource.key(route.namespace), labels, fields, is_converted, resource.conversion_waits)


async def stored(store: stores.Store, call: Call, wanted: Selection) -> tuple[int, Sequence[stores.Entry]]:
    """`chosen`, as they are stored; only who asks for fields of his version has them converted."""
    if not wanted.is_converted or not wanted.fields.empty:
        return await chosen(store, call, wanted)
    revision, entries = await store.snapshot(wanted.prefix)
    if wanted.labels.empty:
        return revision, entries
    kept = [run async for run in call.work.in_runs(entries, answers.size, wanted.labelled)]
    return revision, [found for run in kept for found in run]


async def chosen(store: stores.Store, call: Call, wanted: Selection) -> tuple[int, Sequence[stores.Entry]]:
    """(revision, the selected entries as the kind shows them, in key order; events in the order they began in)."""
    resource = call.resource
    if (wanted.fields.name and call.route.namespace) or (wanted.fields.name and not resource.namespaced):
        revision, found = store.revision, store.get(resource.key(call.route.namespace, wanted.fields.name))
        shown = await conversion.shown(resource, found) if found is not None else None
        return revision, [shown] if shown is not None and wanted.matches(shown.object) else []
    revision, entries = await store.snapshot(wanted.prefix)
    # Labels are the same in every version, and spare conversions.
    if wanted.is_converted and not wanted.is_converted_elsewhere and not wanted.labels.empty:
        kept = [run async for run in call.work.in_runs(entries, answers.size, wanted.labelled)]
        entries = [found for run in kept for found in run]
    entries = await conversion.all_shown(resource, entries, call.work)
    if not wanted.everything:
        kept = [run async for run in call.work.in_runs(entries, answers.size, wanted.among)]
        entries = [found for run in kept for found in run]
    if resource.plural == "events":
        # Their times are whole seconds: only the order of the list tells what came first within one.
        entries = sorted(entries, key=lambda found: found.created_revision)
    return revision, entries


@dataclass(frozen=True, slots=True)
class Snapshot:
    made: float
    revision: int
    entries: Sequence[stores.Entry]
    size_bytes: int


class Lists:
    def __init__(self, store: stores.Store):
        self._store = store
        self._snapshots: OrderedDict[tuple[int, str], Snapshot] = OrderedDict()
        self._forgetting: asyncio.TimerHandle | None = None

    async def answer(self, call: Call) -> http.Response:
        wanted = selection(call)
        limit = call.number("limit") or 0
        token = call.parameter("continue")
        if token:
            identity, start = self._resume(call, token)
            snapshot = self._snapshots.get(identity)
            if snapshot is None:
                raise errors.expired(
                    "The provided continue parameter is too old to display a consistent list result; "
                    "start a new list without the continue parameter"
                )
            snapshot = dataclasses.replace(snapshot, made=tasks.monotonic())
        else:
            await until_fresh(self._store, call, wanted.prefix)
            check_revision(call, self._store.revision)
            start = 0
            revision, entries = await chosen(self._store, call, wanted)
            identity = (revision, question(call))
            size = sum(len(found.encoded) for found in entries) if limit else 0
            snapshot = Snapshot(tasks.monotonic(), revision, entries, size)
        return await self._piece(call, identity, snapshot, start, limit)

    async def _piece(
        self,
        call: Call,
        identity: tuple[int, str],
        snapshot: Snapshot,
        start: int,
        limit: int,
    ) -> http.Response:
        revision, entries = snapshot.revision, snapshot.entries
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        end = start + limit
        if not limit or end >= len(entries):
            return await answers.object_list(call, entries[start:] if start else entries, metadata)
        self._keep(identity, snapshot)
        metadata["continue"] = _token(revision, end)
        if not call.parameter("labelSelector") and not call.parameter("fieldSelector"):
            metadata["remainingItemCount"] = len(entries) - end
        return await answers.object_list(call, entries[start:end], metadata)

    def _keep(self, identity: tuple[int, str], snapshot: Snapshot) -> None:
        self._snapshots.pop(identity, None)
        self._snapshots[identity] = snapshot  # Anew with each piece; the newest comes last.
        size = sum(kept.size_bytes for kept in self._snapshots.values())
        while len(self._snapshots) > 1 and (len(self._snapshots) > SNAPSHOTS_MAX or size > SNAPSHOTS_BYTES_MAX):
            size -= self._snapshots.popitem(last=False)[1].size_bytes
        if self._forgetting is None:
            self._forget_old()

    def _forget_old(self) -> None:
        """Let go of those that are too old, now and when the next one is: no list need come for it."""
        self._forgetting = None
        end = tasks.monotonic() - SNAPSHOT_SECONDS_MAX
        while self._snapshots and _oldest(self._snapshots).made <= end:
            self._snapshots.popitem(last=False)
        if self._snapshots:
            wait = _oldest(self._snapshots).made - end
            self._forgetting = asyncio.get_running_loop().call_later(wait, self._forget_old)

    def _resume(self, call: Call, token: str) -> tuple[tuple[int, str], int]:
        try:
            decoded = encoding.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            revision, start = int(decoded["rv"]), int(decoded["start"])
            if start < 0:
                raise ValueError(start)
        except (binascii.Error, ValueError, KeyError, TypeError, OverflowError):
            raise errors.bad_request("continue key is not valid: it was not made by this server") from None
        if call.parameter("resourceVersion") not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        return (revision, question(call)), start


def _oldest(snapshots: OrderedDict[tuple[int, str], Snapshot]) -> Snapshot:
    return next(iter(snapshots.values()))


def question(call: Call) -> str:
    """What a snapshot is the answer to: the collection and the selectors."""
    return "\0".join((call.route.path, call.parameter("labelSelector"), call.parameter("fieldSelector")))


def _token(revision: int, start: int) -> str:
    token = encoding.dumps({"v": f"{well_known.META_GROUP}/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def check_revision(call: Call, newest: int) -> None:
    """Whether the newest revision, which is all there is, is the one that a list may be of. Raises ApiError."""
    match = call.parameter("resourceVersionMatch")
    text = call.parameter("resourceVersion")
    if match not in ("", "Exact", "NotOlderThan"):
        raise errors.bad_request(f"cannot list: resourceVersionMatch {match[:40]!r} is not Exact or NotOlderThan")
    if match and not text:
        raise errors.bad_request("cannot list: resourceVersionMatch is forbidden unless resourceVersion is provided")
    wanted = revision_number(text)
    if match == "Exact" and wanted == 0:
        raise errors.bad_request("cannot list: resourceVersionMatch Exact is forbidden for resourceVersion 0")
    if match == "Exact" and wanted != newest:
        raise errors.expired(f"The resourceVersion for the provided list is too old: {wanted}; list the newest")


async def until_fresh(store: stores.Store, call: Call, prefix: str) -> None:
    """Wait until what a read asks for can be seen under the prefix: all there is, where it names no resourceVersion, or
    that revision, which is given a moment to come. Raises ApiError 504, Unavailable."""
    text = call.parameter("resourceVersion")
    if not text:
        await store.fresh(prefix)
        return
    wanted = revision_number(text)
    if wanted <= store.revision:
        return
    with contextlib.suppress(TimeoutError, stores.Expired), store.watch("", store.revision) as watch:
        async with asyncio.timeout(FRESH_SECONDS_MAX):
            async for change in watch:
                if change.revision >= wanted:
                    return
    if wanted > store.revision:
        raise errors.ApiError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {wanted}, current: {store.revision}",
            {
                "retryAfterSeconds": 1,
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            },
            (("retry-after", "1"),),
        )


def revision_number(text: str) -> int:
    """A resourceVersion parameter; absent is 0. Raises ApiError 400."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise errors.bad_request(f"invalid resource version {text[:40]!r}: it is a number that a list or watch gave")
    return int(text)
