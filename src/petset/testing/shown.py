"""How objects look to a person: as the tables of `kubectl get` in a terminal, as HTML in a notebook. Pure.

`Objects` is a list that shows itself so; `Sets` shows PetSets and StatefulSets with their pets under them, each with
its node, address and volumes. What is shown has a limit of rows; what a cell says is escaped in HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from petset.kinds import pet_names
from petset.objects import meta, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind

ROWS_MAX = 200
CELL_CHARACTERS_MAX = 120
STYLE = "text-align:left;padding:2px 10px 2px 0;white-space:nowrap"


class Table:
    """A heading and rows of text."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[str]], rows_max: int = ROWS_MAX):
        found = [[_short(cell) for cell in row] for row in rows]
        self.columns, self.rows, self.left_out = list(columns), found[:rows_max], max(0, len(found) - rows_max)

    def text(self) -> str:
        lines = [[column.upper() for column in self.columns], *self.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]
        shown = ["   ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([*shown, *([f"... and {self.left_out} more"] if self.left_out else [])])

    def html(self) -> str:
        head = "".join(f'<th style="{STYLE}">{escape(column)}</th>' for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="{STYLE}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in self.rows
        )
        more = f"<p>... and {self.left_out} more</p>" if self.left_out else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


class Objects(list[dict[str, Any]]):
    """Objects of a kind; it shows itself as `kubectl get` does."""

    def __init__(self, objects: Iterable[dict[str, Any]], kind: Kind, now: float):
        super().__init__(objects)
        self._kind, self._now = kind, now

    @property
    def names(self) -> list[str]:
        return [meta.name(obj) for obj in self]

    def table(self, rows_max: int = ROWS_MAX) -> Table:
        if any(obj.get("kind") not in (None, self._kind.kind) for obj in self):
            return Table(("kind", "name", "age"), [_of_any(obj, self._now) for obj in self], rows_max)
        columns = [column for column in self._kind.printer.columns if not column.get("priority")]
        rows = [self._kind.printer.cells(obj, self._now) for obj in self]
        places = [at for at, column in enumerate(self._kind.printer.columns) if not column.get("priority")]
        return Table([str(one["name"]) for one in columns], [[str(row[at]) for at in places] for row in rows], rows_max)

    def __repr__(self) -> str:
        return self.table().text() if self else f"no {self._kind.plural}"

    def _repr_html_(self) -> str:
        return self.table().html() if self else f"<p>no {escape(self._kind.plural)}</p>"


def _of_any(obj: Object, now: float) -> list[str]:
    return [str(obj.get("kind")), meta.name(obj), tables.age(obj, now)]


class Sets:
    """Sets, and the pets of each."""

    def __init__(self, sets: Sequence[Object], pods: Sequence[Object], claims: Sequence[Object]):
        self.sets, self._pods = list(sets), pods
        self._claims = {(meta.namespace(claim), meta.name(claim)): claim for claim in claims}

    def pets(self, set_: Object) -> list[Object]:
        """Its pods, by their ordinals."""
        uid = meta.uid(set_)
        return sorted((pod for pod in self._pods if meta.controller_uid(pod) == uid), key=pet_names.ordinal)

    def __iter__(self) -> Any:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    COLUMNS = ("pet", "ready", "status", "node", "address", "volumes")

    def _parts(self) -> list[tuple[str, Table]]:
        return [
            (_heading(set_), Table(self.COLUMNS, [self._row(pod) for pod in self.pets(set_)])) for set_ in self.sets
        ]

    def _row(self, pod: Object) -> list[str]:
        spec, status = meta.part(pod, "spec"), meta.part(pod, "status")
        ready = "yes" if meta.is_pod_ready(pod) else "no"
        phase = "Terminating" if meta.is_deleting(pod) else str(status.get("phase", "Pending"))
        volumes = [name for volume in meta.parts(pod, "spec", "volumes") if (name := self._volume(pod, volume))]
        return [
            meta.name(pod),
            ready,
            phase,
            str(spec.get("nodeName", "")),
            str(status.get("podIP", "")),
            ", ".join(volumes),
        ]

    def _volume(self, pod: Object, volume: Object) -> str:
        name = str(meta.part(volume, "persistentVolumeClaim").get("claimName") or "")
        claim = self._claims.get((meta.namespace(pod), name), {})
        return f"{name} ({meta.part(claim, 'status').get('phase', 'missing')})" if name else ""

    def __repr__(self) -> str:
        parts = [
            f"{heading}\n{_indented(table.text()) if table.rows else '  no pets'}" for heading, table in self._parts()
        ]
        return "\n\n".join(parts) or "no sets"

    def html(self) -> str:
        parts = [
            f"<p><b>{escape(heading)}</b></p>{table.html() if table.rows else '<p>no pets</p>'}"
            for heading, table in self._parts()
        ]
        return "".join(parts) or "<p>no sets</p>"

    _repr_html_ = html


def _heading(set_: Object) -> str:
    status = meta.part(set_, "status")
    wanted = meta.part(set_, "spec").get("replicas", 1)
    ready = f"{status.get('readyReplicas', 0)} of {wanted} ready"
    return f"{set_.get('kind')} {meta.namespace(set_)}/{meta.name(set_)}: {ready}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _short(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= CELL_CHARACTERS_MAX else line[: CELL_CHARACTERS_MAX - 3] + "..."


# One object, one event


def in_a_line(kind: Kind, obj: Object | None) -> str:
    """How an object is, for a sentence."""
    if obj is None:
        return "there is none"
    status = meta.part(obj, "status")
    told = [f"{name} {status[name]}" for name in TOLD if status.get(name) not in (None, "")]
    for condition in meta.parts(obj, "status", "conditions"):
        why = ": ".join(str(condition[word]) for word in ("reason", "message") if condition.get(word))
        if condition.get("status") != "True" or condition.get("type") in ("Failed", "ReplicaFailure"):
            told.append(f"{condition.get('type')} is {condition.get('status')}{why and f' ({why})'}")
    told += [line for one in meta.parts(obj, "status", "containerStatuses") if (line := _container(one))]
    if meta.is_deleting(obj):
        told.append("it is being deleted")
    return ", ".join(told)[:LINE_CHARACTERS_MAX] or "it is there"


TOLD = ("phase", "replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "succeeded", "failed")
LINE_CHARACTERS_MAX = 1000


def _container(status: Object) -> str:
    for state in ("waiting", "terminated"):
        if found := meta.part(status, "state", state):
            why = found.get("message") or ""
            return f"container {status.get('name')} is {state} ({found.get('reason')}{why and f': {why}'})"
    return ""


def event_time(event: Object) -> str:
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or meta.part(event, "metadata").get("creationTimestamp")
        or ""
    )


def is_about(event: Object, name: str) -> bool:
    """Whether it is about the object of this name, or one that is named after it, as pods are after their set."""
    about = str(meta.part(event, "involvedObject").get("name"))
    return about == name or about.startswith(f"{name}-")


def event_line(event: Object) -> str:
    """Warning FailedScheduling pod/web-0: what it says (3 times)"""
    about, count = meta.part(event, "involvedObject"), event.get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    said = " ".join(str(event.get("message", "")).split())
    return (
        f"{event.get('type')} {event.get('reason')} {str(about.get('kind')).lower()}/{about.get('name')}: {said}{times}"
    )
