"""What objects are charged by quotas (tests/cases/quotas), and what pods must say."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from petset.kinds.pod import PODS
from petset.kinds.quotas import quota as quotas
from petset.kinds.quotas import usage
from petset.objects.meta import Object

CASES = pathlib.Path(__file__).parent.parent / "cases" / "quotas" / "charges.yaml"


def given_object(given: dict[str, Any]) -> tuple[str, Object]:
    if "pod" in given:
        spec = {**given["pod"]}
        status = {"phase": spec.pop("phase", "Pending")}
        return usage.PODS, PODS.default({"metadata": {"name": "p"}, "spec": spec, "status": status})
    for word, resource in (("service", usage.SERVICES), ("claim", usage.CLAIMS)):
        if word in given:
            return resource, {"metadata": {"name": "o"}, "spec": given[word]}
    return given["other"], {"metadata": {"name": "o"}}


def quota_of(given: dict[str, Any]) -> quotas.Quota:
    spec = {"hard": given["hard"], "scopes": given.get("scopes", [])}
    terms = {"scopeSelector": {"matchExpressions": given["terms"]}} if "terms" in given else {}
    return quotas.read({"metadata": {"name": "q"}, "spec": {**spec, **terms}})


@pytest.mark.parametrize("case", [pytest.param(one, id=one["case"]) for one in yaml.safe_load_all(CASES.read_text())])
def test_what_an_object_is_charged(case: dict[str, Any]) -> None:
    resource, obj = given_object(case["given"])
    quota = quota_of(case["given"])
    charge = quota.charge(resource, obj, usage.of(resource, obj))
    assert sorted(quotas.shown(charge).split(",")) == sorted(case["then"].split(","))


def test_what_a_pod_must_say() -> None:
    names = ("limits.cpu", "memory", "pods", "requests.cpu", "requests.ephemeral-storage")
    said = {"name": "b", "resources": {"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "1"}}}
    pod = PODS.default({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}, said]}})
    assert usage.missing(pod, names) == {"limits.cpu": ["c"], "memory": ["c"], "requests.cpu": ["c"]}
    init = {**pod, "spec": {**pod["spec"], "initContainers": [{"name": "a"}]}}
    assert usage.missing(init, ("cpu",)) == {"cpu": ["a", "c"]}
    whole = {**pod, "spec": {**pod["spec"], "resources": {"limits": {"cpu": "1"}}}}
    assert usage.missing(whole, names) == {}


def test_too_much_is_more_than_there_is() -> None:
    quota = quota_of({"hard": {"pods": "3", "requests.cpu": "1"}})
    assert quota.exceeded({"pods": 2}, {"pods": 1, "requests.cpu": 1000}) == []
    assert quota.exceeded({"pods": 3}, {"pods": 1, "requests.cpu": 1001}) == ["pods", "requests.cpu"]
    assert quota.exceeded({"pods": 9}, {"requests.cpu": 1}) == []
