"""Values and their types beside sets of fields: what an object sets, and what a change of it touches.

A type says how a value is owned: a struct and a map field by field, a list of type map by its elements' keys, of type
set by its values, and everything atomic as a whole. What has no type is owned as it looks: maps by key, lists as a
whole. `Type` is all that is asked of a type, so that a built-in kind's nodes and a custom schema's serve alike.

`compare` looks only where two objects differ; it is on the way of every write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from petset.objects import managed
from petset.objects.managed import NOTHING, Fields
from petset.objects.meta import Json, Object, is_struct

# Fields that an object has even before anybody sets what is in them: of Go's structs that are no pointers.
_NEVER_MISSING = frozenset(("metadata", "spec", "status", "template", "strategy", "updateStrategy"))

# Of what is the server's own, or names the object, nobody is the owner.
_UNOWNED_SECTIONS = frozenset(("apiVersion", "kind"))
_UNOWNED_METADATA = frozenset(
    (
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    )
)

GRANULAR_LISTS = ("map", "set")


class Type(Protocol):
    """What a value may be. `kind` is struct, map, list, any, object, or a scalar's type."""

    @property
    def kind(self) -> str: ...
    @property
    def item(self) -> Type | None:
        """Of a list's or a map's values."""
        ...

    @property
    def is_atomic(self) -> bool:
        """Of a struct or a map: owned as a whole."""
        ...

    @property
    def list_type(self) -> str:
        """map, set, or anything else for a list that is owned as a whole."""
        ...

    @property
    def list_keys(self) -> tuple[str, ...]: ...
    @property
    def key_defaults(self) -> Mapping[str, Any]:
        """What an element has of a list's keys when it does not say them."""
        ...

    @property
    def required(self) -> frozenset[str]: ...
    def child(self, key: str) -> Type | None:
        """The type of a struct's field or a map's values; None when there is none or it is not known."""
        ...


class NotIndexed(ValueError):
    """An element of a list that has no keys, or of a set that is no scalar."""


_MISSING: Final = object()
_SCALARS = (str, int, bool, float)
_TEXTS = frozenset((str,))


def is_granular(type_: Type | None, value: object) -> bool:
    """Whether the value is owned piece by piece."""
    if isinstance(value, dict):
        return type_ is None or not type_.is_atomic
    return isinstance(value, list) and type_ is not None and type_.kind == "list" and type_.list_type in GRANULAR_LISTS


def step_of(type_: Type, item: Json) -> str:
    """The step to an element of a granular list. Raises NotIndexed."""
    list_keys = type_.list_keys
    if len(list_keys) == 1 and isinstance(item, dict):
        value = item.get(list_keys[0])
        if isinstance(value, str):
            return managed.element_named(list_keys[0], value)
    if not list_keys:
        if isinstance(item, (dict, list)) or item is None:
            raise NotIndexed("associative list without keys has an element that is no scalar")
        return managed.member(item)
    if not isinstance(item, dict):
        raise NotIndexed("associative list with keys may not have non-map elements")
    defaults = type_.key_defaults
    keys = {key: item[key] if key in item else defaults.get(key) for key in list_keys}
    said = {key: value for key, value in keys.items() if value is not None}
    if not said:
        raise NotIndexed(
            f"associative list with keys has an element that omits all key fields {list(type_.list_keys)} "
            "(and doesn't have default values for any key fields)"
        )
    return managed.element(said)


# -- what a value sets --------------------------------------------------------------------------------------------


def of(type_: Type | None, value: Json) -> Fields:
    """Every field that a value sets: leaves, entries of maps, elements of lists. Raises NotIndexed."""
    result: dict[str, Fields] = {}
    if isinstance(value, dict):
        is_struct = type_ is not None and type_.kind == "struct"
        for key, inner in value.items():
            child = type_.child(key) if type_ is not None else None
            named = is_struct and child is not None
            if not is_granular(child, inner) or inner == {}:
                result[managed.field(key)] = NOTHING
            elif below := of(child, inner):
                result[managed.field(key)] = below if named else managed.with_itself(below)
            elif not named:
                result[managed.field(key)] = NOTHING
    elif isinstance(value, list) and type_ is not None:
        for step, items in indexed(type_, value).items():
            below = of(type_.item, items[0]) if len(items) == 1 and is_granular(type_.item, items[0]) else NOTHING
            result[step] = managed.with_itself(below)
    return result


def indexed(type_: Type, items: Sequence[Json]) -> dict[str, list[Json]]:
    """A granular list's elements by their steps; several of one step are duplicates. Raises NotIndexed."""
    result: dict[str, list[Json]] = {}
    for item in items:
        result.setdefault(step_of(type_, item), []).append(item)
    return result


def with_named(type_: Type | None, fields: Fields) -> Fields:
    """The set with all fields of structs that lead to what it has."""
    result: dict[str, Fields] = {}
    for step, below in fields.items():
        if step == managed.SELF:
            result[step] = below
            continue
        child, named = None, False
        if type_ is not None:
            if step.startswith("f:"):
                child = type_.child(step[2:])
                named = type_.kind == "struct" and child is not None
            elif step.startswith("k:"):
                child = type_.item
        inner = with_named(child, below) if below else NOTHING
        result[step] = managed.with_itself(inner) if named else inner
    return result


def stripped(fields: Fields) -> Fields:
    """Without what nobody owns."""
    result = {step: below for step, below in fields.items() if step[2:] not in _UNOWNED_SECTIONS}
    metadata = result.pop("f:metadata", None)
    if metadata:
        left = {step: below for step, below in metadata.items() if step[2:] not in _UNOWNED_METADATA and step != "."}
        if left:
            result["f:metadata"] = left
    return result


# -- what a change touches ----------------------------------------------------------------------------------------


class Comparison:
    """Fields that a change adds, changes and takes away; no field is in two of them."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.added: dict[str, Any] = {}
        self.modified: dict[str, Any] = {}
        self.removed: dict[str, Any] = {}

    def set_or_changed(self) -> Fields:
        return managed.union(self.modified, self.added)


def compare(type_: Type | None, old: Object, new: Object) -> Comparison:
    """Of two versions of an object; of what nobody owns it says nothing."""
    found = Comparison()
    for key in (*new, *[key for key in old if key not in new]):
        if key in _UNOWNED_SECTIONS:
            continue
        before, after = old.get(key, _MISSING), new.get(key, _MISSING)
        if before is after or before == after:
            continue
        child = type_.child(key) if type_ is not None else None
        if key == "metadata":
            below = Comparison()
            _compare_maps(below, child, _owned(before), _owned(after))
            _put(found, managed.field(key), below)
        else:
            _compare_one(found, managed.field(key), child, before, after, key in _NEVER_MISSING)
    return found


def set_by_new(type_: Type | None, new: Object) -> Fields:
    """What an object sets that there was not before, with its steps in order: `compare` with nothing."""
    result: dict[str, Fields] = {}
    for key, value in sorted(new.items()):
        if key in _UNOWNED_SECTIONS:
            continue
        child = type_.child(key) if type_ is not None else None
        if key == "metadata":
            if below := _all_of(child, _owned(value)):
                result["f:metadata"] = below
        elif (added := _added(child, value, key in _NEVER_MISSING)) is not None:
            result["f:" + key] = added
    return result


def _owned(metadata: Any) -> Mapping[str, Any]:
    if not is_struct(metadata) or metadata.keys() <= _UNOWNED_METADATA:
        return {}
    return {key: value for key, value in metadata.items() if key not in _UNOWNED_METADATA}


def unowned(metadata: Object) -> dict[str, Any]:
    """What of an object's metadata nobody owns."""
    return {key: value for key, value in metadata.items() if key in _UNOWNED_METADATA}


def _compare_one(
    found: Comparison, step: str, type_: Type | None, old: Any, new: Any, never_missing: bool = False
) -> None:
    """One field or element that differs."""
    if old is _MISSING:
        if (added := _added(type_, new, never_missing)) is not None:
            found.added[step] = added
        return
    empty = not old and (new is _MISSING or not new)
    old_granular = new_granular = is_granular(type_, new)
    if type(old) is not type(new):
        old_granular = is_granular(type_, old)
    if empty or not (old_granular or new_granular):
        _own(found.removed if new is _MISSING else found.modified, step)
        return
    below = Comparison()
    if new is not _MISSING and type(old) is not type(new):
        _own(found.modified, step)
        if old_granular:
            _compare_granular(below, type_, old, type(old)())
        if new_granular:
            _compare_granular(below, type_, type(new)(), new)
    elif new is _MISSING:
        _compare_granular(below, type_, old, type(old)())
        if not never_missing:
            _own(found.removed, step)
    else:
        _compare_granular(below, type_, old, new)
    _put(found, step, below)


def _added(type_: Type | None, new: Any, never_missing: bool = False) -> Fields | None:
    """What a value sets where there was none; None for nothing. No comparison: most of what is created is so."""
    if type(new) in _SCALARS or not new or not is_granular(type_, new):
        return NOTHING
    below = _all_of(type_, new)
    if never_missing:
        return below or None
    return managed.with_itself(below)


def _all_of(type_: Type | None, new: Any) -> dict[str, Fields]:
    """Of a granular value, its steps in order."""
    result: dict[str, Fields] = {}
    if is_struct(new):
        for key, inner in sorted(new.items()) if len(new) > 1 else new.items():
            if type(inner) in _SCALARS:
                result["f:" + key] = NOTHING
                continue
            child, never = _field_of(type_, key)
            if (fields := _added(child, inner, never)) is not None:
                result["f:" + key] = fields
    elif type_ is not None:
        try:
            steps = indexed(type_, new)
        except NotIndexed:
            return {}
        for step, items in sorted(steps.items()):
            is_one = len(items) == 1  # Duplicates are owned as one.
            result[step] = (_added(type_.item, items[0]) or NOTHING) if is_one else NOTHING
    return result


def _own(fields: dict[str, Any], step: str) -> None:
    below = fields.get(step)
    fields[step] = NOTHING if below is None else managed.with_itself(below)


def _put(found: Comparison, step: str, below: Comparison) -> None:
    """Written out, since most of the three are empty, and it is done for every part that differs."""
    if below.modified:
        found.modified[step] = managed.with_itself(below.modified) if step in found.modified else below.modified
    if below.added:
        found.added[step] = managed.with_itself(below.added) if step in found.added else below.added
    if below.removed:
        found.removed[step] = managed.with_itself(below.removed) if step in found.removed else below.removed


def _compare_granular(found: Comparison, type_: Type | None, old: Any, new: Any) -> None:
    if is_struct(new):
        _compare_maps(found, type_, old, new)
    elif type_ is not None:
        _compare_lists(found, type_, old, new)


def _compare_maps(found: Comparison, type_: Type | None, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for key, after in new.items():
        before = old.get(key, _MISSING)
        if before is after or before == after:
            continue
        if type(after) in _SCALARS and type(before) in _SCALARS:  # Most are, and quickly told.
            found.modified["f:" + key] = NOTHING
        else:
            child, never = _field_of(type_, key)
            _compare_one(found, "f:" + key, child, before, after, never)
    if old.keys() <= new.keys():
        return
    for key, before in old.items():
        if key not in new:
            child, never = _field_of(type_, key)
            _compare_one(found, "f:" + key, child, before, _MISSING, never)


def _field_of(type_: Type | None, key: str) -> tuple[Type | None, bool]:
    """(the type of what is under a key, whether it is there even before anybody sets it)."""
    if type_ is None:
        return None, False
    return type_.child(key), key in _NEVER_MISSING or key in type_.required


def _has_same_elements(type_: Type, old: Sequence[Any], new: Sequence[Any]) -> bool:
    """Whether both lists have the same elements by their one key, each once, in the same order: most that change do."""
    if len(old) != len(new) or len(type_.list_keys) != 1:
        return False
    key = type_.list_keys[0]
    try:
        before, after = [one[key] for one in old], [one[key] for one in new]
    except (KeyError, TypeError):  # They have defaults, or are none.
        return False
    is_same = before == after and frozenset(map(type, after)) <= _TEXTS  # To Python 1 and true are equal.
    return is_same and len(frozenset(after)) == len(after)


def _compare_lists(found: Comparison, type_: Type, old: Sequence[Any], new: Sequence[Any]) -> None:
    if _has_same_elements(type_, old, new):
        for one, other in zip(old, new):
            if one is not other and one != other:
                _compare_one(found, step_of(type_, other), type_.item, one, other)
        return
    try:
        before, after = indexed(type_, old), indexed(type_, new)
    except NotIndexed:
        return  # Of such a list upstream tells nothing either.
    item = type_.item
    for step in (*after, *(step for step in before if step not in after)):
        olds, news = before.get(step, ()), after.get(step, ())
        if len(olds) <= 1 and len(news) <= 1:
            one, other = olds[0] if olds else _MISSING, news[0] if news else _MISSING
            if one != other:
                _compare_one(found, step, item, one, other)
        elif len(olds) > 1 and len(news) > 1:  # Duplicates are owned as one.
            if olds != news:
                _own(found.modified, step)
        elif len(olds) > 1:
            if news:
                _compare_one(found, step, item, _MISSING, news[0])
            _own(found.removed, step)
        else:
            if olds:
                _compare_one(found, step, item, olds[0], _MISSING)
            _own(found.added, step)
