"""Event of events.k8s.io/v1: the same events as core/v1 Event, under newer names and with stricter rules for new ones.

They are stored as core Events. `NAMES` is the whole difference in form, so nothing is lost either way; what core says
in `source`, `count` and the two timestamps stands here under names that begin with "deprecated". The stricter rules
hold for what is written in this form only: recorders of the older one leave out what this one asks for.
Follows: the Kubernetes API reference of Event v1 events.k8s.io.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.kinds import event
from petset.objects import meta, names, selectors, tables, validation
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed

NAMES: Mapping[str, str] = {  # Here -> in core.
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
}
NAMES_BACK: Mapping[str, str] = {there: here for here, there in NAMES.items()}
TYPES = ("Normal", "Warning")
TEXT_CHARACTERS_MAX = 128
NOTE_CHARACTERS_MAX = 1024
SERIES_COUNT_MIN = 2
# All but the series, and what says how often: an event that goes on is the same event.
FIXED = ("action", "eventTime", "note", "reason", "regarding", "related", "reportingController", "reportingInstance")
FIXED_TOO = ("type", "deprecatedCount", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource")


@listed
def validate(obj: Object) -> Errors:
    about, space = meta.get(obj, "regarding", "namespace", default=""), meta.namespace(obj)
    if (about and about != space) or (not about and space not in ("default", "kube-system")):
        yield FieldError.invalid("regarding.namespace", about, "does not match event.namespace")
    if not obj.get("eventTime"):
        yield FieldError.required("eventTime")
    yield from validation.named(obj.get("reportingController"), "reportingController", names.qualified)
    for field in ("reportingInstance", "action", "reason"):
        yield from _text(obj, field)
    if len(obj.get("note") or "") > NOTE_CHARACTERS_MAX:
        yield FieldError.invalid("note", "", f"can have at most {NOTE_CHARACTERS_MAX} characters")
    yield from validation.one_of(obj.get("type"), "type", TYPES)
    series = obj.get("series")
    if series is not None:
        if (series.get("count") or 0) < SERIES_COUNT_MIN:
            yield FieldError.invalid("series.count", series.get("count"), f"should be at least {SERIES_COUNT_MIN}")
        if not series.get("lastObservedTime"):
            yield FieldError.required("series.lastObservedTime")


def _text(obj: Object, field: str) -> Errors:
    value = obj.get(field) or ""
    if not value:
        yield FieldError.required(field)
    elif len(value) > TEXT_CHARACTERS_MAX:
        yield FieldError.invalid(field, value, f"can have at most {TEXT_CHARACTERS_MAX} characters")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from validation.immutable(new, old, "", *FIXED, *FIXED_TOO)


def to_core(objects: Sequence[Object]) -> Sequence[Object]:
    return [{**_renamed(NAMES, obj), "apiVersion": "v1", "kind": "Event"} for obj in objects]


def from_core(objects: Sequence[Object]) -> Sequence[Object]:
    return [{**_renamed(NAMES_BACK, obj), "apiVersion": "events.k8s.io/v1", "kind": "Event"} for obj in objects]


def _renamed(renames: Mapping[str, str], obj: Object) -> dict[str, Any]:
    return {renames.get(key, key): value for key, value in obj.items()}


def cells(obj: Object, now: float) -> list[Any]:
    return event.cells(_renamed(NAMES, obj), now)


EVENTS_V1 = Kind(
    "events.k8s.io",
    "v1",
    "events",
    "Event",
    short_names=("ev",),
    validate=validate,
    validate_update=validate_update,
    fields=selectors.fields(
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ),
    printer=tables.Printer(event.EVENTS.printer.columns, cells),
    stored_as=event.EVENTS,
    to_stored=to_core,
    from_stored=from_core,
)

KINDS = (EVENTS_V1,)
