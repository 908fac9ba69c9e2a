"""Expressions in CEL that admission asks: match conditions, and what policies are made of.

An `Expression` is a text, what it may speak of (`declared`) and what it must be; its program is compiled at first need
and kept by cel.py. `variables.a` is what the policy's variable `a` is worth; an expression says which of them it uses,
so that whoever evaluates it can give it those. Whoever is not there (the old object of a new one) is null.
Follows: ValidatingAdmissionPolicy and MutatingAdmissionPolicy of the Kubernetes documentation, KEP-3488, KEP-3962.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from petset.objects import cel, names
from petset.objects.errors import FieldError
from petset.objects.expressions import source
from petset.objects.meta import Object
from petset.objects.validation import Errors

CONDITIONS_MAX = 64
VALUE_SHOWN_CHARACTERS_MAX = 1_000
REPEATING = ("all", "exists", "exists_one", "existsOne", "map", "filter", "matches", "find", "findAll", "replace")

_ALWAYS = {"object": cel.DYN, "oldObject": cel.DYN, "request": cel.DYN}
_AUTHORIZER = {"authorizer": cel.MAP}


def declared(params: bool = False, authorizer: bool = True, variables: bool = True) -> cel.Variables:
    """What an expression of a policy may speak of."""
    found = {**_ALWAYS, "namespaceObject": cel.DYN}
    for is_there, name, kind in (
        (params, "params", cel.DYN),
        (authorizer, "authorizer", cel.MAP),
        (variables, "variables", cel.DYN),
    ):
        if is_there:
            found[name] = kind
    return tuple(sorted(found.items()))


OF_WEBHOOKS: cel.Variables = tuple(sorted({**_ALWAYS, **_AUTHORIZER}.items()))


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    declared: cel.Variables
    result: str = cel.DYN
    known: Collection[str] = ()  # Of the policy's variables: those that were defined before.
    makes_objects: bool = False  # Of `Object` and `JSONPatch`.

    def program(self) -> cel.Program:
        """Raises cel.CompileError."""
        try:
            text = source.objects_as_maps(self.text) if self.makes_objects else self.text
        except ValueError as error:
            raise cel.CompileError(str(error)) from None
        found = cel.kept(text, self.declared, self.result)
        if isinstance(found, cel.CompileError):
            raise cel.CompileError(str(found))
        return found

    def uses(self) -> Sequence[str]:
        """The policy's variables that it names. Raises cel.CompileError."""
        if ("variables", cel.DYN) not in self.declared:
            return ()
        used = source.members(self.text, "variables")
        if used is None:
            raise cel.CompileError("variables can be used by name only: variables.NAME")
        for name in used:
            if name not in self.known:
                raise cel.CompileError(f"undefined field '{name}'")
        return used

    def repeats(self) -> bool:
        """Whether it may take longer than its text is long."""
        return any(name in REPEATING for name in source.calls(self.text))


@dataclass(frozen=True, slots=True)
class Condition:
    """A match condition."""

    name: str
    expression: Expression


def conditions(given: Sequence[Object], declared: cel.Variables) -> Sequence[Condition]:
    return [Condition(one["name"], Expression(one["expression"].strip(), declared, cel.BOOL)) for one in given]


# -- validation ---------------------------------------------------------------------------------------------------


def validate(expression: Expression, path: str) -> Errors:
    """That it compiles."""
    try:
        expression.program()
        expression.uses()
    except cel.CompileError as error:
        shown = expression.text[:VALUE_SHOWN_CHARACTERS_MAX]
        yield FieldError.invalid(path, shown, f"compilation failed: {error}")


def validate_conditions(given: Sequence[Object], declared: cel.Variables, path: str) -> Errors:
    if len(given) > CONDITIONS_MAX:
        yield FieldError.too_many(path, len(given), CONDITIONS_MAX)
        return
    seen: dict[str, None] = {}
    for index, one in enumerate(given):
        where, name, text = f"{path}[{index}]", one.get("name") or "", (one.get("expression") or "").strip()
        if not text:
            yield FieldError.required(f"{where}.expression")
        else:
            yield from validate(Expression(text, declared, cel.BOOL), f"{where}.expression")
        if not name:
            yield FieldError.required(f"{where}.name")
        elif wrong := names.qualified(name):
            yield FieldError.invalid(f"{where}.name", name, wrong)
        elif name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen[name] = None


# -- variables ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    expression: Expression


def variables(given: Sequence[Object], declared: cel.Variables) -> Sequence[Variable]:
    """Of a policy; each knows those before it."""
    known: dict[str, None] = {}
    found: list[Variable] = []
    for one in given:
        name = one["name"]
        found.append(Variable(name, Expression(one["expression"], declared, known=tuple(known))))
        known[name] = None
    return found


def validate_variables(given: Sequence[Object], declared: cel.Variables, path: str) -> Errors:
    known: dict[str, None] = {}
    for index, one in enumerate(given):
        where, name, text = f"{path}[{index}]", one.get("name") or "", one.get("expression") or ""
        if not name.strip():
            yield FieldError.required(f"{where}.name", "name is not specified")
        elif not source.is_identifier(name):
            yield FieldError.invalid(f"{where}.name", name, "name is not a valid CEL identifier")
        elif name in known:
            yield FieldError.duplicate(f"{where}.name", name)
        if not text.strip():
            yield FieldError.required(f"{where}.expression", "expression is not specified")
        else:
            yield from validate(Expression(text, declared, known=tuple(known)), f"{where}.expression")
        known[name] = None
