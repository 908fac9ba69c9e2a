"""Expressions in CEL that admission asks: match conditions, and what policies are made of.

An `Expression` is a text, what it may speak of (`declared`) and what it must be; its program is compiled at first need
and kept by cel.py. `variables.a` is what the policy's variable `a` is worth; an expression says which of them it uses,
so that whoever evaluates it can give it those. Whoever is not there (the old object of a new one) is null.
Follows: ValidatingAdmissionPolicy and MutatingAdmissionPolicy of the Kubernetes documentation, KEP-3488, KEP-3962.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from petset.kinds.admission import typed
from petset.objects import cel, names
from petset.objects.errors import FieldError
from petset.objects.expressions import checking, source, types
from petset.objects.expressions.types import Type
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
    variables: Variables | None = None  # Of the policy ...
    known: Collection[str] = ()  # ... those that were defined before.
    makes_objects: bool = False  # Of `Object` and `JSONPatch`.

    def program(self) -> cel.Program:
        """Raises cel.CompileError."""
        return self.program_with(self.variables.optional() if self.variables is not None else ())

    def program_with(self, optional: Sequence[str]) -> cel.Program:
        """Where these variables are optionals, which are given as lists. Raises cel.CompileError."""
        found = cel.kept(self._written(optional), self.declared, self.result)
        if isinstance(found, cel.CompileError):
            raise type(found)(str(found))
        return found

    def _written(self, optional: Sequence[str]) -> str:
        """The text as it is compiled. Raises cel.CompileError."""
        text = source.with_lists(self.text, "variables", tuple(optional)) if optional else self.text
        try:
            return source.objects_as_maps(text) if self.makes_objects else text
        except ValueError as error:
            raise cel.CompileError(str(error)) from None

    def checked(self, given: typed.Types) -> Type:
        """The type of its value where what it speaks of is of these types. Raises cel.CompileError."""
        program = self.program()
        own = {name: kind for name, kind in given.items() if any(name == one for one, _ in self.declared)}
        if self.variables is not None:
            own["variables"] = self.variables.type(given)
        tree = program.tree()
        try:
            return checking.checked(tree, own, is_mixed=self.makes_objects).type
        except checking.Wrong as error:
            written = self._written(self.variables.optional() if self.variables is not None else ())
            raise cel.CompileError(checking.told(error, tree, written)) from None

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
    """That it compiles, and is of the type that it has to be, whatever the objects are."""
    shown = expression.text[:VALUE_SHOWN_CHARACTERS_MAX]
    try:
        anything = expression if expression.makes_objects else replace(expression, result=cel.DYN)
        anything.uses()
        found = anything.checked(typed.anything())
        wanted = expression.result.lower().split("|")
        if not expression.makes_objects and "dyn" not in wanted and found.kind not in wanted:
            raise cel.ResultError(_must_be(wanted, str(found)))
    except cel.ResultError as error:
        yield FieldError.invalid(path, shown, str(error))
    except cel.CompileError as error:
        yield FieldError.invalid(path, shown, f"compilation failed: {error}")


def _must_be(wanted: Sequence[str], found: str) -> str:
    one_of = f"one of [{' '.join(wanted)}]" if len(wanted) > 1 else wanted[0]
    return f"must evaluate to {one_of} but got {found}".replace(" null]", " null_type]")


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


class Variables:
    """A policy's, in their order; each knows those before it.

    One that is an optional cannot leave the runtime: it is asked for as a list of its value, or of nothing, and whoever
    names it makes an optional of it again.
    """

    def __init__(self, given: Sequence[Object], declared: cel.Variables):
        self.expressions: dict[str, Expression] = {}
        for one in given:
            text = one.get("expression") or ""
            known = tuple(self.expressions)
            self.expressions[one.get("name") or ""] = Expression(text, declared, variables=self, known=known)
        self._optional: Sequence[str] | None = None
        self._typed: tuple[typed.Types, Type] | None = None  # For what was asked last.

    @property
    def names(self) -> Collection[str]:
        return self.expressions.keys()

    def optional(self) -> Sequence[str]:
        """Which of them are optionals."""
        if self._optional is None:
            found: list[str] = []
            for name, expression in self.expressions.items():
                try:
                    kind = expression.program_with(found).result
                except cel.CompileError:
                    continue
                if kind == cel.OPTIONAL:
                    found.append(name)
            self._optional = found
        return self._optional

    def type(self, given: typed.Types) -> Type:
        """What they are, where what they speak of is of these types: of an object, a field each."""
        if self._typed is None or self._typed[0] is not given:
            fields: dict[str, Type] = {}
            found = Type(types.OBJECT, fields=fields)  # Each sees those before it.
            self._typed = (given, found)
            for name, expression in self.expressions.items():
                try:
                    kind = expression.checked(given)
                except cel.CompileError:
                    kind = types.DYN
                is_list = name in self.optional() and kind.kind == types.OPTIONAL
                fields[name] = types.list_of(kind.item) if is_list else kind
        return self._typed[1]

    def of_value(self, name: str) -> Expression:
        """What a variable is worth, as it can leave the runtime."""
        expression = self.expressions[name]
        if name not in self.optional():
            return expression
        return replace(expression, text=f"[?({expression.text}\n)]")


def validate_variables(given: Sequence[Object], variables: Variables, path: str) -> Errors:
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
            expression = replace(variables.expressions[name], text=text, known=tuple(known))
            yield from validate(expression, f"{where}.expression")
        known[name] = None
