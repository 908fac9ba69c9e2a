"""What the controller of sets asks of pods and claims at every look, kept as they change.

A set of thousands is looked at as often as one of its pets changes; all the others are what they were. A pod is read
once a version (`read`), and `Pets` holds a set's by ordinal and by state: what is decided of a pet, its claims and the
clock apart, follows from its state, so pets in the same state are decided on together. `Claims` does the same for the
claims of one template, by who owns them.

Invariant: both are always what they would be if they were made anew (tests/controllers/test_pets.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from petset.base import tasks, well_known
from petset.client.views import View
from petset.controllers.pets import identity
from petset.controllers.workloads import numbers, revisions
from petset.kinds import pet_names, pod_phase
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

FALSE = ("false", "False", "FALSE", "f", "F", "0")
IDENTITY = (well_known.POD_NAME_LABEL, well_known.POD_INDEX_LABEL)


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
    def state(self) -> Hashable:
        """All that is decided by, but for ordinal, claims and the clock. The labels of its identity count as one."""
        annotations = meta.annotations(self.pod)
        return (
            tuple(sorted(item for item in self.labels.items() if item[0] not in IDENTITY)),
            self.phase,
            self.is_ready,
            self.is_deleting,
            self.is_paused,
            self.is_labelled,
            annotations.get(well_known.HOSTNAME_ANNOTATION) == self.name,
            annotations.get(well_known.SUBDOMAIN_ANNOTATION),
        )

    @property
    def has_ended(self) -> bool:
        return self.phase in pod_phase.ENDED


def read(pod: Object) -> Pet:
    name, labels = meta.name(pod), meta.labels(pod)
    parent, ordinal = pet_names.parsed(name)
    phase = meta.get(pod, "status", "phase", default="")
    condition = meta.condition(pod, "Ready") or {}
    since = condition.get("lastTransitionTime")
    return Pet(
        pod=pod,
        name=name,
        parent=parent,
        ordinal=ordinal,
        labels=labels,
        revision=revisions.revision_name(pod),
        phase=phase,
        is_ready=phase == "Running" and condition.get("status") == "True",
        ready_since=tasks.parse_rfc3339(since) if since else None,
        is_deleting=meta.is_deleting(pod),
        is_paused=meta.annotations(pod).get(well_known.INITIALIZED_ANNOTATION) in FALSE,
        is_labelled=identity.identity_labels(name, ordinal).items() <= labels.items(),
    )


Group = dict[int, Pet]  # By ordinal.


class Pets:
    """The pods that a set controls: pets by state and ordinal, and strangers by name, which no pets of it are named so.

    `apart`: each pet is its own state, since what is asked of it depends on its name.
    """

    def __init__(self, view: View, namespace: str, set_name: str, set_uid: str, apart: bool = False):
        self._view, self._namespace, self._set_name, self._apart = view, namespace, set_name, apart
        self.by_ordinal: Group = {}
        self.by_state: dict[Hashable, Group] = {}
        self.ordinals: list[int] = []  # Ascending.
        self.strangers: dict[str, Object] = {}
        self._states: dict[int, Hashable] = {}
        self._claims: dict[str, Claims] = {}
        self._stop = view.follow(PODS, "controller", set_uid, self._change)

    def close(self) -> None:
        self._stop()
        for claims in self._claims.values():
            claims.close()

    def claims(self, parent: str) -> Claims:
        """Those whose names begin so."""
        claims = self._claims.get(parent)
        if claims is None:
            claims = self._claims[parent] = Claims(self._view, self._namespace, parent)
        return claims

    def _change(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is None or meta.namespace(pod) != self._namespace:
                continue
            parent, ordinal = pet_names.parsed(meta.name(pod))
            if parent == self._set_name:
                self._leave(ordinal, stays=pod is old and new is not None)
                if pod is new:
                    self._enter(read(pod))
            elif pod is new:
                self.strangers[meta.name(pod)] = pod
            else:
                self.strangers.pop(meta.name(pod), None)

    def _enter(self, pet: Pet) -> None:
        if pet.ordinal not in self.by_ordinal:
            place = bisect_left(self.ordinals, pet.ordinal)
            if self.ordinals[place : place + 1] != [pet.ordinal]:
                self.ordinals.insert(place, pet.ordinal)
        state = self._states[pet.ordinal] = (pet.state, pet.name) if self._apart else pet.state
        self.by_ordinal[pet.ordinal] = self.by_state.setdefault(state, {})[pet.ordinal] = pet

    def _leave(self, ordinal: int, stays: bool) -> None:
        if self.by_ordinal.pop(ordinal, None) is None:
            return
        state = self._states.pop(ordinal)
        group = self.by_state[state]
        del group[ordinal]
        if not group:
            del self.by_state[state]
        if not stays:
            del self.ordinals[bisect_left(self.ordinals, ordinal)]

    def missing(self, first: int, end: int) -> Iterator[int]:
        """The ordinals from `first` up to `end` that nobody has, ascending; found by halving, not by walking."""
        place = bisect_left(self.ordinals, first)
        while first < end:
            there = numbers.run_length(self.ordinals, place, first)
            place, first = place + there, first + there
            until = self.ordinals[place] if place < len(self.ordinals) else end
            yield from range(first, min(until, end))
            first = until

    def outside(self, first: int, end: int) -> list[int]:
        """The ordinals that are not from `first` up to `end`, the highest first."""
        lower, upper = bisect_left(self.ordinals, first), bisect_left(self.ordinals, max(first, end))
        return [*reversed(self.ordinals[upper:]), *reversed(self.ordinals[:lower])]


class Claims:
    """The claims that one template has made for the pets of one set: by ordinal, and by who owns them."""

    def __init__(self, view: View, namespace: str, parent: str):
        """`parent`: what the claims' names begin with, the template's and the set's."""
        self.by_ordinal: dict[int, Object] = {}
        self.by_owners: dict[Hashable, dict[int, Object]] = {}
        self.close = view.follow(PERSISTENTVOLUMECLAIMS, "pet", f"{namespace}/{parent}", self._change)

    def _change(self, old: Object | None, new: Object | None) -> None:
        if old is not None and self.by_ordinal.pop(ordinal := pet_names.ordinal(old), None) is not None:
            group = self.by_owners[_owners(old)]
            del group[ordinal]
            if not group:
                del self.by_owners[_owners(old)]
        if new is not None:
            ordinal = pet_names.ordinal(new)
            self.by_ordinal[ordinal] = self.by_owners.setdefault(_owners(new), {})[ordinal] = new


def _owners(claim: Object) -> Hashable:
    references = claim["metadata"].get("ownerReferences") or ()
    return tuple(tuple(sorted(reference.items())) for reference in references)
