"""The pods that one budget guards, counted as they change: a change of one costs the same however many there are.

Invariant: it is always what it would be if it were made anew (tests/controllers/test_budgets.py).
"""

from __future__ import annotations

from petset.client.views import View, places
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object

Owner = tuple[str, str, str, str]  # (apiVersion, kind, name, uid) of a controller.


class Guarded:
    """Those of a namespace that the selector matches."""

    def __init__(self, view: View, namespace: str, selector: selectors.Selector):
        self._selector = selector
        self.staying: dict[str, Object] = {}  # By name; the others are being deleted.
        self.healthy: dict[str, None] = {}  # Names of those that are ready and stay.
        self.count = 0
        self.owners: dict[Owner, dict[str, None]] = {}  # The names of each one's pods.
        self.unmanaged: dict[str, None] = {}  # Names of those that nobody controls.
        self._stops = [view.follow(PODS, index, value, self._change) for index, value in places(namespace, selector)]

    def close(self) -> None:
        for stop in self._stops:
            stop()

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and self._selector.matches(meta.labels(old)):
            self._leave(old)
        if new is not None and self._selector.matches(meta.labels(new)):
            self._enter(new)

    def _enter(self, pod: Object) -> None:
        name, owner = meta.name(pod), _owner(pod)
        self.count += 1
        if owner is None:
            self.unmanaged[name] = None
        else:
            self.owners.setdefault(owner, {})[name] = None
        if not meta.is_deleting(pod):
            self.staying[name] = pod
            if meta.is_pod_ready(pod):
                self.healthy[name] = None

    def _leave(self, pod: Object) -> None:
        name, owner = meta.name(pod), _owner(pod)
        self.count -= 1
        self.staying.pop(name, None)
        self.healthy.pop(name, None)
        self.unmanaged.pop(name, None)
        if owner is not None:
            self.owners[owner].pop(name)
            if not self.owners[owner]:
                del self.owners[owner]


def _owner(pod: Object) -> Owner | None:
    found = meta.controller_of(pod)
    if found is None:
        return None
    return found.get("apiVersion", ""), found.get("kind", ""), found.get("name", ""), found.get("uid", "")
