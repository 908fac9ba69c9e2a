"""ClusterRoles that are the sum of others: which roles one selects, and the rules that makes."""

from __future__ import annotations

from collections.abc import Iterable

from petset.objects import encoding, meta, selectors
from petset.objects.meta import Object


def selects(role: Object, other: Object) -> bool:
    """Whether a role's aggregationRule takes another's rules in; never its own."""
    chosen = meta.parts(role, "aggregationRule", "clusterRoleSelectors")
    if meta.name(role) == meta.name(other):
        return False
    return any(selectors.from_object(selector).matches(meta.labels(other)) for selector in chosen)


def is_aggregated(role: Object) -> bool:
    return bool(meta.get(role, "aggregationRule", "clusterRoleSelectors"))


def sum_of(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules of the roles it selects, in the order of their names, each once."""
    chosen = sorted((other for other in roles if selects(role, other)), key=meta.name)
    distinct = {encoding.dumps(rule): rule for other in chosen for rule in meta.parts(other, "rules")}
    return list(distinct.values())
