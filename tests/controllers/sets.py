"""Sets and pets in short form, for cases and laws: what `given` in tests/cases/petset says becomes objects.

A set is in the namespace default, named web unless it says otherwise; its pods are pets of it by ordinal. `told` makes
of actions what `then` says: "create Pod web-0", "delete Pod web-2", ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.pets import family as families
from petset.controllers.pets import identity, petset
from petset.controllers.workloads import revisions
from petset.objects import meta
from petset.objects.meta import Object

NOW = 1_470_000_000.0
OLD_IMAGE, IMAGE = "nginx:1", "nginx:2"
FIELDS = {
    "policy": ("podManagementPolicy",),
    "minReadySeconds": ("minReadySeconds",),
    "start": ("ordinals", "start"),
    "strategy": ("updateStrategy", "type"),
    "maxUnavailable": ("updateStrategy", "rollingUpdate", "maxUnavailable"),
    "partition": ("updateStrategy", "rollingUpdate", "partition"),
    "retention": ("persistentVolumeClaimRetentionPolicy",),
    "historyLimit": ("revisionHistoryLimit",),
}


def set_of(kind: str = "StatefulSet", **given: Any) -> Object:
    """A set; its status says that it has settled on its template before."""
    name = given.get("name", "web")
    template = {
        "metadata": {"labels": {"app": name}, **given.get("templateMetadata", {})},
        "spec": {"containers": [{"name": "nginx", "image": given.get("image", IMAGE)}]},
    }
    obj: Object = {
        "apiVersion": "apps/v1alpha1" if kind == "PetSet" else "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": given.get("uid", f"uid of {name}"),
            "generation": 1,
            "resourceVersion": "7",
            **({"deletionTimestamp": tasks.rfc3339(NOW)} if given.get("deleting") else {}),
        },
        "spec": {
            "replicas": given.get("replicas", 1),
            "serviceName": "nginx",
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            "volumeClaimTemplates": [
                {"metadata": {"name": claim}, "spec": {"accessModes": ["ReadWriteOnce"]}}
                for claim in given.get("claims", ())
            ],
        },
    }
    for field, path in FIELDS.items():
        if field in given:
            obj = meta.changed(obj, ("spec", *path), given[field])
    return obj


def with_image(set_: Object, image: str) -> Object:
    containers = [{"name": "nginx", "image": image}]
    return meta.changed(set_, ("spec", "template", "spec", "containers"), containers)


def revision_of(set_: Object, number: int, owner: Object | None) -> Object:
    history = revisions.history(set_, [], [])
    revision = {**history.update, "revision": number}
    revision = meta.changed(revision, ("metadata", "uid"), f"uid of revision {number}")
    if owner is None:
        return meta.without(revision, ("metadata", "ownerReferences"))
    return meta.changed(revision, ("metadata", "ownerReferences"), [meta.owner_reference(owner)])


def pod_of(set_: Object, revision: Object, given: Mapping[str, Any]) -> Object:
    """A pet: {ordinal, ready, phase, deleting, ready_since, age, initialized, owner: none | other, labels, uid}."""
    ordinal = given["ordinal"]
    pod: Object = identity.pod_for(set_, ordinal, revisions.template_of(revision), meta.name(revision))
    name = meta.name(pod)
    pod = meta.changed(pod, ("metadata", "uid"), given.get("uid", f"uid of {name}"))
    pod = meta.changed(pod, ("metadata", "resourceVersion"), "11")
    phase = given.get("phase", "Running" if "ready" in given else "Pending")
    since = tasks.rfc3339(NOW - given.get("ready_since", 1000))
    ready = {"type": "Ready", "status": "True" if given.get("ready") else "False", "lastTransitionTime": since}
    pod = {**pod, "status": {"phase": phase, "conditions": [ready]}}
    if "age" in given:
        pod = meta.changed(pod, ("metadata", "creationTimestamp"), tasks.rfc3339(NOW - given["age"]))
    if given.get("deleting"):
        pod = meta.changed(pod, ("metadata", "deletionTimestamp"), tasks.rfc3339(NOW))
    if "initialized" in given:
        annotations = {**meta.annotations(pod), well_known.INITIALIZED_ANNOTATION: given["initialized"]}
        pod = meta.changed(pod, ("metadata", "annotations"), annotations)
    if "labels" in given:
        pod = meta.changed(pod, ("metadata", "labels"), given["labels"])
    if given.get("owner") == "none":
        pod = meta.without(pod, ("metadata", "ownerReferences"))
    elif given.get("owner") == "other":
        other = {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "uid of other", "controller": True}
        pod = meta.changed(pod, ("metadata", "ownerReferences"), [other])
    return pod


def claim_of(set_: Object, given: Mapping[str, Any]) -> Object:
    """A claim: {name, deleting, owner: set | set, but no controller | pod <name> <uid>}."""
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": given["name"], "namespace": "default", "uid": f"uid of {given['name']}"},
        "spec": {},
    }
    if given.get("deleting"):
        claim = meta.changed(claim, ("metadata", "deletionTimestamp"), tasks.rfc3339(NOW))
    if given.get("owner", "").startswith("set"):
        reference = {**meta.owner_reference(set_), "controller": given["owner"] == "set"}
        claim = meta.changed(claim, ("metadata", "ownerReferences"), [reference])
    elif given.get("owner"):
        _, name, uid = given["owner"].split(" ", 2)
        reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid, "controller": True}
        claim = meta.changed(claim, ("metadata", "ownerReferences"), [reference])
    return claim


def world_of(given: Mapping[str, Any]) -> tuple[families.Variant, Object, Snapshot]:
    """(the kind, the set, everything there is) of a case."""
    kind = families.PETSET if "petset" in given else families.STATEFULSET
    short = given.get("petset") or given.get("statefulset") or {}
    set_ = set_of(kind.resource.kind, **short)
    newest = revision_of(set_, 2, set_)
    oldest = revision_of(with_image(set_, OLD_IMAGE), 1, set_)
    is_new = given.get("updating", False)
    known = [oldest, newest] if is_new else [newest]
    owner = set_
    if given.get("revisions") == "orphaned":
        known = [meta.without(revision, ("metadata", "ownerReferences")) for revision in known]
    elif given.get("revisions") == "none":
        known = []
    current = oldest if is_new else newest
    set_ = meta.changed(set_, ("status",), {"currentRevision": meta.name(current)}) if known else set_
    pods = [pod_of(owner, oldest if pod.get("old") else newest, pod) for pod in given.get("pods", ())]
    claims = [claim_of(set_, claim) for claim in given.get("existingClaims", ())]
    return kind, set_, Snapshot([set_, *known, *pods, *claims])


def reconciled(given: Mapping[str, Any]) -> list[actions.Action]:
    kind, set_, view = world_of(given)
    return petset.reconcile(kind, meta.key(set_), view, NOW)


def told(steps: Sequence[actions.Action]) -> list[str]:
    """What each step does, in a line; reports of status are left out."""
    lines: list[str] = []
    for step in actions.flat(steps):
        match step:
            case actions.UpdateStatus():
                continue
            case actions.Create(obj) | actions.Update(obj) | actions.Delete(obj) | actions.StillThere(obj):
                verb = {"StillThere": "check"}.get(type(step).__name__, type(step).__name__.lower())
                lines.append(f"{verb} {obj['kind']} {meta.name(obj)}")
            case actions.EmitEvent(_, type_, reason, message):
                lines.append(f"event {type_} {reason}: {message}")
            case actions.RequeueAfter(seconds):
                lines.append(f"look again in {seconds:g} s")
            case actions.Fail():
                lines.append("try again later")
            case _:
                lines.append(str(step))
    return lines


def status_of(steps: Sequence[actions.Action]) -> Object:
    return next((step.object["status"] for step in actions.flat(steps) if isinstance(step, actions.UpdateStatus)), {})
