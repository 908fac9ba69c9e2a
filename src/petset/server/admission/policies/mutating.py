"""What a mutating policy makes of an object: pure.

A mutation's expression makes an apply configuration, which is merged into the object as server-side apply merges one
(by the schema's list types, without owners), or a JSON patch. What it may not do is found out before: an apply
configuration that has what the schema does not know, or that touches what is owned as a whole.
Follows: MutatingAdmissionPolicy of the Kubernetes documentation, KEP-3962.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from petset.kinds.admission import mutating as kinds
from petset.objects import apply, cel, encoding, errors, meta, patch, schema, typed_fields
from petset.objects.expressions import source
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.typed_fields import Type
from petset.server.admission import matching
from petset.server.admission.evaluation import Budget, Scope
from petset.server.admission.policies.policy import MutatingPolicy, Mutation


class Failed(Exception):
    """Why a policy cannot be asked, or a mutation cannot be made."""


def is_for(policy: MutatingPolicy, values: Mapping[str, Any], budget: Budget) -> bool:
    """Whether its match conditions hold. Raises Failed."""
    scope = Scope(values, policy.variables, budget)
    try:
        return matching.holds(policy.conditions, scope.evaluate, policy.fails_open)
    except matching.Unclear as error:
        raise Failed(str(error)) from None


def mutated(
    policy: MutatingPolicy, mutation: Mutation, kind: Kind, obj: Object, values: Mapping[str, Any], budget: Budget
) -> Object:
    """The object, which is of this kind, as the mutation wants it. Raises Failed."""
    text = mutation.expression.text.strip()
    try:
        made = Scope(values, policy.variables, budget).evaluate(mutation.expression)
    except (cel.EvaluationError, cel.CompileError) as error:
        raise Failed(f"expression '{text}' resulted in error: {error}") from None
    try:
        if mutation.kind == kinds.APPLY:
            return _applied(kind, obj, _json(made))
        return _patched(obj, _json(made))
    except source.Mismatch as error:
        raise Failed(f"type mismatch: {error}") from None
    except errors.ApiError as error:
        raise Failed(error.message) from None


def _json(value: Any) -> Any:
    """A value of CEL as JSON has it. Raises Failed."""
    if isinstance(value, dict):
        items: Any = value.items()  # pyright: ignore[reportUnknownVariableType] (CEL's maps)
        if not all(isinstance(key, str) for key, _ in items):
            raise Failed("a map that is to become a part of the object has keys that are no strings")
        return {key: _json(inner) for key, inner in items}
    if meta.is_list(value):
        return [_json(item) for item in value]
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise Failed(f"a value of type {type(value).__name__} cannot become a part of the object")


# -- apply configurations -----------------------------------------------------------------------------------------


def _applied(kind: Kind, obj: Object, made: Any) -> Object:
    """Raises Failed, Mismatch, ApiError."""
    if not meta.is_struct(made) or made.get(source.TYPE) != source.OBJECT:
        raise Failed("must evaluate to Object")
    config: dict[str, Any] = source.plain(made, source.OBJECT)
    config = {**config, "apiVersion": kind.api_version, "kind": kind.kind}
    with_metadata: dict[str, Any] = {**config, "metadata": meta.part(config, "metadata")}
    read, unknown = schema.partial(with_metadata, kind)
    if unknown:
        raise Failed(f"error applying patch: failed to convert patch object to typed object: {', '.join(unknown)}")
    node = schema.node_of(kind)
    if atomic := _atomic(node, config, ""):
        why = f"may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        raise Failed(f"error applying patch: invalid ApplyConfiguration: {why}")
    if not config.get("metadata"):
        read.pop("metadata", None)
    try:
        apply.refuse_duplicates(node, read)
        merged = apply.merge(node, dict(obj), read)
    except typed_fields.NotIndexed as error:
        raise Failed(f"error applying patch: {error}") from None
    assert meta.is_struct(merged)
    return merged


def _atomic(type_: Type | None, value: Any, path: str) -> list[str]:
    """Where a configuration has what is owned as a whole."""
    found: list[str] = []
    if meta.is_struct(value):
        if path and type_ is not None and type_.is_atomic:
            found.append(path)
        for key, inner in value.items():
            found += _atomic(type_.child(key) if type_ is not None else None, inner, encoding.joined(path, key))
    elif meta.is_list(value) and type_ is not None:
        if not typed_fields.is_granular(type_, value):
            found.append(path)
        for index, item in enumerate(value):
            found += _atomic(type_.item, item, f"{path}[{index}]")
    return found


# -- JSON patches -------------------------------------------------------------------------------------------------


def _patched(obj: Object, made: Any) -> Object:
    """Raises Failed, Mismatch, ApiError."""
    operations: list[Any] = made if meta.is_list(made) else []
    named = [one.get(source.TYPE) if meta.is_struct(one) else None for one in operations]
    if not meta.is_list(made) or any(name != source.PATCH for name in named):
        raise Failed("must evaluate to a list of JSONPatch")
    try:
        return patch.json_patch(obj, source.plain(operations))
    except patch.TestFailed:
        return obj
