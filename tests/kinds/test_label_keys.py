"""matchLabelKeys and mismatchLabelKeys of a new pod: its selectors have them, once."""

from __future__ import annotations

from typing import Any

import pytest

from petset.kinds import pod as pod_kind
from petset.kinds.pod_spec import label_keys
from petset.kinds.pod_spec.placement import PREFERRED, REQUIRED
from petset.objects.meta import Object

TERM = {
    "topologyKey": "zone",
    "labelSelector": {"matchLabels": {"app": "web"}},
    "matchLabelKeys": ["hash", "absent"],
    "mismatchLabelKeys": ["tenant"],
}
MERGED = [
    {"key": "hash", "operator": "In", "values": ["7"]},
    {"key": "tenant", "operator": "NotIn", "values": ["red"]},
]


def pod(affinity: Any = None, spread: Any = None) -> Object:
    spec = {**({"affinity": affinity} if affinity else {}), **({"topologySpreadConstraints": spread} if spread else {})}
    metadata = {"name": "p", "labels": {"app": "web", "hash": "7", "tenant": "red"}}
    spec = {"containers": [{"name": "c", "image": "i"}], **spec}
    return pod_kind.defaults({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
def test_affinity_terms_are_given_the_labels(kind: str) -> None:
    one = pod({kind: {REQUIRED: [TERM], PREFERRED: [{"weight": 1, "podAffinityTerm": TERM}]}})
    merged = label_keys.merged(one)
    found = merged["spec"]["affinity"][kind]
    assert found[REQUIRED][0]["labelSelector"]["matchExpressions"] == MERGED
    assert found[PREFERRED][0]["podAffinityTerm"]["labelSelector"]["matchExpressions"] == MERGED
    assert label_keys.merged(merged) is merged
    assert list(pod_kind.validate(merged)) == []


def test_spread_constraints_are_given_the_labels() -> None:
    one = pod(spread=[{**TERM, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "mismatchLabelKeys": []}])
    found = label_keys.merged(one)["spec"]["topologySpreadConstraints"][0]
    assert found["labelSelector"]["matchExpressions"] == MERGED[:1]


def test_what_says_nothing_of_them_stays() -> None:
    for one in (pod(), pod({"podAffinity": {REQUIRED: [{"topologyKey": "zone", "matchLabelKeys": ["hash"]}]}})):
        assert label_keys.merged(one) is one


SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}


@pytest.mark.parametrize(
    ("spread", "path", "message"),
    [
        ([SPREAD, SPREAD], "[0].{topologyKey, whenUnsatisfiable}", 'Duplicate value: "{zone, DoNotSchedule}"'),
        ([{**SPREAD, "minDomains": 0}], "[0].minDomains", "must be greater than 0"),
        (
            [{**SPREAD, "minDomains": 2, "whenUnsatisfiable": "ScheduleAnyway"}],
            "[0].minDomains",
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ),
        ([{**SPREAD, "nodeTaintsPolicy": "Maybe"}], "[0].nodeTaintsPolicy", 'supported values: "Honor", "Ignore"'),
        ([{**SPREAD, "matchLabelKeys": ["a b"]}], "[0].matchLabelKeys[0]", "Invalid value"),
        (
            [{**SPREAD, "labelSelector": None, "matchLabelKeys": ["a"]}],
            "[0].matchLabelKeys",
            "must not be specified when labelSelector is not set",
        ),
        (
            [{**SPREAD, "labelSelector": {"matchLabels": {"hash": "1"}}, "matchLabelKeys": ["hash"]}],
            "[0][0]",
            "exists in both matchLabelKeys and labelSelector",
        ),
    ],
)
def test_what_is_refused(spread: Any, path: str, message: str) -> None:
    errors = list(pod_kind.validate(label_keys.merged(pod(spread=spread))))
    assert [error.field for error in errors] == [f"spec.topologySpreadConstraints{path}"]
    assert message in errors[0].message


def test_a_key_is_matched_or_mismatched() -> None:
    one = pod({"podAffinity": {REQUIRED: [{**TERM, "mismatchLabelKeys": ["hash"]}]}})
    errors = [error.message for error in pod_kind.validate(one)]
    assert any("exists in both matchLabelKeys and mismatchLabelKeys" in message for message in errors)
