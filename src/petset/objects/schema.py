"""Types, required fields and unknown fields of every kind. (Being built: the signatures are final.)"""

from __future__ import annotations

from typing import Any

from petset.objects.errors import FieldError
from petset.objects.resources import Resource


def check(obj: Any, resource: Resource, strict: bool = False) -> tuple[dict[str, Any], list[str], list[FieldError]]:
    """(the object as the API server reads it, paths of unknown fields as strict decoding errors, missing required fields).

    The object comes back without unknown fields and nulls, with quantities in canonical form. Raises ApiError 400 for
    wrong types, and with `strict` for unknown fields too. Without `strict` the second item holds `unknown field
    "spec.foo"` texts for Warning headers.
    """
    return obj, [], []
