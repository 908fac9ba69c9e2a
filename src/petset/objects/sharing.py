"""Equal parts of objects made one: the pods of a set differ by a few names, and everything else of them is kept once.

`shared(tree)` is an equal tree that consists, as far as they are known, of the parts of trees before it. Trees are
frozen, so nobody can tell; two thirds of a pod are saved. What has no spec (an Event, a
ConfigMap) is left alone: its content is its own.

A part is known by its JSON, so that 1, 1.0 and true stay what they are. What was not met again for some time is
forgotten: a generation of KNOWN_BYTES_MAX begins, and the one before the last goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.base import memory
from petset.objects import encoding
from petset.objects.meta import Json, Object

OBJECT_BYTES_MAX = 16 << 10  # A larger one is left as it is: it would hold up the loop, and there are few of them.
PART_BYTES_MAX = 4096  # A larger part is not kept, but those that it is made of are.
TEXT_CHARACTERS_MAX = 64
KNOWN_BYTES_MAX = 128 << 10  # Of the JSON and the texts of one generation; there are two.


class Parts:
    """The parts met lately."""

    def __init__(self, bytes_max: int = KNOWN_BYTES_MAX):
        self._bytes_max, self._bytes = bytes_max, 0
        self._recent: dict[bytes | str, Any] = {}
        self._older: dict[bytes | str, Any] = {}

    def of(self, value: Json) -> Any:
        """The equal part or text met before, or this one made of such parts."""
        if isinstance(value, (dict, list)):
            return self._one(value)
        return (self._recent.get(value) or self._text(value)) if isinstance(value, str) else value

    def _text(self, text: str) -> Any:
        """One that was not met lately."""
        return self._keep(text, self._older.get(text, text)) if len(text) <= TEXT_CHARACTERS_MAX else text

    def _one(self, part: dict[str, Json] | list[Json]) -> Any:
        text = encoding.dumps(part)
        known = self._recent.get(text)
        if known is not None:
            return known
        known = self._older.get(text)
        if known is None:
            known = self.made(part)
        return self._keep(text, known) if len(text) <= PART_BYTES_MAX else known

    def made(self, part: dict[str, Json] | list[Json]) -> Any:
        """The part made of shared ones: `of` each, written out for texts that were met lately, which most are."""
        met, text, of = self._recent.get, self._text, self.of
        if isinstance(part, dict):
            return {key: (met(one) or text(one)) if type(one) is str else of(one) for key, one in part.items()}
        return [(met(one) or text(one)) if type(one) is str else of(one) for one in part]

    def _keep(self, mark: bytes | str, part: Any) -> Any:
        self._recent[mark] = part
        self._bytes += len(mark)
        if self._bytes > self._bytes_max:
            self._older, self._recent, self._bytes = self._recent, {}, 0
        return part

    def forget(self) -> None:
        self._recent, self._older, self._bytes = {}, {}, 0


_parts = Parts()
memory.at_rest.add(_parts.forget)


def shared(tree: Mapping[str, Json], size_bytes: int, before: Object | None = None) -> Object:
    """The tree, of shared parts; what it has of the version before is such already. Its size is that of its JSON."""
    if type(tree.get("spec")) is not dict or size_bytes > OBJECT_BYTES_MAX:
        return tree
    changed = dict(tree)
    for section, part in tree.items():
        if before is not None and part is before.get(section):
            continue
        if section == "metadata" and isinstance(part, dict):
            changed[section] = _metadata(part, before["metadata"] if before is not None else {})
        else:
            changed[section] = _parts.of(part)
    return changed


def _metadata(part: Mapping[str, Json], before: Object) -> dict[str, Any]:
    """Its own: never that of another object. What it has of the version before is shared already."""
    known: dict[str, Any] = {}
    changed = {key: value for key, value in part.items() if value is not before.get(key)}
    entries = changed.pop("managedFields", None)
    if isinstance(entries, list):
        known["managedFields"] = _entries(entries, before.get("managedFields") or ())
    made = _parts.made(changed)
    return {key: known[key] if key in known else made.get(key, value) for key, value in part.items()}


def _entries(entries: Sequence[Json], before: Sequence[Object]) -> list[Any]:
    """Most of them stay, and of one that changes only the time."""
    shared_before = {id(entry) for entry in before} | {id(entry.get("fieldsV1")) for entry in before}
    return [
        entry
        if id(entry) in shared_before
        else {key: value if id(value) in shared_before else _parts.of(value) for key, value in entry.items()}
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]
