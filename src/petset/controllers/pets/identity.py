"""What makes a pet itself: its pod, its claims, and who owns those.

Its pod carries its name (`kinds/pet_names.py`) as name, hostname and labels. Everything here is pure and makes new
trees; nothing here decides when something is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from petset.base import well_known
from petset.kinds import pet_names
from petset.objects import meta
from petset.objects.meta import Object


def pod_for(set_: Object, ordinal: int, template: Object, revision_name: str) -> dict[str, Any]:
    """The pod of one pet, from a revision's template."""
    name, given = pet_names.name(set_, ordinal), meta.part(template, "metadata")
    labels = {**meta.part(given, "labels"), **identity_labels(name, ordinal), well_known.REVISION_LABEL: revision_name}
    annotations = {**meta.part(given, "annotations"), **identity_annotations(set_, name)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": f"{meta.name(set_)}-",
            "namespace": meta.namespace(set_),
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            **({"finalizers": given["finalizers"]} if given.get("finalizers") else {}),
            "ownerReferences": [meta.owner_reference(set_)],
        },
        "spec": _spec_for(set_, name, meta.part(template, "spec")),
    }


def _spec_for(set_: Object, name: str, spec: Object) -> dict[str, Any]:
    service = meta.get(set_, "spec", "serviceName", default="")
    claims = [
        {"name": meta.name(template), "persistentVolumeClaim": {"claimName": pet_names.claim_name(template, name)}}
        for template in pet_names.claim_templates(set_)
    ]
    claimed = [volume["name"] for volume in claims]
    others = [volume for volume in meta.parts(spec, "volumes") if volume["name"] not in claimed]
    return {
        **spec,
        "hostname": name,
        **({"subdomain": service} if service else {}),
        **({"volumes": [*claims, *others]} if claims or others else {}),
    }


def identity_labels(pod_name: str, ordinal: int) -> dict[str, str]:
    return {well_known.POD_NAME_LABEL: pod_name, well_known.POD_INDEX_LABEL: str(ordinal)}


def identity_annotations(set_: Object, pod_name: str) -> dict[str, str]:
    """What a pet of a PetSet carries besides: the identity as 2016 wrote it."""
    if set_["kind"] != "PetSet":
        return {}
    service = meta.get(set_, "spec", "serviceName", default="")
    return {well_known.HOSTNAME_ANNOTATION: pod_name, **({well_known.SUBDOMAIN_ANNOTATION: service} if service else {})}


def with_identity(set_: Object, pod: Object) -> Object:
    """The pod with its identity's labels and annotations as they must be; itself when they are."""
    name = meta.name(pod)
    labels = {**meta.labels(pod), **identity_labels(name, pet_names.ordinal(pod))}
    annotations = {**meta.annotations(pod), **identity_annotations(set_, name)}
    if labels != meta.labels(pod):
        pod = meta.changed(pod, ("metadata", "labels"), labels)
    if annotations != meta.annotations(pod):
        pod = meta.changed(pod, ("metadata", "annotations"), annotations)
    return pod


def claims_for(set_: Object, pod_name: str) -> Iterator[dict[str, Any]]:
    """The claims one pet needs, in the order of their templates."""
    selected = meta.get(set_, "spec", "selector", "matchLabels", default={})
    for template in pet_names.claim_templates(set_):
        given = template["metadata"]
        labels = {**meta.part(given, "labels"), **selected}
        claim: Object = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": pet_names.claim_name(template, pod_name),
                "namespace": meta.namespace(set_),
                **({"labels": labels} if labels else {}),
                **({"annotations": given["annotations"]} if given.get("annotations") else {}),
                **({"finalizers": given["finalizers"]} if given.get("finalizers") else {}),
            },
            "spec": meta.part(template, "spec"),
        }
        yield with_claim_owner(set_, None, claim, condemned=False)


def with_claim_owner(set_: Object, pod: Object | None, claim: Object, condemned: bool) -> dict[str, Any]:
    """The claim owned as the set's retention policy says: by the set, by the pod that goes away, or by neither."""
    policy = meta.get(set_, "spec", "persistentVolumeClaimRetentionPolicy", default={})
    references = meta.parts(claim, "metadata", "ownerReferences")
    ours = [meta.uid(owner) for owner in (set_, pod) if owner is not None]
    if is_foreign(claim, set_, pod):
        return dict(claim)  # Left alone.
    owner: Object | None = None
    if condemned and policy.get("whenScaled") == "Delete":
        owner = pod
    elif policy.get("whenDeleted") == "Delete":
        owner = set_
    kept = [reference for reference in references if reference.get("uid") not in ours]
    wanted = [*kept, meta.owner_reference(owner)] if owner is not None else kept
    if all(reference in references for reference in wanted) and len(wanted) == len(references):
        return dict(claim)
    if not wanted:
        return meta.without(claim, ("metadata", "ownerReferences"))
    return meta.changed(claim, ("metadata", "ownerReferences"), wanted)


def is_foreign(claim: Object, set_: Object, pod: Object | None) -> bool:
    """Somebody else manages the claim."""
    controller = meta.controller_of(claim)
    return controller is not None and controller.get("uid") not in [meta.uid(one) for one in (set_, pod) if one]


def keeps_claims(set_: Object) -> bool:
    """Its retention policy takes no claim away, whatever happens."""
    policy = meta.get(set_, "spec", "persistentVolumeClaimRetentionPolicy", default={})
    return "Delete" not in policy.values()


def is_stale_claim(claim: Object, pod_name: str, pod_uid: str = "") -> bool:
    """It belongs to an earlier pod of this name, and goes away with it: not for the next one to use."""
    return any(
        reference.get("kind") == "Pod" and reference.get("name") == pod_name and reference.get("uid") != pod_uid
        for reference in claim["metadata"].get("ownerReferences") or ()
    )
