"""The pods of one owner, counted as they change: a change of one costs the same however many the others are.

Active pods are those that have not ended and are not being deleted; ending ones are being deleted and have not ended
yet. How long a ready pod has been ready is kept in order, so that who is available by now is found by halving.

Invariant: it is always what it would be if it were made anew (tests/controllers/test_replicas.py).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass

from petset.base import tasks
from petset.client.views import View
from petset.kinds import pod_phase
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object


@dataclass(frozen=True, slots=True)
class Member:
    pod: Object
    is_selected: bool
    is_active: bool
    is_ending: bool
    is_full: bool  # It has all labels of the template.
    ready_since: float | None  # Seconds since 1970; None: it is not ready.


class Members:
    """The pods that the owner with this uid controls."""

    def __init__(
        self, view: View, namespace: str, uid: str, selector: selectors.Selector, labels: tuple[tuple[str, str], ...]
    ):
        """`labels`: those of the template."""
        self._namespace, self._selector, self._labels = namespace, selector, dict(labels)
        self.active: dict[str, Object] = {}  # By name.
        self.ending: dict[str, Object] = {}
        self.ended: dict[str, Object] = {}  # And staying.
        self.strangers: dict[str, Object] = {}  # Controlled, but not selected any more.
        self.full = 0
        self._ready: list[float] = []  # Since when, of the active ones, ascending.
        self.close = view.follow(PODS, "controller", uid, self._change)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and meta.namespace(old) == self._namespace:
            self._leave(read(old, self._selector, self._labels))
        if new is not None and meta.namespace(new) == self._namespace:
            self._enter(read(new, self._selector, self._labels))

    def _place(self, one: Member) -> dict[str, Object]:
        if not one.is_selected:
            return self.strangers
        if one.is_active:
            return self.active
        return self.ending if one.is_ending else self.ended

    def _enter(self, one: Member) -> None:
        self._place(one)[meta.name(one.pod)] = one.pod
        if one.is_selected and one.is_active:
            self.full += one.is_full
            if one.ready_since is not None:
                insort(self._ready, one.ready_since)

    def _leave(self, one: Member) -> None:
        self._place(one).pop(meta.name(one.pod), None)
        if one.is_selected and one.is_active:
            self.full -= one.is_full
            if one.ready_since is not None:
                del self._ready[bisect_right(self._ready, one.ready_since) - 1]

    @property
    def ready(self) -> int:
        return len(self._ready)

    def available(self, min_ready_seconds: float, now: float) -> int:
        """How many have been ready for so long."""
        return bisect_right(self._ready, now - min_ready_seconds) if min_ready_seconds else len(self._ready)

    def seconds_to_next(self, min_ready_seconds: float, now: float) -> float | None:
        """When the next of them will have been; None when there is none to wait for."""
        place = self.available(min_ready_seconds, now)
        return self._ready[place] + min_ready_seconds - now if place < len(self._ready) else None


def read(pod: Object, selector: selectors.Selector, labels: Mapping[str, str]) -> Member:
    has_ended, is_deleting = pod_phase.has_ended(pod), meta.is_deleting(pod)
    own = meta.labels(pod)
    return Member(
        pod=pod,
        is_selected=selector.matches(own),
        is_active=not has_ended and not is_deleting,
        is_ending=is_deleting and not has_ended,
        is_full=labels.items() <= own.items(),
        ready_since=ready_since(pod),
    )


def ready_since(pod: Object) -> float | None:
    """Since when it is ready, seconds since 1970; None when it is not."""
    condition = meta.condition(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    since = condition.get("lastTransitionTime")
    return tasks.parse_rfc3339(since) if since else 0.0
