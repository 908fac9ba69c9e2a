"""ClusterTrustBundle: certificates of authorities that pods can have as a file (certificates.k8s.io/v1).

One that a signer answers for is named after it (example.com:signer:name), and only who may attest for the signer writes
it; the others have plain names. What is in one is public, and nodes read all.
Follows: KEP-3257.
"""

from __future__ import annotations

from typing import Any

from petset.base import certificates
from petset.kinds import signers
from petset.objects import meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, immutable, listed

TRUST_BUNDLE_BYTES_MAX = 1024 * 1024


def signer(obj: Object) -> str:
    return str(meta.get(obj, "spec", "signerName") or "")


def wrong_name(name: str, signer_name: str) -> str:
    """What is wrong with the name of a bundle of this signer, or of none ("")."""
    if not signer_name:
        return (
            names.subdomain(name)
            if ":" not in name
            else 'ClusterTrustBundle without signer name must not have ":" in its name'
        )
    prefix = signer_name.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return f"ClusterTrustBundle for signerName {signer_name} must be named with prefix {prefix}"
    return names.subdomain(name.removeprefix(prefix))


def signer_in_name(name: str) -> str:
    """The signer that a bundle's name speaks of: example.com:signer:name -> example.com/signer."""
    parts = name.split(":")
    return f"{parts[0]}/{parts[1]}" if len(parts) >= 3 else ""


@listed
def validate(obj: Object) -> Errors:
    yield from _named(obj)
    yield from _trust_anchors(obj)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "signerName")


def _named(obj: Object) -> Errors:
    if wrong := wrong_name(meta.name(obj), signer(obj)):
        yield FieldError.invalid("metadata.name", meta.name(obj), wrong)
    if signer(obj):
        yield from signers.named(signer(obj), "spec.signerName")


def _trust_anchors(obj: Object) -> Errors:
    path, bundle = "spec.trustBundle", meta.get(obj, "spec", "trustBundle") or ""
    if len(bundle.encode()) > TRUST_BUNDLE_BYTES_MAX:
        yield FieldError.too_long(path, TRUST_BUNDLE_BYTES_MAX)
        return
    anchors, wrong = certificates.trust_anchors(bundle.encode())
    if not wrong and not anchors:
        wrong = ["at least one trust anchor must be provided"]
    for why in wrong:
        yield FieldError.invalid(path, signers.NOT_SHOWN, why)


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), signer(obj) or "<none>"]


CLUSTERTRUSTBUNDLES = Kind(
    "certificates.k8s.io",
    "v1",
    "clustertrustbundles",
    "ClusterTrustBundle",
    False,
    is_slow_to_check=True,
    validate=validate,
    validate_update=validate_update,
    name_rule=names.path_segment,
    fields=selectors.fields("spec.signerName"),
    printer=tables.Printer(tables.columns("Name, SignerName"), cells),
)

KINDS = (CLUSTERTRUSTBUNDLES,)
