"""Server-side apply: a client says what it wants of an object, and the object becomes that and stays the rest.

`applying` merges the configuration into the live object (structs and maps field by field, elements of lists by their
keys, everything atomic as a whole), takes out what the same client applied before and nobody else owns, and says who
owns what then. A field that another owner set to a different value is a conflict, unless the client forces it; an
equal value is owned by both. All is pure. The rules are KEP-555's, the order of merged lists structured-merge-diff's.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from petset.base import well_known
from petset.objects import encoding, errors, managed, meta, owners, typed_fields
from petset.objects.managed import NOTHING, Fields
from petset.objects.meta import Json, Object
from petset.objects.owners import Owner
from petset.objects.typed_fields import NotIndexed, Type

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on the way: the object in another version of its kind."""

    obj: Object
    api_version: str


@dataclass(frozen=True, slots=True)
class Version:
    """The answer: the object there, and its type."""

    type_: Type | None
    obj: Object


Answer: TypeAlias = "Version | None"  # None: there is no such version of the kind.
Steps: TypeAlias = Generator[Asked, Answer, T]


def at_once(steps: Steps[T], type_: Type | None) -> T:
    """What comes of the steps when every version is taken to be as this one."""
    answer: Answer = None
    try:
        while True:
            answer = Version(type_, steps.send(answer).obj)
    except StopIteration as done:
        return done.value


def applying(
    live: Object,
    config: Object,
    type_: Type | None,
    owner: Owner,
    now: str,
    force: bool = False,
    ignored: Fields = NOTHING,
) -> Steps[Object]:
    """The object after the owner applied the configuration, with its managedFields. Raises Conflicts, NotTyped.

    `live` is an object of metadata alone where there is none yet; what is `ignored` the owner cannot own. On the way it
    asks for objects in those versions of the kind that other owners wrote in.
    """
    entries = owners.of(live)
    if not entries:
        before = typed_fields.compare(type_, {}, live).added
        first = Owner(owners.BEFORE_FIRST_APPLY, owners.UPDATE, owner.api_version, owner.subresource)
        fields = managed.without_all(before, ignored)
        entries = [first.entry(managed.ordered(fields), now)] if fields else []
    one = _Applying(live, config, type_, owner, now, ignored, entries)
    try:
        refuse_duplicates(type_, dict(config))
        try:
            result = yield from one.merged(force)
        except Conflicts as conflicts:
            if owner.manager != KUBECTL:
                raise
            _refuse_but(conflicts, _last_applied_fields(live, type_))
            result = yield from one.merged(True)
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

    def merged(self, force: bool) -> Steps[Object]:
        """Raises Conflicts, NotIndexed."""
        says = managed.without_all(typed_fields.of(self.type_, dict(self.config)), self.ignored)
        fields = typed_fields.stripped(says)
        own = next((entry for entry in self.entries if owners.key_of(entry) == self.owner.key), None)
        others = [entry for entry in self.entries if entry is not own]
        wanted: Any = merge(self.type_, dict(self.live), dict(self.config))
        if own is not None and all(entry["apiVersion"] == self.owner.api_version for entry in self.entries):
            held = managed.union(_METADATA, says)
            for entry in others:
                held = managed.union(held, entry["fieldsV1"])
            last = typed_fields.with_named(self.type_, own["fieldsV1"])
            gone = managed.difference(last, typed_fields.with_named(self.type_, held))
            wanted = without(self.type_, wanted, gone) or {}
        elif own is not None:
            wanted = yield from self._pruned(wanted, own, says)
        changes = yield from self._changes(wanted, others)
        if not force:
            self._refuse_conflicts(others, changes)
        kept = [
            left
            for entry in others
            if (change := changes[entry["apiVersion"]]) is not None
            and (left := owners.with_fields(entry, change.left(entry["fieldsV1"]))) is not None
        ]
        if fields:
            mine = changes[self.owner.api_version]
            kept.append(self._own(own, fields, mine is not None and mine.is_any))
        metadata = {**wanted["metadata"], "managedFields": _same_or(self.entries, owners.in_order(kept))}
        if not kept:
            del metadata["managedFields"]
        return {**wanted, "metadata": metadata}

    def _changes(self, wanted: Object, others: Sequence[Object]) -> Steps[Changes]:
        """What of the object changes, in the version of each owner."""
        mine = typed_fields.compare(self.type_, self.live, wanted)
        changes: Changes = {self.owner.api_version: _Change.of(mine, self.ignored)}
        for version in dict.fromkeys(entry["apiVersion"] for entry in others):
            if version not in changes:
                before, after = (yield Asked(self.live, version)), (yield Asked(wanted, version))
                changes[version] = None
                if before is not None and after is not None:
                    found = typed_fields.compare(after.type_, before.obj, after.obj)
                    changes[version] = _Change.of(found, self.ignored)
        return changes

    def _pruned(self, merged: Object, own: Object, says: Fields) -> Steps[Object]:
        """The merged object without what the owner applied before and nobody has now, where they differ in versions.

        What he applied goes, in the version he did that in, and what others hold comes back in each of theirs.
        """
        held: dict[str, Fields] = {self.owner.api_version: says}
        for entry in self.entries:
            if entry is not own:
                held[entry["apiVersion"]] = managed.union(held.get(entry["apiVersion"], NOTHING), entry["fieldsV1"])
        last: Fields = own["fieldsV1"]
        whole = yield Asked(merged, own["apiVersion"])
        if whole is None:
            return merged
        pruned = _less(whole, _leading(whole.type_, last))
        # In the version that lacks something first: to convert an object may need what is missing.
        for version in (own["apiVersion"], *(each for each in held if each != own["apiVersion"])):
            there, less = (yield Asked(whole.obj, version)), (yield Asked(_identified(pruned, whole.obj), version))
            if there is None or less is None:
                continue
            lost = managed.difference(_leading(there.type_, _set(there)), _leading(there.type_, _set(less)))
            gone = managed.difference(lost, _leading(there.type_, held.get(version, NOTHING)))
            if gone is lost:
                continue
            back = yield Asked(_less(there, gone), own["apiVersion"])
            pruned = back.obj if back is not None else pruned
        # Nothing goes but what he applied: not what merely was inside of it.
        gone = managed.difference(_set(whole), _set(Version(whole.type_, pruned)))
        result = yield Asked(_less(whole, managed.intersection(gone, last)), self.owner.api_version)
        return result.obj if result is not None else merged

    def _own(self, own: Object | None, fields: Fields, is_changed: bool) -> Object:
        entry = self.owner.entry(managed.ordered(fields), self.now)
        if own is None or is_changed or {**entry, "time": own.get("time")} != own:
            return entry
        return own

    def _refuse_conflicts(self, others: Sequence[Object], changes: Changes) -> None:
        found: list[Conflict] = []
        for entry in others:
            change = changes[entry["apiVersion"]]
            if change is not None:
                conflicting = managed.intersection(entry["fieldsV1"], change.set_or_changed)
                found += [Conflict(entry, path) for path in managed.paths(managed.ordered(conflicting))]
        if found:
            raise Conflicts(found)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a write does to the fields that can be owned, in one version."""

    set_or_changed: Fields
    removed: Fields

    @classmethod
    def of(cls, found: typed_fields.Comparison, ignored: Fields) -> _Change:
        return cls(managed.without_all(found.set_or_changed(), ignored), managed.without_all(found.removed, ignored))

    @property
    def is_any(self) -> bool:
        return bool(self.set_or_changed or self.removed)

    def left(self, fields: Fields) -> Fields:
        """Of an owner's fields."""
        return managed.difference(managed.difference(fields, self.set_or_changed), self.removed)


Changes: TypeAlias = "dict[str, _Change | None]"  # By apiVersion; None: of which there is none.


def _leading(type_: Type | None, fields: Fields) -> Fields:
    return typed_fields.with_named(type_, fields)


def _set(version: Version) -> Fields:
    return typed_fields.of(version.type_, dict(version.obj))


def _less(version: Version, gone: Fields) -> Object:
    left: Any = without(version.type_, dict(version.obj), gone)
    return left or {}


def _identified(obj: Object, whole: Object) -> Object:
    """The object with what it needs to be converted at all."""
    metadata = typed_fields.unowned(whole["metadata"]) | dict(obj.get("metadata") or {})
    return {**obj, "apiVersion": whole["apiVersion"], "kind": whole["kind"], "metadata": metadata}


def _same_or(old: Sequence[Object], new: Sequence[Object]) -> Sequence[Object]:
    """The old list when the new one has the very same entries."""
    return old if len(old) == len(new) and all(a is b for a, b in zip(old, new)) else new


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
