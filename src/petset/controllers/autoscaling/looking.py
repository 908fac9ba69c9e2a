"""What an autoscaler looks at: the scale of its target, and what the pods use. Asked of the API, never of a cache.

Targets are of any kind that has the subresource scale, also of those that definitions make. Pods' figures come from
metrics.k8s.io, other ones from custom.metrics.k8s.io and external.metrics.k8s.io, whoever serves them (elsewhere.py).
Failures are told in words, as what was found: they belong in conditions and events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.base import tasks
from petset.client.client import Client
from petset.controllers import actions
from petset.controllers.autoscaling import elsewhere
from petset.controllers.runner import Perform
from petset.kinds.metrics import usage
from petset.kinds.metrics.pod_metrics import PODMETRICS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds

NO_SCALE = "the server could not find the requested resource"


class Failed(Exception):
    """Why there is no scale."""


@dataclass(frozen=True, slots=True)
class Found:
    """`pods` are PodMetrics of those that the scale's selector names, or why there are none."""

    target: Object  # Its apiVersion, kind, namespace and name.
    scale: Object
    pods: Sequence[Object] | str
    # Values of metrics that other APIs have, by the metric's place in the list, or why there are none.
    values: Mapping[int, Sequence[Object] | str] = field(default_factory=dict[int, "Sequence[Object] | str"])


@dataclass(frozen=True, slots=True)
class Look:
    """Ask; then do what `then` decides of what was found (or why nothing was), and when."""

    autoscaler: Object
    kinds: Kinds
    needs_pods: Callable[[Object], bool]  # Of a scale: whether anybody wants to know what the pods use.
    elsewhere: Callable[[Object], Mapping[int, Object]]  # Of a scale: the metrics of other APIs, by their places.
    then: Callable[[Found | str, float], Sequence[actions.Action]]


def targets(reference: Object, kinds: Kinds) -> list[Kind]:
    """Kinds that a reference may mean, that of its version first. Raises Failed."""
    version, name = reference.get("apiVersion") or "", reference.get("kind") or ""
    if version.count("/") > 1:
        raise Failed(f"unexpected GroupVersion string: {version}")
    group = version.rpartition("/")[0]
    found = [kind for kind in kinds if kind.group == group and kind.kind == name]
    if not found:
        raise Failed(f'no matches for kind "{name}" in group "{group}"')
    return sorted(found, key=lambda kind: kind.api_version != version)


async def _scale(client: Client, autoscaler: Object, kinds: Kinds) -> tuple[Kind, Object]:
    """Raises Failed."""
    reference, namespace = meta.part(autoscaler, "spec", "scaleTargetRef"), meta.namespace(autoscaler)
    why = ""
    for kind in targets(reference, kinds):
        if "scale" not in kind.subresources and not kind.elsewhere:
            why = why or NO_SCALE
            continue
        try:
            return kind, await client.get(kind, reference["name"], namespace, "scale")
        except errors.ApiError as error:
            why = why or error.message
    raise Failed(why)


async def _look(client: Client, look: Look) -> Found | str:
    autoscaler, namespace = look.autoscaler, meta.namespace(look.autoscaler)
    try:
        kind, scale = await _scale(client, autoscaler, look.kinds)
    except Failed as failed:
        return str(failed)
    pods: Sequence[Object] | str = ()
    if look.needs_pods(scale):
        try:
            selector = meta.get(scale, "status", "selector", default="")
            pods, _ = await client.list(PODMETRICS, namespace, selector)
        except errors.ApiError as error:
            pods = f"unable to fetch metrics from resource metrics API: {error.message}"
    places = look.elsewhere(scale)
    values = {place: await _values(client, metric, namespace, scale, look.kinds) for place, metric in places.items()}
    name = {"name": autoscaler["spec"]["scaleTargetRef"]["name"], "namespace": namespace}
    return Found({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": name}, scale, pods, values)


async def _values(
    client: Client, metric: Object, namespace: str, scale: Object, kinds: Kinds
) -> Sequence[Object] | str:
    """What another API says of a metric, or why it says nothing."""
    kind = metric["type"]
    api = f"{'external' if kind == 'External' else 'custom'} metrics API"
    failing = f"unable to fetch metrics from {api}"
    try:
        where = await _path(client, metric, namespace, scale, kinds)
        found: Any = json.loads(await client.raw(where))
        items = meta.parts(found, "items")
    except Failed as failed:
        return f"{failing}: {failed}"
    except errors.ApiError as error:
        return f"{failing}: {error.message}"
    except (ValueError, TypeError, AttributeError):
        return f"{failing}: what it answers is no list of values"
    if kind == "Object" and len(items) != 1:
        return f"{failing}: the {api} server returned {len(items)} results when we asked for exactly one"
    return items or f"no metrics returned from {api}"


async def _path(client: Client, metric: Object, namespace: str, scale: Object, kinds: Kinds) -> str:
    """Raises Failed, ApiError; ValueError and the like for what a stranger says."""
    selector = meta.get(scale, "status", "selector", default="")
    if metric["type"] == "External":
        return elsewhere.path(metric, namespace, selector, elsewhere.EXTERNAL_VERSION)
    resource = ""
    if metric["type"] == "Object":
        kind = targets(meta.part(metric, "object", "describedObject"), kinds)[0]
        resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    try:
        group: Any = json.loads(await client.raw(f"/apis/{usage.CUSTOM}"))
    except errors.ApiError as error:
        if error.code != 404:
            raise
        raise Failed(f"no custom metrics API ({usage.CUSTOM}) registered") from None
    return elsewhere.path(metric, namespace, selector, group["preferredVersion"]["version"], resource)


def performing(client: Client) -> Mapping[type, Perform]:
    async def look(action: Look) -> Sequence[actions.Action]:
        return action.then(await _look(client, action), tasks.now())

    return {Look: look}
