"""The table of kinds: every resource the server offers, and the few functions that say what a schema cannot.

A row names the group, version, plural, kind and scope; `status`, `scale` and other subresources; short names and
categories for kubectl; and hooks, each a small pure function from defaults.py or validation.py.
`key` and `path` are the one place where store keys and URLs are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from petset.objects.errors import FieldError
from petset.objects.meta import Object

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

Default = Callable[[Object], Object]
Prepare = Callable[[Object, Object | None], Object]  # (new, old or None at create) -> new
Validate = Callable[[Object], Sequence[FieldError]]
ValidateUpdate = Callable[[Object, Object], Sequence[FieldError]]  # (new, old)


def _same(obj: Object) -> Object:
    return obj


def _keep(new: Object, old: Object | None) -> Object:
    return new


def _fine(obj: Object) -> Sequence[FieldError]:
    return ()


def _fine_update(new: Object, old: Object) -> Sequence[FieldError]:
    return ()


@dataclass(frozen=True, slots=True)
class Resource:
    group: str  # "" is core.
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()  # status, scale, binding, eviction, log, exec, attach, token, finalize, ...
    verbs: tuple[str, ...] = ALL_VERBS  # Virtual resources (reviews) offer create only and are never stored.
    has_generation: bool = False  # metadata.generation counts changes of spec.
    default: Default = _same
    prepare: Prepare = _keep  # What a write may not set or must carry over (status at create, clusterIP, ...).
    validate: Validate = _fine
    validate_update: ValidateUpdate = _fine_update

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.kind + "List"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a name the collection's, without a namespace that of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        space = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = f"/{name}" if name else ""
        return f"{root}{space}/{self.plural}{parts}" + (f"/{subresource}" if subresource else "")

    def key(self, namespace: str = "", name: str = "") -> str:
        """The store's key, or the prefix of all its objects (of one namespace) without a name."""
        space = f"{namespace}/" if self.namespaced and namespace else ""
        return f"/{self.group or 'core'}/{self.plural}/{space}{name}"
