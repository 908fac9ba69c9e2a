"""Which names a CustomResourceDefinition gets, and what its status says of that: pure.

Names are given per group, to who came first: plural, singular and short names are one space, kind and list kind
another. A definition that wants a taken one is not served, and says why, until it is free; one that is established
stays so, whatever it wants later. Follows: upstream's conditions NamesAccepted and Established, by reason and message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petset.kinds.custom_resource_definition import ESTABLISHED, NAMES_ACCEPTED, TERMINATING, with_condition
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

Taken = tuple[dict[str, None], dict[str, None]]  # Names of resources, and of kinds.
_RESOURCES, _KINDS = ("plural", "singular", "shortNames"), ("kind", "listKind")
_CONFLICTS = {
    "plural": "PluralConflict",
    "singular": "SingularConflict",
    "shortNames": "ShortNamesConflict",
    "kind": "KindConflict",
    "listKind": "ListKindConflict",
}


def taken(group: str, kinds: Iterable[Kind], others: Iterable[Object]) -> Taken:
    """The names of a group that these kinds, of no definition, and other definitions have."""
    resources: dict[str, None] = {}
    of_kinds: dict[str, None] = {}
    for kind in kinds:
        if kind.group == group:
            resources |= dict.fromkeys((kind.plural, kind.singular, *kind.short_names))
            of_kinds |= dict.fromkeys((kind.kind, kind.list_kind))
    for other in others:
        if meta.get(other, "spec", "group") == group:
            accepted = meta.part(other, "status", "acceptedNames")
            resources |= dict.fromkeys(_values(accepted, _RESOURCES))
            of_kinds |= dict.fromkeys(_values(accepted, _KINDS))
    return resources, of_kinds


def _values(names: Object, fields: Iterable[str]) -> list[str]:
    found: list[str] = []
    for field in fields:
        value: Any = names.get(field)
        found += value if meta.is_list(value) else [value] if value else []
    return found


def decided(definition: Object, names: Taken, moment: str) -> dict[str, Any]:
    """Its status, by the names that others have; the same status when nothing is to be said anew."""
    status = meta.part(definition, "status")
    accepted, reason, message = _accepted(definition, names)
    conditions = list(meta.parts(status, "conditions"))
    has_all = not reason
    told = (
        (NAMES_ACCEPTED, has_all, reason or "NoConflicts", message or "no conflicts found"),
        (
            ESTABLISHED,
            has_all or meta.is_condition_true(definition, ESTABLISHED),
            "InitialNamesAccepted" if has_all or meta.is_condition_true(definition, ESTABLISHED) else "NotAccepted",
            "the initial names have been accepted" if has_all else "not all names are accepted",
        ),
    )
    for type_, holds, why, text in told:
        before = meta.condition(definition, type_)
        if type_ == ESTABLISHED and before is not None and before.get("status") == "True":
            continue
        conditions = with_condition(conditions, type_, holds, why, text, moment)
    return {**status, "acceptedNames": accepted, "conditions": conditions}


def _accepted(definition: Object, names: Taken) -> tuple[dict[str, Any], str, str]:
    """(the names it has, why not all that it wants, and which)."""
    wanted, has = meta.part(definition, "spec", "names"), meta.part(definition, "status", "acceptedNames")
    got: dict[str, Any] = dict(has)
    reason = message = ""
    for field, space in (*((field, names[0]) for field in _RESOURCES), *((field, names[1]) for field in _KINDS)):
        own = _values(has, (field,))
        clashes = [name for name in _values(wanted, (field,)) if name in space and name not in own]
        if clashes:
            reason, message = _CONFLICTS[field], ", ".join(f'"{name}" is already in use' for name in clashes)
        elif field in wanted:
            got[field] = wanted[field]
        else:
            got.pop(field, None)
    if wanted.get("categories"):
        got["categories"] = wanted["categories"]
    else:
        got.pop("categories", None)
    return got, reason, message


def is_served(definition: Object, status: Mapping[str, Any]) -> bool:
    """Whether there are kinds of it, with that status."""
    return meta.is_condition_true({**definition, "status": status}, ESTABLISHED)


def ending(definition: Object, holds: bool, reason: str, message: str, moment: str) -> dict[str, Any]:
    """Its status while its objects go."""
    status = meta.part(definition, "status")
    conditions = with_condition(meta.parts(status, "conditions"), TERMINATING, holds, reason, message, moment)
    return {**status, "conditions": conditions}
