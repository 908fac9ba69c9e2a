"""404 for what this server has not got: says that petset answered, what it lacks, and the nearest name that it has.

The first words are those that clients know from every API server, and `details` is there even when it is empty, since
some read it without looking. It has no name: that would say that the kind exists and the object does not.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

from petset.objects import errors
from petset.objects.registry import Kind, Kinds

SIMILARITY_MIN = 0.75  # Of difflib: "statefulset" is near, "deployments" and "endpoints" are not.
SHOWN_CHARACTERS_MAX = 63
SNAPSHOTS_KEPT_MAX = 4  # Of kinds, whose words are kept.


def path(given: str, known: Iterable[str] = ()) -> errors.ApiError:
    """A path that names no resource."""
    return _not_found(f"petset has no path {_shown(given)}", _nearest(given, known))


def resource(kinds: Kinds, group: str, version: str, plural: str) -> errors.ApiError:
    """A kind that is not served there, or not at all."""
    where = f"{group}/{version}" if group else version
    words = _words(kinds)
    nearest = words.get(_nearest(plural.lower(), words), "")
    versions = [row.api_version for row in kinds if row.plural == nearest]
    if versions and where not in versions:
        nearest += f" of {' and '.join(versions)}"
    return _not_found(f"petset has no {_shown(plural)} in {_shown(where)}", nearest, group, plural)


@functools.lru_cache(SNAPSHOTS_KEPT_MAX)
def _words(kinds: Kinds) -> dict[str, str]:
    """What may be meant -> the plural."""
    return {word: row.plural for row in kinds for word in (row.singular, row.plural)}


def subresource(row: Kind, name: str) -> errors.ApiError:
    why = f"petset has no {_shown(name)} of {row.plural}"
    return _not_found(why, _nearest(name, row.subresources), row.group, row.plural)


def _not_found(why: str, nearest: str, group: str = "", plural: str = "") -> errors.ApiError:
    meant = f"; did you mean {nearest}?" if nearest else ""
    details = {"group": group, "kind": plural[:SHOWN_CHARACTERS_MAX]}
    return errors.ApiError(
        404,
        "NotFound",
        f"the server could not find the requested resource: {why}{meant}",
        {key: value for key, value in details.items() if value},
    )


def _nearest(given: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(given[:SHOWN_CHARACTERS_MAX], known, 1, SIMILARITY_MIN)
    return found[0] if found else ""


def _shown(given: str) -> str:
    return given if len(given) <= SHOWN_CHARACTERS_MAX else given[:SHOWN_CHARACTERS_MAX] + "..."
