"""HorizontalPodAutoscaler: every fifteen seconds the scale of its target is brought to what its metrics ask for.

A look (`looking.py`) finds the scale and what the pods use; `decided` is pure: it has each metric propose a size
(`proposals.py`), takes the largest, brings it to what may be done now (`pace.py`), and says why in conditions and
events, in upstream's words. There is a look while there is an autoscaler, and none else. Metrics that other APIs have
(Object, Pods, External) are elsewhere.py's; with some metrics unknown it never scales down.
Follows: "Horizontal Pod Autoscaling" of the Kubernetes documentation; upstream's podautoscaler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.autoscaling import elsewhere, looking, pace, proposals
from petset.controllers.autoscaling.pace import History
from petset.controllers.autoscaling.proposals import Asked, Proposal, Tolerances, Unknown
from petset.controllers.runner import Controller, own_key
from petset.kinds.horizontal_pod_autoscaler import HORIZONTALPODAUTOSCALERS, SOURCES
from petset.kinds.pod import PODS
from petset.objects import errors, meta, quantity, selectors
from petset.objects.meta import Object

LOOK_SECONDS = 15.0
ABLE, ACTIVE, LIMITED, AT_ZERO = "AbleToScale", "ScalingActive", "ScalingLimited", "ScaledToZero"


@dataclass(slots=True)
class Telling:
    """What is said of a look: the conditions as they become, and events."""

    about: Object
    moment: str
    conditions: list[Object]
    events: list[actions.Action] = field(default_factory=list[actions.Action])

    def condition(self, type_: str, holds: bool, reason: str, message: str) -> None:
        new = {
            "type": type_,
            "status": "True" if holds else "False",
            "lastTransitionTime": self.moment,
            "reason": reason,
            "message": message,
        }
        self.conditions = meta.with_condition(self.conditions, new)

    def event(self, type_: str, reason: str, message: str) -> actions.EmitEvent:
        return actions.EmitEvent(self.about, type_, reason, message)

    def warn(self, reason: str, message: str) -> None:
        self.events.append(self.event("Warning", reason, message))


@dataclass(frozen=True, slots=True)
class Wish:
    """What all metrics together ask for; None where that cannot be told. With the statuses of all of them."""

    replicas: int | None
    metric: str
    statuses: list[Object]


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods that a scale's selector names: as they are, and PodMetrics of them or why there are none."""

    objects: Sequence[Object]
    measured: Sequence[Object] | str


def needs_pods(autoscaler: Object, scale: Object) -> bool:
    """Whether its size depends on what the pods use."""
    types = [metric.get("type") for metric in meta.parts(autoscaler, "spec", "metrics")]
    return _is_open(autoscaler, scale) and ("Resource" in types or "ContainerResource" in types)


def asked_elsewhere(autoscaler: Object, scale: Object) -> Mapping[int, Object]:
    """The metrics of other APIs that its size depends on, by their places in the list."""
    if not _is_open(autoscaler, scale):
        return {}
    metrics = enumerate(meta.parts(autoscaler, "spec", "metrics"))
    return {place: one for place, one in metrics if one["type"] in elsewhere.TYPES}


def _is_open(autoscaler: Object, scale: Object) -> bool:
    """Whether metrics decide: it is neither stopped nor out of its bounds."""
    least, most, current = _bounds(autoscaler, scale)
    return _comes_back(autoscaler, least) if current == 0 else least <= current <= most


def _comes_back(autoscaler: Object, least: int) -> bool:
    """Whether what has no pods is not stopped by hand: it was brought to none for its metrics' sake."""
    types = [metric.get("type") for metric in meta.parts(autoscaler, "spec", "metrics")]
    return meta.is_condition_true(autoscaler, AT_ZERO) and (least != 0 or "Object" in types or "External" in types)


def _bounds(autoscaler: Object, scale: Object) -> tuple[int, int, int]:
    """(least, most, present)"""
    spec = meta.part(autoscaler, "spec")
    least: Any = spec.get("minReplicas")
    return 1 if least is None else least, spec["maxReplicas"], meta.get(scale, "spec", "replicas", default=0)


def decided(
    autoscaler: Object,
    found: looking.Found | str,
    pods: Sequence[Object],
    others: Sequence[str],
    history: History,
    now: float,
) -> tuple[list[actions.Action], History]:
    """What is to be done after a look. `others` are autoscalers that choose some of the same pods."""
    telling = Telling(autoscaler, tasks.rfc3339(now), [*meta.parts(autoscaler, "status", "conditions")])
    if isinstance(found, str):
        telling.warn("FailedGetScale", found)
        why = f"the HPA controller was unable to get the target's current scale: {found}"
        telling.condition(ABLE, False, "FailedGetScale", why)
        return [*telling.events, *_report(autoscaler, _status(autoscaler, telling, None, None, None))], history
    telling.condition(ABLE, True, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
    least, most, current = _bounds(autoscaler, found.scale)
    history = history.seen(current, now)
    statuses: list[Object] | None = None
    reason = ""
    if current == 0 and not _comes_back(autoscaler, least):
        telling.condition(
            ACTIVE, False, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero"
        )
        wanted = 0
    elif current > most:
        wanted, reason = most, "Current number of replicas above Spec.MaxReplicas"
    elif 0 < current < least:
        wanted, reason = least, "Current number of replicas below Spec.MinReplicas"
    else:
        wish = _wish(telling, found, Pods(pods, found.pods), others, current, now)
        statuses = wish.statuses
        if wish.replicas is None:
            return [
                *telling.events,
                *_report(autoscaler, _status(autoscaler, telling, current, None, statuses)),
            ], history
        if wish.replicas > current:
            reason = f"{wish.metric} above target"
        elif wish.replicas < current:
            reason = "All metrics below target"
        followed = pace.followed(autoscaler["spec"], history, current, wish.replicas, least, now)
        history = history.wished(wish.replicas, now)
        telling.condition(ABLE, True, *followed.able)
        telling.condition(LIMITED, followed.is_limited, *followed.limit)
        wanted = max(followed.replicas, least)
    if wanted == current:
        return [
            *telling.events,
            *_report(autoscaler, _status(autoscaler, telling, current, current, statuses)),
        ], history
    return _rescaled(telling, found, current, wanted, reason, statuses), replace(
        history, changing=(now, current, wanted)
    )


def _rescaled(
    telling: Telling, found: looking.Found, current: int, wanted: int, reason: str, statuses: list[Object] | None
) -> list[actions.Action]:
    autoscaler, before = telling.about, [*telling.conditions]
    why = "the HPA controller was unable to update the target scale: {error}"
    telling.condition(ABLE, False, "FailedUpdateScale", why)
    failed = actions.UpdateStatus({**autoscaler, "status": _status(autoscaler, telling, current, None, statuses)})
    telling.conditions = before
    done = f"the HPA controller was able to update the target scale to {wanted}"
    telling.condition(ABLE, True, "SucceededRescale", done)
    if wanted:
        telling.condition(AT_ZERO, False, "NotScaledToZero", "the HPA controller did not scale the workload to zero")
    else:
        telling.condition(AT_ZERO, True, "ScaledToZero", "the HPA controller scaled the workload to zero")
    status = {**_status(autoscaler, telling, current, wanted, statuses), "lastScaleTime": telling.moment}
    size = f"New size: {wanted}; reason: {reason}"
    rescale = actions.Patch(
        found.target,
        {"spec": {"replicas": wanted}},
        subresource="scale",
        on_success=telling.event("Normal", "SuccessfulRescale", size),
        on_failure=telling.event("Warning", "FailedRescale", f"{size}; error: {{error}}"),
    )
    return [*telling.events, actions.Attempt((rescale,), failed), *_report(autoscaler, status)]


def _status(
    autoscaler: Object, telling: Telling, current: int | None, desired: int | None, statuses: list[Object] | None
) -> dict[str, Any]:
    """None: as it was told before."""
    said = meta.part(autoscaler, "status")
    if current is None:
        return {**said, "conditions": telling.conditions}
    generation = meta.get(autoscaler, "metadata", "generation")
    return {
        **({"observedGeneration": generation} if generation else {}),
        **({"lastScaleTime": said["lastScaleTime"]} if said.get("lastScaleTime") else {}),
        "currentReplicas": current,
        "desiredReplicas": said.get("desiredReplicas", 0) if desired is None else desired,
        **({"currentMetrics": statuses} if statuses else {}),
        "conditions": telling.conditions,
    }


def _report(autoscaler: Object, status: Object) -> list[actions.Action]:
    return actions.report(autoscaler, status)


# What metrics ask for


def _wish(telling: Telling, found: looking.Found, pods: Pods, others: Sequence[str], current: int, now: float) -> Wish:
    spec = meta.part(telling.about, "spec")
    metrics = meta.parts(spec, "metrics")
    statuses: list[Object] = [{"type": ""} for _ in metrics]
    refused = _selector_refused(telling, found, others)
    if refused:
        telling.warn("FailedComputeMetricsReplicas", refused)
        return Wish(None, "", statuses)
    best, name, first, wrong = 0, "", "", 0
    condition: tuple[str, str] = ("", "")
    there: int = meta.get(found.scale, "status", "replicas", default=0)
    scaled = elsewhere.Scaled(meta.namespace(telling.about), pods.objects, current, there)
    for index, metric in enumerate(metrics):
        try:
            if metric["type"] in elsewhere.TYPES:
                values = found.values.get(index, ())
                proposed = elsewhere.proposed(metric, values, scaled, _tolerances(spec), now)
            else:
                proposed = _proposed(spec, metric, pods, current, now)
            replicas, own_name, statuses[index] = proposed
        except Unknown as unknown:
            reason = f"FailedGet{metric['type']}Metric"
            telling.warn(reason, str(unknown))
            if not wrong:
                condition = reason, f"the HPA was unable to compute the replica count: {unknown}"
                first = f"failed to get {_about(metric)} metric value: {unknown}"
            wrong += 1
            continue
        if best == 0 or replicas > best:
            best, name = replicas, own_name
    if wrong and (wrong == len(metrics) or best < current):
        telling.condition(ACTIVE, False, *condition)
        message = f"invalid metrics ({wrong} invalid out of {len(metrics)}), first error is: {first}"
        telling.warn("FailedComputeMetricsReplicas", message)
        return Wish(None, "", statuses)
    telling.condition(
        ACTIVE,
        True,
        "ValidMetricFound",
        f"the HPA was able to successfully calculate a replica count from {name}",
    )
    return Wish(best, name, statuses)


def _about(metric: Object) -> str:
    """What a metric is called in the error that says that it is unknown."""
    source = meta.part(metric, SOURCES[metric["type"]])
    match metric["type"]:
        case "Resource":
            return f"{source['name']} resource"
        case "ContainerResource":
            return f"{source['container']} container"
        case "External":
            return f"{source['metric']['name']} external"
        case other:
            return other.lower()


def _selector_refused(telling: Telling, found: looking.Found, others: Sequence[str]) -> str:
    """Why the scale's selector names no pods of this autoscaler's own, or ""."""
    text: str = meta.get(found.scale, "status", "selector", default="")
    if not text:
        telling.warn("SelectorRequired", "selector is required")
        telling.condition(ACTIVE, False, "InvalidSelector", "the HPA target's scale is missing a selector")
        return "selector is required"
    try:
        selectors.parse_labels(text)
    except errors.ApiError as error:
        why = f"couldn't convert selector into a corresponding internal selector object: {error.message}"
        telling.warn("InvalidSelector", why)
        telling.condition(ACTIVE, False, "InvalidSelector", why)
        return why
    if others:
        named = " ".join(sorted([meta.key(telling.about), *others])[:2])
        why = f"pods by selector {text} are controlled by more than one HPA (e.g. [{named}])"
        telling.warn("AmbiguousSelector", why)
        telling.condition(ACTIVE, False, "AmbiguousSelector", why)
        return why
    return ""


def _proposed(spec: Object, metric: Object, pods: Pods, current: int, now: float) -> tuple[int, str, Object]:
    """(how many, what the metric is called, its status). Raises Unknown."""
    kind = metric["type"]
    source = meta.part(metric, SOURCES[kind])
    target = meta.part(source, "target")
    percent, average = target.get("averageUtilization"), target.get("averageValue")
    resource = source["name"]
    asked = Asked(
        resource,
        source.get("container") or "",
        None if average is not None else percent,
        0 if average is None else proposals.milli(average),
    )
    what = "usage" if average is not None else "utilization"
    try:
        if isinstance(pods.measured, str):
            raise Unknown(f"unable to get metrics for resource {resource}: {pods.measured}")
        if not pods.measured:
            raise Unknown(
                f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
            )
        known = proposals.samples(pods.measured, asked)
        found = proposals.proposal(asked, current, pods.objects, known, _tolerances(spec), now)
    except Unknown as unknown:
        raise Unknown(f"failed to get {resource} {what}: {unknown}") from None
    called = f"{resource} resource"
    if average is None:
        called = f"{resource} {'container ' if asked.container else ''}resource utilization (percentage of request)"
    own = {"name": resource, **({"container": asked.container} if asked.container else {})}
    return found.replicas, called, {"type": kind, SOURCES[kind]: {**own, "current": _current(resource, found)}}


def _current(resource: str, found: Proposal) -> Object:
    family = "binary" if resource == "memory" else "decimal"
    value = str(quantity.Quantity(quantity.parse(f"{found.milli}m").value, family))
    return {"averageValue": value, **({} if found.percent is None else {"averageUtilization": found.percent})}


def _tolerances(spec: Object) -> Tolerances:
    def given(direction: str) -> float:
        text: Any = meta.part(spec, "behavior", direction).get("tolerance")
        return proposals.TOLERANCE if text is None else float(quantity.parse(text).value)

    return Tolerances(given("scaleDown"), given("scaleUp"))


# The controller


class Autoscalers:
    """What is remembered of each between its looks."""

    def __init__(self) -> None:
        self._histories: dict[str, tuple[str, History]] = {}  # By key: uid, and what it did.
        self._selectors: dict[str, selectors.Selector] = {}  # By key: whom it scales.

    def reconcile(self, key: str, view: View, now: float) -> Sequence[Any]:
        namespace, _, name = key.partition("/")
        autoscaler = view.get(HORIZONTALPODAUTOSCALERS, namespace, name)
        if autoscaler is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return []

        def then(found: looking.Found | str, at: float) -> Sequence[actions.Action]:
            return self._decided(key, autoscaler, found, view, at)

        asks = partial(needs_pods, autoscaler), partial(asked_elsewhere, autoscaler)
        look = looking.Look(autoscaler, view.kinds, *asks, then)
        return [actions.RequeueAfter(LOOK_SECONDS), look]

    def _decided(
        self, key: str, autoscaler: Object, found: looking.Found | str, view: View, now: float
    ) -> Sequence[actions.Action]:
        uid, history = self._histories.get(key, ("", History()))
        if uid != meta.uid(autoscaler):
            history = History()
        pods: Sequence[Object] = ()
        others: list[str] = []
        if not isinstance(found, str):
            selector = _selector(found.scale)
            self._selectors[key] = selector
            pods = view.selected_pods(meta.namespace(autoscaler), selector)
            others = self._choosing(key, meta.namespace(autoscaler), pods)
        steps, history = decided(autoscaler, found, pods, others, history, now)
        if view.get(HORIZONTALPODAUTOSCALERS, meta.namespace(autoscaler), meta.name(autoscaler)) is not None:
            self._histories[key] = meta.uid(autoscaler), history
        return steps

    def _choosing(self, key: str, namespace: str, pods: Sequence[Object]) -> list[str]:
        """Other autoscalers of the namespace that scale some of these pods."""
        return [
            other
            for other, selector in self._selectors.items()
            if other != key
            and other.startswith(f"{namespace}/")
            and any(selector.matches(meta.labels(pod)) for pod in pods)
        ]


def _selector(scale: Object) -> selectors.Selector:
    text: str = meta.get(scale, "status", "selector", default="")
    try:
        return selectors.parse_labels(text) if text else selectors.NOTHING
    except errors.ApiError:
        return selectors.NOTHING


def _spec(autoscaler: Object) -> Any:
    """Its own status changes with each look, which is no reason for another."""
    return meta.uid(autoscaler), autoscaler.get("spec")


def controllers() -> tuple[Controller, ...]:
    return (
        Controller(
            name="autoscalers",
            component="horizontal-pod-autoscaler",
            watches=((HORIZONTALPODAUTOSCALERS, own_key),),
            reads=(PODS,),
            reconcile=Autoscalers().reconcile,
            sees=_spec,
        ),
    )
