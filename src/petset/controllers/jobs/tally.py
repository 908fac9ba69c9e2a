"""The pods of one Job, counted as they change: a change of one costs the same however many the others are.

A pod is read once a version (`read`), and leaves the counts as it entered them. `Tally` knows who is active and who is
going, of each index too; who has ended and is still to be counted; and in which order the ends came, from which
follows how long the next one waits. Of more than one look takes, those come first that came to it first.

Invariant: it is always what it would be if it were made anew (tests/controllers/test_jobs.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from petset.client.views import View
from petset.controllers.jobs import pods
from petset.controllers.workloads import numbers
from petset.kinds import pod_phase
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object

Named = dict[str, Object]  # By name.


@dataclass(frozen=True, slots=True)
class Run:
    pod: Object
    index: int | None
    is_selected: bool
    is_tracked: bool
    is_active: bool
    is_ready: bool  # And active.
    is_terminating: bool
    restarts: int  # Of one that is active.
    has_ended: bool  # It has succeeded, or counts as failed; one of these that is deleted may still run.
    end: tuple[float, bool] | None  # When, seconds since 1970, and whether it failed; None: nobody waits for it.


def read(pod: Object, selector: selectors.Selector, replaces_only_failed: bool) -> Run:
    is_tracked, is_active = pods.is_tracked(pod), pod_phase.is_active(pod)
    has_failed = pods.has_failed(pod, replaces_only_failed)
    has_ended = has_failed or pods.has_succeeded(pod)
    # Those that were taken away, and not counted, are no failures.
    is_waited_for = has_ended and (is_tracked or not meta.is_deleting(pod))
    return Run(
        pod=pod,
        index=pods.index_of(pod),
        is_selected=selector.matches(meta.labels(pod)),
        is_tracked=is_tracked,
        is_active=is_active,
        is_ready=is_active and meta.is_pod_ready(pod),
        is_terminating=pods.is_terminating(pod),
        restarts=pods.restarts(pod) if is_active else 0,
        has_ended=has_ended,
        end=(pods.ended_at(pod), has_failed) if is_waited_for else None,
    )


class ByIndex:
    """Pods by their index."""

    def __init__(self) -> None:
        self.pods: dict[int | None, Named] = {}  # None: those without any.
        self.shared: dict[int, None] = {}  # Indexes of more than one.
        self._ordered: list[int] = []  # Ascending.

    def __contains__(self, index: int | None) -> bool:
        return index in self.pods

    def put(self, index: int | None, pod: Object) -> None:
        there = self.pods.setdefault(index, {})
        there[meta.name(pod)] = pod
        if index is not None:
            if len(there) == 1:
                insort(self._ordered, index)
            else:
                self.shared[index] = None

    def remove(self, index: int | None, name: str) -> None:
        there = self.pods[index]
        del there[name]
        if not there:
            del self.pods[index]
        if index is not None:
            if not there:
                del self._ordered[bisect_left(self._ordered, index)]
            elif len(there) == 1:
                del self.shared[index]

    def within(self, first: int, end: int) -> list[int]:
        """Those of the indexes from `first` up to `end` that have any."""
        return self._ordered[bisect_left(self._ordered, first) : bisect_left(self._ordered, end)]

    def outside(self, end: int) -> list[int]:
        """Those that are no index below `end`."""
        return [*self._ordered[: bisect_left(self._ordered, 0)], *self._ordered[bisect_left(self._ordered, end) :]]

    def gap_from(self, index: int) -> int:
        """The first that has none, from this one on."""
        return index + numbers.run_length(self._ordered, bisect_left(self._ordered, index), index)


class Tally:
    """The pods that the Job with this uid controls."""

    def __init__(self, view: View, namespace: str, uid: str, selector: selectors.Selector, replaces_only_failed: bool):
        self._namespace, self._selector, self._replaces_only_failed = namespace, selector, replaces_only_failed
        self._runs: dict[str, Run] = {}  # By name.
        self.strangers: Named = {}  # Controlled, but not selected any more.
        self.tracked: Named = {}  # By uid.
        self.active: Named = {}
        self.terminating: Named = {}
        self.active_by_index, self.terminating_by_index = ByIndex(), ByIndex()
        self.to_count: Named = {}  # Those that have ended and are tracked.
        self.to_count_in_the_end: Named = {}  # Those that are going and will not be counted before they have gone.
        self.ready = self.restarts = 0  # Of the active ones.
        self._ends: list[tuple[float, bool]] = []  # Ascending.
        self.close = view.follow(PODS, "controller", uid, self._change)

    def __len__(self) -> int:
        return len(self._runs)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and meta.namespace(old) == self._namespace:
            self._leave(meta.name(old), self._runs.pop(meta.name(old)))
        if new is not None and meta.namespace(new) == self._namespace:
            self._enter(meta.name(new), read(new, self._selector, self._replaces_only_failed))

    def _groups(self, run: Run) -> list[Named]:
        """Where it is by its name."""
        is_to_count = run.is_tracked and run.has_ended
        groups = (
            (self.strangers, not run.is_selected),
            (self.active, run.is_active),
            (self.terminating, run.is_terminating),
            (self.to_count, is_to_count),
            (self.to_count_in_the_end, run.is_tracked and run.is_terminating and not is_to_count),
        )
        return [group for group, is_in in groups if is_in]

    def _indexed(self, run: Run) -> ByIndex | None:
        if run.is_active:
            return self.active_by_index
        return self.terminating_by_index if run.is_terminating else None

    def _enter(self, name: str, run: Run) -> None:
        self._runs[name] = run
        for group in self._groups(run):
            group[name] = run.pod
        if (indexed := self._indexed(run)) is not None:
            indexed.put(run.index, run.pod)
        if run.is_tracked:
            self.tracked[meta.uid(run.pod)] = run.pod
        self.ready += run.is_ready
        self.restarts += run.restarts
        if run.end is not None:
            insort(self._ends, run.end)

    def _leave(self, name: str, run: Run) -> None:
        for group in self._groups(run):
            del group[name]
        if (indexed := self._indexed(run)) is not None:
            indexed.remove(run.index, name)
        if run.is_tracked:
            del self.tracked[meta.uid(run.pod)]
        self.ready -= run.is_ready
        self.restarts -= run.restarts
        if run.end is not None:
            del self._ends[bisect_left(self._ends, run.end)]

    def seconds_to_next(self, now: float) -> float:
        """How long the next pod must wait for those that have ended; 0.0 when it need not."""
        failures = 0
        for _, is_failure in reversed(self._ends[-pods.FAILURES_TOLD_APART :]):
            if not is_failure:
                break
            failures += 1
        return pods.remaining(failures, self._ends[-1][0], now) if failures else 0.0
