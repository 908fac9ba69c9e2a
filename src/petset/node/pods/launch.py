"""From a pod's spec to what the runtime is given: the one pure place where a ContainerConfig is made."""

from __future__ import annotations

from collections.abc import Mapping

from petset.node import environment
from petset.node.environment import Facts
from petset.node.runtime import ContainerConfig, Image
from petset.node.volumes import volumes
from petset.node.volumes.volumes import Mounted
from petset.objects import meta
from petset.objects.meta import Object

TERMINATION_MESSAGE_PATH = "/dev/termination-log"


def container_config(
    pod: Object, container: Object, attempt: int, image: Image, facts: Facts, mounted: Mapping[str, Mounted]
) -> ContainerConfig:
    """Raises environment.ConfigError."""
    own = environment.variables(container, facts)
    return ContainerConfig(
        pod_uid=meta.uid(pod),
        name=container["name"],
        attempt=attempt,
        image=image,
        command=environment.command(container, image, own),
        env=tuple(own.items()),
        working_dir=container.get("workingDir") or image.working_dir or "/",
        mounts=volumes.mounts(pod, container, mounted, own),
        pod=pod,
        container=container,
        termination_message_path=container.get("terminationMessagePath") or TERMINATION_MESSAGE_PATH,
    )
