"""Server-side apply: a client says what it wants of an object, and the object becomes that and stays the rest.

`applied` merges the configuration into the live object (structs and maps field by field, elements of lists by their
keys, everything atomic as a whole), takes out what the same client applied before and nobody else owns, and says who
owns what then. A field that another owner set to a different value is a conflict, unless the client forces it; an
equal value is owned by both. All is pure. The rules are KEP-555's, the order of merged lists structured-merge-diff's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.objects import encoding, errors, managed, meta, owners, typed_fields
from petset.objects.managed import NOTHING, Fields
from petset.objects.meta import Json, Object
from petset.objects.owners import Owner
from petset.objects.typed_fields import NotIndexed, Type

_METADATA: Fields = {"f:metadata": {"f:name": NOTHING}}  # An object never loses it.
LAST_APPLIED_BYTES_MAX = 256 << 10  # Of all annotations, as upstream.
KUBECTL = "kubectl"


@dataclass(frozen=True, slots=True)
class Conflict:
    entry: Object  # Whose field it is.
    path: managed.Path


class Conflicts(Exception):
    """The configuration sets fields that others own to other values."""

    def __init__(self, found: Sequence[Conflict]):
        super().__init__(f"{len(found)} conflicts")
        self.found = found


class NotTyped(ValueError):
    """The configuration does not fit the type of the object."""


def applied(
    live: Object,
    config: Object,
    type_: Type | None,
    owner: Owner,
    now: str,
    force: bool = False,
    ignored: Fields = NOTHING,
) -> Object:
    """The object after the owner applied the configuration, with its managedFields. Raises Conflicts, NotTyped.

    `live` is an object of metadata alone where there is none yet; what is `ignored` the owner cannot own.
    """
    entries = owners.of(live)
    if not entries:
        before = typed_fields.compare(type_, {}, live).added
        first = Owner(owners.BEFORE_FIRST_APPLY, owners.UPDATE, owner.api_version, owner.subresource)
        fields = managed.without_all(before, ignored)
        entries = [first.entry(managed.ordered(fields), now)] if fields else []
    applying = _Applying(live, config, type_, owner, now, ignored, entries)
    try:
        refuse_duplicates(type_, dict(config))
        try:
            result = applying.merged(force)
        except Conflicts as conflicts:
            if owner.manager != KUBECTL:
                raise
            _refuse_but(conflicts, _last_applied_fields(live, type_))
            result = applying.merged(True)
    except NotIndexed as error:
        raise NotTyped(str(error)) from None
    return _with_last_applied(result, config) if owner.manager == KUBECTL else result


@dataclass(frozen=True, slots=True)
class _Applying:
    live: Object
    config: Object
    type_: Type | None
    owner: Owner
    now: str
    ignored: Fields
    entries: Sequence[Object]

    def merged(self, force: bool) -> Object:
        """Raises Conflicts, NotIndexed."""
        says = managed.without_all(typed_fields.of(self.type_, dict(self.config)), self.ignored)
        fields = typed_fields.stripped(says)
        own = next((entry for entry in self.entries if owners.key_of(entry) == self.owner.key), None)
        others = [entry for entry in self.entries if entry is not own]
        wanted: Any = merge(self.type_, dict(self.live), dict(self.config))
        if own is not None:
            held = managed.union(_METADATA, says)
            for entry in others:
                held = managed.union(held, entry["fieldsV1"])
            last = typed_fields.with_named(self.type_, own["fieldsV1"])
            gone = managed.difference(last, typed_fields.with_named(self.type_, held))
            wanted = without(self.type_, wanted, gone) or {}
        found = typed_fields.compare(self.type_, self.live, wanted)
        changed = managed.without_all(found.set_or_changed(), self.ignored)
        removed = managed.without_all(found.removed, self.ignored)
        if not force:
            self._refuse_conflicts(others, changed)
        kept = [
            left
            for entry in others
            if (left := owners.with_fields(entry, _left(entry["fieldsV1"], changed, removed))) is not None
        ]
        if fields:
            kept.append(self._own(own, fields, bool(changed or removed)))
        metadata = {**wanted["metadata"], "managedFields": _same_or(self.entries, owners.in_order(kept))}
        if not kept:
            del metadata["managedFields"]
        return {**wanted, "metadata": metadata}

    def _own(self, own: Object | None, fields: Fields, is_changed: bool) -> Object:
        entry = self.owner.entry(managed.ordered(fields), self.now)
        if own is None or is_changed or {**entry, "time": own.get("time")} != own:
            return entry
        return own

    def _refuse_conflicts(self, others: Sequence[Object], changed: Fields) -> None:
        found: list[Conflict] = []
        for entry in others:
            conflicting = managed.intersection(entry["fieldsV1"], changed)
            found += [Conflict(entry, path) for path in managed.paths(managed.ordered(conflicting))]
        if found:
            raise Conflicts(found)


def _same_or(old: Sequence[Object], new: Sequence[Object]) -> Sequence[Object]:
    """The old list when the new one has the very same entries."""
    return old if len(old) == len(new) and all(a is b for a, b in zip(old, new)) else new


def _left(fields: Fields, changed: Fields, removed: Fields) -> Fields:
    return managed.difference(managed.difference(fields, changed), removed)


# -- merging ------------------------------------------------------------------------------------------------------


def merge(type_: Type | None, old: Json, new: Json) -> Json:
    """The old value with what the new one says. Raises NotIndexed."""
    if not typed_fields.is_granular(type_, new) or type(old) is not type(new):
        return new
    if not new:
        return old
    if isinstance(old, dict) and isinstance(new, dict):
        result = dict(old)
        for key, value in new.items():
            child = type_.child(key) if type_ is not None else None
            result[key] = merge(child, old[key], value) if key in old else value
        return result
    if isinstance(old, list) and isinstance(new, list) and type_ is not None:
        return _merged_lists(type_, old, new)
    return new


def refuse_duplicates(type_: Type | None, value: Json) -> None:
    """Raises NotIndexed for elements of one key, anywhere in the value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            child = type_.child(key) if type_ is not None else None
            if typed_fields.is_granular(child, inner):
                refuse_duplicates(child, inner)
    elif isinstance(value, list) and type_ is not None:
        for step, items in typed_fields.indexed(type_, value).items():
            if len(items) > 1:
                raise NotIndexed(f"duplicate entries for key {managed.text((step,))}")
            if typed_fields.is_granular(type_.item, items[0]):
                refuse_duplicates(type_.item, items[0])


def _merged_lists(type_: Type, old: Sequence[Json], new: Sequence[Json]) -> list[Json]:
    """The new list's elements in its order, and the old one's others where they stood between them."""
    before = typed_fields.indexed(type_, old)
    after = {step: items[0] for step, items in typed_fields.indexed(type_, new).items()}
    waiting = _Waiting(after)
    shared = iter([step for step in after if step in before])
    following = next(shared, None)
    result: list[Json] = []

    def made(step: str) -> Json:
        olds = before.get(step, ())
        return merge(type_.item, olds[0], after[step]) if len(olds) == 1 else after[step]

    for item in old:
        step = typed_fields.step_of(type_, item)
        if step not in after:
            result.append(item)
        elif step == following:
            result += [made(each) for each in waiting.until(step)]
            following = next(shared, None)
    result += [made(each) for each in waiting.until(None)]
    return result


class _Waiting:
    """Steps that are still to come, in order."""

    def __init__(self, steps: Mapping[str, Json]):
        self._steps = iter(steps)

    def until(self, last: str | None) -> Iterator[str]:
        for step in self._steps:
            yield step
            if step == last:
                return


# -- taking away --------------------------------------------------------------------------------------------------


def without(type_: Type | None, value: Json, gone: Fields) -> Json:
    """The value without these fields; None when nothing is left of a granular one."""
    if not gone or not typed_fields.is_granular(type_, value):
        return value
    if isinstance(value, dict):
        result: dict[str, Json] = {}
        for key, inner in value.items():
            below = gone.get(managed.field(key))
            if below is not None:
                if managed.owns_itself(below):
                    continue
                inner = without(type_.child(key) if type_ is not None else None, inner, below)
                if inner is None:
                    continue
            result[key] = inner
        return result or None
    if isinstance(value, list) and type_ is not None:
        kept: list[Json] = []
        for item in value:
            below = gone.get(typed_fields.step_of(type_, item))
            if below is not None and managed.owns_itself(below):
                continue
            kept.append(without(type_.item, item, below) if below else item)
        return kept or None
    return value


# -- what kubectl applied before, on its own side -----------------------------------------------------------------


def _last_applied(live: Object) -> str:
    return meta.annotations(live).get(well_known.LAST_APPLIED_ANNOTATION, "")


def _last_applied_fields(live: Object, type_: Type | None) -> Fields:
    """What kubectl apply set and is still so: its server-side apply may take it over."""
    try:
        last = encoding.loads(_last_applied(live))
        if not meta.is_struct(last) or not meta.is_struct(last.get("metadata")):
            return NOTHING
        fields = typed_fields.of(type_, last)
    except ValueError:
        return NOTHING
    found = typed_fields.compare(type_, last, live)
    for differing in (found.modified, found.added, found.removed):
        fields = managed.difference(fields, differing)
    return fields


def _refuse_but(conflicts: Conflicts, allowed: Fields) -> None:
    """Raises Conflicts for those that are not allowed."""
    permitted = frozenset(managed.paths(allowed))
    left = [conflict for conflict in conflicts.found if conflict.path not in permitted]
    if left:
        raise Conflicts(left)


def _with_last_applied(obj: Object, config: Object) -> Object:
    """kubectl's annotation, where it is, says what was applied now."""
    if not _last_applied(obj):
        return obj
    metadata: dict[str, Any] = dict(config["metadata"])
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != well_known.LAST_APPLIED_ANNOTATION}
    text = encoding.dumps_sorted({**config, "metadata": metadata}).decode() + "\n"
    annotations = {**obj["metadata"]["annotations"], well_known.LAST_APPLIED_ANNOTATION: text}
    if sum(len(key) + len(value) for key, value in annotations.items()) > LAST_APPLIED_BYTES_MAX:
        del annotations[well_known.LAST_APPLIED_ANNOTATION]
    return meta.changed(obj, ("metadata", "annotations"), annotations)


# -- conflicts, told ----------------------------------------------------------------------------------------------


def refusal(conflicts: Conflicts) -> errors.ApiError:
    """409, as kubectl prints it."""
    found = conflicts.found
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_named(conflict.entry)}",
            "field": managed.text(conflict.path),
        }
        for conflict in found
    ]
    if len(found) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        by_owner: dict[str, list[str]] = {}
        for conflict in found:
            by_owner.setdefault(_named(conflict.entry), []).append(managed.text(conflict.path))
        lines = [
            line
            for named, paths in sorted(by_owner.items())
            for line in (f"conflicts with {named}:", *(f"- {path}" for path in paths))
        ]
        message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return errors.ApiError(409, "Conflict", message, {"causes": causes})


def _named(entry: Object) -> str:
    named = encoding.dumps(entry.get("manager", "")).decode()
    if entry.get("subresource"):
        named += f" with subresource {encoding.dumps(entry['subresource']).decode()}"
    if entry["operation"] == owners.UPDATE:
        named += f" using {entry['apiVersion']}"
    return named
