"""The kinds that a CustomResourceDefinition makes: one for each served version, each with its schema's checks.

`of` is pure but for the conversion that it is handed. A version's schema is compiled when its first object comes, so
that a start with hundreds of definitions costs nothing. Objects are stored in the storage version's form. As long as
none can be stored in another form, and no default came later than an object, the storage version's bytes go out as they
are stored; otherwise every version is read through the seam of server/conversion.py. Without a webhook that relabels,
prunes and fills in defaults; with one, an object gets the defaults of the version that it is in, is converted, and
loses what the wanted version does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from petset.base import well_known
from petset.kinds import custom_resource_definition as definitions
from petset.objects import encoding, jsonpath, meta, schema, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import ALL_VERBS, Convert, Custom, Kind, Scale
from petset.objects.schema_nodes import Node
from petset.objects.structural import nodes, rules, shape, values

REPLICAS_MAX = 2**31 - 1
# A write of the status changes nothing else.
OF_METADATA = ("annotations", "finalizers", "generateName", "labels", "ownerReferences")


Change = Callable[[Object], Object]
# Objects in any of a definition's versions, in the apiVersion that is named; what is done to each before, and after.
Converting = Callable[[Sequence[Object], str, Change, Change], Awaitable[Sequence[Object]]]


def of(definition: Object, converting: Converting | None = None) -> list[Kind]:
    """Its served versions, under the names that it was given; the storage version first.

    `converting` asks the definition's webhook; without one versions differ in their names only.
    """
    spec = meta.part(definition, "spec")
    versions = sorted(meta.parts(spec, "versions"), key=lambda version: not version.get("storage"))
    made = {_api_version(definition, version): _types(definition, version) for version in versions}
    asking = _Asking(made, converting) if converting is not None else None
    family: dict[str, Kind] = {}
    stored = _kind(definition, versions[0], made, family, None, None)
    is_plain = _is_plain(definition)
    found: list[Kind] = []
    for version in versions:
        own = is_plain and bool(version.get("storage"))
        kind = stored if own else _kind(definition, version, made, family, stored, asking)
        family[kind.api_version] = kind
        if version.get("served"):
            found.append(kind)
    return found


def _is_plain(definition: Object) -> bool:
    """Whether all that is stored is as its storage version shows it."""
    versions = meta.parts(definition, "spec", "versions")
    first = (definition["metadata"].get("generation") or 1) <= 1
    return len(meta.texts(definition, "status", "storedVersions")) <= 1 and (
        first or not any(_has_defaults(definitions.schema_of(version)) for version in versions)
    )


def _has_defaults(root: Object) -> bool:
    return any(node.get("default") is not None for node in shape.nodes(root))


def _api_version(definition: Object, version: Object) -> str:
    return f"{definition['spec']['group']}/{version['name']}"


def _types(definition: Object, version: Object) -> Types:
    kind = meta.part(definition, "status", "acceptedNames")["kind"]
    has_status = meta.part(version, "subresources").get("status") is not None
    scale = _scale(meta.part(version, "subresources", "scale"))
    return Types(definitions.schema_of(version), _api_version(definition, version), kind, has_status, scale)


def _kind(
    definition: Object,
    version: Object,
    made: Mapping[str, Types],
    family: Mapping[str, Kind],
    stored: Kind | None,
    asking: _Asking | None,
) -> Kind:
    spec, names = meta.part(definition, "spec"), meta.part(definition, "status", "acceptedNames")
    subresources, scale = meta.part(version, "subresources"), meta.part(version, "subresources", "scale")
    group, name, kind = spec["group"], version["name"], names["kind"]
    has_status = subresources.get("status") is not None
    types = made[_api_version(definition, version)]
    to_stored = from_stored = None
    if stored is not None:
        from_stored = asking.into(types.api_version) if asking is not None else types.from_stored
        to_stored = asking.into(stored.api_version) if asking is not None else None
    return Kind(
        group,
        name,
        names["plural"],
        kind,
        spec["scope"] == "Namespaced",
        short_names=tuple(meta.texts(names, "shortNames")),
        categories=tuple(meta.texts(names, "categories")),
        subresources=(*(("scale",) if scale else ()), *(("status",) if has_status else ())),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "create" or not meta.is_deleting(definition)),
        status_keeps=OF_METADATA,
        has_generation=True,
        default=types.fill,
        prepare=types.prepare,
        fields=_selectable(version),
        printer=_printer(meta.parts(version, "additionalPrinterColumns")),
        stored_as=stored,
        to_stored=to_stored,
        from_stored=from_stored,
        conversion_waits=asking is not None and stored is not None,
        scale=_scale(scale) or Scale(selector=()),
        custom=Custom(
            types.schema, types.read, types.validate, types.node, names["singular"], names["listKind"],
            _warning(version, group, kind), family,
        ),
    )  # fmt: skip


def _warning(version: Object, group: str, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.removeprefix(".").split(".")) if text else ()


def _scale(scale: Object) -> Scale | None:
    if not scale:
        return None
    paths = (scale.get(field) or "" for field in ("specReplicasPath", "statusReplicasPath", "labelSelectorPath"))
    return Scale(*map(_path, paths))


def _selectable(version: Object) -> dict[str, selectors.Field]:
    return selectors.fields(*(field["jsonPath"].removeprefix(".") for field in meta.parts(version, "selectableFields")))


# -- columns


def _printer(columns: Sequence[Object]) -> tables.Printer:
    if not columns:
        return tables.NAME_AND_AGE
    heads: list[Object] = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]
    readers = [(jsonpath.parse(column["jsonPath"]), column["type"]) for column in columns]
    for column in columns:
        about = (
            column.get("description") or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
        )
        kept = {key: column.get(key) or "" for key in ("name", "type", "format")}
        heads.append({**kept, "description": about, "priority": column.get("priority") or 0})

    def cells(obj: Object, now: float) -> list[Any]:
        return [tables.name(obj), *(_cell(read(obj), kind, now) for read, kind in readers)]

    return tables.Printer(tuple(heads), cells)


def _cell(value: Any, kind: str, now: float) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "integer":
            return int(value) if is_number else None
        case "number":
            return float(value) if is_number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            if not isinstance(value, str):
                return None
            return "<invalid>" if tables.seconds_of(value) is None else tables.since(value, now)
        case _:
            if value is None or isinstance(value, str):
                return value
            return encoding.dumps(value).decode()


# -- a version's schema at work


class Types:
    """What is done by a version's schema; each part is compiled when it is first asked for."""

    def __init__(self, schema: Object, api_version: str, kind: str, has_status: bool, scale: Scale | None):
        self.schema, self.api_version, self._kind = schema, api_version, kind
        self._has_status, self._scale = has_status, scale

    @functools.cached_property
    def _prune(self) -> shape.Prune:
        return shape.pruning(self.schema, is_root=True)

    @functools.cached_property
    def _fill(self) -> shape.Fill | None:
        return shape.defaulting(self.schema)

    @functools.cached_property
    def _check(self) -> values.Check:
        return values.compiled(self.schema)

    @functools.cached_property
    def _rules(self) -> rules.Check | None:
        return rules.compiled(self.schema)

    @functools.cached_property
    def _node(self) -> Node:
        return nodes.resource(self.schema, f"{self.api_version.rpartition('/')[2]}.{self._kind}")

    def node(self) -> Node:
        return self._node

    def fill(self, obj: Object) -> Object:
        return obj if self._fill is None else self._fill(obj)

    def read(self, obj: Object) -> tuple[dict[str, Any], list[str], list[FieldError]]:
        """The object without what its schema does not know. Raises ApiError 400 for wrong metadata."""
        metadata, told, missing = schema.metadata(obj.get("metadata"), self.api_version, self._kind)
        unknown: list[str] = []
        pruned = self._prune(obj, "", unknown)
        unknown.sort()
        told = [*told, *(f'unknown field "{path}"' for path in unknown)]
        return {**pruned, "metadata": metadata}, told, missing

    def prepare(self, new: Object, old: Object | None) -> Object:
        return meta.without(new, ("status",)) if old is None and self._has_status else new

    def validate(self, new: Object, old: Object | None) -> Sequence[FieldError]:
        found: list[FieldError] = []
        self._check(new, values.NONE if old is None else old, "", found)
        if self._scale is not None:
            found += _wrong_replicas(new, self._scale)
        if not found and self._rules is not None:
            self._rules(new, values.NONE if old is None else old, "", found, rules.Evaluations())
        return found

    def prune(self, obj: Object) -> Object:
        """The object without what its schema does not know."""
        return self._prune(obj, "", [])

    @property
    def from_stored(self) -> Convert:
        """What is stored, perhaps in another version or before a default was there, in this version's form."""

        def shown(obj: Object) -> Object:
            return self.fill(self.prune({**obj, "apiVersion": self.api_version, "kind": self._kind}))

        return lambda objects: [shown(obj) for obj in objects]


class _Asking:
    """Conversion by webhook, between the versions of one definition."""

    def __init__(self, made: Mapping[str, Types], converting: Converting):
        self._made, self._converting = made, converting  # By apiVersion.

    def into(self, wanted: str) -> Convert:
        """Objects of any of the versions in the form of that one."""

        return lambda objects: self._converting(objects, wanted, self._filled, self._made[wanted].prune)

    def _filled(self, obj: Object) -> Object:
        types = self._made.get(obj["apiVersion"])
        return types.fill(obj) if types is not None else obj


def _wrong_replicas(obj: Object, scale: Scale) -> list[FieldError]:
    wrong: list[FieldError] = []
    for path in (scale.replicas, scale.status_replicas):
        value, where = meta.get(obj, *path), "." + ".".join(path)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            wrong.append(FieldError.invalid(where, 0, f"accessor error: it is no integer: {where}"))
        elif value < 0:
            wrong.append(FieldError.invalid(where, value, "should be a non-negative integer"))
        elif value > REPLICAS_MAX:
            wrong.append(FieldError.invalid(where, value, f"should be less than or equal to {REPLICAS_MAX}"))
    return wrong


def is_held(definition: Object) -> bool:
    """Whether it waits for its objects to go."""
    held = meta.texts(definition, "metadata", "finalizers")
    return meta.is_deleting(definition) and well_known.CUSTOM_RESOURCE_CLEANUP_FINALIZER in held
