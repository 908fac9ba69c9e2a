"""Admission policies and their bindings as they are asked: pure, taken once out of what is stored.

A policy with a binding is a `Bound`: where both match, the policy's expressions are evaluated, with each of the params
that the binding names. Bindings to a policy that is not there do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from petset.kinds.admission import expressions, mutating, policies, validating
from petset.kinds.admission.expressions import Condition, Expression, Variables
from petset.objects import cel, meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.admission import matching
from petset.server.admission.matching import Asked, Concern, Match

EXPRESSIONS_LIGHT_MAX = 20  # More of them are evaluated beside the loop.


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What both kinds of policies have."""

    name: str
    match: Match
    fails_open: bool  # failurePolicy Ignore.
    param: tuple[str, str] | None  # apiVersion and kind.
    conditions: Sequence[Condition]
    variables: Variables
    is_heavy: bool  # Its expressions may take long.


@dataclass(frozen=True, slots=True)
class Validation:
    expression: Expression
    message: str
    said: Expression | None  # messageExpression.
    reason: str


@dataclass(frozen=True, slots=True)
class Annotation:
    key: str
    expression: Expression


@dataclass(frozen=True, slots=True, eq=False)
class ValidatingPolicy(Policy):
    validations: Sequence[Validation]
    annotations: Sequence[Annotation]


@dataclass(frozen=True, slots=True)
class Mutation:
    kind: str  # ApplyConfiguration or JSONPatch.
    expression: Expression


@dataclass(frozen=True, slots=True, eq=False)
class MutatingPolicy(Policy):
    mutations: Sequence[Mutation]
    is_asked_again: bool  # reinvocationPolicy IfNeeded.


def validating_of(obj: Object) -> ValidatingPolicy:
    """Of a ValidatingAdmissionPolicy as it is stored."""
    spec = meta.part(obj, "spec")
    variables = policies.variables_of(spec)
    validations = [_validation(one, spec, variables) for one in meta.parts(spec, "validations")]
    annotations = [
        Annotation(
            one["key"], validating.expression(one["valueExpression"].strip(), spec, variables, cel.STRING_OR_NULL)
        )
        for one in meta.parts(spec, "auditAnnotations")
    ]
    own = [one.expression for one in (*validations, *annotations)]
    own += [one.said for one in validations if one.said is not None]
    name, match, opens, param, conditions, heavy = _common(obj, variables, own)
    return ValidatingPolicy(name, match, opens, param, conditions, variables, heavy, validations, annotations)


def _validation(given: Object, spec: Object, variables: Variables) -> Validation:
    said = given.get("messageExpression")
    return Validation(
        validating.expression(given["expression"], spec, variables, cel.BOOL),
        given.get("message") or "",
        validating.expression(said, spec, variables, cel.STRING, authorizer=False) if said else None,
        given.get("reason") or "Invalid",
    )


def mutating_of(obj: Object) -> MutatingPolicy:
    """Of a MutatingAdmissionPolicy as it is stored."""
    spec = meta.part(obj, "spec")
    variables = policies.variables_of(spec)
    mutations = [
        Mutation(one["patchType"], mutating.expression(one, spec, variables)) for one in meta.parts(spec, "mutations")
    ]
    own = [one.expression for one in mutations]
    name, match, opens, param, conditions, heavy = _common(obj, variables, own)
    again = spec["reinvocationPolicy"] == "IfNeeded"
    return MutatingPolicy(name, match, opens, param, conditions, variables, heavy, mutations, again)


_Common = tuple[str, Match, bool, "tuple[str, str] | None", Sequence[Condition], bool]


def _common(obj: Object, variables: Variables, own: Sequence[Expression]) -> _Common:
    spec = meta.part(obj, "spec")
    param = spec.get("paramKind")
    given = meta.parts(spec, "matchConditions")
    conditions = expressions.conditions(given, policies.declared(spec, variables=False))
    every = [*own, *(one.expression for one in conditions), *variables.expressions.values()]
    return (
        meta.name(obj),
        matching.resources_of(spec["matchConstraints"]),
        spec["failurePolicy"] == "Ignore",
        (param["apiVersion"], param["kind"]) if param is not None else None,
        conditions,
        len(every) > EXPRESSIONS_LIGHT_MAX or any(one.repeats() for one in every),
    )


# -- bindings -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParamRef:
    name: str
    namespace: str  # "" for that of the object that is written.
    selector: selectors.Selector | None
    denies: bool  # Where there is none.


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    name: str
    policy: str
    match: Match | None  # None: as the policy.
    param: ParamRef | None
    actions: Sequence[str]  # Of a validating one: Deny, Warn, Audit.


def binding_of(obj: Object) -> Binding:
    spec = meta.part(obj, "spec")
    resources, param = spec.get("matchResources"), spec.get("paramRef")
    return Binding(
        meta.name(obj),
        spec["policyName"],
        matching.resources_of(resources) if resources is not None else None,
        _param_ref(param) if param is not None else None,
        meta.texts(spec, "validationActions"),
    )


def _param_ref(given: Object) -> ParamRef:
    selector = given.get("selector")
    return ParamRef(
        given.get("name") or "",
        given.get("namespace") or "",
        selectors.from_object(selector) if selector is not None else None,
        given.get("parameterNotFoundAction") == "Deny",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A policy and a binding that are for a request, by its resource."""

    policy: Policy
    binding: Binding
    of_policy: Concern
    of_binding: Concern | None

    def kind(self, name: str, space: Mapping[str, str] | None, new: Object | None, old: Object | None) -> Kind | None:
        """The kind in which it is told of this object; None where it is not for it."""
        kind = self.of_policy.kind(name)
        if kind is None or not self.policy.match.is_selected(space, new, old):
            return None
        if not self._is_of_binding(name, space, new, old):
            return None
        return kind

    def _is_of_binding(
        self, name: str, space: Mapping[str, str] | None, new: Object | None, old: Object | None
    ) -> bool:
        match, concern = self.binding.match, self.of_binding
        if match is None or concern is None:
            return True
        return concern.kind(name) is not None and match.is_selected(space, new, old)


def bound(
    found: Mapping[str, Policy], bindings: Sequence[Binding], asked: Asked, equivalents: Sequence[Kind]
) -> Sequence[Bound]:
    """Those of the policies and bindings that are for a request, in the order of their names."""
    return sorted(_bound(found, bindings, asked, equivalents), key=lambda one: (one.policy.name, one.binding.name))


def _bound(
    found: Mapping[str, Policy], bindings: Sequence[Binding], asked: Asked, equivalents: Sequence[Kind]
) -> Iterator[Bound]:
    concerns: dict[str, Concern | None] = {}
    for binding in bindings:
        policy = found.get(binding.policy)
        if policy is None:
            continue
        if policy.name not in concerns:
            concerns[policy.name] = matching.concern(policy.match, asked, equivalents)
        of_policy = concerns[policy.name]
        if of_policy is None:
            continue
        of_binding = matching.concern(binding.match, asked, equivalents) if binding.match is not None else None
        if binding.match is None or of_binding is not None:
            yield Bound(policy, binding, of_policy, of_binding)
