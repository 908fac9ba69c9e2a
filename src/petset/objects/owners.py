"""Who owns which fields of an object: the entries of metadata.managedFields, and how a write changes them.

An entry is one way of writing by one client: its manager, operation (Apply or Update), subresource and, but for Apply,
apiVersion. A write owns what it sets or changes and takes it from everybody else; what it removes nobody owns. An
entry without fields goes. At most UPDATERS_MAX entries of updates are kept; the oldest become one.

Entries are frozen like all of an object, and those that a write does not touch stay the same. An entry's time is that
of the last write that set or changed something. As upstream's fieldmanager has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from petset.base import memory
from petset.objects import managed, typed_fields
from petset.objects.errors import FieldError
from petset.objects.managed import NOTHING, Fields
from petset.objects.meta import Json, Object, is_struct

APPLY, UPDATE = "Apply", "Update"
UPDATERS_MAX = 10
WRITES_KNOWN_MAX = 256
BEFORE_FIRST_APPLY, ANCIENT_CHANGES = "before-first-apply", "ancient-changes"
NAME_BYTES_MAX, SUBRESOURCE_BYTES_MAX = 128, 256

Key = tuple[str, str, str, str]


@dataclass(slots=True)  # Never changed; to freeze it would take longer than to make it.
class Owner:
    """One way of writing by one client."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def key(self) -> Key:
        return _key(self.manager, self.operation, self.api_version, self.subresource)

    def entry(self, fields: Fields, time: str) -> Object:
        """An entry of these fields, whose steps are in order."""
        entry: dict[str, Any] = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version}
        if time:
            entry["time"] = time
        entry["fieldsType"], entry["fieldsV1"] = "FieldsV1", fields
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry


def _key(manager: str, operation: str, api_version: str, subresource: str) -> Key:
    """Who applies is the same in every version of the kind."""
    return manager, operation, "" if operation == APPLY else api_version, subresource


def key_of(entry: Object) -> Key:
    return _key(
        entry.get("manager", ""), entry["operation"], entry.get("apiVersion", ""), entry.get("subresource") or ""
    )


def of(obj: Object) -> Sequence[Object]:
    return obj["metadata"].get("managedFields") or ()


def with_entries(obj: Object, entries: Sequence[Object]) -> Object:
    """The object with these; itself when it has them."""
    metadata = obj["metadata"]
    if entries is metadata.get("managedFields") or (not entries and "managedFields" not in metadata):
        return obj
    if not entries:
        return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
    return {**obj, "metadata": {**metadata, "managedFields": entries}}


def is_unchanged(new: Object, old: Object) -> bool:
    """Whether two versions are equal but for the times of their entries: such a write is none."""
    if new.keys() != old.keys():
        return False
    for key, value in new.items():
        if key != "metadata" and value is not old[key] and value != old[key]:
            return False
    return new["metadata"] == old["metadata"] or _is_same_metadata(new["metadata"], old["metadata"])


def _is_same_metadata(new: Object, old: Object) -> bool:
    if new.keys() != old.keys() or any(new[key] != old[key] for key in new if key != "managedFields"):
        return False
    return _timeless(new.get("managedFields") or ()) == _timeless(old.get("managedFields") or ())


def _timeless(entries: Sequence[Object]) -> list[Object]:
    return in_order([{key: value for key, value in entry.items() if key != "time"} for entry in entries])


# -- what a client says of them -----------------------------------------------------------------------------------


def given(entries: Json, live: Sequence[Object]) -> Sequence[Object]:
    """The entries to go on from, when an update names some: those it names, if they can be read and say something.

    One empty entry alone resets all. What cannot be read is passed over, as upstream does, so that a client that does
    not understand them does no harm.
    """
    if entries is live or not isinstance(entries, list) or not entries or entries == live:
        return live
    if entries == [{}]:
        return ()
    try:
        read = [_read(entry) for entry in entries]
    except ValueError:
        return live
    return in_order(_once({key_of(entry): entry for entry in read}.values()))


def _once(entries: Iterable[Object]) -> list[Object]:
    return [entry for entry in entries if entry["fieldsV1"]]


def _read(entry: Json) -> Object:
    """Raises ValueError."""
    if not is_struct(entry) or entry.get("operation") not in (APPLY, UPDATE):
        raise ValueError("operation must be `Apply` or `Update`")
    if not entry.get("apiVersion") or entry.get("fieldsType") != "FieldsV1":
        raise ValueError("apiVersion and fieldsType must be given")
    fields: Any = entry.get("fieldsV1")
    return {**entry, "fieldsV1": managed.read(fields if fields is not None else {})}


def wrong(entries: Json) -> list[FieldError]:
    """What is wrong with the entries that an update names."""
    found: list[FieldError] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not is_struct(entry):
            continue
        path = f"metadata.managedFields[{index}]"
        for name, most in (("manager", NAME_BYTES_MAX), ("subresource", SUBRESOURCE_BYTES_MAX)):
            text: Any = entry.get(name) or ""
            if isinstance(text, str) and len(text.encode(errors="replace")) > most:
                found.append(FieldError.too_long(f"{path}.{name}", most))
    return found


# -- what a write does to them ------------------------------------------------------------------------------------


Comparisons: TypeAlias = "Mapping[str, typed_fields.Comparison | None]"  # By apiVersion; None: of which there is none.
NO_OTHERS: Comparisons = {}


def other_versions(entries: Sequence[Object], api_version: str) -> list[str]:
    """The versions that owners wrote in, but this one."""
    if not entries:
        return []
    return list(dict.fromkeys([entry["apiVersion"] for entry in entries if entry["apiVersion"] != api_version]))


def updated(
    entries: Sequence[Object],
    found: typed_fields.Comparison,
    owner: Owner,
    now: str,
    others: Comparisons = NO_OTHERS,
) -> Sequence[Object]:
    """After the owner changed the object so; the same entries where nothing is to change.

    What the write changes is the owner's alone, what it removes nobody's. `others` is the same change in other versions
    of the kind; in one that is not there it is taken as it is in the owner's.
    """
    changed = found.set_or_changed()
    if not changed and not found.removed:
        return entries
    key, kept, owned, is_same = owner.key, list[Object](), False, True
    touched = managed.union(changed, found.removed)
    touched_in = {version: one and managed.union(one.set_or_changed(), one.removed) for version, one in others.items()}
    for entry in entries:
        fields: Fields = entry["fieldsV1"]
        if key_of(entry) == key:
            owned = True
            left = _lately.after(fields, changed, found.removed)
            if changed or left is not fields:
                time = now if changed else entry.get("time", "")
                entry = _with(entry, left, time)
        else:
            there = touched_in.get(entry["apiVersion"], touched) if touched_in else touched
            left = managed.difference(fields, there) if there is not None else NOTHING
            if left is not fields:
                entry = _with(entry, left, entry.get("time", ""))
        is_same = is_same and left is fields and not changed
        if left:
            kept.append(entry)
    if not owned and changed:
        kept.append(owner.entry(managed.ordered(changed), now))
        is_same = False
    if is_same:
        return entries
    return in_order(capped(kept)) if len(kept) > 1 else kept


class _Lately:
    """Writes after which their owner had the fields that he had before: one says its status again and again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Fields, Fields, Fields]] = {}  # By the identity of the fields, which it keeps.

    def after(self, fields: Fields, changed: Fields, removed: Fields) -> Fields:
        """What he has after he changed and removed these; the same where it is as before."""
        known = self._known.get(id(fields))
        if known is not None and known[1] == changed and known[2] == removed:
            return fields
        left = managed.union(managed.difference(fields, removed), changed)
        if left is fields:
            if len(self._known) >= WRITES_KNOWN_MAX:
                self._known.clear()
            self._known[id(fields)] = fields, changed, removed
        return left

    def forget(self) -> None:
        self._known.clear()


_lately = _Lately()
memory.at_rest.add(_lately.forget)


def _with(entry: Object, fields: Fields, time: str) -> Object:
    if fields is entry["fieldsV1"] and time == entry.get("time", ""):
        return entry
    ordered = fields if fields is entry["fieldsV1"] else managed.ordered(fields)
    changed: dict[str, Any] = {**entry, "fieldsV1": ordered}
    if time:
        changed["time"] = time
    return changed


def with_fields(entry: Object, fields: Fields) -> Object | None:
    """The entry with other fields; None without any."""
    return _with(entry, fields, entry.get("time", "")) if fields else None


def capped(entries: Sequence[Object]) -> Sequence[Object]:
    """The oldest updates made one, of each apiVersion, until there are at most UPDATERS_MAX."""
    updates = [entry for entry in entries if entry["operation"] == UPDATE]
    surplus = len(updates) - UPDATERS_MAX
    if surplus <= 0:
        return entries
    updates.sort(key=lambda entry: (entry.get("time", ""), entry.get("manager", "")))
    buckets: dict[str, list[Object]] = {}
    for entry in updates:
        if surplus <= 0:
            break
        bucket = buckets.setdefault(entry["apiVersion"], [])
        bucket.append(entry)
        surplus -= len(bucket) > 1  # The first of a bucket only gets another name.
    gone = {id(entry) for bucket in buckets.values() if len(bucket) > 1 for entry in bucket}
    kept = {key_of(entry): entry for entry in entries if id(entry) not in gone}
    for version, bucket in buckets.items():
        if len(bucket) == 1:
            continue
        owner = Owner(ANCIENT_CHANGES, UPDATE, version)
        fields: Fields = kept[owner.key]["fieldsV1"] if owner.key in kept else NOTHING
        for entry in bucket:
            fields = managed.union(fields, entry["fieldsV1"])
        kept[owner.key] = owner.entry(managed.ordered(fields), bucket[-1].get("time", ""))
    return list(kept.values())


def in_order(entries: Sequence[Object]) -> list[Object]:
    """Who applies first, then by time."""
    return sorted(
        entries,
        key=lambda entry: (
            entry["operation"],
            entry.get("time", ""),
            entry.get("manager", ""),
            entry.get("apiVersion", ""),
            entry.get("subresource") or "",
        ),
    )
