"""What the controller of sets asks of a pod at every look, read once for each version of the pod.

A set of thousands is looked at as often as one of its pets changes; all the others are what they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from petset.base import tasks, well_known
from petset.controllers import identity
from petset.objects import meta
from petset.objects.meta import Object

FALSE = ("false", "False", "FALSE", "f", "F", "0")


@dataclass(frozen=True, slots=True)
class Pet:
    pod: Object
    name: str
    parent: str  # The set's name as the pod's name tells it; "" when it is no pet's name.
    ordinal: int
    labels: Mapping[str, str]
    revision: str  # Of its template.
    phase: str
    is_ready: bool  # And running.
    ready_since: float | None  # Seconds since 1970.
    is_deleting: bool
    is_paused: bool  # Said to be not initialized: only a false that can be read as one pauses.
    is_labelled: bool  # With the labels of its identity.

    @property
    def has_ended(self) -> bool:
        return self.phase in ("Failed", "Succeeded")


def read(pod: Object) -> Pet:
    name, labels = meta.name(pod), meta.labels(pod)
    parent, ordinal = identity.parse_pet_name(name)
    phase = meta.get(pod, "status", "phase", default="")
    condition = meta.condition(pod, "Ready") or {}
    since = condition.get("lastTransitionTime")
    return Pet(
        pod=pod,
        name=name,
        parent=parent,
        ordinal=ordinal,
        labels=labels,
        revision=identity.revision_name(pod),
        phase=phase,
        is_ready=phase == "Running" and condition.get("status") == "True",
        ready_since=tasks.parse_rfc3339(since) if since else None,
        is_deleting=meta.is_deleting(pod),
        is_paused=meta.annotations(pod).get(well_known.INITIALIZED_ANNOTATION) in FALSE,
        is_labelled=identity.identity_labels(name, ordinal).items() <= labels.items(),
    )
