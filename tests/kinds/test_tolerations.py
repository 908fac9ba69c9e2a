"""Which taints a pod bears, and for how long."""

from __future__ import annotations

import pytest

from petset.kinds import tolerations

TAINT = {"key": "dedicated", "value": "db", "effect": "NoExecute"}
FOR_EVER = None


def pod(*given: dict[str, object]) -> dict[str, object]:
    return {"spec": {"tolerations": list(given)}}


@pytest.mark.parametrize(
    ("given", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "value": "db"}, True),
        ({"key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoExecute"}, True),
        ({"key": "dedicated", "operator": "Exists", "effect": ""}, True),
        ({"key": "dedicated", "value": "web"}, False),
        ({"key": "dedicated"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"value": "db"}, False),
    ],
)
def test_a_toleration_matches_a_taint(given, tolerated):
    assert tolerations.tolerates(pod(given), TAINT) is tolerated
    assert tolerations.seconds(pod(given), TAINT) == (FOR_EVER if tolerated else 0.0)


@pytest.mark.parametrize(
    ("seconds", "stays"), [((), 0.0), ((5,), 5.0), ((5, 3), 3.0), ((None,), FOR_EVER), ((None, 7), 7.0), ((-1,), 0.0)]
)
def test_the_fewest_seconds_of_those_that_match_count(seconds, stays):
    given = [{"operator": "Exists", **({"tolerationSeconds": one} if one is not None else {})} for one in seconds]
    assert tolerations.seconds(pod(*given), TAINT) == stays
