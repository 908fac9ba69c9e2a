"""How long events are kept."""

from __future__ import annotations

import pytest

from petset.base import tasks
from petset.client.views import Snapshot
from petset.controllers import actions, expiry
from petset.objects.meta import Object

NOW = 1_800_000_000.0
LONG_AGO = "2017-09-19T13:49:16.000000Z"


def event(created: float, **given: object) -> Object:
    metadata = {"name": "e", "namespace": "default", "creationTimestamp": tasks.rfc3339(created)}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, **given}


def kept(one: Object) -> float | None:
    """For how many seconds; None when it goes now."""
    (step,) = expiry.reconcile("default/e", Snapshot([one]), NOW)
    return step.seconds if isinstance(step, actions.RequeueAfter) else None


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (event(NOW), 3600),
        (event(NOW - 3601), None),
        (event(NOW - 9000, lastTimestamp=tasks.rfc3339(NOW - 600)), 3000),
        (event(NOW - 9000, series={"count": 2, "lastObservedTime": tasks.rfc3339(NOW - 60)}), 3540),
        (event(NOW - 9000, series={"count": 2, "lastObservedTime": LONG_AGO}), None),
        (event(NOW, series={"count": 2, "lastObservedTime": LONG_AGO}), 3600),
        (event(NOW, eventTime=LONG_AGO, lastTimestamp=None), 3600),
        (event(NOW, lastTimestamp="0001-01-01T00:00:00Z"), 3600),
    ],
)
def test_an_event_is_kept_for_an_hour_after_the_latest_that_is_known_of_it(given, seconds):
    assert kept(given) == seconds
