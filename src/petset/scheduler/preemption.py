"""Room for a pod that fits nowhere: which less important pods would have to go, and on which node that hurts least.

On each node that refuses the pod for what pods do, all less important ones are thought away; where it fits then, as
many as possible are put back, the most important first, and before them those whose disruption budget their going would
break. The best node is the one where fewest budgets break, then by the victims' importance, number and age. Nothing is
done here: policy.py answers the victims, loop.py asks them to go.
Follows: "Pod Priority and Preemption" of the Kubernetes documentation, upstream's DefaultPreemption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from petset.base import tasks
from petset.kinds import disruptions
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler import loads, refusals
from petset.scheduler.filters import Cluster, Request
from petset.scheduler.loads import Place, priority_of
from petset.scheduler.refusals import Refusal

BY_SCHEDULER = "PreemptionByScheduler"  # Why a victim goes, as it says itself.
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = Refusal(("No preemption victims found for incoming pod",))
NEVER = "not eligible due to preemptionPolicy=Never."
ON_ITS_WAY = "not eligible due to a terminating pod on the nominated node."
CANDIDATES_MIN, CANDIDATES_PERCENT = 100, 10  # How many nodes are looked at, at least, and of all that are possible.
LOWEST = 2**31  # Added to priorities, so that the sum of many low ones is not less than that of few.


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that could take the pod, were these away."""

    node: str
    victims: tuple[Object, ...]  # The most important first.
    violations: int  # How many of them no budget allows to go.


def found(
    request: Request, cluster: Cluster, refused: Mapping[str, Refusal]
) -> tuple[Candidate | None, str, str | None]:
    """(the best candidate; what is said of it; the node that the pod waits for: "" for none any more, None: as
    before)."""
    pod = request.pod
    if pod["spec"].get("preemptionPolicy") == "Never":
        return None, NEVER, None
    if _waits(pod, cluster, refused):
        return None, ON_ITS_WAY, None
    possible = [cluster.places[name] for name, refusal in refused.items() if not refusal.is_final]
    candidates, told = _candidates(request, cluster, possible)
    if not candidates:
        told += [Refusal((NOT_HELPFUL,))] * (len(cluster.places) - len(told))
        return None, refusals.told(len(cluster.places), told), ""
    best = min(candidates, key=_cost)
    said = f"found a potential placement for pod on node {best.node}, preempting {len(best.victims)} victims"
    return best, said, best.node


def not_helpful(total: int) -> str:
    """What is said when the pod waits for something else than room."""
    return refusals.told(total, [Refusal((NOT_HELPFUL,))] * total)


def _waits(pod: Object, cluster: Cluster, refused: Mapping[str, Refusal]) -> bool:
    """Whether victims of its own are still going."""
    nominated = meta.get(pod, "status", "nominatedNodeName", default="")
    place = cluster.places.get(nominated)
    if place is None or (nominated in refused and refused[nominated].is_final):
        return False
    return any(
        meta.is_deleting(other) and priority_of(other) < priority_of(pod) and _is_preempted(other)
        for other in place.pods
    )


def _is_preempted(pod: Object) -> bool:
    condition = meta.condition(pod, disruptions.TARGET) or {}
    return condition.get("status") == "True" and condition.get("reason") == BY_SCHEDULER


def _candidates(request: Request, cluster: Cluster, possible: Sequence[Place]) -> tuple[list[Candidate], list[Refusal]]:
    enough = max(len(possible) * CANDIDATES_PERCENT // 100, CANDIDATES_MIN)
    candidates: list[Candidate] = []
    told: list[Refusal] = []
    budgets: list[Object] | None = None
    for place in possible:
        if not place.has_less_important(priority_of(request.pod)):
            told.append(NO_VICTIMS)
            continue
        if budgets is None:
            budgets = cluster.view.list(PODDISRUPTIONBUDGETS)
        one = _on(request, cluster, place, budgets)
        if isinstance(one, Refusal):
            told.append(one)
            continue
        candidates.append(one)
        if len(candidates) >= enough and any(not each.violations for each in candidates):
            break
    return candidates, told


def _on(request: Request, cluster: Cluster, place: Place, budgets: Iterable[Object]) -> Candidate | Refusal:
    """The fewest that must go from one node; why it cannot take the pod even so."""
    mine = priority_of(request.pod)
    lower = sorted((pod for pod in place.pods if priority_of(pod) < mine), key=importance)
    thought, empty = request.copy(), place.copy()

    def away(pod: Object) -> None:
        empty.remove(pod, loads.demand(pod))
        thought.change(pod, cluster.said_of(pod), place.name, -1)

    def back(pod: Object) -> None:
        empty.put_back(pod, loads.demand(pod))
        thought.change(pod, cluster.said_of(pod), place.name, 1)

    for pod in lower:
        away(pod)
    if (refusal := cluster.refusal(thought, empty)) is not None:
        return refusal
    violating, others = _by_budgets(lower, budgets)
    victims: list[Object] = []
    violations = 0
    for group in (violating, others):
        for pod in group:
            back(pod)
            if cluster.refusal(thought, empty) is not None:
                away(pod)
                victims.append(pod)
                violations += group is violating
    return Candidate(place.name, tuple(sorted(victims, key=importance)), violations)


def importance(pod: Object) -> tuple[int, float, str]:
    """To sort by: the most important first, of equals the one that has run for longest."""
    return -priority_of(pod), _started(pod), meta.key(pod)


def _started(pod: Object) -> float:
    since = meta.get(pod, "status", "startTime")
    return tasks.parse_rfc3339(since) if since else float("inf")


def _by_budgets(pods: Iterable[Object], budgets: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """(those whose going breaks a budget, the others)."""
    left = {meta.key(one): meta.get(one, "status", "disruptionsAllowed", default=0) for one in budgets}
    violating: list[Object] = []
    others: list[Object] = []
    for pod in pods:
        labels = meta.labels(pod)
        breaks = False
        for budget in budgets if labels else ():
            selector = disruptions.selector_of(budget)
            if meta.namespace(budget) != meta.namespace(pod) or selector.empty or not selector.matches(labels):
                continue
            if meta.name(pod) in meta.part(budget, "status", "disruptedPods"):
                continue  # It is counted already.
            left[meta.key(budget)] -= 1
            if left[meta.key(budget)] < 0:
                breaks = True
                break
        (violating if breaks else others).append(pod)
    return violating, others


def _cost(one: Candidate) -> tuple[int, int, int, int, float, str]:
    priorities = [priority_of(pod) for pod in one.victims]
    highest = max(priorities)
    began = min(_started(pod) for pod in one.victims if priority_of(pod) == highest)
    total = sum(priority + LOWEST for priority in priorities)
    return one.violations, highest, total, len(priorities), -began, one.node
