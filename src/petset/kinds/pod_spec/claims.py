"""Which claims a pod's volumes are: those it names, and those that are made for its ephemeral volumes and go with it.

The claim of an ephemeral volume is named after the pod and the volume; it is this pod's only if the pod controls it.
Follows: "Ephemeral Volumes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from petset.objects import meta
from petset.objects.meta import Object


def name_of(pod: Object, volume: Object) -> str:
    """The claim of one volume; "" when it has none."""
    if volume.get("persistentVolumeClaim") is not None:
        return meta.get(volume, "persistentVolumeClaim", "claimName", default="")
    return f"{meta.name(pod)}-{volume.get('name', '')}" if volume.get("ephemeral") is not None else ""


def names(pod: Object) -> Iterator[str]:
    for volume in meta.parts(pod, "spec", "volumes"):
        if name := name_of(pod, volume):
            yield name


def ephemeral(pod: Object) -> list[Object]:
    """Its volumes whose claims are made for it."""
    return [volume for volume in meta.parts(pod, "spec", "volumes") if volume.get("ephemeral") is not None]


def not_its_own(pod: Object, claim: Object) -> str:
    """Why a claim of an ephemeral volume's name is another's; "" when it is the pod's."""
    if meta.controller_uid(claim) == meta.uid(pod):
        return ""
    where = f"{meta.namespace(claim)}/{meta.name(claim)}"
    return f"PVC {where} was not created for pod {meta.key(pod)} (pod is not owner)"
