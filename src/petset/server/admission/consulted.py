"""Policies and webhooks as they are now, and who of them is asked about one request, in upstream's order.

`Consulted.asking` is the `Asking` of one write: `mutated` after admission's own hooks (policies, then webhooks),
`validate` once all else has found the object good (policies, then webhooks), `require_removal` before a deletion. Who
is concerned by a resource and an operation is chosen once, until a policy, a binding or a webhook configuration
changes. server/admission/asking.py imports this when the first of those comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from petset.base import tasks, telemetry
from petset.kinds import reviews
from petset.objects import errors
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind, Kinds
from petset.server.access import auth
from petset.server.admission import matching, mutation
from petset.server.admission.matching import Asked
from petset.server.admission.mutation import Change, Mutator
from petset.server.admission.policies.asking import Policies
from petset.server.admission.policies.policy import Bound
from petset.server.admission.request import Request
from petset.server.admission.webhooks import asking as webhooks
from petset.server.admission.webhooks.asking import Webhooks
from petset.server.admission.webhooks.matching import Concerned
from petset.server.elsewhere.service_targets import Targets
from petset.server.writes import Write
from petset.store import store as stores

T = TypeVar("T")

ASKING_SECONDS_MAX = 60.0  # For all mutating ones of a write, and for all validating ones.
CHOICES_KEPT_MAX = 1000  # Who is concerned by which resource and operation.

_NOT_FOR_POLICIES = tuple((kind.group, kind.plural) for kind in reviews.KINDS)  # The cluster could not be mended.


class Chosen:
    """Who is concerned by a resource and an operation."""

    def __init__(
        self,
        mutating_policies: Sequence[Bound],
        mutating: Sequence[Concerned],
        validating_policies: Sequence[Bound],
        validating: Sequence[Concerned],
    ):
        self.mutating_policies, self.mutating = mutating_policies, mutating
        self.validating_policies, self.validating = validating_policies, validating
        self.is_empty = not (mutating_policies or mutating or validating_policies or validating)


class Consulted:
    def __init__(
        self,
        store: stores.Store,
        catalog: Catalog,
        authorizer: auth.Authorizer,
        metrics: telemetry.Telemetry,
        targets: Targets,
    ):
        self._store, self._catalog, self._authorizer = store, catalog, authorizer
        self._webhooks = Webhooks(targets, metrics)
        self._policies = Policies(store, catalog)
        self._chosen: dict[tuple[Kind, str, str], Chosen] = {}
        self._kinds: Kinds | None = None

    def told(self, key: str, obj: Object | None) -> None:
        """What is kept under a key of the group now."""
        self._chosen.clear()
        self._webhooks.told(key, obj)
        self._policies.told(key, obj)

    def asking(self, write: Write, operation: str, shown: Kind | None) -> Asking | None:
        """Who is to be asked about a write: CREATE, ... CONNECT of writes.py; None when nobody is concerned."""
        asked = Asked(write.resource, matching.OPERATIONS[operation], write.subresource, shown)
        chosen = self._choice(asked)
        if chosen.is_empty:
            return None
        request = Request(self._store, self._authorizer, write, asked)
        return Asking(request, self._webhooks, self._policies, chosen)

    def _choice(self, asked: Asked) -> Chosen:
        now = self._catalog.now
        if self._kinds is not now or len(self._chosen) >= CHOICES_KEPT_MAX:
            self._kinds = now
            self._chosen.clear()
        place = (asked.resource, asked.operation, asked.subresource)
        found = self._chosen.get(place)
        if found is None:
            key = asked.resource.key()
            others = [kind for kind in now if kind.key() == key and kind is not asked.resource]
            is_review = (asked.resource.group, asked.resource.plural) in _NOT_FOR_POLICIES
            found = self._chosen[place] = Chosen(
                self._policies.mutating(asked, others) if not is_review else (),
                self._webhooks.mutating(asked, others),
                self._policies.validating(asked, others) if not is_review else (),
                self._webhooks.validating(asked, others),
            )
        return found


class Asking:
    """All who are concerned by one request, by its resource."""

    def __init__(self, request: Request, hooks: Webhooks, policies: Policies, chosen: Chosen):
        self.request = request
        self.waits = bool(chosen.mutating or chosen.validating)  # Webhooks take their time.
        self._mutating_webhooks = [hooks.asking(request, one, webhooks.ADMIT) for one in chosen.mutating]
        self._validating_webhooks = [hooks.asking(request, one, webhooks.VALIDATING) for one in chosen.validating]
        self._mutators: Sequence[Mutator] = [
            *(policies.mutator(request, one) for one in chosen.mutating_policies),
            *self._mutating_webhooks,
        ]
        self._validators = policies.validators(request, chosen.validating_policies)

    async def mutated(self, new: Object, old: Object | None, admit: Change, keep: Change) -> Object:
        """The object as the mutating policies and webhooks want it. Raises ApiError.

        `admit` is admission without them, `keep` gives an object back what nobody may change.
        """
        if not self._mutators:
            return new
        return await _in_time(mutation.mutated(self._mutators, new, old, admit, keep))

    async def validate(self, new: Object, old: Object | None) -> bool:
        """Whether somebody was asked, and time went on. Raises ApiError when one refuses: the first in their order."""
        judged = await self._validators.require(new, old)
        asked = [one for one in self._validating_webhooks if one.is_selected(new, old)]
        if asked:
            await _require(asked, new, old)
        return bool(asked) or judged

    async def require_removal(self, old: Object) -> None:
        """Raises ApiError when somebody does not want the object to be removed."""
        await _in_time(self._require_unchanged(None, old))
        await self._validators.require(None, old)
        await _require([one for one in self._validating_webhooks if one.is_selected(None, old)], None, old)

    async def require_unchanged(self, new: Object) -> None:
        """Ask the mutating webhooks about what cannot be changed. Raises ApiError."""
        await _in_time(self._require_unchanged(new, None))

    async def _require_unchanged(self, new: Object | None, old: Object | None) -> None:
        for one in self._mutating_webhooks:
            if one.is_selected(new, old):
                await one.require_unchanged(new, old)


async def _require(asked: Sequence[webhooks.Asking], new: Object | None, old: Object | None) -> None:
    refusals: dict[int, errors.ApiError] = {}

    async def ask(place: int) -> None:
        try:
            await asked[place].require(new, old)
        except errors.ApiError as error:
            refusals[place] = error

    at_once = webhooks.ASKED_AT_ONCE_MAX
    await _in_time(tasks.side_by_side(range(len(asked)), ask, at_once, "ask a validating webhook"))
    if refusals:
        raise refusals[min(refusals)]


async def _in_time(work: Awaitable[T]) -> T:
    """For all of a phase together. Raises ApiError 504."""
    try:
        async with asyncio.timeout(ASKING_SECONDS_MAX):
            return await work
    except TimeoutError:
        raise errors.timeout("request did not complete within requested timeout") from None
