"""What of policies, networking, quotas, limits and storage is refused: tests/cases/validation, a file a kind.

`given` is an object as somebody writes it, `old` what it replaces, `then` how what is wrong with it begins to be told.
"""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from petset.kinds import builtin
from petset.objects import meta, validation
from petset.objects.meta import Object
from petset.objects.registry import Kind

CASES = pathlib.Path(__file__).parent.parent / "cases" / "validation"
KINDS = {
    "csi_driver": "CSIDriver",
    "csi_storage_capacity": "CSIStorageCapacity",
    "flow_schema": "FlowSchema",
    "horizontal_pod_autoscaler": "HorizontalPodAutoscaler",
    "ingress": "Ingress",
    "ingress_class": "IngressClass",
    "limit_range": "LimitRange",
    "network_policy": "NetworkPolicy",
    "pod": "Pod",
    "pod_disruption_budget": "PodDisruptionBudget",
    "priority_level_configuration": "PriorityLevelConfiguration",
    "resource_quota": "ResourceQuota",
    "volume_attachment": "VolumeAttachment",
}


def row_of(name: str) -> Kind:
    (row,) = [kind for kind in builtin.KINDS if kind.kind == KINDS[name] and kind.stored_as is None]
    return row


def cases() -> list[Any]:
    return [
        pytest.param(path.stem, case, id=f"{path.stem}: {case['case']}")
        for path in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load_all(path.read_text())
    ]


def made(row: Kind, given: Object) -> Object:
    """With its name and its defaults."""
    own = {"name": "n", "uid": "u", **({"namespace": "default"} if row.namespaced else {})}
    return row.default({**given, "metadata": {**own, **meta.part(given, "metadata")}})


@pytest.mark.parametrize(("name", "case"), cases())
def test_what_is_told(name: str, case: dict[str, Any]) -> None:
    row = row_of(name)
    old = made(row, case["old"]) if "old" in case else None
    new = row.prepare(made(row, case["given"]), old)
    found = [*validation.metadata(row, new, old), *row.validate(new)]
    if old is not None:
        found += row.validate_update(new, old)
    told = [f"{error.field}: {error.message}" for error in found]
    assert len(told) == len(case["then"]), told
    for text, start in zip(told, case["then"], strict=True):
        assert text.startswith(start)


def test_each_kind_has_a_good_one_and_is_in_the_list() -> None:
    assert sorted(KINDS) == sorted(path.stem for path in CASES.glob("*.yaml"))
    for name in KINDS:
        first = next(yaml.safe_load_all((CASES / f"{name}.yaml").read_text()))
        assert first["then"] == []
        row, good = row_of(name), first["given"]
        obj = made(row, good)
        assert row.default(obj) == obj and not row.validate_update(obj, obj)
