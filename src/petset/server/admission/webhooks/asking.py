"""The webhooks of one request are asked: the mutating ones one after another, the validating ones at once.

`Webhooks` are those of all configurations as they are now, told by server/admission/asking.py, which knows whom a
request concerns and in which order all are asked. A webhook is asked in the version of its rule, after its match
conditions; what it answers is read, applied and given its defaults here.
Follows: "Dynamic Admission Control" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.base import tasks, telemetry
from petset.kinds import webhooks as kinds
from petset.objects import errors, patch
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.admission import evaluation, mutation
from petset.server.admission import matching as rules
from petset.server.admission.matching import Asked
from petset.server.admission.mutation import Change
from petset.server.admission.request import Request
from petset.server.admission.webhooks import matching, review
from petset.server.admission.webhooks.matching import Concerned, Webhook
from petset.server.elsewhere import calling
from petset.server.elsewhere.service_targets import Targets

ADMIT, VALIDATING = "admit", "validating"  # The phases, as they are counted.
ASKED_AT_ONCE_MAX = 16  # Validating webhooks of one write.

_MUTATING, _VALIDATING = kinds.MUTATINGWEBHOOKCONFIGURATIONS.key(), kinds.VALIDATINGWEBHOOKCONFIGURATIONS.key()


class Webhooks:
    """Of all configurations, as they are now."""

    def __init__(self, targets: Targets, metrics: telemetry.Telemetry):
        self._caller, self._metrics = calling.Caller(targets), metrics
        self._webhooks: dict[str, list[Webhook]] = {}  # By the configuration's key.

    def told(self, key: str, obj: Object | None) -> None:
        """What is kept under a key of the group now."""
        self._webhooks.pop(key, None)
        if obj is not None and key.startswith((_MUTATING, _VALIDATING)) and obj.get("webhooks"):
            self._webhooks[key] = matching.webhooks_of(obj)

    def mutating(self, asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Concerned]:
        return self._of(_MUTATING, asked, equivalents)

    def validating(self, asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Concerned]:
        return self._of(_VALIDATING, asked, equivalents)

    def _of(self, prefix: str, asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Concerned]:
        webhooks = [one for key in sorted(self._webhooks) if key.startswith(prefix) for one in self._webhooks[key]]
        return matching.concerned(webhooks, asked, equivalents)

    def asking(self, request: Request, concerned: Concerned, phase: str) -> Asking:
        return Asking(self._caller, request, concerned, self._metrics, phase)


class Asking:
    """One webhook, about one request."""

    def __init__(
        self,
        caller: calling.Caller,
        request: Request,
        concerned: Concerned,
        metrics: telemetry.Telemetry,
        phase: str,  # ADMIT or VALIDATING.
    ):
        self._caller, self._request, self._concerned = caller, request, concerned
        self._metrics, self._phase = metrics, phase
        self.is_asked_again = concerned.webhook.is_asked_again

    def is_selected(self, new: Object | None, old: Object | None) -> bool:
        return self._concerned.webhook.match.is_selected(self._request.space(new, old), new, old)

    async def changed(self, new: Object, old: Object | None, keep: Change) -> Object:
        """The object as the webhook wants it; itself when that is as it is. Raises ApiError."""
        answer = await self._answer(new, old)
        if answer is None or not answer.patch:
            return new
        request, concerned, work = self._request, self._concerned, self._request.write.work
        try:
            told = await request.told(concerned.kind, new)
            patched = await work.beside(request.size, patch.json_patch, told, answer.patch)
            tree = await request.written(concerned.kind, patched)
            obj, missing = await work.beside(request.size, mutation.read, request, tree)
        except errors.ApiError as error:
            raise review.internal(f'admission webhook "{concerned.webhook.name}": {error.message}') from None
        changed = keep(mutation.complete(request, obj, missing))
        return new if changed == new else changed

    async def require(self, new: Object | None, old: Object | None) -> None:
        """Raises ApiError when it does not want this."""
        await self._answer(new, old)

    async def require_unchanged(self, new: Object | None, old: Object | None) -> None:
        """Of a mutating one, about a removal or a connection: that it changes nothing. Raises ApiError."""
        answer = await self._answer(new, old)
        if answer is not None and answer.patch:
            why = "attempted to modify the object, which is not supported for this operation"
            raise review.internal(f'admission webhook "{self._concerned.webhook.name}" {why}')

    async def _answer(self, new: Object | None, old: Object | None) -> review.Answer | None:
        """What it allows; None where it is left out. Raises ApiError when it refuses, or fails and must not."""
        webhook, write = self._concerned.webhook, self._request.write
        if write.dry_run and webhook.side_effects not in kinds.SIDE_EFFECTS:
            raise errors.bad_request(f'admission webhook "{webhook.name}" does not support dry run')
        obj = new if new is not None else old
        assert obj is not None
        kind = self._concerned.kind
        about = self._request.about(kind, self._request.name_of(obj))
        told = [await self._request.told(kind, one) for one in (new, old)]
        if webhook.conditions and not await self._meets_conditions(about, *told):
            return None
        uid, began, rejected = tasks.new_uid(), tasks.monotonic(), True
        try:
            answer = await self._called(webhook, uid, review.request(uid, about, *told))
            rejected = not answer.allowed
        except calling.NoAnswer as error:
            if not webhook.fails_open:
                raise review.failure(webhook, str(error)) from None
            which = f"{webhook.name} of {webhook.configuration}"
            with tasks.best_effort("ask a webhook whose failurePolicy is Ignore", which):
                raise
            return None
        finally:
            labels = webhook.name, self._phase, self._request.asked.operation, str(rejected).lower()
            seconds = tasks.monotonic() - began
            self._metrics.histogram("apiserver_admission_webhook_admission_duration_seconds", *labels).observe(seconds)
        write.warnings.extend(answer.warnings)
        for key, value in answer.audit_annotations.items():
            write.audit_annotations[f"{webhook.name}/{key}"] = value
        if not answer.allowed:
            raise review.denial(webhook, answer.status)
        return answer

    async def _called(self, webhook: Webhook, uid: str, asked: Object) -> review.Answer:
        """Raises NoAnswer."""
        work, size = self._request.write.work, self._request.size
        body = await work.beside(size, review.body, webhook, asked)
        try:
            data = await self._caller.call(webhook, webhook.client, webhook.timeout_seconds, body)
        except calling.NoAnswer as error:
            raise calling.NoAnswer(f"failed to call webhook: {error}") from None
        try:
            return await work.beside(len(data), review.read, webhook, uid, data)
        except review.BadAnswer as error:
            raise calling.NoAnswer(f"received invalid webhook response: {error}") from None

    async def _meets_conditions(self, about: Object, new: Object | None, old: Object | None) -> bool:
        """Raises ApiError 403 when it cannot be told."""
        webhook, request = self._concerned.webhook, self._request
        name = about.get("name", "")
        values = {"object": new, "oldObject": old, "request": about, "authorizer": request.authorizer_value(name)}

        def meets() -> bool:
            scope = evaluation.Scope(values, None, evaluation.Budget())
            return rules.holds(webhook.conditions, scope.evaluate, webhook.fails_open)

        is_heavy = any(condition.expression.repeats() for condition in webhook.conditions)
        try:
            return await request.decided(is_heavy, meets)
        except rules.Unclear as error:
            resource = request.write.resource
            raise errors.forbidden(resource.plural, name, str(error), resource.group) from None
