"""Owners that wrote in other versions of a kind than the one that is written now.

What such an owner has is said by the fields of his version. So a change is compared in that version, too: the object as
it was and as it will be is converted. `changed` does it for an update, `applied` for server-side apply, whose steps ask
for what they need (objects/apply.py). Where all owners wrote in one version, which is nearly always, this costs a
look at their entries. Conversion may be a webhook: what is asked of it is awaited, in the turn of the write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from petset.objects import apply, errors, owners, schema, typed_fields
from petset.objects.meta import Object, is_struct
from petset.objects.registry import Catalog, Kind
from petset.server import conversion, ownership
from petset.server.writes import Write

_NOTHING: Object = {}


class OwnerVersions:
    def __init__(self, catalog: Catalog):
        self._catalog = catalog

    def others(self, kind: Kind, before: Object | None, new: Object | None = None) -> Sequence[str]:
        """The versions that owners of an object wrote in, but the kind's own; of entries that an update brings, too."""
        entries = owners.of(before) if before is not None else ()
        given: Any = new["metadata"].get("managedFields") if new is not None else None
        if given is not None and given is not entries:
            entries = [*entries, *(one for one in given if is_struct(one) and isinstance(one.get("apiVersion"), str))]
        return owners.other_versions(entries, kind.api_version)

    async def changed(
        self, write: Write, size: int, versions: Sequence[str], new: Object, before: Object | None
    ) -> owners.Comparisons:
        """What an update changes in other versions.

        One whose conversion fails is left out: that is no reason to refuse the write.
        """
        kind, found = write.resource, dict[str, typed_fields.Comparison | None]()
        new = await write.work.beside(size, kind.default, new)
        for version in versions:
            other = self._kind(kind, version)
            if other is None:
                found[version] = None
                continue
            with contextlib.suppress(errors.ApiError):
                old = await conversion.between(kind, other, before) if before is not None else _NOTHING
                made = await conversion.between(kind, other, new)
                found[version] = await write.work.beside(size, ownership.compared, write, other, old, made)
        return found

    async def applied(self, write: Write, size: int, live: Object, config: Object) -> Object:
        """The live object after the configuration was applied. Raises ApiError."""
        steps = ownership.applying(write, live, config)
        answer: apply.Version | None = None
        while True:
            asked = await write.work.beside(size, _next, steps, answer)
            if not isinstance(asked, apply.Asked):
                return asked
            other = self._kind(write.resource, asked.api_version)
            answer = None
            if other is not None:
                source = self._kind(write.resource, asked.obj["apiVersion"]) or write.resource
                answer = apply.Version(schema.node_of(other), await conversion.between(source, other, asked.obj))

    def _kind(self, kind: Kind, api_version: str) -> Kind | None:
        """Another version of a kind."""
        if api_version == kind.api_version:
            return kind
        if kind.custom is not None:
            return kind.custom.versions.get(api_version)
        found = self._catalog.now.named(api_version, kind.kind)
        return found if found is not None and found.key() == kind.key() else None


def _next(steps: apply.Steps[Object], answer: apply.Version | None) -> apply.Asked | Object:
    try:
        return steps.send(answer)
    except StopIteration as done:
        return done.value
