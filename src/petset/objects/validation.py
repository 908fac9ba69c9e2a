"""What every object must fulfil, whatever its kind, and the words that the kinds' own checks are made of.

A check is a generator of FieldErrors over one part of an object and the part's path, spelled as upstream does
(spec.template.spec.containers[0].image); `listed` makes a hook of it. Checks run on objects that passed their schema,
so types are right and what the schema requires is there; an empty text where one is needed is for the checks to
find. They never raise. `metadata` is for all kinds; a kind's own checks are in its file of kinds/.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from petset.base import well_known
from petset.objects import meta, names, quantity
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind

ANNOTATIONS_BYTES_MAX = 256 * 1024
IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than 0"

Errors = Iterator[FieldError]


def listed(check: Callable[..., Iterable[FieldError]]) -> Callable[..., Sequence[FieldError]]:
    """A hook for the table of kinds out of a generator."""

    @functools.wraps(check)
    def hook(*args: Object) -> Sequence[FieldError]:
        return list(check(*args))

    return hook


# -- words of checks ----------------------------------------------------------------------------------------------


def named(value: str | None, path: str, rule: Callable[[str], str]) -> Errors:
    """A text that must be there and follow a rule of names.py."""
    if not value:
        yield FieldError.required(path)
    elif wrong := rule(value):
        yield FieldError.invalid(path, value, wrong)


def named_once(value: str, path: str, rule: Callable[[str], str], seen: dict[str, None]) -> Errors:
    """The same of one in a list, where no two may be alike: `seen` are those before it, and then it, too."""
    yield from named(value, path, rule)
    if value in seen:
        yield FieldError.duplicate(path, value)
    seen[value] = None


def optional(value: str | None, path: str, rule: Callable[[str], str]) -> Errors:
    if value and (wrong := rule(value)):
        yield FieldError.invalid(path, value, wrong)


def one_of(value: str | None, path: str, supported: Sequence[str]) -> Errors:
    """A text that must be one of these."""
    if not value:
        yield FieldError.required(path)
    elif value not in supported:
        yield FieldError.unsupported(path, value, supported)


def at_least(value: int | None, path: str, least: int = 0) -> Errors:
    if value is not None and value < least:
        why = NOT_NEGATIVE if least == 0 else POSITIVE if least == 1 else f"must be greater than or equal to {least}"
        yield FieldError.invalid(path, value, why)


def immutable(new: Object | None, old: Object | None, path: str, *fields: str) -> Errors:
    """That these fields of a part are what they were."""
    for field in fields:
        value = (new or {}).get(field)
        if value != (old or {}).get(field):
            yield FieldError.invalid(f"{path}.{field}" if path else field, value, IMMUTABLE)


def not_negative_quantities(amounts: Mapping[str, str] | None, path: str) -> Errors:
    for name, amount in (amounts or {}).items():
        if quantity.parse(amount).value < 0:
            yield FieldError.invalid(f"{path}[{name}]", amount, NOT_NEGATIVE)


def labels(given: Mapping[str, str] | None, path: str) -> Errors:
    for key, value in (given or {}).items():
        if wrong := names.qualified(key):
            yield FieldError.invalid(path, key, wrong)
        if wrong := names.label_value(value):
            yield FieldError.invalid(path, value, wrong)


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def label_selector(selector: Object | None, path: str) -> Errors:
    """A LabelSelector object."""
    if not selector:
        return
    yield from labels(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, term in enumerate(meta.parts(selector, "matchExpressions")):
        where = f"{path}.matchExpressions[{index}]"
        if wrong := names.qualified(term.get("key", "")):
            yield FieldError.invalid(f"{where}.key", term.get("key", ""), wrong)
        operator, values = term.get("operator"), meta.texts(term, "values")
        if operator not in _OPERATORS:
            yield FieldError.invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from requirement_values(operator, values, where)
        for position, value in enumerate(values):
            yield from optional(value, f"{where}.values[{position}]", names.label_value)


def requirement_values(operator: object, values: Sequence[object], path: str) -> Errors:
    """That a requirement of a selector has values where its operator takes some, and none elsewhere."""
    if operator in ("In", "NotIn") and not values:
        yield FieldError.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist") and values:
        yield FieldError.forbidden(
            f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        )


# -- metadata -----------------------------------------------------------------------------------------------------


def metadata(resource: Kind, new: Object, old: Object | None = None) -> list[FieldError]:
    """Names, labels, annotations, owners, finalizers; with `old`, what of metadata must not change."""
    given, before = new["metadata"], old["metadata"] if old else None
    if _is_plain(resource, given) and (before is None or _stays(given, before)):
        return []
    return list(_metadata(resource, given, before))


def _is_plain(resource: Kind, given: Mapping[str, Any]) -> bool:
    """Whether `_metadata` would find nothing, told without a generator's steps for what most objects do not have."""
    name, space = given.get("name"), given.get("namespace")
    if not name or resource.name_rule(name) or given.get("generateName"):
        return False
    if (not space or names.label(space)) if resource.namespaced else space:
        return False
    if given.get("annotations") or given.get("ownerReferences") or given.get("finalizers"):
        return False
    labelled: Mapping[str, str] = given.get("labels") or {}
    for key, value in labelled.items():  # noqa: SIM110  # A loop is quicker than all() over a generator.
        if names.qualified(key) or names.label_value(value):
            return False
    return True


def _stays(given: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    if before.get("deletionTimestamp"):
        return False
    for field in _FIXED:  # noqa: SIM110  # A loop is quicker than all() over a generator.
        if given.get(field) != before.get(field):
            return False
    return True


def object_metadata(given: Mapping[str, Any], path: str = "metadata") -> Errors:
    """Labels, annotations, owners and finalizers of an object or a template."""
    yield from labels(given.get("labels"), f"{path}.labels")
    yield from annotation_map(given.get("annotations"), f"{path}.annotations")
    if given.get("ownerReferences"):
        yield from _owners(given["ownerReferences"], f"{path}.ownerReferences")
    if given.get("finalizers"):
        yield from _finalizers(given["finalizers"], f"{path}.finalizers")


def annotation_map(given: Mapping[str, str] | None, path: str) -> Errors:
    if not given:
        return
    size = 0
    for key, value in given.items():
        if wrong := names.qualified(key.lower()):
            yield FieldError.invalid(path, key, wrong)
        size += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if size > ANNOTATIONS_BYTES_MAX:
        yield FieldError.too_long(path, ANNOTATIONS_BYTES_MAX)


def _metadata(resource: Kind, given: Mapping[str, Any], old: Mapping[str, Any] | None) -> Errors:
    rule = resource.name_rule
    if not given.get("name") and not given.get("generateName"):
        yield FieldError.required("metadata.name", "name or generateName is required")
    yield from optional(given.get("name"), "metadata.name", rule)
    if given.get("generateName") and (wrong := rule(given["generateName"].rstrip("-.") + "x")):
        yield FieldError.invalid("metadata.generateName", given["generateName"], wrong)
    if resource.namespaced:
        yield from named(given.get("namespace"), "metadata.namespace", names.label)
    elif given.get("namespace"):
        yield FieldError.forbidden("metadata.namespace", "not allowed on this type")
    yield from object_metadata(given)
    if old is not None:
        yield from _metadata_update(given, old)


_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def _metadata_update(new: Mapping[str, Any], old: Mapping[str, Any]) -> Errors:
    yield from immutable(new, old, "metadata", *_FIXED)
    if old.get("deletionTimestamp"):
        kept = dict.fromkeys(old.get("finalizers") or ())
        added = [name for name in new.get("finalizers") or () if name not in kept]
        if added:
            yield FieldError.forbidden(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new finalizers {added}",
            )


def _owners(owners: Sequence[Object], path: str) -> Errors:
    controllers: list[Object] = []
    for index, owner in enumerate(owners):
        where = f"{path}[{index}]"
        version = owner.get("apiVersion", "")
        if not version.rpartition("/")[2]:
            yield FieldError.invalid(f"{where}.apiVersion", version, "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                yield FieldError.invalid(f"{where}.{field}", "", "must not be empty")
        if owner.get("kind") == "Event":
            yield FieldError.invalid(where, owner.get("kind"), "an Event is disallowed from being an owner")
        if owner.get("controller"):
            controllers.append(owner)
    if len(controllers) > 1:
        yield FieldError.invalid(
            path,
            [dict(owner) for owner in controllers],
            f"only one reference can have controller set to true; found it in references for "
            f"{controllers[0].get('kind')}/{controllers[0].get('name')} and "
            f"{controllers[1].get('kind')}/{controllers[1].get('name')}",
        )


_STANDARD_FINALIZERS = (well_known.ORPHAN_FINALIZER, well_known.FOREGROUND_FINALIZER, "kubernetes")


def finalizer_names(given: Sequence[str], path: str) -> Errors:
    """Standard ones, or names qualified by whom they are of."""
    for index, name in enumerate(given):
        if wrong := names.qualified(name):
            yield FieldError.invalid(f"{path}[{index}]", name, wrong)
        elif "/" not in name and name not in _STANDARD_FINALIZERS:
            yield FieldError.invalid(
                f"{path}[{index}]", name, "name is neither a standard finalizer name nor is it fully qualified"
            )


def _finalizers(finalizers: Sequence[str], path: str) -> Errors:
    yield from finalizer_names(finalizers, path)
    if well_known.ORPHAN_FINALIZER in finalizers and well_known.FOREGROUND_FINALIZER in finalizers:
        yield FieldError.invalid(path, list(finalizers), "orphan and foregroundDeletion cannot be both set")
