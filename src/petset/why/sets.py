"""Why a PetSet or StatefulSet does not get on: which pet holds the others, who refuses it, how far it rolls.

The pets are looked at as the controller does: ascending by ordinal; with the ordered policy the first that is not ready
holds all above it. Then updates, from the highest ordinal down to the partition.
Follows: "StatefulSets" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from petset.base import well_known
from petset.kinds import pet_names
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import deleted, finding, pods, refused, workloads
from petset.why.finding import Finding
from petset.why.picture import Picture

PETS_TOLD_MAX = 5
KINDS = (STATEFULSETS, PETSETS)


@deleted.first
def pet_set(obj: Object, picture: Picture) -> Finding:
    if (moved := _moved(obj)) is not None:
        return moved
    mine = members(obj, picture)
    pets = _pets(obj, mine, picture)
    said = f"{len(pets.well)} of {pets.size} pets are ready"
    if len(pets.well) < pets.size:
        because = _held(pets, picture)
        says = f"{said}{_blocking(pets)}"
        return finding.of(obj, says, finding.state_of(because), because=because)
    surplus = [pod for name, pod in mine.items() if name not in pets.there]
    if surplus:
        going = tuple(pods.pod(pod, picture) for pod in surplus if meta.is_deleting(pod))
        return finding.of(
            obj, f"{said}; {finding.listed(sorted(map(meta.name, surplus)))} must go still", "waits", because=going
        )
    return (
        _updating(obj, pets.there, said)
        or _without_service(obj, picture, said)
        or finding.of(obj, f"is well: {said}", "well")
    )


def _moved(obj: Object) -> Finding | None:
    """What became of a set that `petset move` hands over, or has handed over."""
    annotations = meta.annotations(obj)
    if well_known.MOVE_ANNOTATION in annotations:
        mend = "run the same `petset move` again, if it was interrupted"
        return finding.of(obj, "is on its way to another cluster", "waits", mend)
    where = annotations.get(well_known.MOVED_TO_ANNOTATION)
    if where is None:
        return None
    says = f"has moved to {where}"
    if pet_names.replicas_wanted(obj):
        mend = finding.kubectl("scale", obj, "--replicas=0")
        return finding.of(obj, f"{says}, and is to have pets here, whose places are taken", mend=mend)
    return finding.of(obj, f"{says}, with its pets; its claims here are kept", "well")


def members(obj: Object, picture: Picture) -> dict[str, Object]:
    """The pods that it controls, by name, the oldest first."""
    return {meta.name(pod): pod for pod in workloads.members(obj, picture)}


def is_well(pod: Object, picture: Picture) -> bool:
    return meta.is_pod_ready(pod) and not meta.is_deleting(pod) and pods.pod(pod, picture).is_well


@dataclass(frozen=True, slots=True)
class Pets:
    """The pets that should be there: who is not is counted, and walked no further than is told of him.

    A set may ask for 2**31 of them.
    """

    set: Object
    there: dict[str, Object]  # By name, ascending by ordinal; as the next.
    well: dict[str, Object]

    @property
    def size(self) -> int:
        return pet_names.replicas_wanted(self.set)

    @property
    def is_ordered(self) -> bool:
        return meta.get(self.set, "spec", "podManagementPolicy", default="OrderedReady") == "OrderedReady"

    def lacking(self) -> Iterator[tuple[str, Object | None]]:
        """Those that are not well, ascending by ordinal; None: it is not there."""
        names = (pet_names.name(self.set, ordinal) for ordinal in pet_names.ordinals(self.set))
        return ((name, self.there.get(name)) for name in names if name not in self.well)


def _pets(obj: Object, mine: dict[str, Object], picture: Picture) -> Pets:
    wanted = pet_names.ordinals(obj)
    found = [pod for pod in mine.values() if pet_names.parent(pod) == meta.name(obj)]
    in_range = sorted((pod for pod in found if pet_names.ordinal(pod) in wanted), key=pet_names.ordinal)
    there = {meta.name(pod): pod for pod in in_range}
    return Pets(obj, there, {name: pod for name, pod in there.items() if is_well(pod, picture)})


def _held(pets: Pets, picture: Picture) -> tuple[Finding, ...]:
    """What holds the pets that are not well: of an ordered set the first one, since the others wait for it."""
    found: list[Finding] = []
    for name, pod in pets.lacking():
        found.append(pods.pod(pod, picture) if pod is not None else _absent(pets.set, name, picture))
        if pod is not None and _is_rolled_back_by_hand(pets, pod):
            found.append(_forced_rollback(pets.set, pod))
        if pets.is_ordered or len(found) >= PETS_TOLD_MAX:
            break
    return tuple(found)


def _absent(obj: Object, name: str, picture: Picture) -> Finding:
    about = f"Pod {meta.namespace(obj)}/{name}"
    by = refused.of(obj, picture)
    if by is not None:
        return Finding(about, "is not there, since it may not be made", because=(by,))
    taken = picture.get(PODS, name, meta.namespace(obj))
    if taken is not None and not meta.is_controlled_by(taken, obj):
        says = "is not this set's, so that the set cannot make its own of that name"
        return Finding(about, says, mend=f"delete the pod {name}, or rename it")
    return Finding(about, "is not there yet: the controller is about to make it", "waits")


def _blocking(pets: Pets) -> str:
    """Which pets wait for the first that is held."""
    lacking = pets.lacking()
    first, pod = next(lacking)
    count = pets.size - len(pets.there) - (pod is None)
    if not pets.is_ordered or not count:
        return ""
    waiting = [name for name, _ in islice((one for one in lacking if one[1] is None), finding.NAMES_LISTED_MAX)]
    return f"; {finding.listed(waiting, count)} {'are' if count > 1 else 'is'} made only once {first} is ready"


def _is_rolled_back_by_hand(pets: Pets, pod: Object) -> bool:
    """A pet of an older revision that is not ready: the controller waits for it and never replaces it."""
    newest = meta.get(pets.set, "status", "updateRevision", default="")
    revision = _revision(pod)
    return bool(newest and revision and revision != newest) and pets.is_ordered and not meta.is_deleting(pod)


def _revision(pod: Object) -> str:
    return meta.labels(pod).get(well_known.REVISION_LABEL, "")


def _forced_rollback(obj: Object, pod: Object) -> Finding:
    says = "its template has changed since, but a pet that never became ready is waited for and not replaced"
    command = finding.kubectl("delete", pod)
    return finding.of(pod, says, mend=f"{command}, so that it comes back of the newest template")


def _updating(obj: Object, there: dict[str, Object], said: str) -> Finding | None:
    """All are ready, and some are of an older template."""
    newest = meta.get(obj, "status", "updateRevision", default="")
    old = [name for name, pod in there.items() if newest and _revision(pod) not in ("", newest)]
    if not old:
        return None
    strategy = meta.get(obj, "spec", "updateStrategy", "type", default="RollingUpdate")
    are = f"{finding.listed(old)} {'are' if len(old) > 1 else 'is'}"
    if strategy == "OnDelete":
        says = (
            f"{said}; {are} of an older template: with updateStrategy OnDelete each comes anew only when it is deleted"
        )
        return finding.of(
            obj,
            says,
            mend=f"`kubectl delete pod {' '.join(old[:PETS_TOLD_MAX])} -n {meta.namespace(obj)}`, one after another",
        )
    partition = meta.get(obj, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)
    kept = [name for name in old if pet_names.parsed(name)[1] < pet_names.first_ordinal(obj) + partition]
    if partition and kept == old:
        says = f"{said}; {are} of an older template, as its partition {partition} wants"
        path = ("spec", "updateStrategy", "rollingUpdate", "partition")
        return finding.of(obj, says, mend=f"{finding.patched(obj, path, '0')}, if the update shall go on")
    return finding.of(obj, f"{said}; it is updating: {are} of an older template still", "waits")


def _without_service(obj: Object, picture: Picture, said: str) -> Finding | None:
    """All are ready, and have no names: their headless Service is not there."""
    name = meta.get(obj, "spec", "serviceName", default="")
    if not name or not picture.is_missing(SERVICES, name, meta.namespace(obj)):
        return None
    says = f"{said}, but they have no names in DNS: its Service {name} is not there"
    return finding.of(
        obj, says, mend=f"create the headless Service {name} (clusterIP: None) with the pets' labels as its selector"
    )


def absent_pod(picture: Picture, name: str, namespace: str) -> Finding | None:
    """Of a pod that is not there: the set whose pet it would be."""
    parent, ordinal = pet_names.parsed(name)
    if not parent:
        return None
    for kind in KINDS:
        owner = picture.get(kind, parent, namespace)
        if owner is None:
            continue
        about, whose = f"Pod {namespace}/{name}", f"{kind.kind} {parent}"
        if ordinal not in pet_names.ordinals(owner):
            replicas = pet_names.replicas_wanted(owner)
            says = f"is not there: {whose} has {finding.counted(replicas, 'pet')}, and this is none of them"
            return Finding(
                about,
                says,
                mend=finding.kubectl("scale", owner, f"--replicas={ordinal + 1}"),
            )
        told = pet_set(owner, picture)
        return Finding(about, f"is not there yet; {whose} makes it", told.state, because=(told,))
    return None
