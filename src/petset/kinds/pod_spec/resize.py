"""The subresource `resize` of a pod: CPU and memory of its containers, changed while they run, and nothing else.

`carried` puts what it may change into the pod as it is; `validate_update` holds that against what a resize may do.
Follows: "Resize CPU and Memory Resources assigned to Containers" of the Kubernetes documentation (KEP-1287).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from petset.base import well_known
from petset.kinds import quality_of_service
from petset.kinds.pod_spec import lifecycle, pod_containers
from petset.objects import meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors, listed

OWN = ("resources", "resizePolicy")
_ONLY = "only cpu and memory resources are mutable"
_ONLY_OF_INIT = "only cpu and memory resources for init or sidecar containers are mutable"


def carried(wanted: Object, old: Object) -> Object:
    """The old pod with the resources that are wanted; with all of the containers where they are others."""
    spec = meta.part(old, "spec")
    new = {**spec}
    for field in pod_containers.OWN:
        given, known = meta.parts(wanted, "spec", field), meta.parts(old, "spec", field)
        same = [one.get("name") for one in given] == [one.get("name") for one in known]
        if same:
            pairs = zip(given, known, strict=True)
            given = [one if _own(one) == _own(before) else _merged(one, before) for one, before in pairs]
            given = [before if one == before else one for one, before in zip(given, known, strict=True)]
        if given != known:
            new[field] = given
    resources = meta.get(wanted, "spec", "resources")
    if resources != spec.get("resources"):
        new["resources"] = resources
    if new == spec:
        return old
    return {**old, "spec": {key: value for key, value in new.items() if value is not None}}


def _own(container: Object) -> dict[str, object]:
    return {key: container.get(key) for key in OWN}


def _merged(container: Object, before: Object) -> Object:
    merged = {**before, **_own(container)}
    return {key: value for key, value in merged.items() if value is not None}


@listed
def validate_update(new: Object, old: Object) -> Errors:
    if well_known.MIRROR_ANNOTATION in meta.annotations(old):
        yield FieldError.forbidden("metadata.annotations", "static pods cannot be resized")
        return
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
    reordered = [wrong for field in pod_containers.OWN for wrong in _order(wanted, given, field)]
    yield from reordered
    if reordered:
        return
    if wanted.get("resources") != given.get("resources"):
        yield FieldError.forbidden("spec.resources", "petset does not resize what a pod asks for as a whole")
    before, after = quality_of_service.of(old), quality_of_service.of(new)
    if before != after:
        yield FieldError.invalid("spec", after, "Pod QOS Class may not change as a result of resizing")
    if not _is_supported(old):
        yield FieldError.forbidden("spec", "Pod running on node without support for resize")
    for field in pod_containers.OWN:
        pairs = zip(meta.parts(wanted, field), meta.parts(given, field), strict=True)
        for index, (one, was) in enumerate(pairs):
            if one is not was and one != was:
                yield from _container(one, was, f"spec.{field}[{index}]", field == pod_containers.INIT)


def _order(wanted: Object, given: Object, field: str) -> Errors:
    names, known = ([one.get("name") for one in meta.parts(spec, field)] for spec in (wanted, given))
    if len(names) != len(known):
        yield FieldError.forbidden(f"spec.{field}", f"{field} may not be added or removed on resize")
        return
    for index, (name, was) in enumerate(zip(names, known, strict=True)):
        if name != was:
            yield FieldError.forbidden(
                f"spec.{field}[{index}].name", f"{field} may not be renamed or reordered on resize"
            )


def _is_supported(pod: Object) -> bool:
    """Whether its node tells what running containers have: one that does not knows of no resize."""
    for status in meta.parts(pod, "status", "containerStatuses"):
        if "running" in meta.part(status, "state"):
            return "resources" in status
    return True


def _container(one: Object, was: Object, path: str, init: bool) -> Errors:
    for kind in ("requests", "limits"):
        wanted, given = meta.part(one, "resources", kind), meta.part(was, "resources", kind)
        if any(name not in wanted for name in given):
            yield FieldError.forbidden(f"{path}.resources.{kind}", f"resource {kind} cannot be removed")
    if (
        init
        and not pod_containers.is_sidecar(one)
        and any(_restarts(policy) for policy in meta.parts(one, "resizePolicy"))
    ):
        yield FieldError.forbidden(
            path, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
        )
    if _rest(one) != _rest(was):
        yield FieldError.forbidden(path, _ONLY_OF_INIT) if init else FieldError.forbidden("spec", _ONLY)


def _restarts(policy: Object) -> bool:
    return policy.get("restartPolicy") == "RestartContainer"


def _rest(container: Object) -> Object:
    """What of a container no resize changes."""
    resources = meta.part(container, "resources")
    kept = {
        kind: {name: amount for name, amount in meta.part(resources, kind).items() if name not in lifecycle.RESIZABLE}
        for kind in ("requests", "limits")
    }
    others = {key: value for key, value in resources.items() if key not in kept}
    return {**{key: value for key, value in container.items() if key != "resources"}, "resources": {**others, **kept}}


def resizable(resources: Object) -> Object:
    """Of a container's resources those that a resize may change: {"requests": {...}, "limits": {...}}."""
    return {kind: _of(meta.part(resources, kind), lifecycle.RESIZABLE) for kind in ("requests", "limits")}


def _of(amounts: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: str(amounts[name]) for name in names if name in amounts}
