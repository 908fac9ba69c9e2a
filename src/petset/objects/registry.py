"""Kinds: what the house knows of a kind, and which kinds there are.

A `Kind` names the group, version, plural, kind and scope; `status`, `scale` and other subresources; short names and
categories for kubectl; and hooks, each a small pure function. `key` and `path` are the one place where store keys and
URLs are made. `Kinds` is a snapshot that never changes under a reader: a kind that comes or goes makes a new one, and
`Catalog` is where the newest one is found. Whoever works over a while takes a snapshot and keeps to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from petset.objects import names, schema_nodes, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS = ("status",)
APPROVAL = "approval"  # Writes the conditions of a status, and nothing else of it.
OF_STATUS = (*STATUS, APPROVAL)  # Subresources that leave everything but metadata and status.

Default = Callable[[Object], Object]
Prepare = Callable[[Object, Object | None], Object]  # (new, old or None at create) -> new
Validate = Callable[[Object], Sequence[FieldError]]
# Objects to as many in another form, in their order; may take time.
Convert = Callable[[Sequence[Object]], "Sequence[Object] | Awaitable[Sequence[Object]]"]
ValidateWrite = Callable[[Object, "Object | None"], Sequence[FieldError]]  # (new, old or None at create)
# Of a stranger's object: (as it is stored, what strict decoding would refuse, missing fields). May raise ApiError 400.
Read = Callable[[Object], "tuple[dict[str, Any], list[str], list[FieldError]]"]
WhenDeleted = Callable[[Object, str], Object]  # (the object, the moment in RFC 3339) -> as it is marked
ValidateUpdate = Callable[[Object, Object], Sequence[FieldError]]  # (new, old)


def _same(obj: Object) -> Object:
    return obj


def _keep(new: Object, old: Object | None) -> Object:
    return new


def _fine(obj: Object) -> Sequence[FieldError]:
    return ()


def _as_it_is(obj: Object, moment: str) -> Object:
    return obj


def _fine_update(new: Object, old: Object) -> Sequence[FieldError]:
    return ()


def type_name(group: str, version: str, kind: str) -> str:
    """core_v1.Pod: the module and class of a type in the schema package."""
    return f"{group.partition('.')[0] or 'core'}_{version}.{kind}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a kind's scale subresource finds what it shows."""

    replicas: tuple[str, ...] = ("spec", "replicas")
    status_replicas: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")  # A LabelSelector there; of a custom kind a text, () for none.


SCALE = Scale()


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an object that is written by a subresource of its own, and by nothing else once the object is there."""

    path: tuple[str, ...]
    validate: ValidateUpdate  # Of the change to it, beside what holds for any object of the kind.
    carried: Callable[[Object, Object], Object] | None = None  # (wanted, old) -> new, where it is more than one path.


@dataclass(frozen=True, slots=True)
class Custom:
    """What a kind has that a definition made: hooks in the place of a built-in kind's types and checks."""

    schema: Object  # The OpenAPI v3 schema of its version, as the definition says it.
    read: Read
    validate: ValidateWrite
    node: Callable[[], schema_nodes.Node]  # The schema as types, for patches and apply.
    singular: str
    list_kind: str
    warning: str = ""  # For whoever uses a deprecated version.
    versions: Mapping[str, Kind] = field(default_factory=dict[str, "Kind"])  # All of the definition, by apiVersion.


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Kind:
    group: str  # "" is core.
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()  # status, scale, binding, eviction, log, exec, attach, token, finalize, ...
    verbs: tuple[str, ...] = ALL_VERBS  # Virtual resources (reviews) offer create only and are never stored.
    status_keeps: tuple[str, ...] = ()  # Of metadata: what a write of the status may not change (custom kinds: all).
    has_generation: bool = False  # metadata.generation counts changes of spec.
    is_slow_to_check: bool = False  # Its checks take longer than the loop may wait, however small the object is.
    acted_on: bool = True  # By some part of the house; who creates what nothing acts on is told so.
    default: Default = _same
    prepare: Prepare = _keep  # What a write may not set or must carry over (status at create, clusterIP, ...).
    validate: Validate = _fine
    validate_new: Validate = _fine  # What holds of a new object only.
    validate_update: ValidateUpdate = _fine_update
    validate_status: ValidateUpdate | None = None  # Of a write of the status that leaves the spec; None: as any update.
    name_rule: Callable[[str], str] = names.subdomain  # What is wrong with a name, or "".
    fields: Mapping[str, selectors.Field] = field(default_factory=dict[str, selectors.Field])  # To select by.
    cost: int = 1  # How many times as long as most kinds' a byte of it takes to check: expressions are compiled.
    printer: tables.Printer = tables.NAME_AND_AGE
    stored_as: Kind | None = None  # Another version, whose objects these are; conversion loses nothing either way.
    to_stored: Convert | None = None  # None: only apiVersion and kind differ.
    from_stored: Convert | None = None  # Of a custom kind: from any of its versions.
    conversion_waits: bool = False  # For somebody who may be slow, or silent.
    scale: Scale = SCALE
    parts: Mapping[str, Part] = field(default_factory=dict[str, Part])  # By subresource.
    when_deleted: WhenDeleted = _as_it_is  # What a deletion adds when it marks an object.
    custom: Custom | None = None
    steps_back: bool = False  # Where an APIService gives its group version to another server.
    elsewhere: bool = False  # Another server keeps its objects, of which metadata alone is looked at here.

    # Made of those above; every request asks for them.
    api_version: str = field(init=False)
    type_name: str = field(init=False)  # core_v1.Pod: the module and class of its schema.
    prefix: str = field(init=False)  # Of the store's keys of all its objects.

    def __post_init__(self) -> None:
        version = f"{self.group}/{self.version}" if self.group else self.version
        object.__setattr__(self, "api_version", version)
        object.__setattr__(self, "type_name", type_name(self.group, self.version, self.kind))
        stored = self.stored_as or self
        object.__setattr__(self, "prefix", f"/{stored.group or 'core'}/{stored.plural}/")

    def field_selector(self, text: str) -> selectors.FieldSelector:
        """What a fieldSelector query parameter means. Raises ApiError 400."""
        return selectors.parse_fields(self.fields, text, is_core=not self.group)

    @property
    def singular(self) -> str:
        return self.custom.singular if self.custom is not None else self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.custom.list_kind if self.custom is not None else self.kind + "List"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a name the collection's, without a namespace that of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        space = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = f"/{name}" if name else ""
        return f"{root}{space}/{self.plural}{parts}" + (f"/{subresource}" if subresource else "")

    def key(self, namespace: str = "", name: str = "") -> str:
        """The store's key, or the prefix of all its objects (of one namespace) without a name."""
        if namespace and self.namespaced:
            return f"{self.prefix}{namespace}/{name}"
        return self.prefix + name


class Kinds:
    """Which kinds there are: a snapshot, in the order of discovery."""

    def __init__(self, kinds: Iterable[Kind], lacking: Sequence[str] = ()):
        self._kinds = tuple(kinds)
        self.lacking = tuple(lacking)  # The apiVersions of which it is not known what they have now.
        self._named = {(kind.api_version, kind.kind): kind for kind in self._kinds}
        self._at = {(kind.group, kind.version, kind.plural): kind for kind in self._kinds}
        self._kept: dict[str, Kind] = {}
        for kind in self._kinds:
            if kind.key() not in self._kept or kind.stored_as is None:
                self._kept[kind.key()] = kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind of a URL's group ("" is core), version and plural, or None."""
        return self._at.get((group, version, plural))

    def named(self, api_version: str, kind: str) -> Kind | None:
        """The kind of an object's apiVersion and kind, or None."""
        return self._named.get((api_version, kind))

    def of(self, obj: Object) -> Kind | None:
        """The kind of an object, or None."""
        return self._named.get((obj.get("apiVersion", ""), obj.get("kind", "")))

    def keeping(self, key: str) -> Kind | None:
        """The kind to read the objects under `Kind.key()` by: as they are stored, where that version is served."""
        return self._kept.get(key)

    def each_once(self) -> Iterable[Kind]:
        """Of the versions that share their objects, the one to read them by."""
        return self._kept.values()

    def with_kind(self, kind: Kind) -> Kinds:
        """A snapshot with this kind in the place of what was at its group, version and plural, else at the end."""
        place = (kind.group, kind.version, kind.plural)
        if place in self._at:
            return Kinds(kind if one is self._at[place] else one for one in self._kinds)
        return Kinds((*self._kinds, kind))

    def without(self, kind: Kind) -> Kinds:
        """A snapshot without this kind."""
        return Kinds(one for one in self._kinds if one is not kind)

    def replacing(self, old: Collection[Kind], new: Sequence[Kind]) -> Kinds:
        """A snapshot without the old ones, and with the new ones at the end."""
        gone = frozenset(map(id, old))
        return Kinds((*(one for one in self._kinds if id(one) not in gone), *new))

    def __contains__(self, kind: object) -> bool:
        """Whether it is one of them, and not another in its place."""
        return isinstance(kind, Kind) and self.at(kind.group, kind.version, kind.plural) is kind


class Catalog:
    """Which kinds there are now. A change is a new snapshot, of which those that follow are told at once."""

    def __init__(self, kinds: Kinds):
        self._now = kinds
        self._followers: dict[object, Callable[[Kinds], None]] = {}

    @property
    def now(self) -> Kinds:
        return self._now

    def replace(self, kinds: Kinds) -> None:
        self._now = kinds
        for told in list(self._followers.values()):
            told(kinds)

    def follow(self, told: Callable[[Kinds], None]) -> Callable[[], None]:
        """Have `told` called with each new snapshot, until what this returns is called.

        It must be quick and may not change the catalog. Who began to follow first is told first.
        """
        place = object()
        self._followers[place] = told
        return lambda: self._followers.pop(place, None) and None

    @contextmanager
    def following(self, told: Callable[[Kinds], None]) -> Generator[None, None, None]:
        """`follow` while the block lasts."""
        end = self.follow(told)
        try:
            yield
        finally:
            end()
