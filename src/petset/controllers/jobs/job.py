"""Job: pods that run until so many of them, or each of so many indexes, have succeeded.

`reconcile` looks at one Job and its pods and answers the next steps, in this order: the status as it is now (what has
ended is entered there as uncounted, or as a completed index), then the finalizer is taken off the pods that stand in
it, then pods are removed or made. A uid moves from uncounted to the counters when its pod is seen without the
finalizer, in one write: so no pod is counted twice or forgotten, whenever the process dies. A Job that is to end says
so first (SuccessCriteriaMet, FailureTarget), ends its pods, counts them, and only then is Complete or Failed.

Invariants: a finalizer goes only after the status that counts its pod was written; an index that has succeeded is never
run again; the failed pod of an index keeps its finalizer until its successor is there, which carries on its count.
Follows: "Jobs" of the Kubernetes documentation; KEP-2307 (finalizers), KEP-3329, KEP-3850, KEP-3939, KEP-3998.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import View, selector_of
from petset.controllers import actions
from petset.controllers.jobs import indexes, pods, policies
from petset.controllers.jobs.tally import Tally
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming, ranking, replicas
from petset.kinds.batch.job import JOBS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

LOOK_AGAIN_SECONDS_MAX = 24 * 3600.0  # A deadline may be further away than a timer takes.
UNCOUNTED_MAX = 500  # Pods that enter the status in one write.
AT_ONCE_MAX = 500  # Pods made or removed in one look.
COUNTS = ("active", "ready", "terminating")
COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
TARGETS = {COMPLETE: "SuccessCriteriaMet", FAILED: "FailureTarget"}  # What says beforehand that it will be so.


@dataclass(frozen=True, slots=True)
class End:
    """How a Job ends: Complete or Failed, and why."""

    type: str
    reason: str
    message: str


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one Job; [] when there is nothing to do now."""
    job = view.get(JOBS, *meta.split_key(key))
    if job is None or not is_ours(job):
        view.forget(Tally, f"{JOBS.kind} {key}")
        return []
    tally = tally_of(job, view)
    if is_finished(job):
        if not tally:
            view.forget(Tally, f"{JOBS.kind} {key}")
        return untracked(by_name(tally.tracked.values()))
    if not meta.is_deleting(job) and (taking := _claimed(job, tally, view)):
        return taking
    look = Look(job, tally, now)
    end = look.end
    status = _status(look, end)
    steps = [*actions.report(job, status, COUNTS), *_events(job, status), *untracked(look.to_release)]
    if not meta.is_deleting(job) and not is_finished({"status": status}):
        steps += _pod_steps(look, end)
    return [*steps, *_look_again(look, end)]


def tally_of(job: Object, view: View) -> Tally:
    about = view.facts(JOBS, selector_of).of(job), pods.replaces_only_failed(job)
    return view.kept(Tally, f"{JOBS.kind} {meta.key(job)}", meta.namespace(job), meta.uid(job), *about)


def by_name(found: Iterable[Object]) -> list[Object]:
    return sorted(found, key=meta.name)


def _claimed(job: Object, tally: Tally, view: View) -> list[actions.Action]:
    """Steps that let go of pods it selects no more, and take over those that nobody controls, to be counted."""
    selector = view.facts(JOBS, selector_of).of(job)
    strangers = by_name(tally.strangers.values())
    orphans = [pods.tracked(pod) for pod in claiming.orphans(view, PODS, job, selector)]
    return [*claiming.released(job, strangers), *claiming.adopted(job, orphans)]


def is_ours(job: Object) -> bool:
    return meta.get(job, "spec", "managedBy") in (None, well_known.JOB_CONTROLLER)


def is_finished(job: Object) -> bool:
    return meta.is_condition_true(job, COMPLETE) or meta.is_condition_true(job, FAILED)


class Look:
    """One Job and its pods, and what follows from them."""

    def __init__(self, job: Object, tally: Tally, now: float):
        self.job, self.spec, self.said, self.now = job, meta.part(job, "spec"), meta.part(job, "status"), now
        self.tally, self.active, self.terminating = tally, tally.active, tally.terminating
        self.is_indexed = self.spec.get("completionMode") == "Indexed"
        self.completions: int | None = self.spec.get("completions")
        self.is_suspended = bool(self.spec.get("suspend"))
        self.limit_per_index: int | None = self.spec.get("backoffLimitPerIndex")
        self._count()

    # What is counted

    def _count(self) -> None:
        """`uncounted` and `counted`: uids that the status has now and numbers; what has come to be told of by them."""
        waiting = meta.part(self.said, "uncountedTerminatedPods")
        self.uncounted: dict[str, dict[str, None]] = {"succeeded": {}, "failed": {}}
        self.counted: dict[str, int] = {}
        for outcome, uids in self.uncounted.items():
            there = dict.fromkeys(meta.texts(waiting, outcome))
            uids.update((uid, None) for uid in there if uid in self.tally.tracked)
            self.counted[outcome] = self.said.get(outcome, 0) + len(there) - len(uids)
        end = self.completions or 0
        completed: list[int] = []
        failed: list[int] = []
        self.to_release: list[Object] = []
        self.failing: list[Object] = []  # Those of them that failed.
        last = self.tally.to_count_in_the_end if self._is_ending else {}
        ended = islice(chain(self.tally.to_count.values(), last.values()), UNCOUNTED_MAX)
        for pod in by_name(ended):
            if pods.has_succeeded(pod):
                self.to_release.append(pod)
                completed += self._succeeded_index(pod)
            else:
                self.failing.append(pod)
        self.completed = self._indexes("completedIndexes", end if self.is_indexed else 0).plus(completed)
        for pod in self.failing:
            failed += self._failed_index(pod)
        is_apart = self.limit_per_index is not None
        self.failed_indexes = self._indexes("failedIndexes", end if is_apart else 0).plus(failed)
        kept = {meta.uid(pod) for pod in self.delayed.values()}
        self.to_release += [pod for pod in self.failing if meta.uid(pod) not in kept]

    def _indexes(self, field: str, end: int) -> indexes.Indexes:
        return indexes.read(self.said.get(field) or "", end)

    def _succeeded_index(self, pod: Object) -> list[int]:
        """Enter one that succeeded; the index that it completes."""
        uid, index = meta.uid(pod), pods.index_of(pod)
        if uid in self.uncounted["failed"]:
            return []
        if not self.is_indexed:
            self.uncounted["succeeded"][uid] = None
        return [index] if self.is_indexed and index is not None and self._is_in_range(index) else []

    def _failed_index(self, pod: Object) -> list[int]:
        """Enter one that failed; the index that fails with it."""
        index, verdict = pods.index_of(pod), policies.of_failure(self.job, pod)
        if self.is_indexed and not self._is_in_range(index):
            return []
        if verdict.action != policies.IGNORE:
            self.uncounted["failed"][meta.uid(pod)] = None
        if self.limit_per_index is not None and index is not None and index not in self.completed:
            is_over = verdict.action != policies.IGNORE and pods.failure_count(pod) >= self.limit_per_index
            if is_over or verdict.action == policies.FAIL_INDEX:
                return [index]
        return []

    def _is_in_range(self, index: int | None) -> bool:
        return index is not None and index < (self.completions or 0)

    @cached_property
    def delayed(self) -> dict[int, Object]:
        """Failed pods, by index, that keep their finalizer until their successor is there, for their count's sake."""
        if self.limit_per_index is None or self._is_ending or meta.is_deleting(self.job):
            return {}
        there = self.tally.active_by_index
        found: dict[int, Object] = {}
        for pod in self.failing:
            index = pods.index_of(pod)
            if index is None or index in there or index in self.completed or index in self.failed_indexes:
                continue
            if index not in found or pods.failure_count(found[index]) <= pods.failure_count(pod):
                found[index] = pod
        return found

    @property
    def succeeded(self) -> int:
        if self.is_indexed:
            return len(self.completed)
        return self.counted["succeeded"] + len(self.uncounted["succeeded"])

    @property
    def failed(self) -> int:
        return self.counted["failed"] + len(self.uncounted["failed"])

    # How it ends

    @cached_property
    def _is_ending(self) -> bool:
        return any(meta.is_condition_true(self.job, target) for target in TARGETS.values())

    @cached_property
    def end(self) -> End | None:
        """What it will come to; None while that is open."""
        for type_, target in TARGETS.items():
            said = meta.condition(self.job, target)
            if said is not None and said.get("status") == "True":
                return End(type_, said.get("reason") or "", said.get("message") or "")
        return self._failure() or self._success()

    def _failure(self) -> End | None:
        for pod in self.failing:
            if why := policies.of_failure(self.job, pod).why:
                return End(FAILED, "PodFailurePolicy", why)
        limit = self.spec.get("backoffLimit", 6)
        if self.failed > limit or self._is_restarted_too_often(limit):
            return End(FAILED, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if (left := self.seconds_left) is not None and left <= 0:
            return End(FAILED, "DeadlineExceeded", "Job was active longer than specified deadline")
        if self.limit_per_index is None:
            return None
        most = self.spec.get("maxFailedIndexes")
        if most is not None and len(self.failed_indexes) > most:
            why = "Job has exceeded the specified maximal number of failed indexes"
            return End(FAILED, "MaxFailedIndexesExceeded", why)
        if self.failed_indexes and len(self.failed_indexes) + len(self.completed) >= (self.completions or 0):
            return End(FAILED, "FailedIndexes", "Job has failed indexes")
        return None

    def _is_restarted_too_often(self, limit: int) -> bool:
        if meta.get(self.spec, "template", "spec", "restartPolicy") != "OnFailure":
            return False
        return self.tally.restarts >= max(limit, 1)

    def _success(self) -> End | None:
        if self.is_indexed and (why := policies.success(self.job, self.completed)):
            return End(COMPLETE, "SuccessPolicy", why)
        if self.completions is None:
            is_done = self.succeeded > 0 and not self.active
        else:
            is_done = self.succeeded >= self.completions
        if is_done and not self.active:
            return End(COMPLETE, "CompletionsReached", "Reached expected number of succeeded pods")
        return None

    @cached_property
    def started(self) -> float | None:
        """Since when it runs; None while it is suspended."""
        if self.is_suspended:
            return None
        since = self.said.get("startTime")
        return tasks.parse_rfc3339(since) if since else self.now

    @cached_property
    def seconds_left(self) -> float | None:
        most = self.spec.get("activeDeadlineSeconds")
        return None if most is None or self.started is None else self.started + most - self.now

    @cached_property
    def wanted(self) -> int:
        """How many pods are to run at once."""
        if self.is_suspended:
            return 0
        parallel: int = self.spec.get("parallelism", 1)
        if self.completions is None:
            return min(len(self.active), parallel) if self.succeeded else parallel
        return max(0, min(self.completions - self.succeeded - len(self.failed_indexes), parallel))


# -- the status


def _status(look: Look, end: End | None) -> Object:
    said, moment = look.said, tasks.rfc3339(look.now)
    numbers = {"active": len(look.active), "failed": look.counted["failed"]}
    numbers["succeeded"] = look.succeeded if look.is_indexed else look.counted["succeeded"]
    uncounted = {outcome: list(uids) for outcome, uids in look.uncounted.items() if uids}
    status: dict[str, Any] = {
        **{key: value for key, value in said.items() if key not in (*numbers, "startTime")},
        **{key: number for key, number in numbers.items() if number},
        "ready": look.tally.ready,
        "terminating": len(look.terminating),
        "uncountedTerminatedPods": uncounted,
    }
    if look.started is not None:
        status["startTime"] = said.get("startTime") or moment
    if look.is_indexed and (look.completed or "completedIndexes" in said):
        status["completedIndexes"] = str(look.completed)
    if look.limit_per_index is not None:
        status["failedIndexes"] = str(look.failed_indexes)
    conditions = list(meta.parts(said, "conditions"))
    if end is None:
        conditions = _suspension(look, conditions, moment)
    else:
        conditions = _ending(look, end, conditions, moment, is_all_counted=not uncounted)
        if any(one.get("type") == COMPLETE for one in conditions):
            status["completionTime"] = moment
    if conditions:
        status["conditions"] = conditions
    return status


def _suspension(look: Look, conditions: list[Object], moment: str) -> list[Object]:
    there = any(one.get("type") == SUSPENDED for one in conditions)
    if look.is_suspended:
        return _with(conditions, SUSPENDED, "True", "JobSuspended", "Job suspended", moment)
    return _with(conditions, SUSPENDED, "False", "JobResumed", "Job resumed", moment) if there else conditions


def _ending(look: Look, end: End, conditions: list[Object], moment: str, is_all_counted: bool) -> list[Object]:
    """What says that it will end so, and once nothing runs and all is counted, that it has."""
    found = _with(conditions, TARGETS[end.type], "True", end.reason, end.message, moment)
    is_said = any(one.get("type") == TARGETS[end.type] for one in conditions)
    is_quiet = not look.active and not look.terminating and is_all_counted
    if is_quiet and (is_said or end.type == COMPLETE):
        found = _with(found, end.type, "True", end.reason, end.message, moment)
    return found


def _with(
    conditions: Sequence[Object], type_: str, status: str, reason: str, message: str, moment: str
) -> list[Object]:
    for one in conditions:
        if (one.get("type"), one.get("status"), one.get("reason")) == (type_, status, reason):
            return list(conditions)
    new = {
        "type": type_,
        "status": status,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }
    return [*(one for one in conditions if one.get("type") != type_), new]


def _events(job: Object, status: Object) -> list[actions.Action]:
    """What is told of conditions that came with this status."""
    found: list[actions.Action] = []
    for one in meta.parts(status, "conditions"):
        before = meta.condition(job, one["type"])
        if before is not None and before.get("status") == one["status"]:
            continue
        match one["type"], one["status"]:
            case "Complete", _:
                found.append(actions.EmitEvent(job, "Normal", "Completed", "Job completed"))
            case "Failed", _:
                found.append(actions.EmitEvent(job, "Warning", one["reason"], one["message"]))
            case "Suspended", "True":
                found.append(actions.EmitEvent(job, "Normal", "Suspended", "Job suspended"))
            case "Suspended", _:
                found.append(actions.EmitEvent(job, "Normal", "Resumed", "Job resumed"))
            case _:
                pass
    return found


# -- pods


def untracked(counted: Iterable[Object]) -> list[actions.Action]:
    """The finalizer goes off these pods: exactly these, by their uids."""
    return actions.together([[untrack(pod)] for pod in counted])


def untrack(pod: Object) -> actions.Action:
    patch = {
        "metadata": {
            "uid": meta.uid(pod),
            "$deleteFromPrimitiveList/finalizers": [well_known.JOB_TRACKING_FINALIZER],
        }
    }
    return actions.Patch(pod, patch, "strategic")


def _pod_steps(look: Look, end: End | None) -> list[actions.Action]:
    if end is not None:
        return replicas.removed(look.job, by_name(islice(look.active.values(), AT_ONCE_MAX)))  # They count as failed.
    surplus = _surplus(look)
    if surplus:
        return actions.together(
            [
                [*([untrack(pod)] if pods.is_tracked(pod) else []), replicas.delete_step(look.job, pod)]
                for pod in surplus[:AT_ONCE_MAX]
            ]
        )
    missing = look.wanted - len(look.active)
    if pods.replaces_only_failed(look.job):
        missing -= len(look.terminating)
    if missing <= 0 or look.is_suspended:
        return []
    new = _indexed(look, missing) if look.is_indexed else _alike(look, missing)
    return replicas.in_batches([replicas.create_step(look.job, pod) for pod in new])


def _surplus(look: Look) -> list[Object]:
    """Active pods that are too many: those without an index to do first, and all but one of each index."""
    going = _needless(look) if look.is_indexed else {}
    most = look.wanted - (len(look.active) - len(going))
    if most >= 0:
        return list(going.values())
    left = [pod for name, pod in look.active.items() if name not in going]
    return [*going.values(), *ranking.in_order(left, left, look.now)[:-most]]


def _needless(look: Look) -> dict[str, Object]:
    """By name, the oldest first."""
    active, end = look.tally.active_by_index, look.completions or 0
    over = [
        *active.outside(end),
        *(one for span in look.completed.spans for one in active.within(span[0], span[1] + 1)),
    ]
    found = list(active.pods.get(None, {}).values())
    for index in dict.fromkeys((*over, *active.shared)):
        there = sorted(active.pods[index].values(), key=_age)
        is_needed = 0 <= index < end and index not in look.completed
        found += there[1:] if is_needed else there
    return {meta.name(pod): pod for pod in sorted(found, key=_age)}


def _age(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", meta.uid(pod)


def _alike(look: Look, missing: int) -> list[Object]:
    if look.tally.seconds_to_next(look.now) > 0:
        return []
    return [pods.pod_for(look.job)] * min(missing, AT_ONCE_MAX)


def _indexed(look: Look, missing: int) -> list[Object]:
    """Of the lowest indexes that nobody does and that may begin now."""
    if look.limit_per_index is None and look.tally.seconds_to_next(look.now) > 0:
        return []
    found: list[Object] = []
    index = -1
    while len(found) < min(missing, AT_ONCE_MAX):
        index = _next_open(look, index + 1)
        if index >= (look.completions or 0):
            break
        if _index_seconds(look, index) <= 0:
            found.append(pods.indexed_pod(look.job, index, _failures(look, index)))
    return found


def _next_open(look: Look, index: int) -> int:
    """From this index on the first that has neither succeeded nor failed, and that nobody does."""
    done = [look.completed, look.failed_indexes, look.tally.active_by_index]
    if pods.replaces_only_failed(look.job):
        done.append(look.tally.terminating_by_index)
    while (later := max(one.gap_from(index) for one in done)) != index:
        index = later
    return index


def _failures(look: Look, index: int) -> int | None:
    if look.limit_per_index is None:
        return None
    before = look.delayed.get(index)
    if before is None:
        return 0
    is_ignored = policies.of_failure(look.job, before).action == policies.IGNORE
    return pods.failure_count(before) + (0 if is_ignored else 1)


def _index_seconds(look: Look, index: int) -> float:
    """How long an index whose failures are counted apart must wait."""
    before = look.delayed.get(index)
    return 0.0 if before is None else pods.remaining(pods.failure_count(before) + 1, pods.ended_at(before), look.now)


def _look_again(look: Look, end: End | None) -> list[actions.Action]:
    """When time alone makes a difference: at the deadline, and when a back-off is over."""
    if end is not None or look.is_suspended or meta.is_deleting(look.job):
        return []
    waits = [look.seconds_left] if look.seconds_left is not None else []
    if look.limit_per_index is not None:
        waits += [_index_seconds(look, index) for index in look.delayed]
    elif len(look.active) < look.wanted:
        waits.append(look.tally.seconds_to_next(look.now))
    waits = [wait for wait in waits if wait > 0]
    return [actions.RequeueAfter(min(*waits, LOOK_AGAIN_SECONDS_MAX))] if waits else []


CONTROLLERS = (
    Controller(
        name="jobs",
        component="job-controller",
        watches=((JOBS, own_key), (PODS, partial(claiming.keys_of, JOBS))),
        reconcile=reconcile,
    ),
)
