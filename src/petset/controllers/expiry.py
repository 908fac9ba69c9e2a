"""Events are kept for an hour after they last happened, and for an hour after they were told, whatever they say."""

from __future__ import annotations

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds.event import EVENTS
from petset.objects import meta
from petset.objects.meta import Object

EVENT_SECONDS_MAX = 3600.0


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """Delete one event whose time is over, unless it happens again meanwhile; else look again then."""
    event = view.get(EVENTS, *meta.split_key(key))
    if event is None or meta.is_deleting(event):
        return []
    left = last_heard_of(event, now) + EVENT_SECONDS_MAX - now
    return [actions.RequeueAfter(left)] if left > 0 else [actions.Delete(event, at_revision=True)]


def last_heard_of(event: Object, now: float) -> float:
    """The latest of its times: one written today may tell of something long ago."""
    times = (
        event["metadata"].get("creationTimestamp"),
        event.get("eventTime"),
        event.get("lastTimestamp"),
        meta.get(event, "series", "lastObservedTime"),
    )
    return max((tasks.parse_rfc3339(time) for time in times if time), default=now)


CONTROLLERS = (
    Controller(
        name="events",
        component="event-expiry",
        watches=((EVENTS, own_key),),
        reconcile=reconcile,
    ),
)
