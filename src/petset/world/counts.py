"""What Jobs promise of their counters: no pod is counted twice, and none that has not ended so.

Told of every change in the store's own order (`Counts.saw`). Of each Job it keeps which of its pods were seen to
succeed and which to fail or to be deleted, by their uids. At every moment the counters, with what is uncounted, are at
most as many; counters never go down, a uid that has left the uncounted ones never comes back, and an index that is
completed had a pod that succeeded. `what_is_wrong` says, once all is quiet, which pods were forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from petset.base import well_known
from petset.kinds.batch.job import JOBS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

OUTCOMES = ("succeeded", "failed")


@dataclass(slots=True)
class _Of:
    """One Job: its pods by outcome, the uids that left the uncounted ones, and the indexes with a success."""

    ended: dict[str, dict[str, None]] = field(default_factory=lambda: {outcome: {} for outcome in OUTCOMES})
    left: dict[str, None] = field(default_factory=dict[str, None])
    indexes: dict[str, None] = field(default_factory=dict[str, None])


class Counts:
    def __init__(self) -> None:
        self._jobs: dict[str, _Of] = {}  # By uid.

    def saw(self, key: str, old: Object | None, obj: Object) -> Iterator[str]:
        """The laws that a change breaks."""
        if key.startswith(PODS.key()):
            self._saw_pod(obj)
        elif key.startswith(JOBS.key()):
            yield from self._saw_job(key, old or {"metadata": {}}, obj)

    def _saw_pod(self, pod: Object) -> None:
        owner = meta.controller_of(pod)
        if owner is None or owner.get("kind") != JOBS.kind:
            return
        of = self._jobs.setdefault(owner["uid"], _Of())
        phase = meta.get(pod, "status", "phase")
        if phase == "Succeeded":
            of.ended["succeeded"][meta.uid(pod)] = None
            of.indexes[meta.annotations(pod).get(well_known.JOB_INDEX_LABEL, "")] = None
        elif phase == "Failed" or meta.is_deleting(pod):
            of.ended["failed"][meta.uid(pod)] = None

    def _saw_job(self, key: str, old: Object, job: Object) -> Iterator[str]:
        of = self._jobs.setdefault(meta.uid(job), _Of())
        before, now = meta.part(old, "status"), meta.part(job, "status")
        for outcome in OUTCOMES:
            waiting = meta.texts(now, "uncountedTerminatedPods", outcome)
            counted = now.get(outcome, 0)
            if counted < before.get(outcome, 0):
                yield f"{key} had {before[outcome]} {outcome} and now has {counted}"
            if counted + len(waiting) > len(of.ended[outcome]):
                yield f"{key} counts {counted} and {len(waiting)} {outcome}, and {len(of.ended[outcome])} pods have"
            again = [uid for uid in waiting if uid in of.left]
            if again or len({*waiting}) != len(waiting):
                yield f"{key} counts {waiting} once more"
            was = meta.texts(before, "uncountedTerminatedPods", outcome)
            of.left.update((uid, None) for uid in was if uid not in waiting)
        for index in _indexes(now.get("completedIndexes") or ""):
            if str(index) not in of.indexes:
                yield f"{key} says that index {index} is completed, and no pod of it succeeded"

    def what_is_wrong(self, job: Object) -> list[str]:
        """Of a Job whose pods have all ended: who was forgotten."""
        of, status = self._jobs[meta.uid(job)], meta.part(job, "status")
        is_indexed = meta.get(job, "spec", "completionMode") == "Indexed"
        wanted = {"failed": len(of.ended["failed"])}
        wanted["succeeded"] = len(of.indexes) if is_indexed else len(of.ended["succeeded"])
        return [
            f"{meta.key(job)} counts {status.get(outcome, 0)} {outcome}, and {number} pods have"
            for outcome, number in wanted.items()
            if status.get(outcome, 0) != number
        ]


def _indexes(text: str) -> Iterator[int]:
    for span in text.split(",") if text else ():
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)
