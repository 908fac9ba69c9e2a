"""FlowSchemas and PriorityLevelConfigurations that every cluster has are kept, and a schema without its level says so.

What of the former is missing or changed is made right again, what an older release left goes: as
kinds/flowcontrol/every_cluster.py has it. A FlowSchema's condition Dangling follows whether the priority level that it
names is there; the server passes over those whose level is not.
Follows: upstream's API Priority and Fairness controller and its bootstrap configuration.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.base import tasks
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller
from petset.kinds.flowcontrol import every_cluster, flow_schema
from petset.kinds.flowcontrol.flow_schema import FLOWSCHEMAS
from petset.kinds.flowcontrol.priority_level import PRIORITYLEVELCONFIGURATIONS
from petset.objects import meta
from petset.objects.meta import Object

_KINDS = {kind.plural: kind for kind in (FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS)}


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    plural, _, name = key.partition("/")
    kind, wanted = _KINDS[plural], every_cluster.OBJECTS.get((plural, name))
    present = view.get(kind, "", name)
    if present is None:
        return [actions.Create(wanted)] if wanted is not None else []
    if meta.is_deleting(present):
        return []
    if wanted is not None:
        new = every_cluster.revised(present, wanted)
        if new != present:
            return [actions.Update(new)]
    elif every_cluster.is_left_over(present, kind):
        return [actions.Delete(present, at_revision=True)]
    return _dangling(present, view, now) if kind is FLOWSCHEMAS else []


def _dangling(schema: Object, view: View, now: float) -> list[actions.Action]:
    level = flow_schema.level_of(schema)
    is_there = view.get(PRIORITYLEVELCONFIGURATIONS, "", level) is not None
    told = {
        "type": flow_schema.DANGLING,
        "status": "False" if is_there else "True",
        "lastTransitionTime": tasks.rfc3339(now),
        "reason": "Found" if is_there else "NotFound",
        "message": f'Priority level "{level}" {"is there" if is_there else "is missing, so no request goes by this"}.',
    }
    status = meta.part(schema, "status")
    conditions = meta.with_condition(meta.parts(status, "conditions"), told)
    return actions.report(schema, {**status, "conditions": conditions})


def _of_schema(schema: Object, view: View) -> Iterable[str]:
    return (f"{FLOWSCHEMAS.plural}/{meta.name(schema)}",)


def _of_level(level: Object, view: View) -> Iterable[str]:
    """Its own, and those of the schemas that name it."""
    yield f"{PRIORITYLEVELCONFIGURATIONS.plural}/{meta.name(level)}"
    for schema in view.by_index(FLOWSCHEMAS, "level", meta.name(level)):
        yield f"{FLOWSCHEMAS.plural}/{meta.name(schema)}"


CONTROLLERS = (
    Controller(
        name="flow-control",
        component="flow-control",
        watches=((FLOWSCHEMAS, _of_schema), (PRIORITYLEVELCONFIGURATIONS, _of_level)),
        reconcile=reconcile,
    ),
)
