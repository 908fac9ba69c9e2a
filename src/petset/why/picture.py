"""What is known of a cluster while somebody asks why: the answers that GETs of its API gave so far.

Who decides asks a `Picture` for objects, lists and last lines of logs as if all were there. What nobody has read yet
is noted in `wanted` and looks empty meanwhile; whoever reads (reading.py) fetches that and has it decided anew, until
nothing is wanted any more. So a decision is a pure function, and reads no more of a cluster than it looks at.

What may not be read, or is not served there, is `Unread`: it looks empty, too, and `unread` has the reason, since a
sentence must not say of what it could not see that it is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from petset.kinds.event import EVENTS
from petset.kinds.pod import PODS
from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

PAGE_OBJECTS_MAX = 1000  # Of one GET of a list.
LIST_PAGES_MAX = 20  # Of one list; what is beyond them is not looked at.
LOG_LINES_MAX = 5


@dataclass(frozen=True, slots=True)
class Unread:
    """What a GET did not give: its HTTP status, and what was said."""

    code: int
    message: str

    @property
    def is_missing(self) -> bool:
        return self.code == 404


Answer = bytes | Unread


class Unseen(Exception):
    """A list that is looked at as a whole could not be read: of what is in it nothing can be said."""

    def __init__(self, answer: Unread):
        super().__init__(answer.message)


@dataclass(slots=True)
class Picture:
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])  # By the target of the GET.
    wanted: dict[str, None] = field(default_factory=dict[str, None])
    # What was made of answers, so that each is read once, however often it is looked at.
    _read: dict[str, Object] = field(default_factory=dict[str, Object])
    _lists: dict[str, Sequence[Object]] = field(default_factory=dict[str, Sequence[Object]])
    _events: dict[str, Sequence[Object]] = field(default_factory=dict[str, Sequence[Object]])

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        found = self._object(kind.path(namespace, name))
        return {"apiVersion": kind.api_version, "kind": kind.kind, **found} if found else None

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Object]:
        first = _listed(kind, namespace, labels, fields)
        if first in self._lists:
            return self._lists[first]
        own = {"apiVersion": kind.api_version, "kind": kind.kind}
        found: list[Object] = []
        for target in self._pages(first):
            found += [{**own, **item} for item in meta.parts(self._object(target), "items")]
        if not any(target in self.wanted for target in self._pages(first)):
            self._lists[first] = found
        return found

    def _pages(self, first: str) -> Iterator[str]:
        """The targets of a list's pages, as far as they are known."""
        target = first
        for _ in range(LIST_PAGES_MAX):
            yield target
            more = meta.part(self._object(target), "metadata").get("continue")
            if not more:
                return
            target = f"{first}&{urlencode({'continue': more})}"

    def page_after(self, target: str) -> str | None:
        """The target of the page that follows one that was answered; None after the last one that is looked at."""
        if f"limit={PAGE_OBJECTS_MAX}" not in target:
            return None
        pages = list(self._pages(target.partition("&continue=")[0]))
        return next((after for before, after in pairwise(pages) if before == target), None)

    def seen(self, kind: Kind, namespace: str = "", *, labels: str = "") -> Sequence[Object]:
        """A list that is only good for anything when it was read. Raises Unseen when it may not be."""
        answer = self.answers.get(_listed(kind, namespace, labels, ""))
        if isinstance(answer, Unread) and not answer.is_missing:
            raise Unseen(answer)
        return self.list(kind, namespace, labels=labels)

    def owned(self, kind: Kind, owner: Object, labels: str = "") -> Sequence[Object]:
        """The objects of a kind that one controls. Raises Unseen when they may not be read."""
        found = self.seen(kind, meta.namespace(owner), labels=labels)
        return [one for one in found if meta.is_controlled_by(one, owner)]

    def unread(self, kind: Kind, name: str = "", namespace: str = "") -> Unread | None:
        """Why an object, or a list of all, could not be read; None when it was read, or was not asked for yet."""
        answer = self.answers.get(kind.path(namespace, name) if name else _listed(kind, namespace, "", ""))
        return answer if isinstance(answer, Unread) else None

    def is_missing(self, kind: Kind, name: str, namespace: str = "") -> bool:
        """Whether it is known that there is no such object."""
        self.get(kind, name, namespace)
        answer = self.unread(kind, name, namespace)
        return answer is not None and answer.is_missing

    def events(self, obj: Object, *reasons: str) -> Sequence[Object]:
        """What is told of an object, the newest first; of some reasons only where they are given."""
        space, uid = meta.namespace(obj) or "default", meta.uid(obj)
        about = f"involvedObject.uid={uid}" if uid else f"involvedObject.name={meta.name(obj)}"
        target = _listed(EVENTS, space, "", about)
        if target not in self._events or target not in self._lists:
            self._events[target] = sorted(self.list(EVENTS, space, fields=about), key=last_seen, reverse=True)
        told = self._events[target]
        return [event for event in told if event.get("reason") in reasons] if reasons else told

    def event(self, obj: Object, *reasons: str) -> Object | None:
        """The newest one of these reasons."""
        return next(iter(self.events(obj, *reasons)), None)

    def last_lines(self, pod: Object, container: str, *, previous: bool) -> Sequence[str] | None:
        """The last lines that a container wrote, before it last ended when that is asked for; None when unread."""
        query = {"container": container, "tailLines": str(LOG_LINES_MAX), **({"previous": "true"} if previous else {})}
        answer = self._answer(f"{PODS.path(meta.namespace(pod), meta.name(pod), 'log')}?{urlencode(query)}")
        if not isinstance(answer, bytes):
            return None
        text = answer.decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-LOG_LINES_MAX:]

    def is_of_petset(self) -> bool:
        """Whether it is petset that answers, so that a flag of its own may be named."""
        return "petset" in str(self._object("/version").get("gitVersion"))

    def _answer(self, target: str) -> Answer | None:
        if target not in self.answers:
            self.wanted[target] = None
        return self.answers.get(target)

    def _object(self, target: str) -> Object:
        if target not in self._read:
            answer = self._answer(target)
            if answer is None:
                return {}
            try:
                found: Any = encoding.loads_answer(answer) if isinstance(answer, bytes) else {}
            except ValueError:
                found = {}
            self._read[target] = found if meta.is_struct(found) else {}
        return self._read[target]


def _listed(kind: Kind, namespace: str, labels: str, fields: str) -> str:
    query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE_OBJECTS_MAX)}
    return f"{kind.path(namespace)}?{urlencode({key: value for key, value in query.items() if value})}"


def last_seen(event: Object) -> str:
    series = meta.part(event, "series").get("lastObservedTime")
    times = (
        series,
        event.get("lastTimestamp"),
        event.get("eventTime"),
        meta.get(event, "metadata", "creationTimestamp"),
    )
    return max((str(time) for time in times if time), default="")
