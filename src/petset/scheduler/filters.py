"""Which nodes can take a pod: filters one after another, of which the first that refuses a node speaks for it.

A `Request` is what one pod asks of any node, made once for it out of the kept pictures; so a node costs what it says
itself, however many pods there are. For preemption it is copied, and told which pods to think away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from petset.base import well_known
from petset.client.views import View
from petset.kinds import node_affinity, requests, tolerations
from petset.kinds.pod import PODS
from petset.kinds.pod_spec.placement import REQUIRED
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler import loads, pictures, terms, volumes
from petset.scheduler.affinity import Near
from petset.scheduler.loads import Demand, Place
from petset.scheduler.pictures import Pictures
from petset.scheduler.profiles import DEFAULT_NAME, Profile, Profiles
from petset.scheduler.refusals import Refusal
from petset.scheduler.spread import Evenness

UNSCHEDULABLE = Refusal(("node(s) were unschedulable",), is_final=True)
TAINTED = Refusal(("node(s) had untolerated taint(s)",), is_final=True)
OTHER_NODE = Refusal(("node(s) didn't match Pod's node affinity/selector",), is_final=True)
ENFORCED = Refusal(("node(s) didn't match scheduler-enforced node affinity",), is_final=True)
NOT_NAMED = Refusal(("node(s) didn't satisfy plugin(s) [NodeAffinity]",), is_final=True)
NO_PORTS = Refusal((requests.PORTS_TAKEN,))
UNSCHEDULABLE_TAINT: Object = {"key": well_known.UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}


@dataclass(slots=True)
class Cluster:
    """All nodes as they are for the next pod, with what was placed since the caches were read."""

    view: View
    pictures: Pictures
    places: Mapping[str, Place]  # By name, in order.
    profiles: Profiles
    promised: dict[str, str]  # Volumes that nobody has yet, by name, with the claims (by key) that are to have them.
    placed: list[tuple[Object, terms.Terms, str]] = field(default_factory=list[tuple[Object, terms.Terms, str]])
    nominated: dict[str, dict[str, Object]] = field(default_factory=dict[str, dict[str, Object]])  # By node and key.

    def add(self, pod: Object, node: str) -> None:
        self.places[node].add(pod, loads.demand(pod))
        self.placed.append((pod, self.said_of(pod), node))

    def said_of(self, pod: Object) -> terms.Terms:
        return self.view.facts(PODS, terms.of).of(pod)

    def refusal(self, request: Request, place: Place) -> Refusal | None:
        """Why the node cannot take the pod: as it is, or with those that wait for room there and are no less
        important."""
        refused = refusal(request, place)
        if refused is not None or place.name not in self.nominated:
            return refused
        mine, own = loads.priority_of(request.pod), meta.key(request.pod)
        before = [
            pod for key, pod in self.nominated[place.name].items() if key != own and loads.priority_of(pod) >= mine
        ]
        if not before:
            return None
        thought, full = request.copy(), place.copy()
        for pod in before:
            full.add(pod, loads.demand(pod))
            thought.change(pod, self.said_of(pod), place.name, 1)
        return refusal(thought, full)


def cluster_of(view: View, profiles: Profiles, promised: dict[str, str]) -> Cluster:
    return Cluster(view, pictures.of(view), {place.name: place for place in loads.places_of(view)}, profiles, promised)


@dataclass(frozen=True, slots=True)
class Request:
    """What one pod asks of any node."""

    pod: Object
    profile: Profile
    said: terms.Terms
    demand: Demand
    volumes: volumes.Volumes
    named: Mapping[str, None] | None  # The nodes that its affinity calls by name; None: it calls none.
    near: Near
    even: Evenness
    rivals: dict[str, None]  # Pods (by key) that use a claim that only one may use.

    def copy(self) -> Request:
        """For thinking."""
        return replace(self, near=self.near.copy(), even=self.even.copy(), rivals=dict(self.rivals))

    def change(self, other: Object, said: terms.Terms, node: str, sign: int) -> None:
        """Think another pod to be on the node (1), or away from it (-1)."""
        self.near.change(other, said, node, sign)
        self.even.change(other, node, sign)
        if sign < 0:
            self.rivals.pop(meta.key(other), None)
        elif self.volumes.alone and any(key in self.volumes.alone for key in volumes.claims_of(other)):
            self.rivals[meta.key(other)] = None


def request_of(pod: Object, cluster: Cluster) -> tuple[Request | None, str]:
    """(what it asks, why it cannot ask yet)."""
    wanted, why = volumes.of(pod, cluster.view, cluster.promised)
    if why:
        return None, why
    said = cluster.said_of(pod)
    rivals = [meta.key(user) for key in wanted.alone for user in volumes.users_of(key, cluster.view)]
    request = Request(
        pod=pod,
        profile=cluster.profiles[profile_name(pod)],
        said=said,
        demand=loads.demand(pod),
        volumes=wanted,
        named=_named(pod),
        near=Near(pod, said, cluster.pictures, cluster.places),
        even=Evenness(pod, said, cluster.pictures, cluster.places),
        rivals=dict.fromkeys(rivals),
    )
    for other, what, node in cluster.placed:
        request.change(other, what, node, 1)
    return request, ""


def _named(pod: Object) -> Mapping[str, None] | None:
    """The nodes that each of the required terms calls by name, as those of a DaemonSet's pods do."""
    required = meta.part(pod, "spec", "affinity", "nodeAffinity", REQUIRED)
    names: dict[str, None] = {}
    found = meta.parts(required, "nodeSelectorTerms")
    for term in found:
        called = [meta.texts(one, "values") for one in meta.parts(term, "matchFields") if one.get("operator") == "In"]
        if not called:
            return None
        names |= dict.fromkeys(called[0])
    return names if found else None


# The filters.


def refusal(request: Request, place: Place) -> Refusal | None:
    """That of the first filter that has any."""
    return next(_refusals(request, place), None)


def _refusals(request: Request, place: Place) -> Iterator[Refusal]:
    for plugin, filter_ in FILTERS:
        if plugin in request.profile.filters and (found := filter_(request, place)) is not None:
            yield found


def profile_name(pod: Object) -> str:
    return pod["spec"].get("schedulerName") or DEFAULT_NAME


def not_named(request: Request, place: Place) -> Refusal | None:
    return NOT_NAMED if request.named is not None and place.name not in request.named else None


def unschedulable(request: Request, place: Place) -> Refusal | None:
    is_closed = meta.part(place.node, "spec").get("unschedulable")
    return UNSCHEDULABLE if is_closed and not tolerations.tolerates(request.pod, UNSCHEDULABLE_TAINT) else None


def tainted(request: Request, place: Place) -> Refusal | None:
    for taint in place.facts.taints:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerations.tolerates(request.pod, taint):
            return TAINTED
    return None


def other_node(request: Request, place: Place) -> Refusal | None:
    if (required := request.profile.added_affinity.get(REQUIRED)) is not None and not node_affinity.terms_match(
        meta.parts(required, "nodeSelectorTerms"), place.node
    ):
        return ENFORCED
    return None if node_affinity.allows(request.pod, place.node) else OTHER_NODE


def ports_taken(request: Request, place: Place) -> Refusal | None:
    mine = request.demand.host_ports
    return NO_PORTS if mine and _collide(mine, place.host_ports) else None


def _collide(mine: Iterable[requests.HostPort], theirs: Iterable[requests.HostPort]) -> bool:
    return any(one.collides(other) for other in theirs for one in mine)


def too_little(request: Request, place: Place) -> Refusal | None:
    """What the node has not enough of, in the order of names; final where it would not have it empty either."""
    free = place.facts.allocatable
    reasons = ["Too many pods"] if len(place) + 1 > place.facts.pods_max else []
    is_final = False
    for name, amount in sorted(request.demand.amounts.items()):
        if amount and place.used(name) + amount > free.get(name, 0):
            reasons.append(f"Insufficient {name}")
            is_final = is_final or amount > free.get(name, 0)
    return Refusal(tuple(reasons), is_final) if reasons else None


def claim_in_use(request: Request, place: Place) -> Refusal | None:
    return volumes.IN_USE if request.rivals else None


def volumes_elsewhere(request: Request, place: Place) -> Refusal | None:
    return request.volumes.refusal(place)


def uneven(request: Request, place: Place) -> Refusal | None:
    return request.even.refusal(place)


def others_near(request: Request, place: Place) -> Refusal | None:
    return request.near.refusal(place)


FILTERS: tuple[tuple[str, Callable[[Request, Place], Refusal | None]], ...] = (
    ("NodeAffinity", not_named),
    ("NodeUnschedulable", unschedulable),
    ("TaintToleration", tainted),
    ("NodeAffinity", other_node),
    ("NodePorts", ports_taken),
    ("NodeResourcesFit", too_little),
    ("VolumeRestrictions", claim_in_use),
    ("VolumeBinding", volumes_elsewhere),
    ("PodTopologySpread", uneven),
    ("InterPodAffinity", others_near),
)
