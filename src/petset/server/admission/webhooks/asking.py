"""Webhooks are asked: which ones a write concerns, the mutating ones one after another, the validating ones at once.

`Webhooks.asking` is what every write begins with: None where no configuration concerns it, which costs a look at a
table that is kept live and made anew when a configuration changes. Otherwise the `Asking` is for the one write:
`mutated` after admission's own hooks, again where one changed what another had seen (reinvocationPolicy), `validate`
once all else has found the object good, `require_removal` before a deletion. The server's own writes and those of the
configurations themselves are not asked about. Follows: "Dynamic Admission Control" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from petset.base import tasks, well_known
from petset.kinds import webhooks as kinds
from petset.kinds.namespace import NAMESPACES
from petset.objects import errors, meta, patch
from petset.objects.meta import Json, Object
from petset.objects.registry import Catalog, Kind, Kinds
from petset.server import conversion, decoding, writes
from petset.server.access import users
from petset.server.admission.webhooks import calling, matching, review
from petset.server.admission.webhooks.matching import Asked, Concerned, Webhook
from petset.server.live import LiveView
from petset.server.writes import Write
from petset.store import store as stores

T = TypeVar("T")

ASKED_AT_ONCE_MAX = 16  # Validating webhooks of one write.
ASKING_SECONDS_MAX = 60.0  # For all mutating ones of a write, and for all validating ones.
META_VERSION = f"{well_known.META_GROUP}/v1"
CHOICES_KEPT_MAX = 1000  # Which webhooks concern which resource and operation.

_PREFIX = f"/{kinds.GROUP}/"
_MUTATING, _VALIDATING = kinds.MUTATINGWEBHOOKCONFIGURATIONS.key(), kinds.VALIDATINGWEBHOOKCONFIGURATIONS.key()
_NO_SUBRESOURCES = ("scale", "eviction")  # Whose objects are others than the resource's: webhooks do not see them yet.

Chosen = tuple[Sequence[Concerned], Sequence[Concerned]]  # Mutating, validating.
Change = Callable[[Object], Object]


class Webhooks:
    """Of all configurations, as they are now."""

    def __init__(self, store: stores.Store, catalog: Catalog):
        self._store, self._catalog = store, catalog
        self._caller = calling.Caller(store)
        self._webhooks: dict[str, list[Webhook]] = {}  # By the configuration's key.
        self._chosen: dict[tuple[Kind, str, str], Chosen] = {}
        self._kinds: Kinds | None = None
        self._view = LiveView(store, _PREFIX, self._told)

    def asking(self, write: Write, operation: str) -> Asking | None:
        """Who is to be asked about a write: CREATE, UPDATE or DELETE of writes.py; None when nobody wants to know."""
        self._view.refresh()
        if not self._webhooks or write.user is users.SERVER or write.resource.group == kinds.GROUP:
            return None
        if write.is_decided or write.subresource in _NO_SUBRESOURCES:
            return None
        asked = Asked(write.resource, matching.OPERATIONS[operation], write.subresource)
        mutating, validating = self._choice(asked)
        if not mutating and not validating:
            return None
        return Asking(self._store, self._caller, write, asked, mutating, validating)

    def _told(self, key: str, obj: Object | None) -> None:
        self._chosen.clear()
        self._webhooks.pop(key, None)
        if obj is not None and key.startswith((_MUTATING, _VALIDATING)) and obj.get("webhooks"):
            self._webhooks[key] = matching.webhooks_of(obj)

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
            found = self._chosen[place] = self._of(_MUTATING, asked, others), self._of(_VALIDATING, asked, others)
        return found

    def _of(self, prefix: str, asked: Asked, others: Sequence[Kind]) -> Sequence[Concerned]:
        webhooks = [one for key in sorted(self._webhooks) if key.startswith(prefix) for one in self._webhooks[key]]
        return matching.concerned(webhooks, asked, others)


class Asking:
    """The webhooks that one write concerns by its resource."""

    def __init__(
        self,
        store: stores.Store,
        caller: calling.Caller,
        write: Write,
        asked: Asked,
        mutating: Sequence[Concerned],
        validating: Sequence[Concerned],
    ):
        self._store, self._caller, self._write = store, caller, write
        self._asked, self._mutating, self._validating = asked, mutating, validating
        self.size = write.size  # How many bytes the object has, nearly.

    async def mutated(self, new: Object, old: Object | None, admit: Change, keep: Change) -> Object:
        """The object as the mutating webhooks want it. Raises ApiError.

        `admit` is admission without webhooks, `keep` gives an object back what nobody may change.
        """
        if not self._mutating:
            return new
        return await _in_time(self._mutated(new, old, admit, keep))

    async def _mutated(self, new: Object, old: Object | None, admit: Change, keep: Change) -> Object:
        rounds = Rounds()
        new = admit(new)
        new = await self._round(rounds, new, old, keep)
        if rounds.is_changed:
            seen, new = new, admit(new)
            if new != seen:
                rounds.changed()
            rounds.begin_again()
            new = await self._round(rounds, new, old, keep)
        return new

    async def _round(self, rounds: Rounds, new: Object, old: Object | None, keep: Change) -> Object:
        for place, concerned in enumerate(self._mutating):
            if not rounds.is_due(place) or not self._is_selected(concerned, new, old):
                continue
            changed = await self._changed(concerned, new, old, keep)
            if changed is not new:
                rounds.changed()
                new = changed
            if concerned.webhook.is_asked_again:
                rounds.asked(place)
        return new

    async def _changed(self, concerned: Concerned, new: Object, old: Object | None, keep: Change) -> Object:
        """The object as one webhook wants it; itself when that is as it is."""
        answer = await self._answer(concerned, new, old)
        if answer is None or not answer.patch:
            return new
        resource, kind = self._write.resource, concerned.kind
        try:
            told = await conversion.between(resource, kind, new)
            patched = await self._write.work.beside(self.size, patch.json_patch, told, answer.patch)
            changed = await conversion.between(kind, resource, patched)
        except errors.ApiError as error:
            raise review.internal(f'admission webhook "{concerned.webhook.name}": {error.message}') from None
        changed = keep(await self._write.work.beside(self.size, self._read, concerned.webhook, changed))
        return new if changed == new else changed

    def _read(self, webhook: Webhook, tree: Json | Object) -> Object:
        """A patched object by its schema, with its defaults. Raises ApiError."""
        quiet = dataclasses.replace(self._write, field_validation=writes.IGNORE)
        try:
            obj, missing = decoding.checked(quiet, tree)
        except errors.ApiError as error:
            raise review.internal(f'admission webhook "{webhook.name}": {error.message}') from None
        if missing:
            resource = self._write.resource
            raise errors.invalid(resource.kind, self._write.name, missing, resource.group)
        return self._write.resource.default(obj)

    async def validate(self, new: Object, old: Object | None) -> bool:
        """Whether a webhook was asked, and time went on. Raises ApiError when one refuses: the first in their order."""
        asked = [one for one in self._validating if self._is_selected(one, new, old)]
        await self._require(asked, new, old)
        return bool(asked)

    async def require_removal(self, old: Object) -> None:
        """Raises ApiError when a webhook does not want the object to be removed."""
        await _in_time(self._require_unchanged(old))
        await self._require([one for one in self._validating if self._is_selected(one, None, old)], None, old)

    async def _require_unchanged(self, old: Object) -> None:
        for concerned in self._mutating:
            if self._is_selected(concerned, None, old):
                answer = await self._answer(concerned, None, old)
                if answer is not None and answer.patch:
                    why = "attempted to modify the object, which is not supported for this operation"
                    raise review.internal(f'admission webhook "{concerned.webhook.name}" {why}')

    async def _require(self, asked: Sequence[Concerned], new: Object | None, old: Object | None) -> None:
        refusals: dict[int, errors.ApiError] = {}

        async def ask(place: int) -> None:
            try:
                await self._answer(asked[place], new, old)
            except errors.ApiError as error:
                refusals[place] = error

        await _in_time(tasks.side_by_side(range(len(asked)), ask, ASKED_AT_ONCE_MAX, "ask a validating webhook"))
        if refusals:
            raise refusals[min(refusals)]

    def _is_selected(self, concerned: Concerned, new: Object | None, old: Object | None) -> bool:
        return matching.is_selected(concerned.webhook, self._space(new, old), new, old)

    def _space(self, new: Object | None, old: Object | None) -> Mapping[str, str] | None:
        """The labels of the namespace that the object is in, or is."""
        resource = self._write.resource
        if resource.key() == NAMESPACES.key():
            obj = new if new is not None else old
            return meta.labels(obj) if obj is not None else None
        if not resource.namespaced:
            return None
        found = self._store.get(NAMESPACES.key("", self._write.namespace))
        return meta.labels(found.object) if found is not None else {}

    # One webhook

    async def _answer(self, concerned: Concerned, new: Object | None, old: Object | None) -> review.Answer | None:
        """What a webhook allows; None where it is left out. Raises ApiError when it refuses, or fails and must not."""
        webhook, write = concerned.webhook, self._write
        if write.dry_run and webhook.side_effects not in kinds.SIDE_EFFECTS:
            raise errors.bad_request(f'admission webhook "{webhook.name}" does not support dry run')
        uid = tasks.new_uid()
        asked = await self._request(concerned, uid, new, old)
        if webhook.conditions and not await self._meets_conditions(webhook, asked):
            return None
        try:
            answer = await self._called(webhook, uid, asked)
        except calling.NoAnswer as error:
            if not webhook.fails_open:
                raise review.failure(webhook, str(error)) from None
            which = f"{webhook.name} of {webhook.configuration}"
            with tasks.best_effort("ask a webhook whose failurePolicy is Ignore", which):
                raise
            return None
        write.warnings.extend(answer.warnings)
        if not answer.allowed:
            raise review.denial(webhook, answer.status)
        return answer

    async def _called(self, webhook: Webhook, uid: str, asked: Object) -> review.Answer:
        """Raises NoAnswer."""
        work, size = self._write.work, self.size
        body = await work.beside(size, review.body, webhook, asked)
        try:
            data = await self._caller.call(webhook, body)
        except calling.NoAnswer as error:
            raise calling.NoAnswer(f"failed to call webhook: {error}") from None
        try:
            return await work.beside(len(data), review.read, webhook, uid, data)
        except review.BadAnswer as error:
            raise calling.NoAnswer(f"received invalid webhook response: {error}") from None

    async def _meets_conditions(self, webhook: Webhook, asked: Object) -> bool:
        """Raises ApiError 403 when it cannot be told."""
        told = {key: value for key, value in asked.items() if key not in ("object", "oldObject")}
        values = {"object": asked["object"], "oldObject": asked["oldObject"], "request": told}
        work, resource = self._write.work, self._write.resource
        try:
            return await work.beside(self.size, matching.meets_conditions, webhook, values)
        except matching.Unclear as error:
            raise errors.forbidden(resource.plural, asked.get("name", ""), str(error), resource.group) from None

    async def _request(self, concerned: Concerned, uid: str, new: Object | None, old: Object | None) -> Object:
        write, kind = self._write, concerned.kind
        obj = new if new is not None else old
        assert obj is not None
        name = meta.name(obj)
        question = review.Question(
            self._asked,
            name if write.resource.key() == NAMESPACES.key() else write.namespace,
            name,
            write.user,
            write.dry_run,
            options_of(write),
        )
        told = [await conversion.between(write.resource, kind, one) if one is not None else None for one in (new, old)]
        return review.request(question, kind, uid, *told)


class Rounds:
    """Who is asked in the first round, which is everybody, and who again in the second: pure.

    Who wishes to be asked again is, when the object was changed after he saw it. There is no third round.
    """

    def __init__(self) -> None:
        self._is_first, self.is_changed = True, False
        self._asked: dict[int, None] = {}  # Who wishes it, and has seen the object as it is.
        self._due: dict[int, None] = {}

    def is_due(self, place: int) -> bool:
        return self._is_first or place in self._due

    def asked(self, place: int) -> None:
        """One who wishes to be asked again has been asked."""
        self._asked[place] = None

    def changed(self) -> None:
        self.is_changed = True
        self._due.update(self._asked)
        self._asked.clear()

    def begin_again(self) -> None:
        self._is_first = False


async def _in_time(work: Awaitable[T]) -> T:
    """For all webhooks of a phase together. Raises ApiError 504."""
    try:
        async with asyncio.timeout(ASKING_SECONDS_MAX):
            return await work
    except TimeoutError:
        raise errors.timeout("request did not complete within requested timeout") from None


def options_of(write: Write) -> Object:
    """The options of the request, as webhooks are told them."""
    dry = {"dryRun": ["All"]} if write.dry_run else {}
    if write.operation == writes.DELETE:
        given = write.options
        conditions = {"uid": given.uid, "resourceVersion": given.resource_version}
        preconditions = {key: value for key, value in conditions.items() if value}
        return {
            "kind": "DeleteOptions",
            "apiVersion": META_VERSION,
            **({"gracePeriodSeconds": given.grace_seconds} if given.grace_seconds is not None else {}),
            **({"propagationPolicy": given.propagation} if given.propagation else {}),
            **({"preconditions": preconditions} if preconditions else {}),
            **dry,
        }
    return {
        "kind": writes.OPTIONS[write.operation],
        "apiVersion": META_VERSION,
        "fieldManager": write.field_manager,
        "fieldValidation": write.field_validation,
        **({"force": True} if write.force else {}),
        **dry,
    }
