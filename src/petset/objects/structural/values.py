"""A custom resource's values held against its schema: types, limits, patterns, formats, and what must be there.

`compiled` makes closures of a structural schema (an OpenAPI v3 schema as its CustomResourceDefinition says it), once;
they walk an object along the schema, never along the object alone. Messages and reasons are those of upstream's
validator, which clients match on. With the object as it was, what has not changed is not looked at again: an object
that was stored before its schema became stricter can still be changed elsewhere (KEP-4008, ratcheting).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from petset.objects import encoding, meta, patterns
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.structural import formats

ERRORS_MAX = 100  # Told of one object; the first are as good as all.
NONE: Any = object()  # There was no such value before.

Check = Callable[[Any, Any, str, list[FieldError]], None]  # (value, as it was or NONE, path, what is wrong)


def compiled(schema: Object) -> Check:
    """The check of one node and all below it."""
    checks: list[Check] = [*_scalar(schema), *_struct(schema), *_list(schema), *_logic(schema)]
    types = _types(schema)
    nullable = bool(schema.get("nullable"))

    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if len(found) >= ERRORS_MAX or (value is None and nullable):
            return
        if types and not _is_of(value, types):
            found.append(_wrong_type(path, ",".join(types), _type_of(value)))
            return
        for one in checks:
            one(value, old, path, found)

    return check


def same(value: Any, old: Any) -> bool:
    """Whether two values are equal as JSON, where 1 is neither true nor 1.0."""
    if value is old:
        return True
    if old is NONE or type(value) is not type(old) or value != old:
        return False
    return not isinstance(value, (dict, list)) or encoding.dumps_sorted(value) == encoding.dumps_sorted(old)


# -- types


def _types(schema: Object) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (schema["type"],) if schema.get("type") else ()


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _is_of(value: Any, types: Sequence[str]) -> bool:
    found = _type_of(value)
    return found in types or (found == "integer" and "number" in types)


def _wrong_type(path: str, wanted: str, given: str) -> FieldError:
    shown = FieldError.invalid(path, given, f'{path} in body must be of type {wanted}: "{given}"')
    return FieldError(path, "FieldValueTypeInvalid", shown.message)


def _invalid(path: str, value: Any, what: str) -> FieldError:
    return FieldError.invalid(path, value, f"{path} in body {what}")


# -- scalars


def _scalar(schema: Object) -> list[Check]:
    checks: list[Check] = []
    if schema.get("enum"):
        checks.append(_enum(schema["enum"]))
    for keyword, make in _STRINGS.items():
        if schema.get(keyword) not in (None, ""):
            checks.append(make(schema[keyword]))
    name = _format_of(schema)
    if name:
        checks.append(_format(name))
    if schema.get("maximum") is not None:
        checks.append(_maximum(schema["maximum"], bool(schema.get("exclusiveMaximum"))))
    if schema.get("minimum") is not None:
        checks.append(_minimum(schema["minimum"], bool(schema.get("exclusiveMinimum"))))
    if schema.get("multipleOf"):
        checks.append(_multiple(schema["multipleOf"]))
    return checks


def _enum(allowed: Sequence[Any]) -> Check:
    shown = [value if isinstance(value, str) else encoding.dumps(value).decode() for value in allowed]
    known = frozenset(encoding.dumps_sorted(value) for value in allowed)

    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if encoding.dumps_sorted(value) not in known:
            found.append(FieldError.unsupported(path, value, shown))

    return check


def _max_length(most: int) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if isinstance(value, str) and len(value) > most:
            found.append(FieldError.too_long(path, most))

    return check


def _min_length(least: int) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if isinstance(value, str) and len(value) < least:
            found.append(_invalid(path, value, f"should be at least {least} chars long"))

    return check


def _pattern(text: str) -> Check:
    pattern = patterns.compiled(text)

    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if isinstance(value, str) and not pattern.matches(value):
            found.append(_invalid(path, value, f"should match '{text}'"))

    return check


_STRINGS: Mapping[str, Callable[[Any], Check]] = {
    "maxLength": _max_length,
    "minLength": _min_length,
    "pattern": _pattern,
}


def _format_of(schema: Object) -> str:
    name, kind = schema.get("format") or "", schema.get("type") or ""
    if kind in ("", "string"):
        return name if name.replace("-", "") in formats.FORMATS or name in formats.FORMATS else ""
    return name if kind == "integer" and name in ("int32", "int64") else ""


def _format(name: str) -> Check:
    if name in ("int32", "int64"):
        most = 2 ** (31 if name == "int32" else 63)

        def within(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
            if type(value) is int and not -most <= value < most:
                found.append(_invalid(path, value, f"must be of type {name}: {value}"))

        return within
    is_one = formats.FORMATS.get(name) or formats.FORMATS[name.replace("-", "")]

    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if isinstance(value, str) and not is_one(value):
            found.append(_wrong_type(path, name, value))

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)


def _maximum(limit: float, exclusive: bool) -> Check:
    what = f"should be less than {'' if exclusive else 'or equal to '}{_shown(limit)}"

    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if _is_number(value) and (value > limit or (exclusive and value == limit)):
            found.append(_invalid(path, value, what))

    return check


def _minimum(limit: float, exclusive: bool) -> Check:
    what = f"should be greater than {'' if exclusive else 'or equal to '}{_shown(limit)}"

    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if _is_number(value) and (value < limit or (exclusive and value == limit)):
            found.append(_invalid(path, value, what))

    return check


def _multiple(factor: float) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if not _is_number(value) or factor <= 0:
            return
        times = value / factor if isinstance(factor, float) or isinstance(value, float) else None
        if value % factor if times is None else not math.isfinite(times) or not times.is_integer():
            found.append(_invalid(path, value, f"should be a multiple of {_shown(factor)}"))

    return check


# -- objects


def _struct(schema: Object) -> list[Check]:
    checks: list[Check] = []
    required = list(meta.texts(schema, "required"))
    if required:
        checks.append(_required(required))
    if schema.get("maxProperties") is not None:
        checks.append(_max_count(schema["maxProperties"], dict))
    if schema.get("minProperties") is not None:
        checks.append(_min_count(schema["minProperties"], dict, "properties"))
    properties = {name: compiled(inner) for name, inner in meta.part(schema, "properties").items()}
    others = schema.get("additionalProperties")
    rest = compiled(others) if meta.is_struct(others) else None
    if properties or rest is not None:
        checks.append(_fields(properties, rest))
    return checks


def _required(names: Sequence[str]) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if meta.is_struct(value):
            found.extend(FieldError.required(encoding.joined(path, name)) for name in names if name not in value)

    return check


def _max_count(most: int, kind: type) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if isinstance(value, kind) and len(value) > most:
            found.append(FieldError.too_many(path, len(value), most))

    return check


def _min_count(least: int, kind: type, of: str) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if isinstance(value, kind) and len(value) < least:
            found.append(_invalid(path, len(value), f"should have at least {least} {of}"))

    return check


def _fields(properties: Mapping[str, Check], rest: Check | None) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if not meta.is_struct(value):
            return
        before: Mapping[str, Any] = old if meta.is_struct(old) else {}
        for key, inner in value.items():
            one = properties.get(key, rest)
            if one is None:
                continue
            was = before.get(key, NONE)
            if was is NONE or not same(inner, was):
                one(inner, was, encoding.joined(path, key), found)

    return check


# -- lists


def _list(schema: Object) -> list[Check]:
    checks: list[Check] = []
    if schema.get("maxItems") is not None:
        checks.append(_max_count(schema["maxItems"], list))
    if schema.get("minItems") is not None:
        checks.append(_min_count(schema["minItems"], list, "items"))
    keys = tuple(meta.texts(schema, "x-kubernetes-list-map-keys"))
    if schema.get("x-kubernetes-list-type") == "set":
        checks.append(_unique(None))
    elif schema.get("x-kubernetes-list-type") == "map":
        checks.append(_unique(keys))
    items = schema.get("items")
    if meta.is_struct(items):
        checks.append(_items(compiled(items), keys))
    return checks


def identity(item: Any, keys: Sequence[str] | None) -> bytes:
    """What tells an element of a set, or of a map with these keys, from another one."""
    if keys is not None and meta.is_struct(item):
        item = {key: item[key] for key in keys if key in item}
    return encoding.dumps_sorted(item)


def _unique(keys: Sequence[str] | None) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if not meta.is_list(value):
            return
        seen: dict[bytes, int] = {}
        for index, item in enumerate(value):
            mark = identity(item, keys)
            seen[mark] = seen.get(mark, 0) + 1
            if seen[mark] == 2:  # Told once of each.
                shown = {key: item[key] for key in keys if key in item} if keys and meta.is_struct(item) else item
                found.append(FieldError.duplicate(f"{path}[{index}]", shown))

    return check


def _items(one: Check, keys: Sequence[str]) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        if not meta.is_list(value):
            return
        before = {identity(item, keys): item for item in old} if keys and meta.is_list(old) else {}
        for index, item in enumerate(value):
            was = before.get(identity(item, keys), NONE) if before else NONE
            if was is NONE or not same(item, was):
                one(item, was, f"{path}[{index}]", found)

    return check


# -- allOf, anyOf, oneOf, not


def _logic(schema: Object) -> list[Check]:
    checks: list[Check] = []
    for keyword, make in (("allOf", _all_of), ("anyOf", _any_of), ("oneOf", _one_of)):
        if schema.get(keyword):
            checks.append(make([compiled(inner) for inner in meta.parts(schema, keyword)]))
    if meta.is_struct(schema.get("not")):
        checks.append(_not(compiled(meta.part(schema, "not"))))
    return checks


def _all_of(alternatives: Sequence[Check]) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        for one in alternatives:
            one(value, NONE, path, found)

    return check


def _tried(alternatives: Sequence[Check], value: Any, path: str) -> list[list[FieldError]]:
    """What each of them finds wrong."""
    tried: list[list[FieldError]] = []
    for one in alternatives:
        wrong: list[FieldError] = []
        one(value, NONE, path, wrong)
        tried.append(wrong)
    return tried


def _composite(path: str, what: str) -> FieldError:
    return FieldError.invalid("<nil>", "", f'"{path}" must {what}')


def _any_of(alternatives: Sequence[Check]) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        tried = _tried(alternatives, value, path)
        if all(tried):
            found += min(tried, key=len)
            found.append(_composite(path, "validate at least one schema (anyOf)"))

    return check


def _one_of(alternatives: Sequence[Check]) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        tried = _tried(alternatives, value, path)
        valid = sum(not wrong for wrong in tried)
        if valid != 1:
            how = f"Found {valid} valid alternatives" if valid else "Found none valid"
            if not valid:
                found += min(tried, key=len)
            found.append(_composite(path, f"validate one and only one schema (oneOf). {how}"))

    return check


def _not(other: Check) -> Check:
    def check(value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        wrong: list[FieldError] = []
        other(value, NONE, path, wrong)
        if not wrong:
            found.append(_composite(path, "not validate the schema (not)"))

    return check
