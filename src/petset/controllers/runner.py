"""The only loop of the controllers: keys in, one pure reconcile of a key at a time, its actions carried out in order.

A change in a cache puts the keys it concerns into the queue. A worker takes a key, asks the controller's `reconcile`
for actions over the caches, and executes them until one fails. Then the key rests until the caches show what was just
written (bounded), so that a controller never acts twice on the same old picture. Failures bring the key back after its
own growing back-off; a Conflict, AlreadyExists or NotFound also waits for the cache to show why. When an answer is
lost, or the caches stay behind, the server is asked what became of it, and the next look waits until the cache shows
that.

Invariants: a key is never reconciled twice at once; a change that arrives while it is busy is not lost; correctness
rests on preconditions (uid, resourceVersion, AlreadyExists), speed on the waiting; a reconciler that raises stops its
key, not the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from petset.base import tasks, telemetry
from petset.client.client import Client
from petset.client.events import Recorder
from petset.client.informer import Informer
from petset.client.views import Informers, View
from petset.controllers import actions
from petset.controllers.queue import NAMES, Pace, Queue
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds

log = logging.getLogger("petset.controllers")

CATCH_UP_SECONDS_MAX = 10.0
FILLED_SECONDS_MAX = 30.0  # As long as a kind that came may hold up those who look at all kinds.
UNSEEN_SECONDS = 1.0  # After what was created was not found in the cache that should show it.
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_SECONDS_MAX = 15.0
SIDE_BY_SIDE_MAX = 12  # Branches of one look: their writes come back in one turn of the loop.
PACED_SECONDS_MIN = 0.002  # A decision that takes longer than this is not made again at once,
PACE = 4  # but after as many times its own length: what is large takes a fifth of the loop at most.
PACE_SECONDS_MAX = 1.0
COUNTS_BURST, COUNTS_SECONDS = 20, 0.05  # How often one object's counts are written: many changes at once are one.
FAILURES_TOLD_MIN = 3  # A conflict or two is how controllers work.

Keys = Callable[[Object, View], Iterable[str]]  # The keys an object's change concerns.
Sees = Callable[[Object], Any]
Reconcile = Callable[[str, View, float], Sequence[actions.Action]]
# An event to record; or what is to be done now, decided by what was found.
Perform = Callable[[Any], Awaitable["actions.EmitEvent | Sequence[actions.Action] | None"]]


def own_key(obj: Object, view: View) -> Iterable[str]:
    return (meta.key(obj),)


@dataclass(frozen=True, slots=True)
class Controller:
    """A row of the table of controllers."""

    name: str
    component: str  # The source of its events.
    watches: Sequence[tuple[Kind, Keys]]
    reconcile: Reconcile
    reads: Sequence[Kind] = ()  # Kinds it reads without being woken by them.
    every: tuple[Callable[[Kind], bool], Keys] | None = None  # And each kind there is at a time that is such.
    when_kinds_change: Callable[[View], Iterable[str]] = lambda view: ()  # The keys to look at again.
    sees: Sees | None = None  # What of an object counts: a change that leaves it equal concerns nobody. None: all.
    workers: int = 4


def rest_seconds(cost_seconds: float) -> float:
    """How long a key rests after a decision that took so long: changes gather meanwhile, and are looked at together."""
    return min(PACE * cost_seconds, PACE_SECONDS_MAX) if cost_seconds > PACED_SECONDS_MIN else 0.0


class _Failed(Exception):
    """A branch that stopped, and why."""


@dataclass(slots=True)
class _Outcome:
    """How a reconcile went: what to wait for, and when to look again."""

    seen: list[tuple[Informer, Callable[[], bool]]] = field(default_factory=list[tuple[Informer, Callable[[], bool]]])
    created: list[Object] = field(default_factory=list[Object])
    changed: list[Object] = field(default_factory=list[Object])  # What was written, as the server answered.
    unsure: list[Object] = field(default_factory=list[Object])  # What may have been written, made or deleted.
    is_refused: bool = False  # For what was asked, not because the picture was old.
    after_seconds: float | None = None
    failed: str = "it raised an exception"
    cost_seconds: float = 0.0  # Of the decision.
    rest_seconds: float = 0.0  # Asked for.

    def look_again_after(self, seconds: float) -> None:
        self.after_seconds = min(seconds, self.after_seconds or seconds)


@dataclass(slots=True)
class _Failing:
    """A key that does not come right: how often in a row, and how often for the present reason."""

    backoff: tasks.Backoff = field(default_factory=lambda: tasks.Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_SECONDS_MAX))
    why: str = ""
    times: int = 0

    def is_told(self, why: str) -> bool:
        """Whether to say that it failed once more, and why."""
        self.times = self.times + 1 if why == self.why else 1
        self.why = why
        return self.backoff.failures >= FAILURES_TOLD_MIN and tasks.is_worth_saying(self.times)


class Runner:
    """Runs one controller. `perform` does the actions that are not the API's, by their type."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        controller: Controller,
        perform: Mapping[type, Perform] | None = None,
    ):
        self._client, self._view, self._controller = client, informers, controller
        self.name = controller.name
        self._perform = dict(perform or {})
        self._recorder = Recorder(client, controller.component)
        self._queue = Queue()
        self._failing: dict[str, _Failing] = {}
        self._unsure: dict[str, list[Object]] = {}  # By key: of what must be known what became of it.
        self._pace = Pace(COUNTS_BURST, COUNTS_SECONDS)
        self._slots = asyncio.Semaphore(controller.workers)
        self._heard: dict[tuple[str, Keys], Informer] = {}
        self._filling: list[Informer] = []  # Those that came while it runs, and that it waits for.
        for resource in (*controller.reads, *(resource for resource, _ in self._sources(informers.kinds))):
            informers.of(resource)

    def samples(self) -> Iterator[telemetry.Sample]:
        return self._queue.samples(NAMES.get(self.name, self.name))

    async def run(self) -> None:
        """Reconcile until cancelled."""
        await self._view.synced()
        try:
            async with asyncio.TaskGroup() as group:
                self._follow(self._view.kinds)
                with self._client.kinds.following(self._follow):
                    await self._work_off(group)
        finally:
            self._queue.close()

    async def _work_off(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._slots.acquire()
            key = await self._queue.take()
            await self._filled()
            tasks.spawn(group, self._work(key), f"{self._controller.name} {key}")

    def _sources(self, kinds: Kinds) -> Iterable[tuple[Kind, Keys]]:
        yield from self._controller.watches
        if self._controller.every is not None:
            is_such, keys = self._controller.every
            yield from ((kind, keys) for kind in kinds.each_once() if is_such(kind))

    def _follow(self, kinds: Kinds) -> None:
        """Hear of what there is now."""
        heard: dict[tuple[str, Keys], Informer] = {}
        self._filling = self._unfilled()
        for kind, keys in self._sources(kinds):
            if kinds.keeping(kind.key()) is None:
                continue
            place, informer = (kind.key(), keys), self._view.of(kind)
            heard[place] = informer
            if self._heard.get(place) is not informer:
                informer.on_change(self._waker(keys))
                self._filling.append(informer)
        self._heard = heard
        for key in self._controller.when_kinds_change(self._view):
            self._queue.add(key)

    async def _filled(self) -> None:
        """The caches of kinds that came are filled: before, what they lack says nothing. Not for ever."""
        try:
            async with asyncio.timeout(FILLED_SECONDS_MAX):
                while waiting := self._unfilled():
                    await waiting[0].synced.wait()
        except TimeoutError:
            log.info("%s: goes on without %s", self._controller.name, self._filling[0].resource.plural)
        self._filling = []

    def _unfilled(self) -> list[Informer]:
        return [informer for informer in self._filling if not informer.synced.is_set()]

    def _waker(self, keys: Keys) -> Callable[[Object | None, Object | None], None]:
        sees, view, add = self._controller.sees, self._view, self._queue.add
        passing_on = tasks.best_effort("pass on a change to the controller", self._controller.name)

        def wake(old: Object | None, new: Object | None) -> None:
            with passing_on:
                if sees is not None and old is not None and new is not None and sees(old) == sees(new):
                    return
                for obj in (old, new):
                    if obj is not None:
                        for key in keys(obj, view):
                            add(key)

        return wake

    async def _work(self, key: str) -> None:
        outcome = _Outcome()
        try:
            with tasks.best_effort("run the controller", self._controller.name):
                try:
                    await self._make_sure(key)
                    await self._reconcile(key, outcome)
                except OSError as error:
                    outcome.failed = str(error)
        finally:
            self._slots.release()
            self._queue.worked(key)
        if not await self._catch_up(outcome):
            outcome.unsure += outcome.changed
        if outcome.unsure:
            self._unsure.setdefault(key, []).extend(outcome.unsure)
            self._queue.add_after(key, UNSEEN_SECONDS)
        if outcome.failed:
            failing = self._failing.setdefault(key, _Failing())
            level = logging.INFO if failing.is_told(outcome.failed) else logging.DEBUG
            log.log(level, "%s %s: %s", self._controller.name, key, outcome.failed)
            self._queue.retry(key, failing.backoff.next())
        else:
            self._failing.pop(key, None)
        if outcome.after_seconds is not None:
            self._queue.add_after(key, outcome.after_seconds)
        if any(self._is_unseen(obj) for obj in outcome.created):
            # It was gone before the cache heard of it, or the cache is far behind: no change need ever tell.
            self._queue.add_after(key, UNSEEN_SECONDS)
        if (rest := max(rest_seconds(outcome.cost_seconds), outcome.rest_seconds)) > 0:
            await asyncio.sleep(rest)
        self._queue.done(key)

    async def _reconcile(self, key: str, outcome: _Outcome) -> None:
        if self._filling:  # A kind came since the key was taken.
            await self._filled()
        began = tasks.monotonic()
        steps = self._controller.reconcile(key, self._view, tasks.now())
        outcome.cost_seconds = tasks.monotonic() - began
        outcome.failed = await self._carry_out(steps, outcome)

    async def _carry_out(self, steps: Iterable[actions.Action], outcome: _Outcome) -> str:
        """Do one after another until one fails; why, or ""."""
        for action in steps:
            failed = ""
            match action:
                case actions.RequeueAfter(seconds):
                    outcome.look_again_after(seconds)
                case actions.Rest(seconds):
                    outcome.rest_seconds = seconds
                case actions.Fail(why):
                    return why
                case actions.Attempt(branch, otherwise):
                    failed = await self._carry_out(branch, outcome)
                    if failed and outcome.is_refused:
                        await self._execute(_with_reason(otherwise, failed), outcome)
                case actions.Together(branches):
                    failed = await self._side_by_side(branches, outcome)
                case _:
                    failed = await self._execute(action, outcome)
            if failed:
                return failed
        return ""

    async def _side_by_side(self, branches: Sequence[Sequence[actions.Action]], outcome: _Outcome) -> str:
        async def carry_out(branch: Sequence[actions.Action]) -> None:
            if why := await self._carry_out(branch, outcome):
                raise _Failed(why)

        try:
            await tasks.side_by_side(branches, carry_out, SIDE_BY_SIDE_MAX, f"a branch of {self._controller.name}")
        except _Failed as failed:
            return str(failed)
        return ""

    async def _execute(self, action: actions.Action, outcome: _Outcome) -> str:
        """Carry one out; why it failed, or ""."""
        if isinstance(action, actions.Create):
            action = _named(action)
        try:
            return await self._do(action, outcome)
        except errors.ApiError as error:
            return await self._failure(action, error, outcome)
        except OSError:
            if isinstance(action, (actions.Create, actions.Update, actions.Delete)):
                outcome.unsure.append(action.object)  # It may have been done.
            raise

    async def _do(self, action: actions.Action, outcome: _Outcome) -> str:
        match action:
            case actions.EmitEvent():
                await self._emit(action)
            case actions.Create(obj):
                made = await self._client.create(obj)
                outcome.created.append(made)
                outcome.changed.append(made)
                self._expect_write(made, outcome)
            case actions.Update(obj):
                made = await self._client.update(obj)
                outcome.changed.append(made)
                self._expect_write(made, outcome)
            case actions.UpdateStatus(obj, subresource, pace):
                if pace and (seconds := self._pace.seconds(meta.uid(obj), tasks.monotonic())):
                    outcome.look_again_after(seconds)
                    return ""
                self._expect_write(await self._client.update(obj, subresource), outcome)
            case actions.Patch(obj, patch, kind, subresource):
                row, name, namespace = self._client.kind_of(obj), meta.name(obj), meta.namespace(obj)
                answer = await self._client.patch(row, name, namespace, patch, kind, subresource)
                self._expect_write(answer, outcome)
            case actions.Delete():
                await self._delete(action, outcome)
            case actions.StillThere(obj):
                return await self._check_still_there(obj)
            case actions.Gone():
                return await self._check_gone(action)
            case actions.DeleteAll(resource, namespace):
                await self._client.delete_all(resource, namespace)
            case actions.Empty(resource, namespace):
                left, _ = await self._client.list(resource, namespace)
                return f"{len(left)} {resource.plural} are left in namespace {namespace}" if left else ""
            case actions.NoneOwned():
                return await self._check_none_owned(action)
            case _:
                return await self._perform_other(action, outcome)
        await self._emit(getattr(action, "on_success", None))
        return ""

    async def _perform_other(self, action: Any, outcome: _Outcome) -> str:
        try:
            found = await self._perform[type(action)](action)
            if not isinstance(found, Sequence):
                await self._emit(found)
                return ""
        except OSError as error:
            outcome.is_refused = True
            await self._emit_failure(action, str(error))
            return str(error)
        return await self._carry_out(found, outcome)

    async def _delete(self, action: actions.Delete, outcome: _Outcome) -> None:
        obj, resource = action.object, self._client.kind_of(action.object)
        await self._client.delete(
            resource,
            meta.name(obj),
            meta.namespace(obj),
            uid=meta.uid(obj),
            grace_seconds=action.grace_seconds,
            propagation=action.propagation,
            resource_version=obj["metadata"]["resourceVersion"] if action.at_revision else "",
        )
        self._expect(outcome, obj, lambda cached: meta.uid(cached) != meta.uid(obj) or meta.is_deleting(cached))

    async def _check_still_there(self, obj: Object) -> str:
        current = await self._client.get(self._client.kind_of(obj), meta.name(obj), meta.namespace(obj))
        if meta.uid(current) != meta.uid(obj) or meta.is_deleting(current):
            return f"{obj['kind']} {meta.key(obj)} has been replaced or is being deleted"
        return ""

    async def _check_gone(self, action: actions.Gone) -> str:
        try:
            current = await self._client.get(action.resource, action.name, action.namespace)
        except errors.ApiError as error:
            if error.code == 404:
                return ""
            raise
        there = action.uid in ("", meta.uid(current))
        return f"{action.resource.plural} {action.namespace}/{action.name} is still there" if there else ""

    async def _check_none_owned(self, action: actions.NoneOwned) -> str:
        left, _ = await self._client.list(action.resource, action.namespace)
        for obj in left:
            if any(owner.get("uid") == action.uid for owner in obj["metadata"].get("ownerReferences") or ()):
                return f"{action.resource.plural} {meta.key(obj)} still names it as its owner"
        return ""

    async def _failure(self, action: actions.Action, error: errors.ApiError, outcome: _Outcome) -> str:
        obj: Object | None = getattr(action, "object", None)
        revision = obj["metadata"].get("resourceVersion") if obj is not None else None
        if error.reason == "AlreadyExists" and obj is not None:
            self._expect(outcome, obj, lambda cached: True, if_absent=False)
        elif error.code == 404 and isinstance(action, actions.Delete):
            return ""  # What was to go has gone.
        elif error.code == 404 and obj is not None:
            self._expect(outcome, obj, lambda cached: meta.uid(cached) != meta.uid(obj))
        elif error.reason == "Conflict" and obj is not None:
            self._expect(outcome, obj, lambda cached: cached["metadata"].get("resourceVersion") != revision)
        else:
            outcome.is_refused = True
            await self._emit_failure(action, error.message)
        return error.message

    async def _emit_failure(self, action: actions.Action, why: str) -> None:
        event: actions.EmitEvent | None = getattr(action, "on_failure", None)
        if event is not None:
            message = event.message.replace("{error}", why)
            await self._emit(actions.EmitEvent(event.about, event.type, event.reason, message))

    async def _emit(self, event: actions.EmitEvent | None) -> None:
        if event is not None:
            await self._recorder.record(event.about, event.type, event.reason, event.message)

    def _expect_write(self, written: Object, outcome: _Outcome) -> None:
        revision = meta.get(written, "metadata", "resourceVersion", default="")
        if not revision.isdigit() or "kind" not in written:
            return
        informer = self._informer_of(written)
        if informer is not None:
            outcome.seen.append((informer, lambda: informer.has_seen(revision)))

    def _expect(self, outcome: _Outcome, obj: Object, true: Callable[[Object], bool], if_absent: bool = True) -> None:
        informer = self._informer_of(obj)
        if informer is None:
            return

        def seen() -> bool:
            cached = informer.get(meta.namespace(obj), meta.name(obj))
            return if_absent if cached is None else true(cached)

        outcome.seen.append((informer, seen))

    def _informer_of(self, obj: Object) -> Informer | None:
        """That of the object's kind, when there is such a kind and somebody follows it."""
        kind = self._client.kinds.now.of(obj)
        return self._view.known(kind) if kind is not None else None

    def _is_unseen(self, made: Object) -> bool:
        informer = self._informer_of(made)
        return informer is not None and informer.get(meta.namespace(made), meta.name(made)) is None

    async def _catch_up(self, outcome: _Outcome) -> bool:
        """Wait until the caches show what was written, or long enough; whether they do."""
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                for informer, seen in outcome.seen:
                    await informer.until(seen)
        except TimeoutError:
            log.info("%s: the caches are more than %s s behind", self._controller.name, CATCH_UP_SECONDS_MAX)
            return False
        return True

    async def _make_sure(self, key: str) -> None:
        """What may have been done before shows in the caches now. Raises OSError when that cannot be known yet.

        What is made under a new name each time would be made twice otherwise, and what is taken away taken too far.
        """
        unsure = self._unsure.get(key)
        while unsure:
            outcome = _Outcome()
            await self._ask(unsure[0], outcome)
            if not await self._catch_up(outcome):
                raise ConnectionError("the caches do not show yet what was written")
            unsure.pop(0)
        self._unsure.pop(key, None)

    async def _ask(self, obj: Object, outcome: _Outcome) -> None:
        """Expect of the cache what the server says of the object now."""
        try:
            current = await self._client.get(self._client.kind_of(obj), meta.name(obj), meta.namespace(obj))
        except errors.ApiError as error:
            if error.code == 404:
                self._expect(outcome, obj, lambda cached: meta.uid(cached) != meta.uid(obj))
            elif error.is_temporary:
                raise ConnectionError(error.message) from error
        else:
            self._expect_write(current, outcome)


def _named(action: actions.Create) -> actions.Create:
    """With the name that the object's generateName asks for: when the answer is lost, it is known what to ask for."""
    given = action.object["metadata"]
    if given.get("name") or not given.get("generateName"):
        return action
    name = tasks.generated_name(given["generateName"])
    done = action.on_success
    if done is not None:
        done = replace(done, message=done.message.replace("{name}", name))
    return replace(action, object=meta.changed(action.object, ("metadata", "name"), name), on_success=done)


def _with_reason(action: actions.UpdateStatus, why: str) -> actions.UpdateStatus:
    conditions = [
        {**one, "message": one.get("message", "").replace("{error}", why)}
        for one in meta.parts(action.object, "status", "conditions")
    ]
    said = meta.part(action.object, "status")
    status = {**said, **({"conditions": conditions} if conditions else {})}
    if "message" in said:
        status["message"] = said["message"].replace("{error}", why)
    return replace(action, object={**action.object, "status": status})
