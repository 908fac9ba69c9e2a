"""Sets of fields, as metadata.managedFields writes them (FieldsV1): who owns what of an object.

A set is the tree that is stored: a key is one step of a path (`f:name` a field, `k:{...}` the element of a list with
these keys, `v:...` an element of a set, `i:0` a place), its value what is owned below. An empty tree owns the step
itself; one that holds more owns the step itself only with a "." among it. So nothing is decoded or encoded to ask, and
equal sets are one in memory like all equal parts of objects.

Sets are frozen. Union and difference walk the second set only and return the first one itself where nothing changes,
so that a small change of a large object costs little. `read` brings a stranger's text into the one spelling that the
rest counts on. Described in structured-merge-diff and in the API reference of ManagedFieldsEntry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from petset.base import memory
from petset.objects import encoding, remembered
from petset.objects.meta import Json

Fields: TypeAlias = "Mapping[str, Fields]"
NOTHING: Fields = {}
SELF = "."
NAMED_CACHED_MAX = 2048
ITSELF: Fields = {SELF: NOTHING}
Path = tuple[str, ...]


# -- steps of a path ----------------------------------------------------------------------------------------------


def field(name: str) -> str:
    return f"f:{name}"


def element_named(key: str, value: str) -> str:
    """The step to the element of a list with this one key."""
    return _named(key, value) if len(value) <= remembered.CHARACTERS_MAX else element({key: value})


@memory.cached(NAMED_CACHED_MAX)
def _named(key: str, value: str) -> str:
    return element({key: value})


def element(keys: Mapping[str, Json]) -> str:
    """The step to the element of a list with these keys."""
    return "k:" + encoding.dumps_sorted(keys).decode()


def member(value: Json) -> str:
    """The step to an element of a set."""
    return "v:" + encoding.dumps_sorted(value).decode()


def text(path: Path) -> str:
    """As messages write it: .spec.containers[name="web"].image."""
    return "".join(map(_step_text, path))


def _step_text(step: str) -> str:
    sort, rest = step[:2], step[2:]
    match sort:
        case "f:":
            return f".{rest}"
        case "k:":
            keys: Mapping[str, Json] = encoding.loads(rest)
            return "[" + ",".join(f"{key}={_shown(value)}" for key, value in keys.items()) + "]"
        case "v:":
            return f"[={_shown(encoding.loads(rest))}]"
        case _:
            return f"[{rest}]"


def _shown(value: Json) -> str:
    return encoding.dumps(value).decode()


# -- reading ------------------------------------------------------------------------------------------------------


def read(tree: Json) -> Fields:
    """A set that somebody wrote, in the one spelling. Raises ValueError for what is none.

    Steps of a sort that is not known are left out: a later version may know them.
    """
    if not isinstance(tree, dict):
        raise ValueError("fieldsV1 must be an object")
    fields = ordered(_children(tree))
    return {step: below for step, below in fields.items() if step != SELF}


def _children(tree: Mapping[str, Json]) -> Fields:
    result: dict[str, Fields] = {}
    for step, below in tree.items():
        if not isinstance(below, dict):
            raise ValueError(f"fieldsV1: what is below {step[:100]!r} must be an object")
        if step == SELF:
            result[SELF] = NOTHING
        elif (spelled := _spelled(step)) is not None:
            result[spelled] = _children(below)
    return NOTHING if result.keys() == ITSELF.keys() else result


def _spelled(step: str) -> str | None:
    """The step as this module writes it; None for one of an unknown sort. Raises ValueError."""
    sort, rest = step[:2], step[2:]
    match sort:
        case "f:":
            return step
        case "k:":
            keys: Json = encoding.loads(rest)
            if not isinstance(keys, dict):
                raise ValueError(f"fieldsV1: {step[:100]!r} has no keys")
            return element(keys)
        case "v:":
            return member(encoding.loads(rest))
        case "i:":
            return f"i:{int(rest[:20])}"
        case _ if step[1:2] == ":":
            return None
        case _:
            raise ValueError(f"fieldsV1: {step[:100]!r} is no step of a path")


def ordered(fields: Fields) -> Fields:
    """The same set with its steps in order, so that equal sets have equal texts."""
    return {step: ordered(below) if below else NOTHING for step, below in sorted(fields.items())}


# -- algebra ------------------------------------------------------------------------------------------------------


def owns_itself(below: Fields) -> bool:
    return not below or SELF in below


def union(a: Fields, b: Fields) -> Fields:
    """What either has; `a` itself when it has all, `b` itself when `a` has nothing."""
    if a is b or not b:
        return a
    if not a:
        return b
    result: dict[str, Fields] | None = None
    for step, added in b.items():
        old = a.get(step)
        new = added if old is None else _joined(old, added)
        if new is not old:
            if result is None:
                result = dict(a)
            result[step] = new
    return a if result is None else result


def _joined(old: Fields, added: Fields) -> Fields:
    """Of one step in two sets."""
    if not added:
        return old if owns_itself(old) else {SELF: NOTHING, **old}
    if not old:
        return added if SELF in added else {SELF: NOTHING, **added}
    return union(old, added)


def difference(a: Fields, b: Fields) -> Fields:
    """What a has and b has not; `a` itself when that is all. What is below a step of b's stays."""
    return _without(a, b, False)


def without_all(a: Fields, b: Fields) -> Fields:
    """What a has without b's fields and all that is below them."""
    return _without(a, b, True)


def _without(a: Fields, b: Fields, with_children: bool) -> Fields:
    result: dict[str, Fields] | None = None
    for step, taken in b.items():
        old = a.get(step)
        if old is None or step == SELF:
            continue
        new = None if with_children and owns_itself(taken) else _left(old, taken, with_children)
        if new is old:
            continue
        if result is None:
            result = dict(a)
        if new is None:
            del result[step]
        else:
            result[step] = new
    return a if result is None else result


def _left(old: Fields, taken: Fields, with_children: bool) -> Fields | None:
    """Of one step that both have; None when nothing is left."""
    if not old:
        return None if owns_itself(taken) else old
    if not taken:
        if SELF not in old:
            return old
        return {step: below for step, below in old.items() if step != SELF}
    left = _without(old, taken, with_children)
    if SELF in taken and SELF in left:
        left = {step: below for step, below in left.items() if step != SELF}
        return left or None
    if left is old:
        return old
    if left.keys() == ITSELF.keys():
        return NOTHING
    return left or None


def intersection(a: Fields, b: Fields) -> Fields:
    """What both have."""
    result: dict[str, Fields] = {}
    if len(b) < len(a):
        a, b = b, a
    for step, one in a.items():
        other = b.get(step)
        if other is None or step == SELF:
            continue
        own = owns_itself(one) and owns_itself(other)
        below = intersection(one, other) if one and other else NOTHING
        if below:
            result[step] = {SELF: NOTHING, **below} if own else below
        elif own:
            result[step] = NOTHING
    return result


def with_itself(below: Fields) -> Fields:
    """What a step has below it, for a set that has the step, too."""
    return {SELF: NOTHING, **below} if below and SELF not in below else below


def paths(fields: Fields, before: Path = ()) -> Iterator[Path]:
    """Every field of the set, those of one level before what is below them."""
    for step, below in fields.items():
        if step != SELF and owns_itself(below):
            yield (*before, step)
    for step, below in fields.items():
        if step != SELF and below:
            yield from paths(below, (*before, step))
