"""The FlowSchemas and PriorityLevelConfigurations that every cluster has, and how those that are there are kept right.

Two of each are mandatory: `exempt` and `catch-all` are what they are, whoever changes them. The others are suggested:
one that says `apf.kubernetes.io/autoupdate-spec: "false"`, or that says nothing and has been changed, is left alone.
One that is missing is made again, whoever deleted it. An object that says "true" and is none of these was an older
release's, and goes.
Follows: "API Priority and Fairness" of the Kubernetes documentation, "Maintenance of the Mandatory and Suggested
Configuration Objects".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from petset.base import well_known
from petset.kinds.flowcontrol import flow_schema, priority_level
from petset.kinds.flowcontrol.flow_schema import CATCH_ALL, EXEMPT, FLOWSCHEMAS
from petset.kinds.flowcontrol.priority_level import PRIORITYLEVELCONFIGURATIONS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

MANDATORY = (EXEMPT, CATCH_ALL)

Rules = Sequence[Object]
_ALL = ("*",)


def _of(verbs: Sequence[str], groups: Sequence[str], resources: Sequence[str], cluster: bool = True) -> Object:
    """A rule about resources in every namespace, and about those in none."""
    rule = {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}
    return {**rule, **({"clusterScope": True} if cluster else {}), "namespaces": ["*"]}


_RESOURCES, _PATHS = (_of(_ALL, _ALL, _ALL),), ({"verbs": ["*"], "nonResourceURLs": ["*"]},)
_LEASES = "coordination.k8s.io", "leases"


def _groups(*names: str) -> Rules:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _user(name: str) -> Object:
    return {"kind": "User", "user": {"name": name}}


_ANYBODY = _groups("system:unauthenticated", "system:authenticated")
_NODES = _groups("system:nodes")
_CONTROLLERS, _SCHEDULER = _user("system:kube-controller-manager"), _user("system:kube-scheduler")
_OF_KUBE_SYSTEM = {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}}
_PROBES = ({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},)
_ELECTION = (_of(("get", "create", "update"), _LEASES[:1], _LEASES[1:], cluster=False),)
_HEALTH = (_of(_ALL, ("",), ("nodes", "nodes/status")), _of(_ALL, _LEASES[:1], _LEASES[1:], cluster=False))

# name: level, precedence, distinguisher, whose, about which resources, about which paths.
SCHEMAS: Mapping[str, tuple[str, int, str, Rules, Rules, Rules]] = {
    "probes": ("exempt", 2, "", _ANYBODY, (), _PROBES),
    "system-leader-election": (
        *("leader-election", 100, "ByUser"),
        *([_CONTROLLERS, _SCHEDULER, _OF_KUBE_SYSTEM], _ELECTION, ()),
    ),
    "system-node-high": ("node-high", 400, "ByUser", _NODES, _HEALTH, ()),
    "system-nodes": ("system", 500, "ByUser", _NODES, _RESOURCES, _PATHS),
    "kube-controller-manager": ("workload-high", 800, "ByNamespace", [_CONTROLLERS], _RESOURCES, _PATHS),
    "kube-scheduler": ("workload-high", 800, "ByNamespace", [_SCHEDULER], _RESOURCES, _PATHS),
    "kube-system-service-accounts": ("workload-high", 900, "ByNamespace", [_OF_KUBE_SYSTEM], _RESOURCES, _PATHS),
    "service-accounts": ("workload-low", 9000, "ByUser", _groups("system:serviceaccounts"), _RESOURCES, _PATHS),
    "global-default": ("global-default", 9900, "ByUser", _ANYBODY, _RESOURCES, _PATHS),
}
# name: shares, how many percent of them it lends, queues, how many of those each flow is dealt.
LEVELS: Mapping[str, tuple[int, int, int, int]] = {
    "system": (30, 33, 64, 6),
    "node-high": (40, 25, 64, 6),
    "leader-election": (10, 0, 16, 4),
    "workload-high": (40, 50, 128, 6),
    "workload-low": (100, 90, 128, 6),
    "global-default": (20, 50, 128, 6),
}


def _object(kind: Kind, name: str, spec: Object) -> Object:
    annotations = {well_known.AUTOUPDATE_SPEC_ANNOTATION: "true"}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def _schema(name: str) -> Object:
    level, precedence, distinguisher, whose, resources, paths = SCHEMAS[name]
    rule = {"subjects": list(whose)}
    rule |= {"resourceRules": list(resources)} if resources else {}
    rule |= {"nonResourceRules": list(paths)} if paths else {}
    spec: dict[str, Any] = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
    spec |= {"distinguisherMethod": {"type": distinguisher}} if distinguisher else {}
    return _object(FLOWSCHEMAS, name, {**spec, "rules": [rule]})


def _level(name: str) -> Object:
    shares, lendable, queues, hand = LEVELS[name]
    queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": 50}
    limited = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    return _object(PRIORITYLEVELCONFIGURATIONS, name, {"type": "Limited", "limited": limited})


def _all() -> Iterator[tuple[Kind, Object]]:
    for name, spec in priority_level.FIXED.items():
        yield (
            PRIORITYLEVELCONFIGURATIONS,
            PRIORITYLEVELCONFIGURATIONS.default(_object(PRIORITYLEVELCONFIGURATIONS, name, spec)),
        )
    for name in LEVELS:
        yield PRIORITYLEVELCONFIGURATIONS, _level(name)
    for name, spec in flow_schema.FIXED.items():
        yield FLOWSCHEMAS, _object(FLOWSCHEMAS, name, spec)
    for name in SCHEMAS:
        yield FLOWSCHEMAS, _schema(name)


# By kind (its plural) and name: what a new cluster has.
OBJECTS: Mapping[tuple[str, str], Object] = {(kind.plural, meta.name(obj)): obj for kind, obj in _all()}


def revised(present: Object, wanted: Object) -> Object:
    """The object of this name as it should be; `present` itself when it is to be left as it is."""
    said = _says(present)
    if meta.name(present) in MANDATORY:
        follows = True
    elif said is not None:
        follows = said
    else:
        follows = present["metadata"].get("generation") == 1  # Nobody has changed it since it was made.
    new = present
    if follows and not _is_right(present, wanted):
        new = {**new, "spec": _spec(present, wanted)}
    if said is not follows:
        annotations = {**meta.annotations(present), well_known.AUTOUPDATE_SPEC_ANNOTATION: str(follows).lower()}
        new = meta.changed(new, ("metadata", "annotations"), annotations)
    return new


def _says(present: Object) -> bool | None:
    """Whether the object itself says that it is kept right, or that it is not."""
    return meta.truth(meta.annotations(present).get(well_known.AUTOUPDATE_SPEC_ANNOTATION, ""))


def _is_right(present: Object, wanted: Object) -> bool:
    return meta.part(present, "spec") == _spec(present, wanted)


def _spec(present: Object, wanted: Object) -> Object:
    """What the spec should be; of level `exempt` the shares and what it lends are the administrator's."""
    spec = meta.part(wanted, "spec")
    own = meta.get(present, "spec", "exempt")
    return {**spec, "exempt": own} if own is not None and "exempt" in spec else spec


def is_left_over(present: Object, kind: Kind) -> bool:
    """Whether it was made for every cluster by a release that is older than this one."""
    return _says(present) is True and (kind.plural, meta.name(present)) not in OBJECTS
