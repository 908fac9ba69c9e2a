"""The objects of a move as they are to be, on both sides: pure, each made from what was seen.

What is made in the other cluster is what a person would have applied there: nothing that a server has filled in of
where an object was, no owners, and, as a StatefulSet, nothing that only 2016 knew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.base import well_known
from petset.cli.moving import record
from petset.cli.moving.record import Move
from petset.controllers.pets import translation
from petset.kinds import pet_names, storage_class
from petset.kinds.pod_spec import sources
from petset.objects import meta, quantity
from petset.objects.meta import Object

KEPT_OF_METADATA = ("name", "labels", "annotations")
NOT_ASKED_FOR = (  # Annotations that a server, a controller or kubectl has written of where the object was.
    well_known.LAST_APPLIED_ANNOTATION,
    well_known.BIND_COMPLETED_ANNOTATION,
    well_known.BOUND_BY_CONTROLLER_ANNOTATION,
    well_known.STORAGE_PROVISIONER_ANNOTATION,
    well_known.STORAGE_PROVISIONER_BETA_ANNOTATION,
    well_known.SELECTED_NODE_ANNOTATION,
    well_known.MOVE_ANNOTATION,
    well_known.MOVED_TO_ANNOTATION,
    well_known.MOVED_FROM_ANNOTATION,
    well_known.COPIED_ANNOTATION,
)
CLASS_ANNOTATIONS = (well_known.STORAGE_CLASS_BETA_ANNOTATION, well_known.STORAGE_CLASS_ALPHA_ANNOTATION)
OF_A_SERVICE = ("selector", "ports", "publishNotReadyAddresses", "sessionAffinity", "sessionAffinityConfig")
OF_A_CLAIM = ("accessModes", "resources", "volumeMode")
FOLLOWED = (  # Of a set's spec: what may change once it is there, but for how many pets it has.
    "updateStrategy",
    "minReadySeconds",
    "revisionHistoryLimit",
)
RETENTION = ("spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
RETAIN = "Retain"
_MOVER = "-mover-"
MARK_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Wishes:
    """How it is to be in the other cluster."""

    namespace: str
    mover: str = ""  # Who moves it: a mark of its own for each run.
    storage_class: str | None = None  # Of all claims; None: the same where it is there, else the default.
    classes: tuple[str, ...] = ()  # Those that are there.
    images: translation.Images = field(default_factory=translation.Images)  # What they are called there.


# -- A set's own figures


def ordinals(set_: Object) -> tuple[int, int]:
    """(the first ordinal, how many pets)."""
    return pet_names.first_ordinal(set_), pet_names.replicas_wanted(set_)


def mover_name(pet: str, mover: str) -> str:
    """Of the pod that somebody who moves a pet copies by: nobody else's has that name."""
    return f"{pet}{_MOVER}{mover[:MARK_CHARACTERS]}"


def moved_by(pod: Object) -> str:
    """The pet whose claims a pod holds, or held, for somebody who moves it; "" for any other pod."""
    return meta.name(pod).rpartition(_MOVER)[0]


def referred_to(set_: Object) -> dict[str, set[str]]:
    """What its pets need of their namespace to start: names by kind."""
    template = meta.part(set_, "spec", "template")
    found: dict[str, set[str]] = {"ConfigMap": set(), "Secret": set(), "ServiceAccount": set()}
    for reference in sources.of_pod(template):
        if not reference.optional and reference.name:
            found[reference.kind].add(reference.name)
    account: str = meta.get(template, "spec", "serviceAccountName", default="")
    found["ServiceAccount"] |= {account} - {"", "default"}
    return found


# -- The set that is handed over


def begun(set_: Object, move: Move) -> Object:
    """It says that it is moved; and whoever is removed from it keeps his claims."""
    set_ = _annotated(set_, {well_known.MOVE_ANNOTATION: move.text(), well_known.MOVED_TO_ANNOTATION: None})
    return set_ if meta.get(set_, *RETENTION, default=RETAIN) == RETAIN else meta.changed(set_, RETENTION, RETAIN)


def scaled(set_: Object, start: int, replicas: int) -> Object:
    """The set with so many pets from this ordinal on."""
    set_ = meta.changed(set_, ("spec", "replicas"), replicas)
    if start or meta.get(set_, "spec", "ordinals"):
        set_ = meta.changed(set_, ("spec", "ordinals"), {"start": start})
    return set_


def buried(set_: Object, move: Move) -> Object:
    """It says where it is, and wants no pets, whoever has asked for some meanwhile."""
    return scaled(_annotated(set_, {well_known.MOVED_TO_ANNOTATION: move.to}), ordinals(set_)[0], 0)


def is_buried(set_: Object, move: Move) -> bool:
    return record.of(set_) == move and meta.annotations(set_).get(well_known.MOVED_TO_ANNOTATION) == move.to


def forgotten(set_: Object) -> Object:
    return _annotated(set_, {well_known.MOVE_ANNOTATION: None})


# -- The set that takes over


def set_there(move: Move, wishes: Wishes, set_: Object) -> Object:
    """It begins without pets, above the highest. Raises ValueError for init containers that are none."""
    spec = {**set_["spec"], "template": _template(move, wishes, set_)}
    if templates := meta.parts(set_, "spec", "volumeClaimTemplates"):
        spec["volumeClaimTemplates"] = [_claim_template(one, wishes) for one in templates]
    kind = move.resource
    made: Object = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": _metadata(set_, wishes.namespace),
        "spec": spec,
    }
    return held(scaled(made, move.top, 0), move, wishes.mover)


def _template(move: Move, wishes: Wishes, set_: Object) -> Object:
    """The pets' template there; a StatefulSet's says nothing in words of 2016."""
    template = meta.part(set_, "spec", "template")
    if move.kind == set_["kind"] and not wishes.images.names:
        return template
    template = translation.Translation(wishes.images).pod(template)
    return _annotated(template, {well_known.INITIALIZED_ANNOTATION: None}) if move.kind == "StatefulSet" else template


def revived(move: Move, wishes: Wishes, set_: Object, tombstone: Object) -> Object:
    """The tombstone in the other cluster, without pets still, as it is to take them back."""
    followed = {key: set_["spec"][key] for key in FOLLOWED if key in set_["spec"]}
    spec = {**tombstone["spec"], **followed, "template": _template(move, wishes, set_)}
    revived = held({**tombstone, "spec": spec}, move, wishes.mover)
    if meta.get(revived, *RETENTION, default=RETAIN) != RETAIN:
        revived = meta.changed(revived, RETENTION, RETAIN)
    return scaled(revived, move.top, 0)


def held(there: Object, move: Move, mover: str) -> Object:
    """It takes over in this move, and only this mover may go on with it: whoever held it before is not to write it."""
    return _annotated(
        there, {well_known.MOVED_FROM_ANNOTATION: f"{move.id} {mover}", well_known.MOVED_TO_ANNOTATION: None}
    )


def is_held(there: Object, move: Move, mover: str) -> bool:
    return meta.annotations(there).get(well_known.MOVED_FROM_ANNOTATION) == f"{move.id} {mover}"


def is_of(there: Object, move: Move) -> bool:
    return meta.annotations(there).get(well_known.MOVED_FROM_ANNOTATION, "").partition(" ")[0] == move.id


def settled(there: Object, move: Move) -> Object:
    """Like any other set: of the move nothing is left."""
    there = _annotated(there, {well_known.MOVED_FROM_ANNOTATION: None})
    if move.when_scaled != RETAIN:
        there = meta.changed(there, RETENTION, move.when_scaled)
    if not ordinals(there)[0]:
        there = meta.without(there, ("spec", "ordinals"))
    return there


# -- Claims


def claim(move: Move, wishes: Wishes, here: Object) -> Object:
    """A claim there that holds as much as the volume here."""
    spec = {key: here["spec"][key] for key in OF_A_CLAIM if key in here["spec"]}
    has = meta.get(here, "status", "capacity", "storage")
    asked = meta.get(here, "spec", "resources", "requests", "storage")
    if has and asked and quantity.compare(has, asked) > 0:
        spec["resources"] = {**spec["resources"], "requests": {**spec["resources"]["requests"], "storage": has}}
    if (class_ := _class(here, wishes)) is not None:
        spec["storageClassName"] = class_
    made = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(here, wishes.namespace),
        "spec": spec,
    }
    return _annotated(made, dict.fromkeys(CLASS_ANNOTATIONS))


def _claim_template(template: Object, wishes: Wishes) -> Object:
    metadata = {key: value for key, value in template["metadata"].items() if key in KEPT_OF_METADATA}
    spec = {key: value for key, value in template["spec"].items() if key != "storageClassName"}
    if (class_ := _class(template, wishes)) is not None:
        spec["storageClassName"] = class_
    return _annotated({**template, "metadata": metadata, "spec": spec}, dict.fromkeys(CLASS_ANNOTATIONS))


def _class(claim: Object, wishes: Wishes) -> str | None:
    """The class of a claim there; None: the default one."""
    if wishes.storage_class is not None:
        return wishes.storage_class
    named = storage_class.of(claim)
    return named if named in wishes.classes or named == "" else None


def being_copied(claim: Object, mover: str) -> Object:
    """Somebody has begun to copy into it: who began before is not to say that he has copied."""
    return _annotated(claim, {well_known.COPIED_ANNOTATION: f"begun {mover}"})


def copied(claim: Object, move: Move, digest: str) -> Object:
    return _annotated(claim, {well_known.COPIED_ANNOTATION: f"{move.id} {digest}"})


def has_copy(claim: Object, move: Move) -> bool:
    """Whether it took over, in this move, what the claim here holds."""
    return meta.annotations(claim).get(well_known.COPIED_ANNOTATION, "").partition(" ")[0] == move.id


def unmarked(claim: Object) -> Object:
    return _annotated(claim, {well_known.COPIED_ANNOTATION: None})


# -- Services, and the pods that hold volumes while they are copied


def service(wishes: Wishes, here: Object) -> Object:
    """The Service by whose name the pets are known; its address there is another."""
    here = translation.published(here) or here
    spec = {key: here["spec"][key] for key in OF_A_SERVICE if key in here["spec"]}
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports") or ()]
    headless = {"clusterIP": "None"} if here["spec"].get("clusterIP") == "None" else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(here, wishes.namespace),
        "spec": {**spec, **headless, **({"ports": ports} if ports else {})},
    }


def mover(set_: Object, namespace: str, name: str, claims: Sequence[str], image: str) -> Object:
    """A pod that holds these claims of a pet, on a node where the pet may be, and waits."""
    template = meta.part(set_, "spec", "template", "spec")
    kept = {key: template[key] for key in ("nodeSelector", "tolerations", "imagePullSecrets") if key in template}
    if on_nodes := meta.part(template, "affinity", "nodeAffinity"):
        kept["affinity"] = {"nodeAffinity": on_nodes}
    volumes = [{"name": f"v{at}", "persistentVolumeClaim": {"claimName": name}} for at, name in enumerate(claims)]
    container: dict[str, Any] = {
        "name": "mover",
        "image": image,
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 2147483647 & wait"],
        "volumeMounts": [{"name": f"v{at}", "mountPath": place(at)} for at in range(len(claims))],
        "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **kept,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": volumes,
        },
    }


def place(at: int) -> str:
    """Where a mover has the claim of this number."""
    return f"/volumes/{at}"


# -- Shared


def _metadata(obj: Object, namespace: str) -> dict[str, Any]:
    given = {key: value for key, value in obj["metadata"].items() if key in KEPT_OF_METADATA and value}
    annotations = {key: value for key, value in meta.annotations(obj).items() if key not in NOT_ASKED_FOR}
    return {**{key: value for key, value in given.items() if key != "annotations"}, "namespace": namespace} | (
        {"annotations": annotations} if annotations else {}
    )


def _annotated(obj: Object, marks: Mapping[str, str | None]) -> Object:
    """With these annotations; without those that are None."""
    kept = {key: value for key, value in meta.annotations(obj).items() if key not in marks}
    kept |= {key: value for key, value in marks.items() if value is not None}
    return (
        meta.changed(obj, ("metadata", "annotations"), kept) if kept else meta.without(obj, ("metadata", "annotations"))
    )
