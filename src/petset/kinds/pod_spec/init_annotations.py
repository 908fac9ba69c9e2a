"""Init containers as manifests of 2016 wrote them: the JSON of a list of containers, in an annotation of the pod.

The beta annotation counts before the alpha one, and the field before both. Pure.
Follows: "Init Containers" of Kubernetes 1.3 to 1.5; since 1.8 servers and nodes read the field alone.
"""

from __future__ import annotations

from typing import Any

from petset.base import well_known
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import pod_containers
from petset.objects import encoding, errors, meta, schema
from petset.objects.errors import FieldError
from petset.objects.meta import Object

ALPHA, BETA = well_known.INIT_CONTAINERS_ALPHA_ANNOTATION, well_known.INIT_CONTAINERS_BETA_ANNOTATION
_SHOWN_CHARACTERS_MAX = 120


class Unreadable(Exception):
    """What is wrong with an annotation, by paths in the pod or template that has it."""

    def __init__(self, wrong: list[FieldError]):
        super().__init__("; ".join(f"{one.field}: {one.message}" for one in wrong))
        self.wrong = wrong


def annotation_of(pod: Object) -> str:
    """The annotation that counts for a pod or a template; "" where none does."""
    given = meta.get(pod, "metadata", "annotations", default={})
    annotation = BETA if given.get(BETA) else ALPHA
    return "" if not given.get(annotation) or meta.get(pod, "spec", pod_containers.INIT) else annotation


def containers(pod: Object) -> list[Object]:
    """Those that a pod or template has in an annotation only. Raises Unreadable."""
    annotation = annotation_of(pod)
    return _read(annotation, meta.get(pod, "metadata", "annotations", annotation)) if annotation else []


def _read(annotation: str, text: str) -> list[Object]:
    field = f"metadata.annotations[{annotation}]"
    try:
        found = encoding.loads(text)
        if not isinstance(found, list):
            raise ValueError("it is not a list of containers")
        placeholder = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
        carrier: dict[str, Any] = {**placeholder, "spec": {pod_containers.REGULAR: [], pod_containers.INIT: found}}
        checked, _, missing = schema.check(carrier, PODS)
    except (ValueError, errors.ApiError) as error:
        raise Unreadable([FieldError.invalid(field, _short(text), str(error))]) from None
    wrong = [error for error in missing if error.field.startswith(f"spec.{pod_containers.INIT}")]
    if wrong:
        raise Unreadable(wrong)
    return checked["spec"].get(pod_containers.INIT) or []


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 3] + "..."
