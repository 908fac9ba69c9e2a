"""PodCertificateRequest: a node asks a signer for a certificate of one of its pods (certificates.k8s.io/v1).

Its spec is fixed. A signer ends it once: with a certificate for the key that was named (Issued), or without (Denied,
Failed); after that nothing of its status changes.
Follows: KEP-4317.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from petset.base import certificates, tasks
from petset.kinds import signers
from petset.objects import filling, meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, immutable, listed, named

ENDS = ("Issued", "Denied", "Failed")
REQUEST_BYTES_MAX = 10 * 1024
CHAIN_BYTES_MAX = 100 * 1024
UID_CHARACTERS_MAX = 128
LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX = 3600, 91 * 86400
LIFETIME_SECONDS_DEFAULT = 86400
OF_KUBERNETES_SECONDS_MAX = 86400
BEGIN_SECONDS_OFF_MAX = 300  # Of a certificate's beginning from now.
REFRESH_SECONDS_AWAY = 600  # From either end of its life.


def lifetime_seconds_max(signer: str) -> int:
    """Kubernetes' own signers give less."""
    domain = signer.partition("/")[0]
    own = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    return OF_KUBERNETES_SECONDS_MAX if own else LIFETIME_SECONDS_MAX


def ended(obj: Object) -> str:
    """Issued, Denied, Failed, or "" while it waits."""
    return next((end for end in ENDS if meta.is_condition_true(obj, end)), "")


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    signer = str(spec.get("signerName") or "")
    yield from signers.named(signer, "spec.signerName")
    for field in ("podName", "serviceAccountName", "nodeName"):
        yield from named(spec.get(field), f"spec.{field}", names.subdomain)
    for field in ("podUID", "serviceAccountUID", "nodeUID"):
        uid = spec.get(field) or ""
        if not uid:
            yield FieldError.invalid(f"spec.{field}", uid, "must not be empty")
        elif len(uid) > UID_CHARACTERS_MAX:
            yield FieldError.too_long(f"spec.{field}", UID_CHARACTERS_MAX)
    seconds, most = spec.get("maxExpirationSeconds"), lifetime_seconds_max(signer)
    if seconds is None:
        yield FieldError.required("spec.maxExpirationSeconds", "must be set")
    elif not LIFETIME_SECONDS_MIN <= seconds <= most:
        why = f"must be in the range [{LIFETIME_SECONDS_MIN}, {most}]"
        yield FieldError.invalid("spec.maxExpirationSeconds", seconds, why)
    try:
        request = _request(spec)
        if len(request) > REQUEST_BYTES_MAX:
            yield FieldError.too_long("spec.stubPKCS10Request", REQUEST_BYTES_MAX)
        else:
            certificates.check_key_of_request(request)
    except ValueError as error:
        yield FieldError.invalid("spec.stubPKCS10Request", signers.NOT_SHOWN, str(error))


def _request(spec: Object) -> bytes:
    try:
        return base64.b64decode(spec.get("stubPKCS10Request") or "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(new, old, "", "spec")


@listed
def validate_status(new: Object, old: Object) -> Errors:
    status, conditions = meta.part(new, "status"), meta.parts(new, "status", "conditions")
    for index, condition in enumerate(conditions):
        where = f"status.conditions[{index}]"
        if condition.get("type") not in ENDS:
            yield FieldError.unsupported(f"{where}.type", condition.get("type"), ENDS)
        elif index:
            why = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            yield FieldError.invalid(f"{where}.type", condition.get("type"), why)
        if condition.get("status") != "True":
            yield FieldError.unsupported(f"{where}.status", condition.get("status"), ("True",))
    if ended(old):
        if status != meta.part(old, "status"):
            why = "immutable after PodCertificateRequest is issued, denied, or failed"
            yield FieldError.invalid("status", signers.NOT_SHOWN, why)
    elif not ended(new):
        if status != meta.part(old, "status"):
            why = 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"'
            yield FieldError.invalid("status", signers.NOT_SHOWN, why)
    elif ended(new) != "Issued":
        if any(value for field, value in status.items() if field != "conditions"):
            why = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
            yield FieldError.invalid("status", signers.NOT_SHOWN, why)
    else:
        yield from _issued(meta.part(new, "spec"), status)


def _issued(spec: Object, status: Object) -> Errors:
    path, chain = "status.certificateChain", status.get("certificateChain") or ""
    if len(chain.encode()) > CHAIN_BYTES_MAX:
        yield FieldError.too_long(path, CHAIN_BYTES_MAX)
        return
    try:
        begins, ends = certificates.check_issued(chain.encode(), _request(spec))
    except ValueError as error:
        yield FieldError.invalid(path, signers.NOT_SHOWN, str(error))
        return
    times: dict[str, float] = {}
    for field in ("notBefore", "notAfter", "beginRefreshAt"):
        if status.get(field):
            times[field] = tasks.parse_rfc3339(status[field])
        else:
            yield FieldError.required(f"status.{field}", "must be present and consistent with the issued certificate")
    if len(times) < 3:
        return
    for field, real in (("notBefore", begins), ("notAfter", ends)):
        if times[field] != real:
            why = f"must be set to the {field[0].upper()}{field[1:]} time encoded in the leaf certificate"
            yield FieldError.invalid(f"status.{field}", status[field], why)
            return
    if abs(begins - tasks.now()) > BEGIN_SECONDS_OFF_MAX:
        why = "must be set to within 5 minutes of kube-apiserver's current time"
        yield FieldError.invalid("status.notBefore", status["notBefore"], why)
    if ends - begins < LIFETIME_SECONDS_MIN:
        yield FieldError.invalid(path, ends - begins, "leaf certificate lifetime must be >= 1 hour")
    elif ends - begins > (most := spec.get("maxExpirationSeconds") or 0):
        why = f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({most})"
        yield FieldError.invalid(path, ends - begins, why)
    refresh = times["beginRefreshAt"]
    if refresh < begins + REFRESH_SECONDS_AWAY:
        why = "must be at least 10 minutes after status.notBefore"
        yield FieldError.invalid("status.beginRefreshAt", status["beginRefreshAt"], why)
    elif refresh > ends - REFRESH_SECONDS_AWAY:
        why = "must be at least 10 minutes before status.notAfter"
        yield FieldError.invalid("status.beginRefreshAt", status["beginRefreshAt"], why)


def cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    return [
        tables.name(obj),
        spec.get("podName", ""),
        spec.get("serviceAccountName", ""),
        spec.get("nodeName", ""),
        spec.get("signerName", ""),
        ended(obj) or "Pending",
        tables.age(obj, now),
    ]


PODCERTIFICATEREQUESTS = Kind(
    "certificates.k8s.io",
    "v1",
    "podcertificaterequests",
    "PodCertificateRequest",
    subresources=STATUS,
    is_slow_to_check=True,
    prepare=filling.status_of_new({}),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    fields=selectors.fields("spec.signerName", "spec.podName", "spec.nodeName"),
    printer=tables.Printer(
        tables.columns("Name, PodName, ServiceAccountName, NodeName, SignerName, State, Age"), cells
    ),
)

KINDS = (PODCERTIFICATEREQUESTS,)
