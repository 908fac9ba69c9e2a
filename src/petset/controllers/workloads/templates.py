"""A pod from an owner's template. Its name is made by whoever creates it, from the owner's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object


def pod_for(owner: Object, template: Object, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The pod, controlled by its owner, in its namespace; `labels` besides those of the template."""
    given = meta.part(template, "metadata")
    all_labels = {**meta.part(given, "labels"), **(labels or {})}
    annotations, finalizers = meta.part(given, "annotations"), meta.texts(given, "finalizers")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta.name(owner)}-",
            "namespace": meta.namespace(owner),
            **({"labels": all_labels} if all_labels else {}),
            **({"annotations": annotations} if annotations else {}),
            **({"finalizers": finalizers} if finalizers else {}),
            "ownerReferences": [meta.owner_reference(owner)],
        },
        "spec": meta.part(template, "spec"),
    }
