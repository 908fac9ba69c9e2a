"""AdmissionReview, the question to a webhook and its answer: pure.

`request` makes what is sent, `read` finds what came back good and takes it apart, or says in BadAnswer why it is none.
A refusal is the webhook's own Status with its name before the message (`denial`). admission.k8s.io/v1, and v1beta1
for webhooks that know no newer one: there an answer need not repeat the request's uid, its kind or the patch's type.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from petset.kinds.webhooks import REVIEW_GROUP
from petset.objects import encoding, errors, meta
from petset.objects.meta import Json, Object
from petset.server.admission.webhooks.matching import Webhook

WARNINGS_MAX = 100  # Of one answer; more are dropped.
ANNOTATIONS_MAX = 100  # For the audit log, likewise.
JSON_PATCH = "JSONPatch"


@dataclass(frozen=True, slots=True)
class Answer:
    allowed: bool
    status: Object
    patch: Json = None  # A JSON patch, None: nothing is to be changed.
    warnings: Sequence[str] = ()
    audit_annotations: Object = field(default_factory=dict[str, str])


class BadAnswer(Exception):
    """Why what came back is no answer."""


def request(uid: str, about: Object, new: Object | None, old: Object | None) -> Object:
    """The `request` of a review: which one it is, and its objects."""
    return {"uid": uid, **about, "object": new, "oldObject": old}


def body(webhook: Webhook, asked: Object) -> bytes:
    """The review as it is sent."""
    return encoding.dumps(
        {"kind": "AdmissionReview", "apiVersion": f"{REVIEW_GROUP}/{webhook.review_version}", "request": asked}
    )


def read(webhook: Webhook, uid: str, data: bytes) -> Answer:
    """Raises BadAnswer."""
    try:
        tree: Json = encoding.loads(data)
    except ValueError as error:
        raise BadAnswer(f"it is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise BadAnswer("it is not an object")
    response = tree.get("response")
    if not meta.is_struct(response):
        raise BadAnswer("webhook response was absent")
    if webhook.review_version == "v1":
        _check_form(uid, tree, response)
    status: Any = response.get("status")
    warnings: Any = response.get("warnings")
    annotations: Any = response.get("auditAnnotations")
    return Answer(
        response.get("allowed") is True,
        status if meta.is_struct(status) else {},
        _patch(webhook, response),
        warnings[:WARNINGS_MAX] if meta.is_texts(warnings) else (),
        _texts(annotations) if meta.is_struct(annotations) else {},
    )


def _texts(given: Object) -> Object:
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    return dict(itertools.islice(texts.items(), ANNOTATIONS_MAX))


def _check_form(uid: str, tree: dict[str, Json], response: dict[str, Any]) -> None:
    """Raises BadAnswer."""
    version, kind = f"{REVIEW_GROUP}/v1", "AdmissionReview"
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{str(response.get("uid", ""))[:100]}"')
    if (tree.get("apiVersion"), tree.get("kind")) != (version, kind):
        found = f"{str(tree.get('apiVersion'))[:100]}, Kind={str(tree.get('kind'))[:100]}"
        raise BadAnswer(f"expected webhook response of {version}, Kind={kind}, got {found}")
    has_patch, kind_of_patch = bool(response.get("patch")), response.get("patchType")
    if has_patch and not kind_of_patch:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if kind_of_patch and not has_patch:
        raise BadAnswer("webhook returned response.patchType but not response.patch")
    if has_patch and kind_of_patch != JSON_PATCH:
        raise BadAnswer(f'webhook returned invalid response.patchType of "{str(kind_of_patch)[:100]}"')


def _patch(webhook: Webhook, response: dict[str, Any]) -> Json:
    """Raises BadAnswer."""
    given: Any = response.get("patch")
    if not given:
        return None
    try:
        patch: Json = encoding.loads(base64.b64decode(given, validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadAnswer(f"received undecodable patch in webhook response: {error}") from None
    return patch or None


def denial(webhook: Webhook, status: Object) -> errors.ApiError:
    """What the client is told when a webhook does not allow what it asked for."""
    given_code, given_reason, given_message = status.get("code"), status.get("reason"), status.get("message")
    code = given_code if isinstance(given_code, int) and 400 <= given_code <= 599 else 400
    reason = given_reason if isinstance(given_reason, str) else ""
    message = given_message if isinstance(given_message, str) else ""
    denied = f'admission webhook "{webhook.name}" denied the request'
    told = f"{denied}: {message or reason}" if message or reason else f"{denied} without explanation"
    details = status.get("details")
    return errors.ApiError(code, reason, told, details if meta.is_struct(details) else None)


def failure(webhook: Webhook, why: str) -> errors.ApiError:
    """What the client is told when a webhook that must answer does not."""
    return internal(f'failed calling webhook "{webhook.name}": {why}')


def internal(why: str) -> errors.ApiError:
    return errors.ApiError(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})
