"""The ConfigMaps and Secrets that a pod is made from: its node fetches these, and may therefore read these.

Containers name them in env and envFrom, volumes as themselves or as parts of a projected one, the pod as its pull
secrets. Both who fetches (node/pods) and who allows it (server/access/nodes.py) ask here, so that neither knows of one
that the other does not.
Follows: the API reference's ContainerSpec, VolumeSource and PodSpec; "Using Node Authorization".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from petset.kinds.pod_spec import pod_containers
from petset.objects import meta
from petset.objects.meta import Object

SourceKind = Literal["ConfigMap", "Secret"]
SOURCE_KINDS: tuple[SourceKind, ...] = get_args(SourceKind)


@dataclass(frozen=True, slots=True)
class Reference:
    """A ConfigMap or Secret in the pod's namespace."""

    kind: SourceKind
    name: str
    optional: bool = False


def named(given: Object, suffix: str) -> Iterator[tuple[Object, Reference]]:
    """What is said of a ConfigMap or Secret (configMap, secretRef, configMapKeyRef), and which one that is."""
    for kind in SOURCE_KINDS:
        said = given.get(f"{kind[0].lower()}{kind[1:]}{suffix}")
        if said is not None:
            # A volume says secretName, everybody else name.
            yield said, Reference(kind, said.get("secretName") or said.get("name") or "", bool(said.get("optional")))


def of_volumes(volumes: Iterable[Object]) -> list[Reference]:
    """Each once."""
    parts = [part for one in volumes for part in (one, *meta.parts(one, "projected", "sources"))]
    return list(dict.fromkeys(reference for part in parts for _, reference in named(part, "")))


def of_container(container: Object) -> list[Reference]:
    """Each once."""
    all_of = [reference for given in meta.parts(container, "envFrom") for _, reference in named(given, "Ref")]
    variables = meta.parts(container, "env")
    some = [reference for one in variables for _, reference in named(meta.part(one, "valueFrom"), "KeyRef")]
    return list(dict.fromkeys(all_of + some))


def of_pull_secrets(pod: Object) -> list[Reference]:
    return [Reference("Secret", given.get("name") or "") for given in meta.parts(pod, "spec", "imagePullSecrets")]


def of_pod(pod: Object) -> Iterator[Reference]:
    """All of them, some perhaps more than once."""
    yield from of_pull_secrets(pod)
    yield from of_volumes(meta.parts(pod, "spec", "volumes"))
    for container in pod_containers.every(meta.part(pod, "spec")):
        yield from of_container(container)
