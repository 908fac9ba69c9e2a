"""Version 2 of what other servers describe, merged into this server's document: pure.

`part_of` takes out of another server's document the paths of its group version and the definitions that they refer to;
a parameter that is referred to stands where it is used. `merge` puts several of those beside our own definitions. What
has a name that another definition has gets the first free of NAME_v2, NAME_v3, ..., as upstream renames it; equal ones
are one, whichever group, version and kind they say they are, and say all of these. A path that is there stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.server.described import gnostic_v2, swagger

PART_BYTES_MAX = 1 << 20  # Of one group version; a larger one is left out.
_GVK = "x-kubernetes-group-version-kind"
_PARAMETERS = "#/parameters/"


@dataclass(frozen=True, slots=True)
class Part:
    paths: Mapping[str, Object]
    definitions: Mapping[str, Object]


@dataclass(frozen=True, slots=True)
class Merged:
    """`paths` and `definitions` are those to add; `also` the group version kinds that own definitions have besides."""

    paths: Mapping[str, Object]
    definitions: Mapping[str, Object]
    also: Mapping[str, Sequence[Object]]


NOTHING = Merged({}, {}, {})


def part_of(data: bytes, group: str, version: str) -> bytes:
    """Of a document in JSON the part of a group version, in JSON. Raises ValueError where it is no such document."""
    tree = encoding.loads(data)
    if not meta.is_struct(tree) or tree.get("swagger") != "2.0":
        raise ValueError("it is no document of OpenAPI version 2")
    begin = f"/apis/{group}/{version}/"
    parameters = _structs(tree, "parameters")
    paths = {
        path: _inlined(item, parameters) for path, item in _structs(tree, "paths").items() if path.startswith(begin)
    }
    known = _structs(tree, "definitions")
    found: dict[str, Object] = {}
    waiting = _referred(list(paths.values()))
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting.extend(_referred([known[name]]))
    for path, item in paths.items():
        gnostic_v2.path(path, item)  # What cannot be written in every form is not taken.
    for name, definition in found.items():
        gnostic_v2.definition(name, definition)
    part = encoding.dumps({"paths": paths, "definitions": found})
    if len(part) > PART_BYTES_MAX:
        raise ValueError(f"it is longer than {PART_BYTES_MAX} bytes")
    return part


def read(part: bytes) -> Part:
    """What `part_of` has made."""
    tree = encoding.loads(part)
    return Part(tree["paths"], tree["definitions"])


def merge(own_names: Mapping[str, None], own: Mapping[str, Object], parts: Sequence[Part]) -> Merged:
    """`own_names` are all definitions of this server, `own` those whose names a part has, too."""
    taken: dict[str, Object] = dict(own)
    used = dict.fromkeys(own_names)
    paths: dict[str, Object] = {}
    also: dict[str, list[Object]] = {}
    for part in parts:
        new = {path: item for path, item in part.paths.items() if path not in paths}
        renamed: dict[str, str] = {}
        for name, definition in part.definitions.items():
            place, number = name, 1
            while place in used and not (place in taken and _are_equal(taken[place], definition)):
                number += 1
                place = f"{name}_v{number}"
            renamed[name] = place
            if place not in used:
                used[place] = None
        for name, definition in part.definitions.items():
            place = renamed[name]
            if place in taken:
                there = [*meta.parts(taken[place], _GVK), *also.get(place, ())]
                before = {encoding.dumps_sorted(one) for one in there}
                new_ones = [one for one in meta.parts(definition, _GVK) if encoding.dumps_sorted(one) not in before]
                also.setdefault(place, []).extend(new_ones)
            else:
                taken[place] = _renamed(definition, renamed)
        paths |= {path: _renamed(item, renamed) for path, item in new.items()}
    added = {name: with_kinds(one, also.get(name, ())) for name, one in taken.items() if name not in own_names}
    return Merged(paths, added, {name: kinds for name, kinds in also.items() if kinds and name in own_names})


def with_kinds(definition: Object, kinds: Sequence[Object]) -> Object:
    """A definition that says to be these kinds, too."""
    return {**definition, _GVK: [*meta.parts(definition, _GVK), *kinds]} if kinds else definition


def _are_equal(one: Object, other: Object) -> bool:
    return {**one, _GVK: None} == {**other, _GVK: None}


def _structs(tree: Object, key: str) -> Mapping[str, Object]:
    """Raises ValueError for what is no object of objects."""
    found: Any = tree.get(key) or {}
    if not meta.is_struct(found) or not all(map(meta.is_struct, found.values())):
        raise ValueError(f"its {key} are no objects")
    return found


def _inlined(tree: Any, parameters: Mapping[str, Object]) -> Any:
    if meta.is_struct(tree):
        named = str(tree.get("$ref", ""))
        if named.startswith(_PARAMETERS):
            found = parameters.get(named.removeprefix(_PARAMETERS))
            if found is None or "$ref" in found:
                raise ValueError(f"{named} is no parameter")
            return found
        return {key: _inlined(value, parameters) for key, value in tree.items()}
    return [_inlined(one, parameters) for one in tree] if meta.is_list(tree) else tree


def _referred(trees: list[Any]) -> list[str]:
    """The definitions that are referred to, in the trees themselves."""
    found: dict[str, None] = {}
    while trees:
        tree = trees.pop()
        if meta.is_struct(tree):
            reference: Any = tree.get("$ref")
            if isinstance(reference, str) and reference.startswith(swagger.DEFINITIONS):
                found[reference.removeprefix(swagger.DEFINITIONS)] = None
            trees.extend(tree.values())
        elif meta.is_list(tree):
            trees.extend(tree)
    return list(found)


def _renamed(tree: Any, renamed: Mapping[str, str]) -> Any:
    if meta.is_struct(tree):
        return {
            key: swagger.DEFINITIONS + renamed.get(value.removeprefix(swagger.DEFINITIONS), "")
            if key == "$ref" and isinstance(value, str) and value.removeprefix(swagger.DEFINITIONS) in renamed
            else _renamed(value, renamed)
            for key, value in tree.items()
        }
    return [_renamed(one, renamed) for one in tree] if meta.is_list(tree) else tree
