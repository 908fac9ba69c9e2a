"""Which of the nodes that can take a pod is the best: scores from 0 to 100, each with its profile's weight, added up.

Equal ones go to the first by name, so that equal clusters give equal answers.
Follows: the score plugins of kube-scheduler and their default weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from petset.kinds import node_affinity, tolerations
from petset.kinds.pod_spec import pod_containers
from petset.kinds.pod_spec.placement import PREFERRED
from petset.objects import meta
from petset.scheduler import affinity, spread
from petset.scheduler.filters import Cluster, Request
from petset.scheduler.loads import Place

MOST = 100
IMAGE_BYTES_MIN, IMAGE_BYTES_MAX = 23 << 20, 1000 << 20  # Of images that are worth nothing, and all, for a container.
Score = Callable[[Request, Sequence[Place], Cluster], "list[int] | None"]  # Of each; None: it tells none apart.


def best(request: Request, fitting: Sequence[Place], cluster: Cluster) -> Place:
    if len(fitting) == 1:
        return fitting[0]
    totals = [0] * len(fitting)
    for plugin, score in SCORES:
        weight = request.profile.weights.get(plugin, 0)
        found = score(request, fitting, cluster) if weight else None
        if found is not None:
            totals = [total + weight * one for total, one in zip(totals, found, strict=True)]
    return min(zip(fitting, totals, strict=True), key=lambda one: (-one[1], one[0].name))[0]


def _scaled(found: Sequence[int]) -> list[int]:
    """The largest of them becomes 100."""
    most = max(found)
    return [MOST * one // most for one in found] if most > 0 else list(found)


def few_taints(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    """Taints that it would rather not meet."""
    found = [
        sum(
            taint.get("effect") == "PreferNoSchedule" and not tolerations.tolerates(request.pod, taint)
            for taint in place.facts.taints
        )
        for place in fitting
    ]
    return [MOST - one for one in _scaled(found)] if any(found) else None


def preferred_nodes(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    own = meta.parts(request.pod, "spec", "affinity", "nodeAffinity", PREFERRED)
    preferred = [*own, *meta.parts(request.profile.added_affinity, PREFERRED)]
    if not preferred:
        return None
    return _scaled(
        [
            sum(
                one.get("weight", 1)
                for one in preferred
                if node_affinity.term_matches(meta.part(one, "preference"), place.node)
            )
            for place in fitting
        ]
    )


def even(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    since = [(pod, node) for pod, _, node in cluster.placed]
    found = spread.crowding(request.pod, request.said, cluster.pictures, cluster.places, fitting, since)
    if found is None:
        return None
    rounded = [None if one is None else round(one) for one in found]
    known = [one for one in rounded if one is not None]
    most, least = max(known, default=0), min(known, default=0)
    return [0 if one is None else MOST * (most + least - one) // most if most else MOST for one in rounded]


def near_others(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    preferred = affinity.preferences(request.pod, request.said, cluster.pictures, cluster.places, cluster.placed)
    if not preferred:
        return None
    found = [affinity.worth(preferred, place) for place in fitting]
    most, least = max(found), min(found)
    return [MOST * (one - least) // (most - least) for one in found] if most > least else None


def room(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    """How much of their CPU and memory is left; where full nodes are better, how much is used."""
    found: list[int] = []
    for place in fitting:
        used_of = _used(request, place)
        if request.profile.packs:
            shares = [MOST * min(used, free) // free for used, free in used_of]
        else:
            shares = [MOST * (free - used) // free if used <= free else 0 for used, free in used_of]
        found.append(sum(shares) // len(shares) if shares else 0)
    return found


def balance(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    """How far CPU and memory are used up alike."""
    if not any(request.demand.amounts.get(name) for name in ("cpu", "memory")):
        return None
    found: list[int] = []
    for place in fitting:
        shares = [min(used / free, 1.0) for used, free in _used(request, place)]
        apart = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
        found.append(int((1 - apart) * MOST))
    return found


def _used(request: Request, place: Place) -> list[tuple[int, int]]:
    """(used with the pod, allocatable) of what the node has."""
    wanted, there = request.demand.compared, place.facts.allocatable
    return [
        (place.compared(name) + wanted.get(name, 0), free) for name in ("cpu", "memory") if (free := there.get(name, 0))
    ]


def images_there(request: Request, fitting: Sequence[Place], cluster: Cluster) -> list[int] | None:
    """How many bytes of its images need not be pulled; an image that few nodes have draws less."""
    spec = request.pod["spec"]
    names = [image_name(one.get("image", "")) for one in pod_containers.own(spec)]
    everywhere = cluster.places.values()
    shares = {name: sum(name in place.facts.images for place in everywhere) for name in dict.fromkeys(names)}
    if not any(shares.values()):
        return None
    found: list[int] = []
    for place in fitting:
        size = sum(place.facts.images.get(name, 0) * shares[name] // len(everywhere) for name in names)
        most = IMAGE_BYTES_MAX * len(names)
        size = min(max(size, IMAGE_BYTES_MIN), most)
        found.append(MOST * (size - IMAGE_BYTES_MIN) // (most - IMAGE_BYTES_MIN))
    return found


def image_name(name: str) -> str:
    """As nodes call it: with a tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


SCORES: tuple[tuple[str, Score], ...] = (
    ("TaintToleration", few_taints),
    ("NodeAffinity", preferred_nodes),
    ("PodTopologySpread", even),
    ("InterPodAffinity", near_others),
    ("NodeResourcesFit", room),
    ("NodeResourcesBalancedAllocation", balance),
    ("ImageLocality", images_there),
)
