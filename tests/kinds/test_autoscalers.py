"""An autoscaler says the same in both of its versions."""

from __future__ import annotations

import json
import random

import pytest

from petset.kinds.horizontal_pod_autoscaler import HORIZONTALPODAUTOSCALERS as V2
from petset.kinds.horizontal_pod_autoscaler_v1 import HORIZONTALPODAUTOSCALERS_V1 as V1
from petset.kinds.horizontal_pod_autoscaler_v1 import from_v2, to_v2, validate

TARGET = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}
METRICS = [
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "c",
            "target": {"type": "Utilization", "averageUtilization": 50},
        },
    },
    {
        "type": "Pods",
        "pods": {
            "metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "5"},
        },
    },
    {
        "type": "Object",
        "object": {
            "describedObject": TARGET,
            "metric": {"name": "m"},
            "target": {"type": "Value", "value": "10"},
        },
    },
    {
        "type": "Object",
        "object": {
            "describedObject": TARGET,
            "metric": {"name": "m"},
            "target": {"type": "AverageValue", "averageValue": "10"},
        },
    },
    {
        "type": "External",
        "external": {
            "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "Value", "value": "3"},
        },
    },
]
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
MEASURED = [
    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 30, "averageValue": "300m"}}},
    {
        "type": "Object",
        "object": {"describedObject": TARGET, "metric": {"name": "m"}, "current": {"value": "4"}},
    },
]


def autoscaler(*metrics: dict, **more: dict) -> dict:
    spec = {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 5, "metrics": list(metrics), **more}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec}


def test_a_percentage_of_the_cpu_has_its_field():
    (shown,) = from_v2([autoscaler(CPU)])
    assert shown["apiVersion"] == "autoscaling/v1" and "annotations" not in shown["metadata"]
    spec = {"scaleTargetRef": TARGET, "minReplicas": 1, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}
    assert shown["spec"] == spec
    assert to_v2([shown]) == [autoscaler(CPU)]


def test_other_metrics_are_annotations_in_the_words_of_this_version():
    (shown,) = from_v2([autoscaler(METRICS[5])])
    said = json.loads(shown["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"])
    selector = {"matchLabels": {"a": "b"}}
    assert said == [
        {"type": "External", "external": {"metricName": "q", "metricSelector": selector, "targetValue": "3"}}
    ]
    assert "targetCPUUtilizationPercentage" not in shown["spec"]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_there_and_back(seed):
    rng = random.Random(seed)
    metrics = [CPU] * rng.randrange(2) + rng.sample(METRICS, rng.randrange(1, len(METRICS)))
    more = {"behavior": V2.default(autoscaler(behavior={"scaleUp": {}}))["spec"]["behavior"]} if seed % 2 else {}
    obj = autoscaler(*metrics, **more)
    obj["metadata"]["annotations"] = {"mine": "kept"}
    status = {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": MEASURED[: rng.randrange(1, 3)]}
    obj["status"] = {**status, "conditions": [{"type": "AbleToScale", "status": "True"}]}
    (shown,) = from_v2([obj])
    assert shown["status"]["currentCPUUtilizationPercentage"] == 30
    assert not validate(shown)
    assert to_v2([shown]) == [obj]
    assert V1.printer.cells(shown, 0.0) == V2.printer.cells(obj, 0.0)


def test_one_without_a_target_is_for_eighty_percent():
    obj = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}}
    (stored,) = to_v2([V1.default({**obj, "spec": {"scaleTargetRef": TARGET, "maxReplicas": 2}})])
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert from_v2([stored])[0]["spec"]["targetCPUUtilizationPercentage"] == 80


@pytest.mark.parametrize(
    "text", ["{", "[1]", '[{"type":"Resource"}]', '[{"type":5}]', '[{"type":"Pods","pods":{"targetAverageValue":[]}}]']
)
def test_annotations_that_cannot_be_read_are_refused_or_left_out(text):
    (obj,) = from_v2([autoscaler(CPU)])
    obj = {**obj, "metadata": {**obj["metadata"], "annotations": {"autoscaling.alpha.kubernetes.io/metrics": text}}}
    found = validate(obj)
    assert found or to_v2([obj])[0]["spec"]["metrics"] == [CPU]
    assert bool(found) == (text != "[1]")
