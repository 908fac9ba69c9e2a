"""The lists of a pod's spec that hold its containers: what a pod is made of, and what somebody added to look into it.

Init containers run before the others; one that restarts always is a sidecar, which stays beside them. Ephemeral
containers are nobody's business but of who looks at images, rights and names.
Follows: "Pods", "Sidecar Containers" and "Ephemeral Containers" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from petset.objects import meta
from petset.objects.meta import Object

INIT, REGULAR, EPHEMERAL = "initContainers", "containers", "ephemeralContainers"
OWN = (INIT, REGULAR)  # As they start.
ALL = (*OWN, EPHEMERAL)


def own(spec: Object) -> list[Object]:
    """The containers that a PodSpec is made of, as they start."""
    return [container for field in OWN for container in meta.parts(spec, field)]


def every(spec: Object) -> list[Object]:
    """Those, and the ephemeral ones."""
    return [container for field in ALL for container in meta.parts(spec, field)]


def placed(spec: Object, fields: tuple[str, ...] = ALL) -> Iterator[tuple[str, Object]]:
    """("initContainers[0]", container) and so on: where each stands, for who says what is wrong with it."""
    for field in fields:
        for index, container in enumerate(meta.parts(spec, field)):
            yield f"{field}[{index}]", container


def is_sidecar(container: Object) -> bool:
    """An init container that stays: it runs beside the containers and is stopped after them."""
    return container.get("restartPolicy") == "Always"


def sidecars(spec: Object) -> list[Object]:
    return [container for container in meta.parts(spec, INIT) if is_sidecar(container)]
