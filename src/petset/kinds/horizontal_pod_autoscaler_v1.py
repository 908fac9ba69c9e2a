"""HorizontalPodAutoscaler of autoscaling/v1: the objects of autoscaling/v2, with one target, the CPU's.

They are stored as those of v2. What this version has no field for stands in annotations, in JSON and in the words of
this version: other metrics, what was measured of each, conditions, and how quickly it scales. One that names no target
is for 80% of the CPU, as it is stored.
Follows: the API reference of HorizontalPodAutoscaler v1; the annotations are upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.base import well_known
from petset.kinds import horizontal_pod_autoscaler as v2
from petset.objects import encoding, errors, meta, schema, tables
from petset.objects.errors import FieldError
from petset.objects.filling import fill, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, listed

_ANNOTATIONS = (
    well_known.AUTOSCALER_METRICS_ANNOTATION,
    well_known.AUTOSCALER_BEHAVIOR_ANNOTATION,
    well_known.AUTOSCALER_CURRENT_METRICS_ANNOTATION,
    well_known.AUTOSCALER_CONDITIONS_ANNOTATION,
)

# What a source of metrics has here, and where v2 has it: "target" and "current" stand for what is wanted or measured.
_Names = Mapping[str, tuple[str, ...]]
_OF_OBJECTS: _Names = {
    "target": ("describedObject",),
    "metricName": ("metric", "name"),
    "selector": ("metric", "selector"),
    "averageValue": ("target", "averageValue"),
    "targetValue": ("target", "value"),
}
_OF_PODS: _Names = {
    "metricName": ("metric", "name"),
    "selector": ("metric", "selector"),
    "targetAverageValue": ("target", "averageValue"),
}
_OF_RESOURCES: _Names = {
    "name": ("name",),
    "targetAverageUtilization": ("target", "averageUtilization"),
    "targetAverageValue": ("target", "averageValue"),
}
_OF_OTHERS: _Names = {
    "metricName": ("metric", "name"),
    "metricSelector": ("metric", "selector"),
    "targetValue": ("target", "value"),
    "targetAverageValue": ("target", "averageValue"),
}
_SOURCES: Mapping[str, _Names] = {
    "containerResource": {**_OF_RESOURCES, "container": ("container",)},
    "external": _OF_OTHERS,
    "object": _OF_OBJECTS,
    "pods": _OF_PODS,
    "resource": _OF_RESOURCES,
}
# What is measured has the same names with another word in front.
_MEASURED: Mapping[str, _Names] = {
    source: {
        here.replace("target", "current", 1) if there[0] == "target" else here: tuple(
            part.replace("target", "current") for part in there
        )
        for here, there in names.items()
    }
    for source, names in _SOURCES.items()
}
# A target's type, by which of its fields says how much.
_TYPES = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}


def to_v2(objects: Sequence[Object]) -> Sequence[Object]:
    return [_to_v2(obj) for obj in objects]


def from_v2(objects: Sequence[Object]) -> Sequence[Object]:
    return [_from_v2(obj) for obj in objects]


# -- to v2 --------------------------------------------------------------------------------------------------------


def _to_v2(obj: Object) -> Object:
    """What cannot be read of an annotation counts as not there: validation refuses it before."""
    found = {name: _read(obj, name) for name in _ANNOTATIONS}
    spec, status = dict(meta.part(obj, "spec")), dict(meta.part(obj, "status"))
    metrics = [_renamed(one, _SOURCES, "target") for one in _structs(found[well_known.AUTOSCALER_METRICS_ANNOTATION])]
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        metrics.insert(0, _cpu("target", {"type": "Utilization", "averageUtilization": percent}))
    spec |= {"metrics": metrics} if metrics else {}
    if meta.is_struct(behavior := found[well_known.AUTOSCALER_BEHAVIOR_ANNOTATION]):
        spec["behavior"] = behavior
    measured = [
        _renamed(one, _MEASURED, "current") for one in _structs(found[well_known.AUTOSCALER_CURRENT_METRICS_ANNOTATION])
    ]
    now = status.pop("currentCPUUtilizationPercentage", None)
    if now is not None and not any(_is_cpu(one) for one in measured):
        measured.insert(0, _cpu("current", {"averageUtilization": now}))
    status |= {"currentMetrics": measured} if measured else {}
    if conditions := _structs(found[well_known.AUTOSCALER_CONDITIONS_ANNOTATION]):
        status["conditions"] = conditions
    made: Object = {**_with_annotations(obj, {}), "apiVersion": v2.HORIZONTALPODAUTOSCALERS.api_version, "spec": spec}
    return v2.defaults({**made, "status": status} if status else meta.without(made, ("status",)))


def _read(obj: Object, name: str) -> Any:
    text = meta.annotations(obj).get(name)
    try:
        return encoding.loads(text) if text else None
    except ValueError:
        return None


def _structs(value: Any) -> list[Object]:
    return [one for one in value if meta.is_struct(one)] if meta.is_list(value) else []


def _cpu(what: str, value: Object) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", what: value}}


def _is_cpu(metric: Object) -> bool:
    return metric.get("type") == "Resource" and meta.part(metric, "resource").get("name") == "cpu"


def _renamed(metric: Object, sources: Mapping[str, _Names], what: str) -> Object:
    made: dict[str, Any] = {"type": metric.get("type", "")}
    for source, names in sources.items():
        given = metric.get(source)
        if not meta.is_struct(given):
            continue
        there: Object = {}
        for here, path in names.items():
            if given.get(here) is not None:
                there = meta.changed(there, path, given[here])
        amounts = meta.part(there, what)
        if what == "target" and amounts:
            kind = next(_TYPES[field] for field in _TYPES if field in amounts)
            # A value that must be said here, where only the average is meant.
            amounts = {key: one for key, one in amounts.items() if kind != "AverageValue" or key != "value"}
            there = {**there, "target": {"type": kind, **amounts}}
        made[source] = there
    return made


# -- from v2 ------------------------------------------------------------------------------------------------------


def _from_v2(obj: Object) -> Object:
    spec, status = dict(meta.part(obj, "spec")), dict(meta.part(obj, "status"))
    metrics, measured = list(spec.pop("metrics", ())), list(status.pop("currentMetrics", ()))
    target = next((one for one in metrics if _is_cpu(one) and _percent(one, "target") is not None), None)
    if target is not None:
        metrics.remove(target)
        spec["targetCPUUtilizationPercentage"] = _percent(target, "target")
    now = next((one for one in map(_measured_percent, measured) if one is not None), None)
    status |= {} if now is None else {"currentCPUUtilizationPercentage": now}
    said = {
        well_known.AUTOSCALER_METRICS_ANNOTATION: [_shown(one, _SOURCES) for one in metrics],
        well_known.AUTOSCALER_BEHAVIOR_ANNOTATION: spec.pop("behavior", None),
        well_known.AUTOSCALER_CURRENT_METRICS_ANNOTATION: [_shown(one, _MEASURED) for one in measured],
        well_known.AUTOSCALER_CONDITIONS_ANNOTATION: status.pop("conditions", None),
    }
    texts = {name: encoding.dumps(value).decode() for name, value in said.items() if value}
    made = {**_with_annotations(obj, texts), "apiVersion": HORIZONTALPODAUTOSCALERS_V1.api_version, "spec": spec}
    return {**made, "status": status} if status else meta.without(made, ("status",))


def _percent(metric: Object, what: str) -> int | None:
    return meta.get(metric, "resource", what, "averageUtilization")


def _measured_percent(metric: Object) -> int | None:
    return _percent(metric, "current") if _is_cpu(metric) else None


def _shown(metric: Object, sources: Mapping[str, _Names]) -> Object:
    made: dict[str, Any] = {"type": metric.get("type", "")}
    for source, names in sources.items():
        if (given := metric.get(source)) is not None:
            found = {here: meta.get(given, *path) for here, path in names.items()}
            made[source] = {here: value for here, value in found.items() if value is not None}
    return made


def _with_annotations(obj: Object, texts: Mapping[str, str]) -> Object:
    kept = {name: text for name, text in meta.annotations(obj).items() if name not in _ANNOTATIONS}
    if kept or texts:
        return meta.changed(obj, ("metadata", "annotations"), {**kept, **texts})
    return meta.without(obj, ("metadata", "annotations"))


# -- the kind -----------------------------------------------------------------------------------------------------


def defaults(obj: Object) -> Object:
    return within(obj, "spec", lambda spec: fill(spec, {"minReplicas": 1}))


@listed
def validate(obj: Object) -> Errors:
    for name in _ANNOTATIONS:
        text = meta.annotations(obj).get(name)
        if text and _read(obj, name) is None:
            yield FieldError.invalid(f"metadata.annotations[{name}]", text[:100], "must be JSON")
    try:
        made, _, missing = schema.check(dict(_to_v2(obj)), v2.HORIZONTALPODAUTOSCALERS)
    except errors.ApiError as error:
        yield FieldError.invalid("metadata.annotations", "", error.message)
        return
    yield from missing
    yield from v2.validate(made)


def cells(obj: Object, now: float) -> list[Any]:
    return v2.cells(_to_v2(obj), now)


HORIZONTALPODAUTOSCALERS_V1 = Kind(
    "autoscaling",
    "v1",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short_names=("hpa",),
    categories=("all",),
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=v2.HORIZONTALPODAUTOSCALERS.prepare,
    validate=validate,
    printer=tables.Printer(v2.HORIZONTALPODAUTOSCALERS.printer.columns, cells),
    stored_as=v2.HORIZONTALPODAUTOSCALERS,
    to_stored=to_v2,
    from_stored=from_v2,
)

KINDS = (HORIZONTALPODAUTOSCALERS_V1,)
