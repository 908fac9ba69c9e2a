"""DaemonSet: one pod on each node that its template may run on.

`reconcile` takes what is its own, settles the history of its template, and looks at each node: where a pod should be
and none is it makes one, bound to the node by node affinity, so that the scheduler places it; where one must not be it
removes it; of several it keeps one. Then it brings a rolling update further: without a surge old pods go, as many as
may be missing; with one new pods come beside the old, which go when the new ones are available. What does not run
takes no count. A pod that has ended is replaced.

Invariants: as long as any pod of it is on a node, be it going, no other comes there, but for the one of a surge; a
deletion names the uid it saw. The work of a look grows with the nodes, of which there are few.
Follows: "DaemonSet" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import View, selector_of
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.controllers.workloads import claiming, replicas, revisions, templates
from petset.controllers.workloads.members import Members, ready_since
from petset.kinds import node_affinity, pod_phase, tolerations
from petset.kinds.apps import workloads
from petset.kinds.apps.daemon_set import DAEMONSETS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object

AT_ONCE_MAX = 250  # Pods made or removed in one look.
REPLACED_SECONDS_MIN = 1.0  # Between a pod and its successor: a node may refuse each at once.
ALWAYS_TOLERATED = (
    (well_known.NOT_READY_TAINT, "NoExecute"),
    (well_known.UNREACHABLE_TAINT, "NoExecute"),
    (well_known.DISK_PRESSURE_TAINT, "NoSchedule"),
    (well_known.MEMORY_PRESSURE_TAINT, "NoSchedule"),
    (well_known.PID_PRESSURE_TAINT, "NoSchedule"),
    (well_known.UNSCHEDULABLE_TAINT, "NoSchedule"),
)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(slots=True)
class Place:
    """A node, whether a pod should come there, whether one may stay, and which there are."""

    node: Object
    should_run: bool
    may_stay: bool
    pods: list[Object] = field(default_factory=list[Object])  # Oldest first.

    @property
    def staying(self) -> list[Object]:
        return [pod for pod in self.pods if pod_phase.is_active(pod)]


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look is about."""

    owner: Object
    places: Sequence[Place]
    nowhere: Sequence[Object]  # Pods for nodes that are not there, which never got there.
    hash: str  # Of the present template.
    now: float

    @property
    def desired(self) -> int:
        return sum(place.should_run for place in self.places)

    def is_new(self, pod: Object) -> bool:
        return revisions.revision_name(pod) == self.hash

    def is_available(self, pod: Object) -> bool:
        since = ready_since(pod)
        if since is None or pod_phase.has_ended(pod):
            return False
        return since + self.min_ready_seconds <= self.now

    @property
    def min_ready_seconds(self) -> int:
        return meta.get(self.owner, "spec", "minReadySeconds", default=0)

    def rolling(self, field: str) -> int:
        """How many pods maxSurge or maxUnavailable means."""
        amount = meta.get(self.owner, "spec", "updateStrategy", "rollingUpdate", field)
        return workloads.resolved(amount, self.desired, up=True)

    @property
    def is_rolling(self) -> bool:
        return meta.get(self.owner, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate"


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """The next steps of one DaemonSet; [] when there is nothing to do now."""
    owner = view.get(DAEMONSETS, *meta.split_key(key))
    if owner is None:
        view.forget(Members, f"{DAEMONSETS.kind} {key}")
        return []
    members = replicas.members_of(DAEMONSETS, owner, view)
    if not meta.is_deleting(owner):
        selector = view.facts(DAEMONSETS, selector_of).of(owner)
        if taking := claiming.claimed(view, PODS, owner, selector, members.strangers.values()):
            return taking
    own = [*members.active.values(), *members.ending.values(), *members.ended.values()]
    in_use = [f"{meta.name(owner)[: revisions.NAME_CHARACTERS_MAX]}-{revisions.revision_name(pod)}" for pod in own]
    history = revisions.history(owner, view.list(CONTROLLERREVISIONS, meta.namespace(owner)), in_use)
    hash_ = meta.labels(history.update).get(well_known.CONTROLLER_HASH_LABEL, "")
    places, nowhere = placed(owner, view.list(NODES), own)
    picture = Picture(owner, places, nowhere, hash_, now)
    if meta.is_deleting(owner):
        return report(picture, history)
    side_by_side = actions.together([report(picture, history), steps(picture)])
    return [*history.steps, *side_by_side, *history.forget, *look_again(picture)]


def placed(owner: Object, nodes: Iterable[Object], pods: Iterable[Object]) -> tuple[list[Place], list[Object]]:
    """(each node with its pods, pods that wait for nodes that are not there)."""
    pattern = pattern_of(owner)
    by_name = {meta.name(node): Place(node, *judged(pattern, node)) for node in nodes}
    nowhere: list[Object] = []
    for pod in sorted(pods, key=meta.by_age):
        place = by_name.get(target(pod))
        if place is not None:
            place.pods.append(pod)
        elif not meta.part(pod, "spec").get("nodeName") and not meta.is_deleting(pod):
            nowhere.append(pod)
    return list(by_name.values()), nowhere


def pattern_of(owner: Object) -> dict[str, Any]:
    """The pod for any node: the template with what every pod of a DaemonSet tolerates."""
    pod = templates.pod_for(owner, meta.part(owner, "spec", "template"))
    given = [*meta.parts(pod, "spec", "tolerations")]
    always = list(ALWAYS_TOLERATED)
    if meta.part(pod, "spec").get("hostNetwork"):
        always.append((well_known.NETWORK_UNAVAILABLE_TAINT, "NoSchedule"))
    for key, effect in always:
        own = {"key": key, "operator": "Exists", "effect": effect}
        given = [one for one in given if (one.get("key"), one.get("effect")) != (key, effect)] + [own]
    return {**pod, "spec": {**pod["spec"], "tolerations": given}}


def judged(pattern: Object, node: Object) -> tuple[bool, bool]:
    """(whether a pod should come to the node, whether one that is there may stay)."""
    name = meta.part(pattern, "spec").get("nodeName")
    if (name and name != meta.name(node)) or not node_affinity.allows(pattern, node):
        return False, False
    bad = [one for one in meta.parts(node, "spec", "taints") if not tolerations.tolerates(pattern, one)]
    effects = [taint.get("effect") for taint in bad]
    return not any(effect in ("NoSchedule", "NoExecute") for effect in effects), "NoExecute" not in effects


def target(pod: Object) -> str:
    """The node it is on, or is for."""
    if name := meta.part(pod, "spec").get("nodeName"):
        return name
    for term in meta.parts(pod, "spec", "affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"):
        for one in meta.parts(term, "matchFields"):
            if one.get("key") == "metadata.name" and len(values := meta.texts(one, "values")) == 1:
                return values[0]
    return ""


def pod_for(picture: Picture, node: Object) -> dict[str, Any]:
    pattern = pattern_of(picture.owner)
    labels = {**meta.labels(pattern), well_known.REVISION_LABEL: picture.hash}
    there = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [meta.name(node)]}]}
    pod = meta.changed(pattern, ("metadata", "labels"), labels)
    return meta.changed(pod, ("spec", "affinity", "nodeAffinity", REQUIRED), {"nodeSelectorTerms": [there]})


def steps(picture: Picture) -> list[actions.Action]:
    """Pods to remove and to make, on all nodes."""
    going, coming, waits = [*picture.nowhere], list[Object](), list[actions.Action]()
    for place in picture.places:
        leaving, wait = superfluous(picture, place)
        going += leaving
        waits += wait
        if place.should_run and not place.pods:
            coming.append(place.node)
    if picture.is_rolling:
        old, surging = updated(picture)
        named = [meta.name(pod) for pod in going]
        going += [pod for pod in old if meta.name(pod) not in named]
        coming += surging
    make = [replicas.create_step(picture.owner, pod_for(picture, node)) for node in coming[:AT_ONCE_MAX]]
    return [
        *actions.together([replicas.removed(picture.owner, going[:AT_ONCE_MAX]), replicas.in_batches(make)]),
        *waits,
    ]


def superfluous(picture: Picture, place: Place) -> tuple[list[Object], list[actions.Action]]:
    """(the pods of a node that are to go, when to look at ended ones again), a rolling update apart."""
    there = [pod for pod in place.pods if not meta.is_deleting(pod)]
    if not place.may_stay:
        return there, []
    going: list[Object] = []
    waits: list[actions.Action] = []
    for pod in there:
        if pod_phase.has_ended(pod):
            made = tasks.parse_rfc3339(pod["metadata"].get("creationTimestamp", "1970-01-01T00:00:00Z"))
            left = made + REPLACED_SECONDS_MIN - picture.now
            if left > 0:
                waits.append(actions.RequeueAfter(left))
            else:
                going.append(pod)
    staying = place.staying
    if not (picture.is_rolling and picture.rolling("maxSurge")):
        return [*going, *staying[1:]], waits
    new = [pod for pod in staying if picture.is_new(pod)]
    old = [pod for pod in staying if not picture.is_new(pod)]
    return [*going, *new[1:], *old[1:]], waits


def updated(picture: Picture) -> tuple[list[Object], list[Object]]:
    """(old pods that go now, nodes where a new one comes beside the old)."""
    surge = picture.rolling("maxSurge")
    return surged(picture, surge) if surge else (replaced(picture, picture.rolling("maxUnavailable")), [])


def replaced(picture: Picture, missing: int) -> list[Object]:
    """Old pods that go before there are new ones: those that are not available, and others while few are missing."""
    useless: list[Object] = []
    candidates: list[Object] = []
    for place in picture.places:
        if not place.should_run:
            continue
        staying = place.staying
        if len(staying) != 1:
            missing -= 1  # One is to come, or to go.
        elif picture.is_new(staying[0]):
            missing -= not picture.is_available(staying[0])
        elif picture.is_available(staying[0]):
            candidates.append(staying[0])
        else:
            useless.append(staying[0])
    return [*useless, *candidates[: max(0, missing - len(useless))]]


def surged(picture: Picture, surge: int) -> tuple[list[Object], list[Object]]:
    """The same where new pods come first: the old ones go when theirs is available, or when they are not themselves."""
    going: list[Object] = []
    at_once: list[Object] = []
    candidates: list[Object] = []
    for place in picture.places:
        new = next((pod for pod in place.staying if picture.is_new(pod)), None)
        old = next((pod for pod in place.staying if not picture.is_new(pod)), None)
        if old is None or not place.should_run:
            continue
        if new is not None:
            if picture.is_available(new) or not picture.is_available(old):
                going.append(old)
            else:
                surge -= 1
        elif len(place.pods) > 1:
            surge -= 1  # One that has ended, is going, or came for a template in between is in the way.
        elif picture.is_available(old):
            candidates.append(place.node)
        else:
            at_once.append(place.node)
    return going, [*at_once, *candidates[: max(0, surge)]]


def report(picture: Picture, history: revisions.History) -> list[actions.Action]:
    """The status as it is now, written when it says something else."""
    owner, said = picture.owner, meta.part(picture.owner, "status")
    wanted = [place for place in picture.places if place.should_run]
    first = [place.pods[0] for place in wanted if place.pods]
    available = sum(map(picture.is_available, first))
    counts = {
        "updatedNumberScheduled": sum(map(picture.is_new, first)),
        "numberAvailable": available,
        "numberUnavailable": len(wanted) - available,
    }
    status: Mapping[str, Any] = {
        **{key: value for key, value in said.items() if key == "conditions"},
        "currentNumberScheduled": len(first),
        "numberMisscheduled": sum(bool(place.pods) and not place.should_run for place in picture.places),
        "desiredNumberScheduled": len(wanted),
        "numberReady": sum(ready_since(pod) is not None for pod in first),
        **{key: count for key, count in counts.items() if count},
        "observedGeneration": meta.get(owner, "metadata", "generation", default=0),
        **({"collisionCount": history.collisions} if history.collisions or "collisionCount" in said else {}),
    }
    return actions.report(owner, status)


def look_again(picture: Picture) -> list[actions.Action]:
    """Nothing changes when a pod has been ready for long enough: only time tells."""
    seconds = picture.min_ready_seconds
    if not seconds:
        return []
    since = [at for place in picture.places for pod in place.staying if (at := ready_since(pod)) is not None]
    waits = [left for at in since if (left := at + seconds - picture.now) > 0]
    return [actions.RequeueAfter(min(waits))] if waits else []


def keys_of_node(node: Object, view: View) -> Iterable[str]:
    """All of them: a node that comes or changes may be for any."""
    return [meta.key(one) for one in view.list(DAEMONSETS)]


CONTROLLERS = (
    Controller(
        name=DAEMONSETS.plural,
        component="daemonset-controller",
        watches=(
            (DAEMONSETS, own_key),
            (PODS, partial(claiming.keys_of, DAEMONSETS)),
            (CONTROLLERREVISIONS, partial(claiming.keys_of_controller, DAEMONSETS)),
            (NODES, keys_of_node),
        ),
        reconcile=reconcile,
    ),
)
