"""Watch: the store's changes as frames of JSON, one encoding for all who watch the same way.

A watcher is a loop over the store's watch: changes that wait are taken together and sent as one piece of bytes, or of
the store's own trees to who is in this process. All who watch the same way send the same bytes, made once a change and
kept for a moment in `Frames`; where the client keeps up they are written at once, in one turn of the loop for all.
Selectors turn a change into ADDED or DELETED as an object enters or leaves the selection; one that leaves is shown as
it last was inside, at the revision at which it left.
Invariants: the events sent have increasing revisions and none is left out; a bookmark's revision is one up to which
everything was sent. A watcher that falls behind, or asks for a revision that is gone, gets one ERROR event with a
410 Status and the end of the stream, and lists again; so does one whose objects cannot be converted, with why. One that
asks for a revision to come waits for it. A watch of a kind that goes, or is replaced, ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.base import memory, tasks, telemetry, well_known
from petset.objects import encoding, errors, meta, tables
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind, Kinds
from petset.server import answers, conversion, lists, weight
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http, http1

BOOKMARK_SECONDS = 55.0  # Bookmarks are told at least so long after the last ones,
BOOKMARK_CHANGES_MIN = 100  # and after so many changes: the history holds far more, for who begins before them.
WATCH_SECONDS_MIN, WATCH_SECONDS_MAX = 1800.0, 3600.0  # A watch without a timeout ends at a random time between.
TIMER_SECONDS = 0.002  # By how much a timer may be early.
FRAMES_CACHED_BYTES_MAX = 1 << 20
DECISIONS_CACHED_MAX = 1000  # Whether, and as what, a selector's watchers see a change.


Asked = tuple[Kind, str, str, str]  # The kind, the representation, what rows include, path and selectors.


class Frames:
    """The bytes of change events, made once for all watchers."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, str, Kind, str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._decided: dict[tuple[int, str], str] = {}
        self._chunks: OrderedDict[tuple[Asked, int, int], tuple[bytes, int]] = OrderedDict()
        self._chunks_bytes = 0
        memory.at_rest.add(self._forget)

    def _forget(self) -> None:
        self._made, self._bytes, self._decided = OrderedDict(), 0, {}
        self._chunks, self._chunks_bytes = OrderedDict(), 0

    def event(self, viewer: Viewer, change: stores.Change) -> str:
        """Viewer.decide, once for all who ask the same."""
        key = (change.revision, viewer.question)
        event = self._decided.get(key)
        if event is None:
            if len(self._decided) >= DECISIONS_CACHED_MAX:
                self._decided.clear()
            event = self._decided[key] = viewer.decide(change)
        return event

    def chunks(self, viewer: Viewer, changes: Sequence[stores.Change]) -> tuple[bytes, int]:
        """The changes as chunks of the answer, and how many events; b"" when the viewer sees none of them.

        All who ask the same see the same of the changes from one revision to another: one of them has them made.
        """
        key = (viewer.asked, changes[0].entry.revision, changes[-1].entry.revision)
        made = self._chunks.get(key)
        if made is None:
            pieces = list(viewer.changes(changes))
            made = self._chunks[key] = b"".join(map(http1.chunk, pieces)), sum(map(events_in, pieces))
            self._chunks_bytes += len(made[0])
            while self._chunks_bytes > FRAMES_CACHED_BYTES_MAX or len(self._chunks) > DECISIONS_CACHED_MAX:
                _, oldest = self._chunks.popitem(last=False)
                self._chunks_bytes -= len(oldest[0])
        return made

    def frame(self, viewer: Viewer, event: str, change: stores.Change) -> bytes:
        key = (change.revision, event, viewer.resource, viewer.form, viewer.include)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = encode(viewer, event, _shown(event, change))
            self._bytes += len(made)
            while self._bytes > FRAMES_CACHED_BYTES_MAX:
                _, oldest = self._made.popitem(last=False)
                self._bytes -= len(oldest)
        return made


def _shown(event: str, change: stores.Change) -> stores.Entry:
    """The version that an event carries: of an object that left the selection, the last one inside."""
    entry, last = change.entry, change.previous
    if event != "DELETED" or change.type == "DELETED" or last is None:
        return entry
    tree = meta.changed(last.object, ("metadata", "resourceVersion"), str(entry.revision))
    return stores.Entry(entry.key, entry.revision, entry.created_revision, encoding.dumps(tree), tree)


def encode(viewer: Viewer, event: str, entry: stores.Entry) -> bytes:
    if viewer.form is answers.JSON:
        return b'{"type":"%s","object":%s}\n' % (event.encode(), entry.encoded)
    if viewer.form is answers.TABLE:
        metadata = {"resourceVersion": str(entry.revision)}
        obj: Object = tables.table(
            viewer.resource.printer, [entry.object], tasks.now(), viewer.include, metadata=metadata
        )
    else:
        obj = answers.partial(entry.object)
    return encoding.dumps({"type": event, "object": obj}) + b"\n"


@dataclass(slots=True)
class Viewer:
    """How one watcher sees changes: as frames, those that fit joined into a piece.

    Where its answer has a sink, what it sees of a change is written there as the change comes.
    """

    resource: Kind
    wanted: lists.Selection
    form: str
    include: str
    frames: Frames
    shown: conversion.Shown
    work: weight.Work
    question: str  # Path and selectors.
    told: telemetry.Count  # Events sent.
    asked: Asked = field(init=False)
    sink: http.Sink | None = None

    def __post_init__(self) -> None:
        self.asked = (self.resource, self.form, self.include, self.question)

    def begun(self, sink: http.Sink) -> None:
        if not self.wanted.is_converted:  # That may be waited for.
            self.sink = sink

    def take(self, changes: Sequence[stores.Change]) -> bool:
        """Write changes to the sink; whether it takes more."""
        chunks, events = self.frames.chunks(self, changes)
        self.told.value += events
        return not chunks or (self.sink is not None and self.sink.push(chunks))

    def event(self, change: stores.Change) -> str:
        """ADDED, MODIFIED, DELETED, or "" for a change outside the selection."""
        return change.type if self.wanted.everything else self.frames.event(self, change)

    def decide(self, change: stores.Change) -> str:
        before = change.previous is not None and self.wanted.matches(change.previous.object)
        after = change.type != "DELETED" and self.wanted.matches(change.entry.object)
        if after:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else ""

    def initial(self, entries: Sequence[stores.Entry]) -> Any:
        return b"".join([encode(self, "ADDED", entry) for entry in entries])

    def changes(self, changes: Iterable[stores.Change]) -> Iterator[Any]:
        frames: list[bytes] = []
        size = 0
        for change in changes:
            if not (event := self.event(change)):
                continue
            frame = self.frames.frame(self, event, change)
            if size + len(frame) > weight.RUN_BYTES_MAX and frames:
                yield b"".join(frames)
                frames, size = [], 0
            frames.append(frame)
            size += len(frame)
        if frames:
            yield frames[0] if len(frames) == 1 else b"".join(frames)

    def notice(self, event: str, obj: Object) -> Any:
        """A bookmark or an error."""
        return encoding.dumps({"type": event, "object": obj}) + b"\n"


class Neighbour(Viewer):
    """A watcher in this process: it is handed the store's own trees, and keeps no copies of them."""

    def initial(self, entries: Sequence[stores.Entry]) -> Any:
        return [("ADDED", entry.object) for entry in entries]

    def changes(self, changes: Iterable[stores.Change]) -> Iterator[Any]:
        seen = [(event, _shown(event, change).object) for change in changes if (event := self.event(change))]
        if seen:
            yield seen

    def notice(self, event: str, obj: Object) -> Any:
        return [(event, obj)]


@dataclass(slots=True)
class Start:
    """Where a watch begins: after a revision, with the objects of now first when wanted."""

    since: int
    initial: Sequence[stores.Entry]
    ends_initial: bool  # A bookmark says where the initial events end.

    def taken(self) -> Sequence[stores.Entry]:
        """The initial objects, once: a watch that lasts for an hour must not keep them as they were."""
        entries, self.initial = self.initial, ()
        return entries


class Watches:
    def __init__(self, store: stores.Store, kinds: Catalog, metrics: telemetry.Telemetry):
        self._store, self._kinds, self._metrics = store, kinds, metrics
        self._frames = Frames()
        self._shown = conversion.Shown()
        self._open: dict[stores.Watch, Kind] = {}
        self._marked: dict[stores.Watch, None] = {}  # Those that are told bookmarks,
        self._marked_revision = 0  # up to which all of them were told, or began.
        self._marking: asyncio.TimerHandle | None = None
        self.open_count = 0
        kinds.follow(self._end_of_gone)
        memory.after_rest.add(self._look_up)

    def _look_up(self) -> None:
        """A bookmark for everybody: what waits in them dates from many moments, and is made anew in one place."""
        for watch in self._open:
            watch.nudge()

    def _mark(self) -> None:
        """One timer for all: an idle server has hundreds of watches, and nothing to tell them."""
        if self._store.revision - self._marked_revision >= BOOKMARK_CHANGES_MIN:
            self._marked_revision = self._store.revision
            for watch in self._marked:
                watch.nudge()
        self._marking = asyncio.get_running_loop().call_later(BOOKMARK_SECONDS, self._mark)

    def _mark_no_more(self) -> None:
        if self._marking is not None:
            self._marking.cancel()
            self._marking = None

    @contextlib.contextmanager
    def _bookmarked(self, watch: stores.Watch, since: int) -> Generator[None, None, None]:
        """While it lasts the watch, which begins after that revision, is told bookmarks."""
        if self._marking is None:
            self._marked_revision = self._store.revision
            self._marking = asyncio.get_running_loop().call_later(BOOKMARK_SECONDS, self._mark)
        self._marked_revision = min(self._marked_revision, since)
        self._marked[watch] = None
        try:
            yield
        finally:
            del self._marked[watch]
            if not self._marked:
                self._mark_no_more()

    def _end_of_gone(self, kinds: Kinds) -> None:
        for watch, kind in self._open.items():
            if kind not in kinds:
                watch.close()

    async def answer(self, call: Call) -> http.Response:
        wanted = lists.selection(call)
        form = answers.representation(call.request.header("accept"))
        shares = call.request.takes_objects and form is answers.JSON
        viewer = (Neighbour if shares else Viewer)(
            call.resource,
            wanted,
            form,
            answers.included(call),
            self._frames,
            self._shown,
            call.work,
            lists.question(call),
            self._metrics.count("apiserver_watch_events_total", *_counted_as(call.resource)),
        )
        seconds = float(call.number("timeoutSeconds", 24 * 3600) or 0)
        if not seconds:
            seconds = WATCH_SECONDS_MIN + tasks.rng().random() * (WATCH_SECONDS_MAX - WATCH_SECONDS_MIN)
        start = await self._start(call, wanted)
        pieces = self._pieces(viewer, start, seconds, call.flag("allowWatchBookmarks"))
        if shares:
            return http.Response(200, answers.head(call), objects=pieces)
        if call.request.header("upgrade").lower() == "websocket":
            from petset.server import watch_messages

            return watch_messages.accept(call, pieces)
        return http.Response(200, answers.head(call), pieces, begun=viewer.begun)

    async def _start(self, call: Call, wanted: lists.Selection) -> Start:
        text = call.parameter("resourceVersion")
        since = lists.revision_number(text)
        match = call.parameter("resourceVersionMatch")
        if "sendInitialEvents" in call.query:
            if match != "NotOlderThan":
                raise errors.bad_request("cannot watch: sendInitialEvents needs resourceVersionMatch=NotOlderThan")
            if call.flag("sendInitialEvents"):
                await lists.until_fresh(self._store, call, wanted.prefix)
                if not call.flag("allowWatchBookmarks"):
                    raise errors.bad_request("cannot watch: sendInitialEvents needs allowWatchBookmarks=true")
                revision, entries = await lists.chosen(self._store, call, wanted)
                return Start(revision, entries, True)
            return Start(since or self._store.revision, (), False)
        if match:
            raise errors.bad_request("cannot watch: resourceVersionMatch is forbidden without sendInitialEvents")
        if since:
            return Start(since, (), False)
        await lists.until_fresh(self._store, call, wanted.prefix)
        revision, entries = await lists.chosen(self._store, call, wanted)
        return Start(revision, entries, False)

    async def _pieces(self, viewer: Viewer, start: Start, seconds: float, bookmarks: bool) -> AsyncGenerator[Any]:
        self.open_count += 1
        try:
            with self._opened(viewer, start) as watch, contextlib.ExitStack() as telling:
                async for piece in viewer.work.in_runs(start.taken(), answers.size, viewer.initial):
                    viewer.told.value += events_in(piece)
                    yield piece
                    del piece
                if start.ends_initial:
                    yield viewer.notice(
                        "BOOKMARK", _bookmark(viewer, start.since, {well_known.INITIAL_EVENTS_END_ANNOTATION: "true"})
                    )
                if bookmarks:
                    telling.enter_context(self._bookmarked(watch, start.since))
                async for piece in self._live(viewer, watch, start.since, tasks.monotonic() + seconds, bookmarks):
                    yield piece
                    del piece  # While it waits for the next.
        except stores.Expired as error:
            yield viewer.notice("ERROR", _gone(str(error)))
        except errors.ApiError as error:  # A change cannot be converted.
            yield viewer.notice("ERROR", error.status())
        finally:
            self.open_count -= 1

    @contextlib.contextmanager
    def _opened(self, viewer: Viewer, start: Start) -> Generator[stores.Watch, None, None]:
        with self._store.watch(viewer.wanted.prefix, start.since, viewer.wanted.interest) as watch:
            self._open[watch] = viewer.resource
            if viewer.resource not in self._kinds.now:  # It went before the first look.
                watch.close()
            try:
                yield watch
            finally:
                del self._open[watch]

    async def _live(
        self, viewer: Viewer, watch: stores.Watch, since: int, end: float, bookmarks: bool
    ) -> AsyncIterator[Any]:
        # One timer for many changes: to begin and end a timeout for each would cost more than to tell it.
        timer = asyncio.get_running_loop().call_at(end, watch.nudge)
        try:
            while True:
                if viewer.sink is not None and not await watch.handed(viewer.take):
                    yield b""  # Who reads the pieces waits for the client then.
                changes = await watch.changes()
                if changes is None:
                    return
                if changes:
                    async for piece in _told(viewer, changes):
                        yield piece
                        del piece
                    changes = ()  # While it waits for the next ones, nobody keeps these.
                    continue
                revision = max(since, self._store.revision)
                async for piece in _told(viewer, watch.pending()):
                    yield piece
                if bookmarks:
                    yield viewer.notice("BOOKMARK", _bookmark(viewer, revision))
                if tasks.monotonic() >= end - TIMER_SECONDS:
                    return  # Else it was somebody else's nudge.
        finally:
            timer.cancel()


async def _told(viewer: Viewer, changes: Sequence[stores.Change]) -> AsyncIterator[Any]:
    """The pieces that tell the changes. All watchers share their frames, so the loop goes on between runs instead."""
    for number, run in enumerate(weight.runs(changes, lambda change: change.kept_bytes)):
        if number:
            await asyncio.sleep(0)
        if viewer.wanted.is_converted:
            run = await viewer.shown.changes(viewer.resource, run)
        for piece in viewer.changes(run):
            viewer.told.value += events_in(piece)
            yield piece


def events_in(piece: Any) -> int:
    """How many events a piece tells: in JSON each is a line, and no line break is in one."""
    return piece.count(b"\n") if isinstance(piece, bytes) else len(piece)


def _counted_as(kind: Kind) -> tuple[str, str, str]:
    return kind.group, kind.version, kind.plural


def _bookmark(viewer: Viewer, revision: int, annotations: dict[str, str] | None = None) -> Object:
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    kind, version = viewer.resource.kind, viewer.resource.api_version
    if viewer.form is answers.TABLE:
        kind, version = "Table", f"{well_known.META_GROUP}/v1"
    elif viewer.form is answers.PARTIAL:
        kind, version = "PartialObjectMetadata", f"{well_known.META_GROUP}/v1"
    return {"kind": kind, "apiVersion": version, "metadata": metadata}


def _gone(why: str) -> Object:
    return errors.expired(f"too old resource version: {why}").status()


def gone(why: str) -> bytes:
    """The ERROR event of a watch that cannot go on."""
    return encoding.dumps({"type": "ERROR", "object": _gone(why)}) + b"\n"
