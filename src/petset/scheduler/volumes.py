"""The volumes of a pod: for which claims it must wait, and which nodes they leave.

A volume that nobody has is promised to the claim of a pod that is placed, until the caches show whose it is: others
look for another one.

Follows: PersistentVolumeClaims, node affinity of PersistentVolumes, volumeBindingMode and allowedTopologies of classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from petset.base import well_known
from petset.client.views import View, claims_of
from petset.kinds import node_affinity, persistent_volume, persistent_volume_claim, pod_phase, storage_class
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta
from petset.objects.meta import Object
from petset.scheduler.loads import Place
from petset.scheduler.refusals import Refusal

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NONE_FREE = Refusal(("node(s) didn't find available persistent volumes to bind",), is_final=True)
ELSEWHERE = Refusal(("node(s) didn't match PersistentVolume's node affinity",), is_final=True)
IN_USE = Refusal(
    (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another "
        "pod",
    )
)


@dataclass(frozen=True, slots=True)
class Late:
    """A claim that waits to be told a node, and what it can have there."""

    claim: Object
    class_: Object
    free: tuple[Object, ...]  # Volumes that nobody has, the smallest first.

    def is_made_on(self, node: Object) -> bool:
        """Whether a volume can be made for it that the node can use."""
        is_made = self.class_.get("provisioner", "") != well_known.NO_PROVISIONER
        return is_made and storage_class.allows_topology(self.class_, node)


@dataclass(frozen=True, slots=True)
class Volumes:
    """What the claims of a pod come to."""

    late: tuple[Late, ...] = ()  # The smallest first.
    bound: tuple[Object, ...] = ()  # Volumes that its claims have.
    alone: tuple[str, ...] = ()  # Claims (by key) that one pod alone may use.

    def refusal(self, place: Place) -> Refusal | None:
        if not all(node_affinity.has_volume(place.node, volume) for volume in self.bound):
            return ELSEWHERE
        return NONE_FREE if self.found_on(place.node) is None else None

    def found_on(self, node: Object) -> dict[str, str] | None:
        """Volumes on the node with the late claims that find them, another one each; None: one finds none, and none
        can be made for it."""
        taken: dict[str, str] = {}
        for one in self.late:
            free = (volume for volume in one.free if meta.name(volume) not in taken)
            volume = next((volume for volume in free if node_affinity.has_volume(node, volume)), None)
            if volume is not None:
                taken[meta.name(volume)] = meta.key(one.claim)
            elif not one.is_made_on(node):
                return None
        return taken


NONE = Volumes()


def of(pod: Object, view: View, promised: Mapping[str, str]) -> tuple[Volumes, str]:
    """(what the pod's claims come to, why it must wait for them); volumes are promised to claims, each by its key."""
    keys = list(claims_of(pod))
    if not keys:
        return NONE, ""
    late: list[Late] = []
    bound: list[Object] = []
    alone: list[str] = []
    for key in keys:
        name = meta.split_key(key)[1]
        claim = view.get(PERSISTENTVOLUMECLAIMS, *meta.split_key(key))
        if why := _why_to_wait(claim, name, view):
            return NONE, why
        assert claim is not None
        if persistent_volume_claim.is_for_one_pod(claim):
            alone.append(key)
        volume_name = meta.get(claim, "spec", "volumeName", default="")
        if not volume_name:
            late.append(_late(claim, view, promised))
            continue
        if (volume := view.get(PERSISTENTVOLUMES, "", volume_name)) is not None:
            bound.append(volume)
    late.sort(key=lambda one: persistent_volume.requested_bytes(one.claim))
    return Volumes(tuple(late), tuple(bound), tuple(alone)), ""


def _late(claim: Object, view: View, promised: Mapping[str, str]) -> Late:
    classes = view.list(STORAGECLASSES)
    name = storage_class.counting(claim, classes)
    found = view.by_index(PERSISTENTVOLUMES, "free", name)
    free = [
        one
        for one in found
        if promised.get(meta.name(one)) in (None, meta.key(claim)) and persistent_volume.is_free_for(one, claim, name)
    ]
    free.sort(key=lambda one: (persistent_volume.size(one), meta.name(one)))
    return Late(claim, view.get(STORAGECLASSES, "", name) or {}, tuple(free))


def _why_to_wait(claim: Object | None, name: str, view: View) -> str:
    if claim is None:
        return f'persistentvolumeclaim "{name}" not found'
    if meta.is_deleting(claim):
        return f'persistentvolumeclaim "{name}" is being deleted'
    phase = meta.get(claim, "status", "phase")
    if phase == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume'
    if phase != "Bound" and not storage_class.binds_late(claim, view.list(STORAGECLASSES)):
        return UNBOUND
    return ""


def users_of(key: str, view: View) -> list[Object]:
    """The pods on nodes that use a claim."""
    users = view.by_index(PODS, "claim", key)
    return [pod for pod in users if pod["spec"].get("nodeName") and not pod_phase.has_ended(pod)]
