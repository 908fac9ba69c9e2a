"""A bound claim's status, and how its volume grows when the claim asks for more.

A volume of ours grows in one go: the claim says Resizing and what is given to it, the directory's bound is moved
(`actions.Resize`), the volume's capacity and then the claim's say so. No node has a part in it, so that there is never
a FileSystemResizePending. What cannot be had is infeasible; the claim may then ask for less, down to what it has. Of
volumes of others it is said that somebody else must do it.

Invariants: the claim's capacity is never more than its volume's; each step is decided from what is written, so that a
kill between any two changes nothing.
Follows: KEP-284 (expansion), KEP-1790 (recovery from one that failed), KEP-3751 (attributes classes).
"""

from __future__ import annotations

from petset.base import well_known
from petset.controllers import actions
from petset.controllers.storage.provisioning import event
from petset.kinds import persistent_volume
from petset.objects import meta, quantity
from petset.objects.meta import Object

RESIZING = "Resizing"
CONDITIONS = (RESIZING, "ControllerResizeError", "NodeResizeError", "FileSystemResizePending")
IN_PROGRESS, INFEASIBLE = "ControllerResizeInProgress", "ControllerResizeInfeasible"


def steps(claim: Object, volume: Object) -> list[actions.Action]:
    """The next steps of a claim that has its volume."""
    wanted, has = persistent_volume.request(claim), meta.get(volume, "spec", "capacity", "storage", default="0")
    is_bound = meta.get(claim, "status", "phase") == "Bound"
    told = meta.get(claim, "status", "capacity", "storage")
    # A volume may be larger than was asked for. What is asked for later is asked of what the claim was told it has.
    if is_bound and told is not None and quantity.compare(wanted, told) > 0 and quantity.compare(told, has) <= 0:
        return _grow(claim, volume) if persistent_volume.is_ours(volume) else _left_to_others(claim, volume)
    said = actions.report(claim, _bound(claim, volume))
    return said or _attributes(claim, volume)


def _bound(claim: Object, volume: Object) -> Object:
    """The status of a claim that has what it asked for."""
    before = meta.part(claim, "status")
    kept = _other_conditions(before)
    status = {key: value for key, value in before.items() if key not in ("conditions", "allocatedResourceStatuses")}
    return {
        **status,
        "phase": "Bound",
        "accessModes": meta.get(volume, "spec", "accessModes", default=[]),
        "capacity": meta.get(volume, "spec", "capacity", default={}),
        **({"conditions": kept} if kept else {}),
    }


def _other_conditions(status: Object) -> list[Object]:
    """Those that are not about growth."""
    return [one for one in meta.parts(status, "conditions") if one.get("type") not in CONDITIONS]


def _grow(claim: Object, volume: Object) -> list[actions.Action]:
    wanted, has = persistent_volume.request(claim), meta.get(volume, "spec", "capacity", "storage", default="0")
    if quantity.compare(has, wanted) >= 0:
        done = event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        return [actions.UpdateStatus({**claim, "status": _bound(claim, volume)}), done]
    state = meta.get(claim, "status", "allocatedResourceStatuses", "storage")
    allocated = meta.get(claim, "status", "allocatedResources", "storage")
    if allocated != wanted or state is None:
        begins = f"External resizer is resizing volume {meta.name(volume)}"
        return [
            actions.UpdateStatus(_with(claim, wanted, IN_PROGRESS, {"type": RESIZING, "status": "True"})),
            event(claim, "Normal", "Resizing", begins),
        ]
    path = persistent_volume.directory(volume)
    problem = {"type": "ControllerResizeError", "status": "True", "message": "{error}"}
    trouble = f'resize volume "{meta.name(volume)}" failed: {{error}}'
    resize = actions.Resize(
        path, persistent_volume.requested_bytes(claim), event(claim, "Warning", "VolumeResizeFailed", trouble)
    )
    return [
        actions.Attempt((resize,), otherwise=actions.UpdateStatus(_with(claim, wanted, INFEASIBLE, problem))),
        actions.Update(meta.changed(volume, ("spec", "capacity", "storage"), wanted)),
    ]


def _with(claim: Object, allocated: str, state: str, condition: Object) -> Object:
    status = meta.part(claim, "status")
    return {
        **claim,
        "status": {
            **status,
            "allocatedResources": {"storage": allocated},
            "allocatedResourceStatuses": {"storage": state},
            "conditions": [*_other_conditions(status), condition],
        },
    }


def _left_to_others(claim: Object, volume: Object) -> list[actions.Action]:
    """A volume of somebody else's, or made by hand: upstream's controller says the same and waits."""
    if meta.get(volume, "spec", "csi"):
        why = "waiting for an external controller to expand this PVC"
        return [event(claim, "Normal", "ExternalExpanding", why)]
    why = (
        "Ignoring the PVC: didn't find a plugin capable of expanding the volume; waiting for an external controller "
        "to process this PVC."
    )
    return [event(claim, "Warning", "ExternalExpanding", why)]


def _attributes(claim: Object, volume: Object) -> list[actions.Action]:
    """Another VolumeAttributesClass than the volume's: nobody here can change a directory's attributes."""
    wanted = meta.get(claim, "spec", "volumeAttributesClassName")
    if not wanted or not persistent_volume.is_ours(volume):
        return []
    modify = {"targetVolumeAttributesClassName": wanted, "status": "Infeasible"}
    if meta.get(claim, "status", "modifyVolumeStatus") == modify:
        return []
    status = {**meta.part(claim, "status"), "modifyVolumeStatus": modify}
    why = (
        f'cannot change volume "{meta.name(volume)}" to VolumeAttributesClass "{wanted}": volumes of '
        f"{well_known.HOST_PATH_PROVISIONER} have no attributes to set"
    )
    return [actions.UpdateStatus({**claim, "status": status}), event(claim, "Warning", "VolumeModifyFailed", why)]
