"""ConversionReview, the question to a conversion webhook and its answer: pure.

`body` makes what is sent: objects as they are, and the version that they are wanted in. `read` finds what came back
good and takes it apart: as many objects in the same order, each of the version and kind that was asked for, the same
object by name, namespace and uid. Of its metadata only labels and annotations may differ; the rest is taken from the
object that was sent. Whatever is wrong is a BadAnswer, in upstream's words.
apiextensions.k8s.io/v1, and v1beta1 for webhooks that know no newer one: there an answer need not repeat the uid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.kinds.custom_resource_definition import GROUP
from petset.objects import encoding, meta, validation
from petset.objects.meta import Json, Object

KIND, SUCCESS = "ConversionReview", "Success"
TOLD_MAX = 10  # Of what is wrong with one object's metadata.
_OWN_FIELDS = ("labels", "annotations")  # Of metadata, that a webhook may change.


class BadAnswer(Exception):
    """What is wrong with an answer, with what is said before it of the webhook: "failed: ...", "returned ..."."""


def body(review_version: str, uid: str, objects: Sequence[Object], wanted: str) -> bytes:
    """The review as it is sent: these objects are wanted in this apiVersion."""
    request = {"uid": uid, "desiredAPIVersion": wanted, "objects": objects}
    return encoding.dumps({"kind": KIND, "apiVersion": f"{GROUP}/{review_version}", "request": request})


def read(review_version: str, uid: str, sent: Sequence[Object], wanted: str, data: bytes) -> list[Object]:
    """The objects in the wanted version. Raises BadAnswer."""
    found = _objects(review_version, uid, data)
    if len(found) != len(sent):
        raise BadAnswer(f"returned {len(found)} objects, expected {len(sent)}")
    return [_same(index, one, other, wanted) for index, (one, other) in enumerate(zip(sent, found))]


def _objects(review_version: str, uid: str, data: bytes) -> Sequence[Json]:
    """Raises BadAnswer."""
    try:
        tree: Json = encoding.loads(data)
    except ValueError as error:
        raise BadAnswer(f"failed: it is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise BadAnswer("failed: it is not an object")
    response = tree.get("response")
    if review_version == "v1":
        _check_form(tree)
    if not meta.is_struct(response):
        raise BadAnswer("failed: no response provided")
    if review_version == "v1" and response.get("uid") != uid:
        raise BadAnswer(f'failed: expected response.uid="{uid}", got "{str(response.get("uid", ""))[:100]}"')
    result: Any = response.get("result")
    result = result if meta.is_struct(result) else {}
    if result.get("status") != SUCCESS:
        told: Any = result.get("message")
        if isinstance(told, str) and told:
            raise BadAnswer(f"failed: {told}")
        raise BadAnswer(f"failed: response.result.status was '{str(result.get('status') or '')[:100]}', not 'Success'")
    objects: Json = response.get("convertedObjects")
    return objects if isinstance(objects, list) else ()


def _check_form(tree: Mapping[str, Json]) -> None:
    """Raises BadAnswer."""
    version = f"{GROUP}/v1"
    if (tree.get("apiVersion"), tree.get("kind")) != (version, KIND):
        found = f"{str(tree.get('apiVersion') or '')[:100]}, Kind={str(tree.get('kind') or '')[:100]}"
        raise BadAnswer(f"failed: expected webhook response of {version}, Kind={KIND}, got {found}")


def _same(index: int, sent: Object, found: Json, wanted: str) -> Object:
    """What was found, if it is what was sent, with the metadata that was sent. Raises BadAnswer."""
    which = f"returned invalid converted object at index {index}: "
    if not meta.is_struct(found):
        raise BadAnswer(f"{which}it is not an object")
    about = found.get("metadata")
    if found.get("apiVersion") != wanted:
        got = str(found.get("apiVersion") or "")[:100]
        raise BadAnswer(f"{which}invalid groupVersion (expected {wanted}, received {got})")
    if found.get("kind") != sent["kind"]:
        got = str(found.get("kind") or "")[:100]
        raise BadAnswer(f"{which}invalid kind (expected {sent['kind']}, received {got})")
    for field, name in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        had = sent["metadata"].get(field) or ""
        has: Any = (about.get(field) or "") if meta.is_struct(about) else ""
        if had != has:
            raise BadAnswer(f"{which}must have the same {name}: {had} != {str(has)[:300]}")
    which = f"returned invalid metadata in object at index {index}: "
    if "metadata" not in found:
        raise BadAnswer(f"{which}missing metadata in converted object")
    if not meta.is_struct(about):
        raise BadAnswer(f"{which}invalid metadata of type {type(about).__name__} in converted object")
    return {**found, "metadata": _restored(which, sent["metadata"], about)}


def _restored(which: str, sent: Object, found: Object) -> Object:
    """The metadata that was sent, with the labels and annotations that were found. Raises BadAnswer."""
    if all(found.get(field) == sent.get(field) for field in _OWN_FIELDS):
        return sent
    own: dict[str, Object] = {}
    for field in _OWN_FIELDS:
        values: Any = found.get(field)
        if values is None:
            continue
        if not meta.is_struct(values):
            raise BadAnswer(f"{which}invalid metadata.{field} of type {type(values).__name__} in converted object")
        for key, value in values.items():
            if not isinstance(value, str):
                kind = type(value).__name__
                raise BadAnswer(f"{which}metadata.{field}[{key}] must be a string, but is {kind} in converted object")
        own[field] = values
    wrong = [
        *validation.labels(own.get("labels"), "metadata.labels"),
        *validation.annotation_map(own.get("annotations"), "metadata.annotations"),
    ]
    if wrong:
        raise BadAnswer(which + ", ".join(f"{one.field}: {one.message}" for one in wrong[:TOLD_MAX]))
    kept = {key: value for key, value in sent.items() if key not in _OWN_FIELDS}
    return {**kept, **own}
