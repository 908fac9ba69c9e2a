"""Pod."""

from __future__ import annotations

from petset.kinds import defaults_pod, preparation, validation_pod
from petset.objects.registry import Kind

PODS = Kind(
    "",
    "v1",
    "pods",
    "Pod",
    short_names=("po",),
    categories=("all",),
    subresources=("attach", "binding", "eviction", "exec", "log", "portforward", "status"),
    has_generation=True,
    default=defaults_pod.pod,
    prepare=preparation.pod,
    validate=validation_pod.pod,
    validate_update=validation_pod.pod_update,
)

KINDS = (PODS,)
