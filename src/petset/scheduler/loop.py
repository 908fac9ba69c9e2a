"""The scheduler's loop: whenever something that matters changes, place all pods that wait.

A change of a node, pod, claim, volume or class wakes the loop; `policy.place` decides over the caches for those that
wait, AT_A_TIME_MAX at a time; each decision is carried out (a binding, a claim told its node, an event and a condition
saying why not, victims that are asked to go). Then the loop waits until the cache shows what was written, so that room
is never given away twice, and nobody goes for what others went for.

Invariants: nothing polls; a pod is bound through the binding subresource with its uid, so a successor of the same name
is never bound by mistake; why a pod has no node is said when it lasts, once, and then at most every REPEAT_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from petset.base import tasks, telemetry, well_known
from petset.client.client import Client
from petset.client.events import Recorder
from petset.client.views import Informers
from petset.kinds import disruptions
from petset.kinds.namespace import NAMESPACES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.scheduler import filters, loads, policy, preemption
from petset.scheduler import profiles as profiles_
from petset.scheduler.profiles import Profiles

log = logging.getLogger("petset.scheduler")

CATCH_UP_SECONDS_MAX = 10.0
REPEAT_SECONDS = 60.0
AT_A_TIME_MAX = 64  # Pods that are decided about before others on the loop have their turn.
SIDE_BY_SIDE_MAX = 16  # Decisions that are carried out at once: they come back in one turn of the loop.
PATIENCE_SECONDS = 1.0  # A claim is usually bound sooner, and then there was nothing to say.
KINDS = (
    PODS,
    NODES,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
    PODDISRUPTIONBUDGETS,
)


SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"  # What becomes of an attempt.


async def run(
    client: Client, metrics: telemetry.Telemetry | None = None, profiles: Profiles = profiles_.DEFAULT
) -> None:
    """Schedule until cancelled."""
    informers = Informers(client)
    scheduler = Scheduler(client, informers, metrics or telemetry.Telemetry(), profiles)
    async with asyncio.TaskGroup() as group:
        tasks.spawn(group, informers.run(), "the scheduler's informers")
        tasks.spawn(group, scheduler.run(), "scheduler")


class Scheduler:
    def __init__(self, client: Client, informers: Informers, metrics: telemetry.Telemetry, profiles: Profiles):
        self._client, self._view, self._metrics = client, informers, metrics
        self._profiles = profiles
        self._recorders = {name: Recorder(client, name) for name in profiles}
        self._wake = asyncio.Event()
        self._waiting: dict[str, float] = {}  # Since when a pod has had no node, by uid.
        self._said: dict[str, tuple[str, float]] = {}  # What was last said of it, and when.
        self._timer: asyncio.TimerHandle | None = None
        for resource in KINDS:
            informers.of(resource)

    async def run(self) -> None:
        await self._view.synced()
        self._metrics.source(self._pending)
        for resource in KINDS:
            self._view.of(resource).on_change(self._changed)
        try:
            await self._rounds()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _pending(self) -> Iterator[telemetry.Sample]:
        """Pods without a node: those that none fits, and those whose turn comes."""
        waiting = policy.next_waiting(self._view, profiles=self._profiles)
        unschedulable = sum(uid in self._waiting for uid in map(meta.uid, waiting))
        yield "scheduler_pending_pods", ("active",), len(waiting) - unschedulable
        yield "scheduler_pending_pods", ("unschedulable",), unschedulable

    def _tell(self, pod: Object, result: str, began: float) -> None:
        labels = filters.profile_name(pod), result
        self._metrics.count("scheduler_schedule_attempts_total", *labels).value += 1
        seconds = tasks.monotonic() - began
        self._metrics.histogram("scheduler_scheduling_attempt_duration_seconds", *labels).observe(seconds)

    async def _rounds(self) -> None:
        backoff = tasks.Backoff(first=0.05, most=5)
        while True:
            await self._wake.wait()
            self._wake.clear()
            is_done = False
            with tasks.best_effort("schedule pods"):
                is_done = await self._round()
            if is_done:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next())
                self._wake.set()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._forget(old)
            if old["kind"] == "Node":
                self._view.forget(loads.NodeLoad, meta.name(old))
        self._wake.set()

    async def _round(self) -> bool:
        """Place all that wait, some at a time; False when something failed and is to be tried again."""
        tried: dict[str, None] = {}
        promised: dict[str, str] = {}
        failures: list[Exception] = []
        while pods := policy.next_waiting(self._view, tried, AT_A_TIME_MAX, self._profiles):
            tried.update(dict.fromkeys(map(meta.uid, pods)))
            await self._place(pods, promised, failures)
        # Gone or bound already: the cache is about to say so, and that wakes us.
        return all(isinstance(error, errors.ApiError) and error.code in (404, 409) for error in failures)

    async def _place(self, pods: list[Object], promised: dict[str, str], failures: list[Exception]) -> None:
        seen: list[Callable[[], bool]] = []
        began = tasks.monotonic()

        async def carry_out(decision: policy.Decision) -> None:
            try:
                await self._carry_out(decision, seen)
                self._tell(decision.pod, SCHEDULED if decision.node else UNSCHEDULABLE, began)
            except (errors.ApiError, OSError) as error:
                self._tell(decision.pod, ERROR, began)
                log.info("cannot schedule %s: %s", meta.key(decision.pod), error)
                failures.append(error)

        decisions = policy.place(self._view, pods, self._profiles, promised)
        await tasks.side_by_side(decisions, carry_out, min(len(decisions), SIDE_BY_SIDE_MAX), "bind pods")
        await self._catch_up(seen)

    async def _carry_out(self, decision: policy.Decision, seen: list[Callable[[], bool]]) -> None:
        pod = decision.pod
        if not decision.node:
            for victim in decision.victims:
                await self._preempt(victim, decision, seen)
            if decision.waits_for is not None:
                await self._nominate(pod, decision.waits_for, seen)
            await self._say_why(pod, decision.why)
        elif decision.claims_to_tell:
            for claim in decision.claims_to_tell:
                await self._tell_node(claim, decision.node)
        else:
            await self._bind(pod, decision.node)
            pods = self._view.of(PODS)
            seen.append(lambda: _is_placed(pods.get(meta.namespace(pod), meta.name(pod)), pod))

    async def _bind(self, pod: Object, node: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._client.create(binding, PODS, "binding", meta.name(pod))
        self._forget(pod)
        await self._recorder_of(pod).record(
            pod, "Normal", "Scheduled", f"Successfully assigned {meta.key(pod)} to {node}"
        )

    async def _preempt(self, victim: Object, decision: policy.Decision, seen: list[Callable[[], bool]]) -> None:
        """Ask a pod to make room for another; it says why it goes."""
        if meta.is_deleting(victim):
            return
        name, namespace = meta.name(victim), meta.namespace(victim)
        message = f"{filters.profile_name(decision.pod)}: preempting to accommodate a higher priority pod"
        marked = disruptions.targeted(victim, preemption.BY_SCHEDULER, message, tasks.now())
        condition = meta.condition(marked, disruptions.TARGET)
        try:
            patch = {"metadata": {"uid": meta.uid(victim)}, "status": {"conditions": [condition]}}
            await self._client.patch(PODS, name, namespace, patch, "strategic", "status")
            await self._client.delete(PODS, name, namespace, uid=meta.uid(victim))
        except errors.ApiError as error:
            if error.code not in (404, 409):  # It is gone already, or another pod of its name is there.
                raise
        said = f"Preempted by pod {meta.uid(decision.pod)} on node {decision.waits_for}"
        await self._recorder_of(decision.pod).record(victim, "Normal", "Preempted", said)
        pods = self._view.of(PODS)

        def is_going() -> bool:
            cached = pods.get(namespace, name)
            return cached is None or meta.uid(cached) != meta.uid(victim) or meta.is_deleting(cached)

        seen.append(is_going)

    async def _nominate(self, pod: Object, node: str, seen: list[Callable[[], bool]]) -> None:
        """Say on the pod which node it waits for; those that are less important wait for that one no longer."""
        lower = [
            other
            for other in policy.nominated(self._view, node, self._profiles)
            if loads.priority_of(other) < loads.priority_of(pod)
        ]
        for one, place in (*((other, "") for other in lower), (pod, node)):
            if meta.get(one, "status", "nominatedNodeName", default="") != place:
                await self._write_nominated(one, place, seen)

    async def _write_nominated(self, pod: Object, node: str, seen: list[Callable[[], bool]]) -> None:
        name, namespace = meta.name(pod), meta.namespace(pod)
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"nominatedNodeName": node or None}}
        written = await self._client.patch(PODS, name, namespace, patch, "merge", "status")
        revision, pods = written["metadata"]["resourceVersion"], self._view.of(PODS)
        seen.append(lambda: pods.has_seen(revision))

    async def _tell_node(self, claim: Object, node: str) -> None:
        if meta.annotations(claim).get(well_known.SELECTED_NODE_ANNOTATION) == node:
            return
        patch = {"metadata": {"annotations": {well_known.SELECTED_NODE_ANNOTATION: node}}}
        await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch)

    def _recorder_of(self, pod: Object) -> Recorder:
        return self._recorders[filters.profile_name(pod)]

    def _forget(self, pod: Object) -> None:
        self._said.pop(meta.uid(pod), None)
        self._waiting.pop(meta.uid(pod), None)

    def _is_patient(self, pod: Object) -> bool:
        """Whether it is too early to complain; then the loop wakes when it no longer is."""
        loop = asyncio.get_running_loop()
        left = self._waiting.setdefault(meta.uid(pod), loop.time()) + PATIENCE_SECONDS - loop.time()
        if left <= 0:
            return False
        if self._timer is None or self._timer.when() <= loop.time():
            self._timer = loop.call_later(left, self._wake.set)
        return True

    async def _say_why(self, pod: Object, why: str) -> None:
        if self._is_patient(pod):
            return
        said, at = self._said.get(meta.uid(pod), ("", 0.0))
        if said == why and tasks.now() - at < REPEAT_SECONDS:
            return
        self._said[meta.uid(pod)] = why, tasks.now()
        await self._recorder_of(pod).record(pod, "Warning", "FailedScheduling", why)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": why,
            "lastTransitionTime": tasks.rfc3339(tasks.now()),
        }
        before = meta.condition(pod, "PodScheduled") or {}
        if before.get("message") == why and before.get("status") == "False":
            return
        if before.get("status") == "False" and "lastTransitionTime" in before:
            condition["lastTransitionTime"] = before["lastTransitionTime"]
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": [condition]}}
        await self._client.patch(PODS, meta.name(pod), meta.namespace(pod), patch, "strategic", "status")

    async def _catch_up(self, seen: list[Callable[[], bool]]) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                for condition in seen:
                    await self._view.of(PODS).until(condition)
        except TimeoutError:
            log.info("the scheduler's caches are more than %s s behind", CATCH_UP_SECONDS_MAX)


def _is_placed(cached: Object | None, pod: Object) -> bool:
    return cached is None or meta.uid(cached) != meta.uid(pod) or bool(cached["spec"].get("nodeName"))
