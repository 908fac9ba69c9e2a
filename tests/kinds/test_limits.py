"""What a LimitRange makes of pods and claims: the cases of tests/cases/limits."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from petset.base import well_known
from petset.kinds import limit_range
from petset.kinds.limit_range import LIMITRANGES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

CASES = pathlib.Path(__file__).parent.parent / "cases" / "limits"


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["case"]) for case in yaml.safe_load_all((CASES / name).read_text())]


def range_of(given: dict[str, Any]) -> Object:
    return LIMITRANGES.default({"metadata": {"name": "l"}, "spec": {"limits": given["limits"]}})


def pod_of(containers: list[Any], given: dict[str, Any]) -> Object:
    others = {field: given[field] for field in ("initContainers", "resources") if field in given}
    return PODS.default({"metadata": {"name": "p"}, "spec": {"containers": containers, **others}})


@pytest.mark.parametrize("case", cases("pods.yaml"))
def test_a_pod(case: dict[str, Any]) -> None:
    given, then = case["given"], case["then"]
    limits, pod = range_of(given), pod_of(given["containers"], given)
    old = pod_of(given["old"], given) if "old" in given else None
    filled = pod if old is not None else limit_range.filled(limits, pod)
    assert meta.annotations(filled).get(well_known.LIMIT_RANGER_ANNOTATION) == then.get("annotation")
    containers = [*filled["spec"].get("initContainers", []), *filled["spec"]["containers"]]
    resources = {one["name"]: one["resources"] for one in containers}
    assert resources == then.get("resources", resources)
    assert list(limit_range.violations(limits, filled, old)) == then.get("wrong", [])
    assert limit_range.filled(limits, filled) is filled or old is not None


@pytest.mark.parametrize("case", cases("claims.yaml"))
def test_a_claim(case: dict[str, Any]) -> None:
    given = case["given"]

    def claim(asked: Any) -> Object:
        return {"spec": {"resources": {"requests": asked}}}

    old = claim(given["old"]) if "old" in given else None
    found = limit_range.claim_violations(range_of(given), claim(given["claim"]), old)
    assert list(found) == case["then"].get("wrong", [])
