"""CertificateSigningRequest: somebody asks a signer for a certificate, somebody else approves (certificates.k8s.io/v1).

Its spec is fixed at creation, and who asked is written into it by the server. `approval` writes the conditions Approved
and Denied, which exclude each other; `status` the certificate and the condition Failed. None of the three conditions is
ever taken back, and a certificate is never replaced.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from petset.base import certificates, well_known
from petset.kinds import signers
from petset.objects import filling, meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import APPROVAL, STATUS, Kind
from petset.objects.validation import Errors, at_least, immutable, listed

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
GROUP = "certificates.k8s.io"
EXPIRATION_SECONDS_MIN = 600
USAGES = (
    *("signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment"),
    *("cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing"),
    *("email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing"),
    *("microsoft sgc", "netscape sgc"),
)


def request_pem(obj: Object) -> bytes:
    """What is asked for, in PEM. Raises ValueError."""
    return _decoded(meta.get(obj, "spec", "request", default=""))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None


def encoded(pem: str) -> str:
    """PEM as a field has it."""
    return base64.b64encode(pem.encode()).decode()


def signer(obj: Object) -> str:
    return str(meta.get(obj, "spec", "signerName", default=""))


def is_approved(obj: Object) -> bool:
    """Approved, and not denied."""
    return meta.condition(obj, APPROVED) is not None and meta.condition(obj, DENIED) is None


# -- what is right


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    if wrong := _wrong_pem(spec.get("request") or "", certificates.read_request):
        yield FieldError.invalid(
            "spec.request", (spec.get("request") or "")[: signers.VALUE_CHARACTERS_SHOWN_MAX], wrong
        )
    if not spec.get("usages"):
        yield FieldError.required("spec.usages", "usages must be provided")
    seen: dict[str, None] = {}
    for index, usage in enumerate(meta.texts(spec, "usages")):
        if usage not in USAGES:
            yield FieldError.unsupported(f"spec.usages[{index}]", usage, sorted(USAGES))
        elif usage in seen:
            yield FieldError.duplicate(f"spec.usages[{index}]", usage)
        seen[usage] = None
    yield from _signer_name(spec.get("signerName") or "", "spec.signerName")
    if (seconds := spec.get("expirationSeconds")) is not None and seconds < EXPIRATION_SECONDS_MIN:
        why = f"may not specify a duration less than {EXPIRATION_SECONDS_MIN} seconds (10 minutes)"
        yield FieldError.invalid("spec.expirationSeconds", seconds, why)
    yield from at_least(seconds, "spec.expirationSeconds", 0)
    yield from _conditions(meta.parts(obj, "status", "conditions"), "status.conditions")


def _wrong_pem(text: str, read: Callable[[bytes], object]) -> str:
    try:
        read(_decoded(text))
    except ValueError as error:
        return str(error)
    return ""


def _signer_name(name: str, path: str) -> Errors:
    if name == well_known.LEGACY_SIGNER:
        yield FieldError.invalid(path, name, "the legacy signerName is not allowed via this API version")
        return
    yield from signers.named(name, path)


def _conditions(conditions: Any, path: str) -> Errors:
    seen: dict[str, None] = {}
    for index, condition in enumerate(conditions):
        where, kind, status = f"{path}[{index}]", condition.get("type") or "", condition.get("status") or ""
        if not kind:
            yield FieldError.required(f"{where}.type")
        if kind in seen:
            yield FieldError.duplicate(f"{where}.type", kind)
        if kind in (APPROVED, DENIED) and {APPROVED: DENIED, DENIED: APPROVED}[kind] in seen:
            why = "Approved and Denied conditions are mutually exclusive"
            yield FieldError.invalid(f"{where}.type", kind, why)
        seen[kind] = None
        fits = ("True",) if kind in (APPROVED, DENIED, FAILED) else ("True", "False", "Unknown")
        if not status:
            yield FieldError.required(f"{where}.status")
        elif status not in fits:
            yield FieldError.unsupported(f"{where}.status", status, fits)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    """Of the object itself and of its approval."""
    yield from _kept(new, old, fixed=(FAILED,))
    yield from immutable(meta.part(new, "status"), meta.part(old, "status"), "status", "certificate")


@listed
def validate_status(new: Object, old: Object) -> Errors:
    yield from _conditions(meta.parts(new, "status", "conditions"), "status.conditions")
    yield from _kept(new, old, fixed=(APPROVED, DENIED))
    after, before = (meta.get(one, "status", "certificate") or "" for one in (new, old))
    if after == before:
        return
    if before:
        yield FieldError.forbidden("status.certificate", "updates may not change a certificate that was issued")
    elif wrong := _wrong_pem(after, certificates.check_chain):
        yield FieldError.invalid("status.certificate", after[: signers.VALUE_CHARACTERS_SHOWN_MAX], wrong)


def _kept(new: Object, old: Object, fixed: tuple[str, ...]) -> Errors:
    """Nothing is taken back, and what this way of writing is not for (`fixed`) stays as it is."""
    path = "status.conditions"
    for kind in (APPROVED, DENIED, FAILED):
        after, before = meta.condition(new, kind), meta.condition(old, kind)
        if before is not None and after is None:
            yield FieldError.forbidden(path, f'updates may not remove a condition of type "{kind}"')
        elif kind in fixed and before is None and after is not None:
            yield FieldError.forbidden(path, f'updates may not add a condition of type "{kind}"')
        elif kind in fixed and before != after:
            yield FieldError.forbidden(path, f'updates may not modify a condition of type "{kind}"')


def prepare(new: Object, old: Object | None) -> Object:
    """A spec stays what it was."""
    if old is None:
        return _new_status(new, old)
    return new if new.get("spec") == old.get("spec") else {**new, "spec": old["spec"]}


_new_status = filling.status_of_new({})


# -- how it is shown


def state(obj: Object) -> str:
    """Pending, or Approved, Denied; and Failed, Issued."""
    shown = DENIED if meta.condition(obj, DENIED) else APPROVED if meta.condition(obj, APPROVED) else "Pending"
    if meta.condition(obj, FAILED):
        shown += f",{FAILED}"
    return f"{shown},Issued" if meta.get(obj, "status", "certificate") else shown


def cells(obj: Object, now: float) -> list[Any]:
    seconds = meta.get(obj, "spec", "expirationSeconds")
    return [
        tables.name(obj),
        tables.age(obj, now),
        signer(obj),
        meta.get(obj, "spec", "username", default=""),
        "<none>" if seconds is None else tables.human_duration(seconds),
        state(obj),
    ]


CERTIFICATESIGNINGREQUESTS = Kind(
    GROUP,
    "v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    False,
    short_names=("csr",),
    subresources=(APPROVAL, *STATUS),
    is_slow_to_check=True,
    prepare=prepare,
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    name_rule=names.path_segment,
    fields=selectors.fields("spec.signerName"),
    printer=tables.Printer(
        tables.columns("Name, Age, SignerName, Requestor, RequestedDuration, Condition"),
        cells,
    ),
)

KINDS = (CERTIFICATESIGNINGREQUESTS,)
