"""Ephemeral containers: what somebody adds to a pod that runs, to look into it (`kubectl debug`).

They are written through the subresource `ephemeralcontainers` alone, where they may be added and nothing else. Such a
container may share the processes of another one; it has neither ports nor probes nor resources of its own.
Follows: the API reference's EphemeralContainer; "Ephemeral Containers" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Container

from petset.kinds.pod_spec import containers as of_container
from petset.kinds.pod_spec import pod_containers
from petset.objects import meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors, listed

FIELD = pod_containers.EPHEMERAL
FORBIDDEN = (
    *("ports", "resources", *of_container.PROBES, "lifecycle", "resizePolicy"),
    *("restartPolicy", "restartPolicyRules"),
)
_CANNOT = "cannot be set for an Ephemeral Container"


def containers(given: Object, path: str, volumes: Container[str]) -> Errors:
    """Those of a PodSpec."""
    known = dict.fromkeys(one.get("name", "") for one in pod_containers.own(given))
    seen = dict(known)
    for index, one in enumerate(meta.parts(given, FIELD)):
        where, name = f"{path}[{index}]", one.get("name", "")
        allowed = {key: value for key, value in one.items() if key not in FORBIDDEN}
        yield from of_container.container(allowed, where, volumes, on_host=False, init=False)
        if name and name in seen:
            yield FieldError.duplicate(f"{where}.name", name)
        seen[name] = None
        target = one.get("targetContainerName")
        if target and target not in known:
            yield FieldError.not_found(f"{where}.targetContainerName", target)
        for field in FORBIDDEN:
            if one.get(field):
                yield FieldError.forbidden(f"{where}.{field}", _CANNOT)
        for position, mount in enumerate(meta.parts(one, "volumeMounts")):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    yield FieldError.forbidden(f"{where}.volumeMounts[{position}].{field}", _CANNOT)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    """Only additions."""
    wanted = {one.get("name"): one for one in meta.parts(new, "spec", FIELD)}
    for one in meta.parts(old, "spec", FIELD):
        name = one.get("name")
        if name not in wanted:
            yield FieldError.forbidden(f"spec.{FIELD}", f'existing ephemeral containers "{name}" may not be removed')
        elif wanted[name] != one:
            yield FieldError.forbidden(f"spec.{FIELD}", f'existing ephemeral containers "{name}" may not be changed')
