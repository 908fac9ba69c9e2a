"""status.typeChecking of ValidatingAdmissionPolicies: what in their expressions does not hold to the types they match.

When a policy was written, its expressions are checked once for each kind that its constraints name (no wildcards, no
subresources, ten kinds a rule), built in or custom, with the kind of its params. What does not hold is a warning, and
changes nothing of what the policy does. `warnings` decides; it takes a while, so it is asked beside the loop.
Follows: upstream's validatingadmissionpolicy-status-controller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks
from petset.client.client import Client
from petset.client.views import View
from petset.controllers.runner import Controller, Perform, own_key
from petset.kinds.admission import policies, typed, validating
from petset.kinds.admission.validating import VALIDATINGADMISSIONPOLICIES
from petset.objects import cel, meta
from petset.objects.expressions import types
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds

KINDS_MAX = 10  # That a rule's are checked for.


@dataclass(frozen=True, slots=True)
class CheckTypes:
    """Say in its status what does not hold."""

    policy: Object
    kinds: Kinds


def reconcile(key: str, view: View, now: float) -> list[Any]:
    policy = view.get(VALIDATINGADMISSIONPOLICIES, "", key)
    if policy is None or meta.is_deleting(policy):
        return []
    observed: int = meta.get(policy, "status", "observedGeneration", default=0)
    return [CheckTypes(policy, view.kinds)] if _generation(policy) > observed else []


def _generation(policy: Object) -> int:
    return policy["metadata"].get("generation") or 0


def performing(client: Client) -> Mapping[type, Perform]:
    async def check(action: CheckTypes) -> None:
        found = await tasks.in_thread(lambda: list(warnings(action.policy, action.kinds)))
        checking = {"expressionWarnings": found} if found else {}
        status = {"observedGeneration": _generation(action.policy), "typeChecking": checking}
        await client.update({**action.policy, "status": {**meta.part(action.policy, "status"), **status}}, "status")

    return {CheckTypes: check}


def warnings(policy: Object, kinds: Kinds) -> Iterator[Object]:
    """What does not hold: an ExpressionWarning for each expression, with a paragraph for each kind."""
    spec = meta.part(policy, "spec")
    variables = policies.variables_of(spec)
    params = _params(spec, kinds)
    given = [(kind, typed.given(typed.of_kind(kind), params)) for kind in matched(spec, kinds)]
    found: dict[str, list[str]] = {}
    for kind, known in given:
        for index, one in enumerate(meta.parts(spec, "validations")):
            for field, result in (("expression", cel.BOOL), ("messageExpression", cel.STRING)):
                text = one.get(field)
                if not text:
                    continue
                expression = validating.expression(text, spec, variables, result, authorizer=field == "expression")
                try:
                    expression.checked(known)
                except cel.CompileError as error:
                    where = f"spec.validations[{index}].{field}"
                    found.setdefault(where, []).append(f"{kind.group}/{kind.version}, Kind={kind.kind}: {error}\n")
    for where in sorted(found, key=_place):
        yield {"fieldRef": where, "warning": "\n".join(found[where])}


def _place(where: str) -> tuple[int, str]:
    return int(where.partition("[")[2].partition("]")[0]), where


def _params(spec: Object, kinds: Kinds) -> types.Type:
    param = meta.part(spec, "paramKind")
    kind = kinds.named(param.get("apiVersion") or "", param.get("kind") or "")
    return typed.of_kind(kind) if kind is not None else types.DYN


def matched(spec: Object, kinds: Kinds) -> Sequence[Kind]:
    """The kinds that its constraints name, by group, version and kind."""
    found: dict[tuple[str, str, str], Kind] = {}
    for rule in meta.parts(spec, "matchConstraints", "resourceRules"):
        groups, versions = meta.texts(rule, "apiGroups"), meta.texts(rule, "apiVersions")
        if any("*" in one for one in (*groups, *versions)):
            continue
        for count, kind in enumerate(_named(sorted(groups), sorted(versions), rule, kinds), 1):
            found[kind.group, kind.version, kind.kind] = kind
            if count == KINDS_MAX:
                break
    return [found[place] for place in sorted(found)]


def _named(groups: Sequence[str], versions: Sequence[str], rule: Object, kinds: Kinds) -> Iterator[Kind]:
    plurals = sorted(one for one in meta.texts(rule, "resources") if "*" not in one and "/" not in one)
    for group in groups:
        for version in versions:
            for plural in plurals:
                if (kind := kinds.at(group, version, plural)) is not None:
                    yield kind


CONTROLLERS = (
    Controller(
        name="policies",
        component="validatingadmissionpolicy-status-controller",
        watches=((VALIDATINGADMISSIONPOLICIES, own_key),),
        reconcile=reconcile,
    ),
)
