"""ClusterRoles that are sums: whatever role gets or loses the label, the sum's rules follow at once.

`view`, `edit` and `admin` are such sums, and `edit` is a part of `admin`: a change goes up from sum to sum, each under
its own key. A role selects others only; two that select each other come to the same rules and rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.kinds import aggregation
from petset.kinds.rbac import CLUSTERROLES
from petset.objects import meta
from petset.objects.meta import Object


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """Give one sum the rules of its parts."""
    role = view.get(CLUSTERROLES, "", key)
    if role is None or not aggregation.is_aggregated(role):
        return []
    rules = aggregation.sum_of(role, view.list(CLUSTERROLES))
    return [] if rules == (role.get("rules") or []) else [actions.Update({**role, "rules": rules})]


def keys(role: Object, view: View) -> Iterable[str]:
    """Itself when it is a sum, and the sums it is a part of."""
    for other in view.by_index(CLUSTERROLES, "aggregated", "yes"):
        if meta.name(other) == meta.name(role) or aggregation.selects(other, role):
            yield meta.name(other)


CONTROLLERS = (
    Controller(
        name="aggregation",
        component="clusterrole-aggregation-controller",
        watches=((CLUSTERROLES, keys),),
        reconcile=reconcile,
    ),
)
