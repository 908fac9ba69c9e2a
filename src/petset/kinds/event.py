"""Event: what happened to an object, for people to read; it lives where that object does (v1)."""

from __future__ import annotations

from typing import Any

from petset.objects import meta, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed


@listed
def validate(obj: Object) -> Errors:
    """An event lives in the namespace of what it is about; that of a cluster-scoped object in default."""
    about, space = meta.get(obj, "involvedObject", "namespace", default=""), meta.namespace(obj)
    if (about and about != space) or (not about and space not in ("default", "kube-system")):
        yield FieldError.invalid("involvedObject.namespace", about, "does not match event.namespace")


def cells(obj: Object, now: float) -> list[Any]:
    about, source, series = meta.part(obj, "involvedObject"), meta.part(obj, "source"), obj.get("series")
    first = tables.since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = tables.since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series:
        last, count = tables.since(series.get("lastObservedTime"), now), series.get("count") or count
    kind = about.get("kind", "").lower()
    host = source.get("host") or obj.get("reportingInstance") or ""
    component = source.get("component") or obj.get("reportingComponent") or ""
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        f"{component}, {host}" if source.get("host") else component,
        obj.get("message", "").strip(),
        first,
        count,
        tables.name(obj),
    ]


def _source(obj: Object) -> str:
    return meta.part(obj, "source").get("component") or obj.get("reportingComponent") or ""


EVENTS = Kind(
    "",
    "v1",
    "events",
    "Event",
    short_names=("ev",),
    validate=validate,
    fields={
        **selectors.fields(
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ),
        "source": _source,
    },
    printer=tables.Printer(
        tables.columns(
            "Last Seen, Type, Reason, Object, +Subobject, +Source, Message, +First Seen, +Count, +Name", "Count"
        ),
        cells,
    ),
)

KINDS = (EVENTS,)
