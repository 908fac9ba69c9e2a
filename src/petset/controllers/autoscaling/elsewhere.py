"""Metrics that other APIs have (Object, Pods, External): what they are asked, and how many replicas the answers mean.

`path` is where a metric's values are, in custom.metrics.k8s.io or external.metrics.k8s.io, which somebody has
registered as an APIService; `proposed` what they ask for, in upstream's words. Pods are asked for one by one and count
as in proposals.py; of an object, or of anything outside, there is one amount: for all pods together, or so much for
each of them. Answers are a stranger's: what is wrong with them is said, and nothing is proposed.
Follows: the designs of the custom and the external metrics API; upstream's podautoscaler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from petset.base import tasks
from petset.controllers.autoscaling import proposals
from petset.controllers.autoscaling.proposals import Asked, Sample, Tolerances, Unknown
from petset.kinds.horizontal_pod_autoscaler import SOURCES
from petset.kinds.metrics.usage import CUSTOM, EXTERNAL
from petset.objects import meta, quantity, selectors
from petset.objects.meta import Object

EXTERNAL_VERSION = "v1beta1"
WINDOW_SECONDS = 60.0  # Of a value that does not say its own.
TYPES = ("Object", "Pods", "External")


def path(metric: Object, namespace: str, pods: str, version: str, resource: str = "") -> str:
    """Where its values are. `pods` is the scale's selector, `resource` the described object's, like services or
    ingresses.networking.k8s.io."""
    kind, source = metric["type"], meta.part(metric, SOURCES[metric["type"]])
    chosen = meta.get(source, "metric", "selector")
    labels = str(selectors.from_object(chosen)) if chosen else ""
    name, space = quote(meta.get(source, "metric", "name"), safe=""), quote(namespace, safe="")
    group = EXTERNAL if kind == "External" else CUSTOM
    base = f"/apis/{group}/{version}/namespaces/{space}"
    if kind == "External":
        return _asking(f"{base}/{name}", labelSelector=labels)
    if kind == "Pods":
        return _asking(f"{base}/pods/*/{name}", labelSelector=pods, metricLabelSelector=labels)
    if resource == "namespaces":
        return _asking(f"{base}/metrics/{name}", metricLabelSelector=labels)
    described = quote(meta.get(source, "describedObject", "name"), safe="")
    return _asking(f"{base}/{resource}/{described}/{name}", metricLabelSelector=labels)


def _asking(place: str, **query: str) -> str:
    given = {key: value for key, value in query.items() if value}
    return f"{place}?{urlencode(given)}" if given else place


@dataclass(frozen=True, slots=True)
class Scaled:
    """What is scaled: its pods, and how many of them there are to be and are."""

    namespace: str
    pods: Sequence[Object]
    replicas: int
    there: int


def proposed(
    metric: Object, values: Sequence[Object] | str, scaled: Scaled, tolerances: Tolerances, now: float
) -> tuple[int, str, Object]:
    """(how many, what the metric is called, its status). `values` may be why there are none. Raises Unknown."""
    kind, source = metric["type"], meta.part(metric, SOURCES[metric["type"]])
    target, identifier = meta.part(source, "target"), meta.part(source, "metric")
    name, average = identifier["name"], target.get("averageValue")
    described = meta.part(source, "describedObject")
    about: Object = {"metric": identifier, **({"describedObject": described} if described else {})}
    called = f"external metric {name}({_spelled(identifier.get('selector'))})"
    if kind == "Pods":
        called = f"pods metric {name}"
        wanted, each = _of_pods(name, proposals.milli(str(average)), values, scaled, tolerances, now)
        current = {"averageValue": _text(each)}
    elif average is not None:
        used = _amount(metric, values, scaled.namespace, f"failed to get {name} {kind.lower()} metric: ")
        wanted, each = _for_each(used, proposals.milli(str(average)), scaled.there, tolerances)
        current = {"averageValue": _text(each)}
    else:
        if kind == "Object":
            called = f"{described['kind']} metric {name}"
        failing = "" if kind == "Object" else f"failed to get external metric {name}: "
        used = _amount(metric, values, scaled.namespace, failing)
        wanted = _for_all(used / proposals.milli(str(target.get("value"))), scaled, tolerances)
        current = {"value": _text(used)}
    return wanted, called, {"type": kind, SOURCES[kind]: {**about, "current": current}}


def _of_pods(
    name: str, target: int, values: Sequence[Object] | str, scaled: Scaled, tolerances: Tolerances, now: float
) -> tuple[int, int]:
    """(how many, what each has on average)"""
    if isinstance(values, str):
        raise Unknown(f"unable to get metric {name}: {values}")
    known = {name: sample for name, sample in map(_sample, values) if name}
    found = proposals.proposal(Asked("", "", None, target), scaled.replicas, scaled.pods, known, tolerances, now)
    return found.replicas, found.milli


def _sample(value: Object) -> tuple[str, Sample]:
    """A pod's name and what it has; "" of what cannot be read."""
    try:
        seconds: Any = value.get("windowSeconds")
        at = tasks.parse_rfc3339(value["timestamp"])
        window = WINDOW_SECONDS if seconds is None else float(seconds)
        return str(meta.part(value, "describedObject")["name"]), Sample(proposals.milli(value["value"]), at, window)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", Sample(0, 0.0, 0.0)


def _amount(metric: Object, values: Sequence[Object] | str, namespace: str, failing: str) -> int:
    """All of it, in thousandths. Raises Unknown."""
    if isinstance(values, str):
        raise Unknown(f"{failing}{_unable(metric, namespace)}: {values}")
    try:
        return sum(proposals.milli(value["value"]) for value in values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"a value cannot be read ({type(error).__name__})"
        raise Unknown(f"{failing}{_unable(metric, namespace)}: {why}") from None


def _unable(metric: Object, namespace: str) -> str:
    source = meta.part(metric, SOURCES[metric["type"]])
    name = meta.get(source, "metric", "name")
    if metric["type"] == "External":
        chosen = _spelled(meta.get(source, "metric", "selector"))
        return f"unable to get external metric {namespace}/{name}/{chosen}"
    described = meta.part(source, "describedObject")
    return f"unable to get metric {name} on {described['kind']} {namespace}/{described['name']}"


def _for_each(used: int, target: int, there: int, tolerances: Tolerances) -> tuple[int, int]:
    """(how many, what each of those that are there has to bear)"""
    if not there:
        return min(math.ceil(used / target), proposals.REPLICAS_MAX), 0
    each = math.ceil(used / there)
    if tolerances.hold(used / (target * there)):
        return there, each
    return min(math.ceil(used / target), proposals.REPLICAS_MAX), each


def _for_all(ratio: float, scaled: Scaled, tolerances: Tolerances) -> int:
    """By how much more there is than there should be: so many times the pods that are ready. Raises Unknown."""
    if not scaled.replicas:
        return min(math.ceil(ratio), proposals.REPLICAS_MAX)
    if tolerances.hold(ratio):
        return scaled.replicas
    if not scaled.pods:
        raise Unknown("unable to calculate ready pods: no pods returned by selector while calculating replica count")
    ready = [pod for pod in scaled.pods if meta.get(pod, "status", "phase") == "Running" and meta.is_pod_ready(pod)]
    return min(math.ceil(ratio * len(ready)), proposals.REPLICAS_MAX)


def _text(milli: int) -> str:
    return quantity.canonical(f"{milli}m")


def _spelled(selector: Object | None) -> str:
    """A selector as Go writes it, which is a part of what upstream calls a metric."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(meta.part(selector, "matchLabels").items()))
    rules = ""
    for one in meta.parts(selector, "matchExpressions"):
        values = " ".join(meta.texts(one, "values"))
        rules += f"LabelSelectorRequirement{{Key:{one['key']},Operator:{one['operator']},Values:[{values}],}},"
    both = f"MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{rules}}},"
    return f"&LabelSelector{{{both}}}"
