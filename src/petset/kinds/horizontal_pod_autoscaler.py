"""HorizontalPodAutoscaler: how many pods something has, by what they use (autoscaling/v2).

One that names no metric is for 80% of the CPU that its pods ask for. How quickly it scales (spec.behavior) has a rule
for each direction; a rule that is given in part gets the rest of the default one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.objects import filling, meta, names, quantity, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, at_least, label_selector, listed, named, one_of

CPU_PERCENT = 80
WINDOW_SECONDS_MAX, PERIOD_SECONDS_MAX = 3600, 1800
SHOWN_MAX = 2

_CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT}},
}
_BY_PERCENT = {"type": "Percent", "value": 100, "periodSeconds": 15}
_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, _BY_PERCENT],
}
_DOWN = {"selectPolicy": "Max", "policies": [_BY_PERCENT]}

# Where a metric's source is, by its type.
SOURCES: Mapping[str, str] = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    spec = fill_empty(fill(spec, {"minReplicas": 1}), {"metrics": [_CPU]})
    return at(spec, "behavior", _behavior)


def _behavior(behavior: Object) -> Object:
    behavior = within(behavior, "scaleUp", lambda rules: fill(rules, _UP))
    return within(behavior, "scaleDown", lambda rules: fill(rules, _DOWN))


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 0:
        yield FieldError.invalid("spec.minReplicas", least, "must be greater than or equal to 0")
    yield from at_least(most, "spec.maxReplicas", 1)
    if least is not None and most < least:
        yield FieldError.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _reference(meta.part(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    for index, metric in enumerate(meta.parts(spec, "metrics")):
        yield from _metric(metric, f"spec.metrics[{index}]")
    if least == 0 and not any(one.get("type") in ("External", "Object") for one in meta.parts(spec, "metrics")):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield FieldError.forbidden("spec.metrics", why)
    for direction, given in meta.part(spec, "behavior").items():
        yield from _rules(given, f"spec.behavior.{direction}")
    for field in ("currentReplicas", "desiredReplicas"):
        yield from at_least(meta.part(obj, "status").get(field), f"status.{field}")


def _reference(given: Object, path: str) -> Errors:
    yield from named(given.get("kind"), f"{path}.kind", names.path_segment)
    yield from named(given.get("name"), f"{path}.name", names.path_segment)


def _metric(metric: Object, path: str) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        yield FieldError.required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in SOURCES:
        yield FieldError.unsupported(f"{path}.type", kind, tuple(SOURCES))
        return
    wanted = SOURCES[kind]
    if metric.get(wanted) is None:
        yield FieldError.required(f"{path}.{wanted}", "must populate information for the given metric source")
    for other in SOURCES.values():
        if other != wanted and metric.get(other) is not None:
            yield FieldError.forbidden(f"{path}.{other}", "must populate the given metric source only")
    source, where = meta.part(metric, wanted), f"{path}.{wanted}"
    if not source:
        return
    if kind == "Object":
        yield from _reference(meta.part(source, "describedObject"), f"{where}.describedObject")
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            yield FieldError.required(f"{where}.name", "must specify a resource name")
        if kind == "ContainerResource" and not source.get("container"):
            yield FieldError.required(f"{where}.container", "must specify a container")
    else:
        yield from named(meta.get(source, "metric", "name"), f"{where}.metric.name", names.path_segment)
        yield from label_selector(meta.part(source, "metric").get("selector"), f"{where}.metric.selector")
    yield from _target(meta.part(source, "target"), f"{where}.target", kind)


# What a target of each type of metric may be given as; one of them must be.
_MEASURES: Mapping[str, tuple[str, ...]] = {
    "ContainerResource": ("averageUtilization", "averageValue"),
    "External": ("value", "averageValue"),
    "Object": ("value", "averageValue"),
    "Pods": ("averageValue",),
    "Resource": ("averageUtilization", "averageValue"),
}


def _target(target: Object, path: str, kind: str) -> Errors:
    if not target.get("type"):
        yield FieldError.required(f"{path}.type", "must specify a metric target type")
    else:
        yield from one_of(target["type"], f"{path}.type", ("AverageValue", "Utilization", "Value"))
    percent = target.get("averageUtilization")
    yield from at_least(percent, f"{path}.averageUtilization", 1)
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantity.parse(target[field]).value <= 0:
            yield FieldError.invalid(f"{path}.{field}", target[field], "must be positive")
    measures = _MEASURES[kind]
    given = [field for field in measures if target.get(field) is not None]
    if not given:
        why = (
            "must specify a positive target averageValue"
            if kind == "Pods"
            else f"must set either {' or '.join(measures)}"
        )
        yield FieldError.required(f"{path}.{measures[0]}", why)
    elif len(given) > 1:
        yield FieldError.forbidden(f"{path}.{measures[1]}", f"may not set both {' and '.join(measures)}")


def _rules(rules: Object, path: str) -> Errors:
    window = rules.get("stabilizationWindowSeconds")
    yield from at_least(window, f"{path}.stabilizationWindowSeconds")
    if window is not None and window > WINDOW_SECONDS_MAX:
        why = f"must be less than or equal to {WINDOW_SECONDS_MAX}"
        yield FieldError.invalid(f"{path}.stabilizationWindowSeconds", window, why)
    if rules.get("selectPolicy") is not None:
        yield from one_of(rules["selectPolicy"], f"{path}.selectPolicy", ("Disabled", "Max", "Min"))
    if not meta.parts(rules, "policies"):
        yield FieldError.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(meta.parts(rules, "policies")):
        where, period = f"{path}.policies[{index}]", policy.get("periodSeconds", 0)
        yield from one_of(policy.get("type"), f"{where}.type", ("Percent", "Pods"))
        yield from at_least(policy.get("value", 0), f"{where}.value", 1)
        yield from at_least(period, f"{where}.periodSeconds", 1)
        if period > PERIOD_SECONDS_MAX:
            why = f"must be less than or equal to {PERIOD_SECONDS_MAX}"
            yield FieldError.invalid(f"{where}.periodSeconds", period, why)
    if rules.get("tolerance") is not None and quantity.parse(rules["tolerance"]).value < 0:
        yield FieldError.invalid(f"{path}.tolerance", rules["tolerance"], "must be greater than or equal to 0")


def _shown(metric: Object, current: Object) -> str:
    """A metric as kubectl prints it: what it is and what it should be."""
    field = SOURCES.get(metric.get("type") or "", "")
    source, measured = meta.part(metric, field), meta.part(current, field, "current")
    target = meta.part(source, "target")
    for key, mark in (("averageUtilization", "%"), ("averageValue", ""), ("value", "")):
        if target.get(key) is not None:
            now = f"{measured[key]}{mark}" if measured.get(key) is not None else "<unknown>"
            average = " (avg)" if key == "averageValue" and field in ("external", "object") else ""
            label = f"{source.get('name', '')}: " if field in ("resource", "containerResource") else ""
            return f"{label}{now}/{target[key]}{mark}{average}"
    return "<unknown>"


def cells(obj: Object, now: float) -> list[Any]:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    metrics, current = meta.parts(spec, "metrics"), meta.parts(status, "currentMetrics")
    shown = [_shown(one, current[index] if index < len(current) else {}) for index, one in enumerate(metrics)]
    more = f" + {len(shown) - SHOWN_MAX} more..." if len(shown) > SHOWN_MAX else ""
    least, target = spec.get("minReplicas"), meta.part(spec, "scaleTargetRef")
    return [
        tables.name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        (", ".join(shown[:SHOWN_MAX]) or "<none>") + more,
        "<unset>" if least is None else str(least),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        tables.age(obj, now),
    ]


HORIZONTALPODAUTOSCALERS = Kind(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short_names=("hpa",),
    categories=("all",),
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({"currentReplicas": 0, "desiredReplicas": 0}),
    validate=validate,
    printer=tables.Printer(
        tables.columns("Name, Reference, Targets, MinPods, MaxPods, Replicas, Age", "MaxPods, Replicas"), cells
    ),
)

KINDS = (HORIZONTALPODAUTOSCALERS,)
