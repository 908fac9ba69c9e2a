"""Profiles of the scheduler, of which a pod chooses one by its schedulerName: which filters and scores count for it.

`read` takes a KubeSchedulerConfiguration and says in one line what is wrong with it, or what of it is not offered here:
plugins of the points filter, score and postFilter, and the arguments of NodeResourcesFit and NodeAffinity.
Follows: "Scheduler Configuration" of the Kubernetes documentation (kubescheduler.config.k8s.io/v1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from petset.base import well_known
from petset.kinds.pod_spec import placement
from petset.objects import meta, schema
from petset.objects.meta import Object

DEFAULT_NAME = "default-scheduler"
API_VERSION, KIND = f"{well_known.SCHEDULER_CONFIG_GROUP}/v1", "KubeSchedulerConfiguration"
PROFILES_MAX, WEIGHT_MAX = 100, 2**31 - 1
LEAST, MOST = "LeastAllocated", "MostAllocated"
PREEMPTION = "DefaultPreemption"
WEIGHTS: Mapping[str, int] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
FILTERS = (
    *("NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit"),
    *("VolumeRestrictions", "VolumeBinding", "PodTopologySpread", "InterPodAffinity"),
)
POINTS: Mapping[str, Iterable[str]] = {"filter": FILTERS, "score": WEIGHTS, "postFilter": (PREEMPTION,)}


@dataclass(frozen=True, slots=True)
class Profile:
    name: str = DEFAULT_NAME
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)  # Of scores, by plugin.
    filters: Mapping[str, None] = field(default_factory=lambda: dict.fromkeys(FILTERS))
    preempts: bool = True
    packs: bool = False  # Full nodes are better than empty ones.
    added_affinity: Object = field(default_factory=dict[str, Any])  # A NodeAffinity, beside the pods' own.


Profiles = Mapping[str, Profile]  # By name.
DEFAULT: Profiles = {DEFAULT_NAME: Profile()}


def read(text: bytes) -> Profiles:
    """Raises ValueError: what is wrong with it, in one line."""
    from petset.objects import documents

    found = documents.load_all(text)
    if len(found) != 1 or not meta.is_struct(found[0]):
        raise ValueError(f"it is not one {KIND}")
    tree = found[0]
    if (tree.get("apiVersion"), tree.get("kind")) != (API_VERSION, KIND):
        raise ValueError(f"it is not a {KIND} of {API_VERSION}")
    _only(tree, ("apiVersion", "kind", "profiles"), "")
    given = _structs(tree, "profiles", "")
    if len(given) > PROFILES_MAX:
        raise ValueError(f"profiles: there are more than {PROFILES_MAX}")
    profiles: dict[str, Profile] = {}
    for index, one in enumerate(given):
        profile = _profile(one, f"profiles[{index}]")
        if profile.name in profiles:
            raise ValueError(f'profiles[{index}].schedulerName: "{profile.name}" is there twice')
        profiles[profile.name] = profile
    return profiles or DEFAULT


def _profile(given: Object, path: str) -> Profile:
    _only(given, ("schedulerName", "plugins", "pluginConfig"), path)
    name: Any = given.get("schedulerName", DEFAULT_NAME)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path}.schedulerName: must be a text")
    plugins: Any = given.get("plugins") or {}
    if not meta.is_struct(plugins):
        raise ValueError(f"{path}.plugins: must be an object")
    _only(plugins, tuple(POINTS), f"{path}.plugins")
    chosen = {point: _chosen(plugins, point, f"{path}.plugins") for point in POINTS}
    packs, added = _arguments(given, f"{path}.pluginConfig")
    return Profile(
        name=name,
        weights=chosen["score"],
        filters=dict.fromkeys(chosen["filter"]),
        preempts=PREEMPTION in chosen["postFilter"],
        packs=packs,
        added_affinity=added,
    )


def _chosen(plugins: Object, point: str, path: str) -> dict[str, int]:
    """The plugins of a point with their weights: the usual ones without those disabled, and those enabled."""
    where, known = f"{path}.{point}", dict.fromkeys(POINTS[point])
    given: Any = plugins.get(point) or {}
    if not meta.is_struct(given):
        raise ValueError(f"{where}: must be an object")
    _only(given, ("enabled", "disabled"), where)
    chosen = {name: WEIGHTS.get(name, 1) for name in known}
    for index, one in enumerate(_structs(given, "disabled", where)):
        name = _plugin(one, known, f"{where}.disabled[{index}]", any_of_them=True)
        chosen = {} if name == "*" else {each: weight for each, weight in chosen.items() if each != name}
    for index, one in enumerate(_structs(given, "enabled", where)):
        at = f"{where}.enabled[{index}]"
        name, weight = _plugin(one, known, at), one.get("weight") or WEIGHTS.get(_plugin(one, known, at), 1)
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 < weight <= WEIGHT_MAX:
            raise ValueError(f"{at}.weight: must be a whole number above 0")
        chosen[name] = weight
    return chosen


def _plugin(given: Object, known: Mapping[str, None], path: str, any_of_them: bool = False) -> str:
    name: Any = given.get("name")
    if isinstance(name, str) and (name in known or (any_of_them and name == "*")):
        return name
    raise ValueError(f"{path}.name: there is no such plugin; there are {', '.join(known)}")


def _arguments(given: Object, path: str) -> tuple[bool, Object]:
    """(whether full nodes are better, the affinity that every pod has)."""
    packs, added = False, dict[str, Any]()
    for index, one in enumerate(_structs(given, "pluginConfig", path.rpartition(".")[0])):
        at, name = f"{path}[{index}]", one.get("name")
        arguments: Any = one.get("args") or {}
        if not meta.is_struct(arguments):
            raise ValueError(f"{at}.args: must be an object")
        if name == "NodeResourcesFit":
            _only(arguments, ("apiVersion", "kind", "scoringStrategy"), f"{at}.args")
            strategy: Any = meta.get(arguments, "scoringStrategy", "type", default=LEAST)
            if strategy not in (LEAST, MOST):
                raise ValueError(f"{at}.args.scoringStrategy.type: must be {LEAST} or {MOST}")
            packs = strategy == MOST
        elif name == "NodeAffinity":
            _only(arguments, ("apiVersion", "kind", "addedAffinity"), f"{at}.args")
            affinity: Any = arguments.get("addedAffinity") or {}
            where = f"{at}.args.addedAffinity"
            if not meta.is_struct(affinity) or not schema.node("core_v1.NodeAffinity").ok(affinity):
                raise ValueError(f"{where}: must be a NodeAffinity")
            for wrong in placement.node_affinity(affinity, where):
                raise ValueError(f"{wrong.field}: {wrong.message}")
            added = affinity
        else:
            raise ValueError(f"{at}.name: arguments are taken for NodeResourcesFit and NodeAffinity")
    return packs, added


def _structs(given: Object, key: str, path: str) -> list[Object]:
    found: Any = given.get(key) or []
    if not meta.is_list(found) or not all(meta.is_struct(one) for one in found):
        raise ValueError(f"{path}{'.' if path else ''}{key}: must be a list of objects")
    return found


def _only(given: Object, fields: tuple[str, ...], path: str) -> None:
    for key in given:
        if key not in fields:
            raise ValueError(f"{path}{'.' if path else ''}{key}: is not offered; there are {', '.join(fields)}")
