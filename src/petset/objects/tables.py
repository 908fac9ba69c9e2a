"""meta.k8s.io/v1 Tables: the columns and cells that `kubectl get`, with -o wide too, prints.

A kind says how it is printed, in a `Printer`: its columns (those of priority 1 are the wide ones) and a function from
an object and the time to its cells. Kinds that say nothing get NAME and AGE. A cell is text or a number; what is not
known is "<none>", "<unset>" or "<unknown>", as kubectl's users expect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from petset.base import well_known
from petset.objects import meta, selectors
from petset.objects.meta import Object

SHOWN_MAX = 3

Cells = Callable[[Object, float], list[Any]]


@dataclass(frozen=True, slots=True)
class Printer:
    columns: tuple[Mapping[str, Any], ...]
    cells: Cells


def table(
    printer: Printer,
    objects: Sequence[Object],
    now: float,
    include: str = "Metadata",
    with_columns: bool = True,
    metadata: Object | None = None,
) -> dict[str, Any]:
    """The Table of the objects.

    `now` is seconds since 1970; `include` is what each row carries: Metadata, Object or None; `metadata` is the
    list's (resourceVersion, continue); a watch sends columns with its first event only.
    """
    return {**head(printer, with_columns, metadata), "rows": rows(printer, objects, now, include)}


def head(printer: Printer, with_columns: bool = True, metadata: Object | None = None) -> dict[str, Any]:
    """A Table but for its rows."""
    return {
        "kind": "Table",
        "apiVersion": f"{well_known.META_GROUP}/v1",
        "metadata": dict(metadata or {}),
        "columnDefinitions": list(printer.columns) if with_columns else [],
    }


def rows(printer: Printer, objects: Sequence[Object], now: float, include: str = "Metadata") -> list[dict[str, Any]]:
    """A row an object."""
    return [{"cells": printer.cells(obj, now), **_row_object(obj, include)} for obj in objects]


def _row_object(obj: Object, include: str) -> dict[str, Any]:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    return {
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"{well_known.META_GROUP}/v1",
            "metadata": obj.get("metadata") or {},
        }
    }


def human_duration(seconds: float) -> str:
    """5s, 3m20s, 2h, 4d3h, 2y: two units where the first is small, as kubectl writes ages."""
    whole = int(seconds)
    if seconds <= -2:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"


def seconds_of(text: str | None) -> float | None:
    """Seconds since 1970 of an RFC 3339 time, or None."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None
    except ValueError:
        return None


def since(text: str | None, now: float) -> str:
    moment = seconds_of(text)
    return "<unknown>" if moment is None else human_duration(now - moment)


def age(obj: Object, now: float) -> str:
    return since(meta.get(obj, "metadata", "creationTimestamp"), now)


def name(obj: Object) -> str:
    return meta.get(obj, "metadata", "name", default="")


def joined(values: Iterable[Any], none: str = "<none>") -> str:
    return ",".join(str(value) for value in values) or none


def format_labels(labels: Mapping[str, str] | None) -> str:
    return joined(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def selector(selector: Object | None, everything: str = "<none>") -> str:
    """A LabelSelector as it is asked for: app=web,tier in (a,b). One that says nothing chooses everything."""
    return str(selectors.from_object(selector)) if selector else everything


def shortened(items: Sequence[str], none: str) -> str:
    shown = ",".join(items[:SHOWN_MAX]) or none
    more = len(items) - SHOWN_MAX
    return f"{shown} + {more} more..." if more > 0 else shown


def columns(narrow: str, numbers: str = "") -> tuple[Mapping[str, Any], ...]:
    """Column definitions from a comma-separated list: + marks the wide ones, `numbers` names the numeric ones."""
    numeric = dict.fromkeys(text.strip() for text in numbers.split(","))
    found: list[Mapping[str, Any]] = []
    for text in narrow.split(","):
        title = text.strip().lstrip("+")
        found.append(
            {
                "name": title,
                "type": "integer" if title in numeric else "string",
                "format": "name" if title == "Name" else "",
                "description": f"{title} of the object",
                "priority": 1 if text.strip().startswith("+") else 0,
            }
        )
    return tuple(found)


def _name_and_age(obj: Object, now: float) -> list[Any]:
    return [name(obj), age(obj, now)]


NAME_AND_AGE = Printer(columns("Name, Age"), _name_and_age)
