"""The Pod Security Standards (tests/cases/pod_security), and what a namespace's labels ask for."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from petset.kinds.pod_security import levels, standards
from petset.kinds.pod_security.levels import LEVELS, Level, Policy

CASES = pathlib.Path(__file__).parent.parent / "cases" / "pod_security"
PREFIX = "pod-security.kubernetes.io/"


def cases() -> list[Any]:
    return [
        pytest.param(path.stem, case, id=f"{path.stem}: {case['case']}")
        for path in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load_all(path.read_text())
    ]


def pod_of(given: dict[str, Any]) -> Any:
    spec = {"containers": [{"name": "c"}], **given}
    return {"metadata": {"name": "p", "annotations": spec.pop("annotations", {})}, "spec": spec}


@pytest.mark.parametrize(("level", "case"), cases())
def test_what_is_against_a_level(level: str, case: dict[str, Any]) -> None:
    found = standards.violations(Level(level, case.get("version", "latest")), pod_of(case["given"]))
    assert standards.told(found) == case["then"]


def test_every_control_is_violated_by_some_case() -> None:
    reasons = {
        violation.reason
        for level, case in [param.values for param in cases()]  # type: ignore[misc]
        for violation in standards.violations(
            Level(level, case.get("version", "latest")),  # type: ignore[arg-type]
            pod_of(case["given"]),  # type: ignore[index]
        )
    }
    assert len(reasons) == 17, sorted(reasons)


def test_nothing_is_against_the_privileged_level() -> None:
    assert standards.violations(Level("privileged"), pod_of({"hostNetwork": True})) == ()


def test_a_stricter_level_forbids_all_that_a_laxer_one_does() -> None:
    for minor in range(levels.NEWEST_MINOR + 1):
        for _, case in [param.values for param in cases()]:
            pod = pod_of(case["given"])  # type: ignore[index]
            lax, strict = (standards.violations(Level(name, f"v1.{minor}"), pod) for name in LEVELS[1:])
            assert strict or not lax


@pytest.mark.parametrize(
    ("labels", "policy"),
    [
        ({}, Policy()),
        ({"a": "b"}, Policy()),
        (
            {"enforce": "restricted"},
            Policy(Level("restricted"), Level(), Level("restricted")),  # Warned of without a word.
        ),
        (
            {"enforce": "baseline", "enforce-version": "v1.30"},
            Policy(Level("baseline", "v1.30"), Level(), Level("baseline", "v1.30")),
        ),
        (
            {"enforce": "baseline", "enforce-version": "v1.30", "warn-version": "v1.31", "audit": "restricted"},
            Policy(Level("baseline", "v1.30"), Level("restricted"), Level("baseline", "v1.31")),
        ),
        ({"enforce": "restricted", "warn": "privileged"}, Policy(Level("restricted"), Level(), Level())),
        ({"warn": "baseline", "warn-version": "latest"}, Policy(warn=Level("baseline"))),
    ],
)
def test_what_labels_ask_for(labels: dict[str, str], policy: Policy) -> None:
    assert levels.of({key if key == "a" else PREFIX + key: value for key, value in labels.items()}) == policy


@pytest.mark.parametrize(
    ("label", "value", "enforced", "why"),
    [
        ("enforce", "strict", "restricted", "must be one of privileged, baseline, restricted"),
        ("audit", "", "privileged", "must be one of privileged, baseline, restricted"),
        ("warn", "Baseline", "privileged", "must be one of privileged, baseline, restricted"),
        ("enforce-version", "1.30", "privileged", 'must be "latest" or "v1.x"'),
        ("warn-version", "v1.01", "privileged", 'must be "latest" or "v1.x"'),
        ("audit-version", "v2.0", "privileged", 'must be "latest" or "v1.x"'),
    ],
)
def test_a_label_that_cannot_be_read(label: str, value: str, enforced: str, why: str) -> None:
    found = levels.of({PREFIX + label: value})
    assert found.enforce == Level(enforced) and (found.audit, found.warn) == (Level(), Level())
    (wrong,) = found.wrong
    assert wrong.field == f"metadata.labels[{PREFIX}{label}]" and wrong.message.endswith(why)
    assert not found.is_silent
