"""Filling in what a frozen tree lacks, without copying what is complete already.

Every function returns the tree it was given when there was nothing to do, so that "nothing changed" is seen by `is`.
Two kinds of "nothing" follow the types of the API: where a zero means something (replicas,
terminationGracePeriodSeconds) only an absent field is filled (`fill`); elsewhere an empty text, list or 0 is nothing
too (`fill_empty`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from petset.objects.meta import Object


def fill(obj: Object, values: Mapping[str, Any]) -> Object:
    """The object with each of these fields that it lacks."""
    missing = {key: value for key, value in values.items() if key not in obj}
    return {**obj, **missing} if missing else obj


def fill_empty(obj: Object, values: Mapping[str, Any]) -> Object:
    """The object with each of these fields that it lacks or that is empty or zero."""
    missing = {key: value for key, value in values.items() if not obj.get(key)}
    return {**obj, **missing} if missing else obj


def at(obj: Object, key: str, default: Callable[[Any], Any]) -> Object:
    """The object with a changed field, if it has that field and `default` changes it."""
    value = obj.get(key)
    if value is None:
        return obj
    new = default(value)
    return obj if new is value else {**obj, key: new}


def each(items: Sequence[Any], default: Callable[[Any], Any]) -> Sequence[Any]:
    """The list with each element's defaults; the same list when nothing changed."""
    new = [default(item) for item in items]
    return items if all(a is b for a, b in zip(items, new)) else new


def within(obj: Object, key: str, default: Callable[[Any], Any]) -> Object:
    """`at`, for a struct that is always there."""
    return at(obj if isinstance(obj.get(key), dict) else {**obj, key: {}}, key, default)


def status_of_new(status: Object) -> Callable[[Object, Object | None], Object]:
    """A new object begins with this status, whatever its creator wrote there."""

    def prepare(new: Object, old: Object | None) -> Object:
        return {**new, "status": status} if old is None and new.get("status") != status else new

    return prepare
