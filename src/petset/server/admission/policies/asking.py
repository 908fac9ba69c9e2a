"""The admission policies of one request: their params are looked up, their expressions evaluated, and acted on.

`Policies` are those of now with their bindings, told by server/admission/asking.py. Validating ones of a request are
judged together, in one piece of pure work, beside the loop where it may take long; then each binding's
validationActions say whether what was found denies the request, warns whoever made it, or goes to the audit log. A
mutating one is a `Mutator`, asked in its turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.kinds.admission import mutating as mutating_kinds
from petset.kinds.admission import validating as validating_kinds
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind
from petset.server.admission import mutation
from petset.server.admission.evaluation import Budget
from petset.server.admission.matching import Asked
from petset.server.admission.mutation import Change
from petset.server.admission.policies import mutating, params, policy, validating
from petset.server.admission.policies.policy import Binding, Bound, MutatingPolicy, Policy, ValidatingPolicy
from petset.server.admission.policies.validating import CODES, Denial, Judgement
from petset.server.admission.request import Request
from petset.store import store as stores

_VALIDATING = validating_kinds.VALIDATINGADMISSIONPOLICIES.key()
_VALIDATING_BINDINGS = validating_kinds.VALIDATINGADMISSIONPOLICYBINDINGS.key()
_MUTATING = mutating_kinds.MUTATINGADMISSIONPOLICIES.key()
_MUTATING_BINDINGS = mutating_kinds.MUTATINGADMISSIONPOLICYBINDINGS.key()


class Policies:
    """All of them with their bindings, as they are now."""

    def __init__(self, store: stores.Store, catalog: Catalog):
        self._catalog = catalog
        # By name.
        self._validating: dict[str, Policy] = {}
        self._mutating: dict[str, Policy] = {}
        self._validating_bindings: dict[str, Binding] = {}
        self._mutating_bindings: dict[str, Binding] = {}

    def told(self, key: str, obj: Object | None) -> None:
        """What is kept under a key of the group now."""
        name = key.rpartition("/")[2]
        if key.startswith(_VALIDATING):
            _keep(self._validating, name, policy.validating_of(obj) if obj is not None else None)
        elif key.startswith(_MUTATING):
            _keep(self._mutating, name, policy.mutating_of(obj) if obj is not None else None)
        elif key.startswith(_VALIDATING_BINDINGS):
            _keep(self._validating_bindings, name, policy.binding_of(obj) if obj is not None else None)
        elif key.startswith(_MUTATING_BINDINGS):
            _keep(self._mutating_bindings, name, policy.binding_of(obj) if obj is not None else None)

    def validating(self, asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Bound]:
        return policy.bound(self._validating, list(self._validating_bindings.values()), asked, equivalents)

    def mutating(self, asked: Asked, equivalents: Sequence[Kind]) -> Sequence[Bound]:
        if asked.operation in ("DELETE", "CONNECT"):  # There is nothing to change.
            return ()
        return policy.bound(self._mutating, list(self._mutating_bindings.values()), asked, equivalents)

    def validators(self, request: Request, chosen: Sequence[Bound]) -> Validators:
        return Validators(request, self._catalog, chosen)

    def mutator(self, request: Request, bound: Bound) -> PolicyMutator:
        return PolicyMutator(request, self._catalog, bound)


def _keep(kept: dict[str, Any], name: str, found: Any) -> None:
    if found is None:
        kept.pop(name, None)
    else:
        kept[name] = found


async def _values(request: Request, kind: Kind, new: Object | None, old: Object | None) -> dict[str, Any]:
    """What expressions may speak of, but for params."""
    obj = new if new is not None else old
    assert obj is not None
    space, name = request.namespace_object(), request.name_of(obj)
    return {
        "object": await request.told(kind, new),
        "oldObject": await request.told(kind, old),
        "request": request.about(kind, name),
        "namespaceObject": _namespace(space) if space is not None else None,
        "authorizer": request.authorizer_value(name),
    }


_SHOWN_OF_NAMESPACES = (
    "name", "generateName", "labels", "annotations", "uid", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "generation", "resourceVersion", "finalizers",
)  # fmt: skip


def _namespace(obj: Object) -> Object:
    """What a policy may know of the request's namespace."""
    metadata = {key: value for key, value in obj["metadata"].items() if key in _SHOWN_OF_NAMESPACES}
    parts = {key: obj[key] for key in ("spec", "status") if key in obj}
    return {"metadata": metadata, **parts}


# -- validating ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Case:
    """One policy about one request, with one param; or why there is none."""

    bound: Bound
    values: Mapping[str, Any] | None
    misconfigured: str = ""


class Validators:
    """All validating policies that one request concerns by its resource."""

    def __init__(self, request: Request, catalog: Catalog, chosen: Sequence[Bound]):
        self._request, self._catalog, self._chosen = request, catalog, chosen

    async def require(self, new: Object | None, old: Object | None) -> bool:
        """Whether one was asked. Raises ApiError when one denies: the first in the order of their names."""
        cases = [case for bound in self._chosen for case in await self._cases(bound, new, old)]
        if not cases:
            return False
        is_heavy = len(cases) > 10 or any(case.bound.policy.is_heavy for case in cases)
        found = await self._request.decided(is_heavy, lambda: _judged(cases))
        self._act(cases, found, new if new is not None else old)
        return True

    async def _cases(self, bound: Bound, new: Object | None, old: Object | None) -> Sequence[_Case]:
        obj = new if new is not None else old
        assert obj is not None
        kind = bound.kind(self._request.name_of(obj), self._request.space(new, old), new, old)
        if kind is None:
            return ()
        try:
            found = await params.of(self._request, self._catalog, bound, obj)
        except params.Misconfigured as error:
            return () if bound.policy.fails_open else [_Case(bound, None, f"failed to configure binding: {error}")]
        values = await _values(self._request, kind, new, old)
        return [_Case(bound, {**values, "params": param}) for param in found]

    def _act(self, cases: Sequence[_Case], found: Sequence[Judgement], obj: Object | None) -> None:
        """Raises ApiError."""
        write = self._request.write
        denied: list[tuple[Bound, Denial]] = []
        failures: list[Object] = []
        said: dict[str, dict[str, None]] = {}
        for case, judgement in zip(cases, found, strict=True):
            bound = case.bound
            names = f"ValidatingAdmissionPolicy '{bound.policy.name}' with binding '{bound.binding.name}'"
            for denial in judgement.denials:
                if case.values is None or "Deny" in bound.binding.actions:
                    denied.append((bound, denial))
                if case.values is not None and "Warn" in bound.binding.actions:
                    write.warnings.append(f"Validation failed for {names}: {denial.message}")
                if case.values is not None and "Audit" in bound.binding.actions:
                    failures.append(_failure(bound, denial))
            denied += [(bound, denial) for denial in judgement.broken]
            for key, value in judgement.annotations:
                said.setdefault(f"{bound.policy.name}/{key}", {})[value] = None
        write.audit_annotations.update({key: ", ".join(values) for key, values in said.items()})
        if failures:
            text = encoding.dumps(failures).decode()
            write.audit_annotations[well_known.VALIDATION_FAILURE_AUDIT_ANNOTATION] = text
        if denied:
            raise _denial(self._request, obj, *denied[0])


def _judged(cases: Sequence[_Case]) -> list[Judgement]:
    budget = Budget()
    return [_judgement(case, budget) for case in cases]


def _judgement(case: _Case, budget: Budget) -> Judgement:
    if case.values is None:
        return Judgement([Denial(case.misconfigured)])
    assert isinstance(case.bound.policy, ValidatingPolicy)
    return validating.judged(case.bound.policy, case.values, budget)


def _failure(bound: Bound, denial: Denial) -> Object:
    return {
        "message": denial.message,
        "policy": bound.policy.name,
        "binding": bound.binding.name,
        "expressionIndex": denial.place,
        "validationActions": list(bound.binding.actions),
    }


def _denial(request: Request, obj: Object | None, bound: Bound, denial: Denial) -> errors.ApiError:
    resource = request.write.resource
    names = f"ValidatingAdmissionPolicy '{bound.policy.name}' with binding '{bound.binding.name}'"
    why = f"{names} denied request: {denial.message}"
    name = request.name_of(obj) if obj is not None else request.write.name
    made = errors.forbidden(resource.plural, name, why, resource.group)
    details = {**(made.details or {}), "causes": [{"message": why}]}
    return errors.ApiError(CODES[denial.reason], denial.reason, made.message, details)


# -- mutating -----------------------------------------------------------------------------------------------------


class PolicyMutator:
    """One mutating policy with one binding, about one request."""

    def __init__(self, request: Request, catalog: Catalog, bound: Bound):
        assert isinstance(bound.policy, MutatingPolicy)
        self._request, self._catalog, self._bound, self._policy = request, catalog, bound, bound.policy
        self.is_asked_again = bound.policy.is_asked_again

    def is_selected(self, new: Object | None, old: Object | None) -> bool:
        return self._kind(new, old) is not None

    def _kind(self, new: Object | None, old: Object | None) -> Kind | None:
        obj = new if new is not None else old
        assert obj is not None
        return self._bound.kind(self._request.name_of(obj), self._request.space(new, old), new, old)

    async def changed(self, new: Object, old: Object | None, keep: Change) -> Object:
        """The object as the policy wants it; itself when that is as it is. Raises ApiError."""
        kind = self._kind(new, old)
        assert kind is not None
        try:
            found = await params.of(self._request, self._catalog, self._bound, new)
        except params.Misconfigured as error:
            if self._policy.fails_open:
                return new
            raise self._refusal(new, f"failed to configure binding: {error}") from None
        for param in found:
            new = await self._with(kind, param, new, old, keep)
        return new

    async def _with(self, kind: Kind, param: Object | None, new: Object, old: Object | None, keep: Change) -> Object:
        request, own = self._request, self._policy
        budget = Budget()
        values = {**await _values(request, kind, new, old), "params": param}
        try:
            if not await request.decided(own.is_heavy, lambda: mutating.is_for(own, values, budget)):
                return new
        except mutating.Failed as error:
            raise self._refusal(new, str(error)) from None
        for wanted in own.mutations:
            new = await self._mutated(wanted, kind, param, new, old, keep, budget)
        return new

    async def _mutated(
        self,
        wanted: policy.Mutation,
        kind: Kind,
        param: Object | None,
        new: Object,
        old: Object | None,
        keep: Change,
        budget: Budget,
    ) -> Object:
        request, own = self._request, self._policy
        values = {**await _values(request, kind, new, old), "params": param}
        told = meta.part(values, "object")
        try:
            made = await request.decided(
                own.is_heavy, lambda: mutating.mutated(own, wanted, request.asked.shown or kind, told, values, budget)
            )
            if made is told:
                return new
            changed = await request.written(kind, made)
            read, missing = await request.write.work.beside(request.size, mutation.read, request, changed)
            changed = keep(mutation.complete(request, read, missing))
        except (mutating.Failed, errors.ApiError) as error:
            if own.fails_open:
                return new
            why = error.message if isinstance(error, errors.ApiError) else str(error)
            raise self._refusal(new, why) from None
        return new if changed == new else changed

    def _refusal(self, obj: Object, why: str) -> errors.ApiError:
        resource = self._request.write.resource
        text = f"policy '{self._policy.name}' with binding '{self._bound.binding.name}' denied request: {why}"
        made = errors.forbidden(resource.plural, self._request.name_of(obj), text, resource.group)
        return errors.ApiError(403, "Invalid", text, {**(made.details or {}), "causes": [{"message": text}]})
