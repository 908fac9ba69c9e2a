"""Evicting a pod: a deletion that its disruption budget may refuse, and that the pod says beforehand.

Where one budget guards the pod, one of the disruptions that it allows is taken from its status first, in the budget's
turn: two evictions at once never take the same one. Then the pod says that it is evicted, then it is deleted. Who is
not guarded, or may go without being counted, is deleted at the version that was looked at: nobody who has begun to
be healthy meanwhile goes uncounted.
Follows: "API-initiated Eviction" of the Kubernetes documentation.
"""

from __future__ import annotations

import dataclasses

from petset.base import tasks
from petset.kinds import disruptions, pod_phase
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.objects import errors, meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.server import deletion, rest, writes
from petset.server.writes import Write
from petset.store import store as stores

ATTEMPTS_MAX = 20
REASON, MESSAGE = "EvictionByEvictionAPI", "Eviction API: evicting"

Made = tuple[Object, tuple[FieldError, ...]]


class Evictions:
    def __init__(self, store: stores.Store, objects: rest.Rest):
        self._store, self._rest = store, objects

    async def evict(self, write: Write) -> None:
        """Raises ApiError 429 when the pod's budget does not allow it now, 500 when it has several."""
        for _ in range(ATTEMPTS_MAX):
            pod = (await self._rest.existing(PODS, write.namespace, write.name)).object
            deletion.check_preconditions(PODS, pod, write.options)
            if not disruptions.needs_no_budget(pod):
                budget = self._budget_of(pod)
                if await self._evicted(write, pod, budget):
                    return
                continue
            try:
                is_going = pod_phase.has_ended(pod) or meta.is_deleting(pod)
                return await self._take_away(write, None if is_going else pod)
            except errors.ApiError as error:
                if error.reason != "Conflict" or write.options.resource_version:
                    raise
        raise errors.conflict(PODS.plural, write.name, errors.MODIFIED)

    def _budget_of(self, pod: Object) -> Object | None:
        """The one that guards it. Raises ApiError 500 when several do."""
        _, entries = self._store.list(PODDISRUPTIONBUDGETS.key(meta.namespace(pod)))
        budgets = disruptions.guarding(pod, (entry.object for entry in entries))
        if len(budgets) > 1:
            raise errors.ApiError(500, "", disruptions.SEVERAL)
        return budgets[0] if budgets else None

    async def _evicted(self, write: Write, pod: Object, budget: Object | None) -> bool:
        """False when its budget went meanwhile."""
        if budget is None:
            await self._take_away(write, None)
            return True
        if not disruptions.is_free(pod, budget):
            try:
                await self._count(write, budget)
            except errors.ApiError as error:
                if error.code == 404:
                    return False
                raise
            await self._take_away(write, None)
            return True
        try:
            await self._take_away(write, pod)
        except errors.ApiError as error:
            if error.reason != "Conflict" or write.options.resource_version:
                raise
            raise disruptions.busy(meta.name(budget)) from None
        return True

    async def _count(self, write: Write, budget: Object) -> None:
        def make(now: Object) -> Made:
            return disruptions.counted(now, write.name, tasks.now()), ()

        place = meta.namespace(budget), meta.name(budget)
        counting = writes.by_server(writes.UPDATE, PODDISRUPTIONBUDGETS, *place, is_decided=True)
        await self._rest.change(dataclasses.replace(counting, dry_run=write.options.dry_run), make)

    async def _take_away(self, write: Write, seen: Object | None) -> None:
        """Mark and delete the pod, at the version that was seen where it matters. Raises ApiError 409."""
        options = write.options
        if seen is not None:
            options = dataclasses.replace(options, resource_version=str(meta.revision(seen)))
        if not options.dry_run:

            def make(pod: Object) -> Made:
                deletion.check_preconditions(PODS, pod, options)
                return disruptions.targeted(pod, REASON, MESSAGE, tasks.now()), ()

            marking = writes.by_server(writes.UPDATE, PODS, write.namespace, write.name, is_decided=True)
            marked = await self._rest.change(marking, make)
            if options.resource_version:
                options = dataclasses.replace(options, resource_version=str(meta.revision(marked.object)))
        await self._rest.remove(dataclasses.replace(write, options=options))
