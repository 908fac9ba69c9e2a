"""Which kinds a world has: custom ones are there from its beginning, since nobody follows definitions in it."""

from __future__ import annotations

from collections.abc import Sequence

from petset.kinds import builtin
from petset.objects.meta import Object
from petset.objects.registry import Kinds
from petset.server.custom import kinds as custom


def established(definitions: Sequence[Object]) -> Kinds:
    """The built-in kinds and those of these definitions, as they are once they are established."""
    found = builtin.KINDS
    for definition in definitions:
        status = {"acceptedNames": definition["spec"]["names"], "storedVersions": ["v1"]}
        for kind in custom.of({**definition, "status": status}):
            found = found.with_kind(kind)
    return found
