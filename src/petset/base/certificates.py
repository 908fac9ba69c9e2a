"""Certificate signing requests of strangers, and the certificates that the instance's authority issues for them.

`read_request` finds out what a request asks for, and that whoever made it has its key; `issue` signs one that somebody
has decided to sign: subject, key and names are the request's, usages and time the caller's. Pure but for the clock and
chance. Bad bytes of any kind are a ValueError. Importing `cryptography.x509` takes a tenth of a second, so the first
use belongs beside the loop. PKCS 10 (RFC 2986), RFC 5280, PEM as of RFC 7468.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from petset.base import pki, tasks

REQUEST_BYTES_MAX = 64 * 1024  # Ten times the largest that has a use.
SHORT_SECONDS = 8 * 3600  # Of a certificate that lasts less, the time before its beginning is not taken off its end.

DIGITAL_SIGNATURE, KEY_ENCIPHERMENT = "digital signature", "key encipherment"
CLIENT_AUTH, SERVER_AUTH = "client auth", "server auth"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks for: the subject's common name and organizations, and names beside it."""

    common_name: str = ""
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


def read_request(pem: bytes) -> Request:
    """What the request asks for. Raises ValueError when it is none, or not signed with the key that it names."""
    found = _request(pem)
    names = _alternative_names(found)
    return Request(
        "".join(_of_subject(found, "COMMON_NAME")[-1:]),
        _of_subject(found, "ORGANIZATION_NAME"),
        _named(names, "DNSName"),
        _named(names, "IPAddress"),
        _named(names, "RFC822Name"),
        _named(names, "UniformResourceIdentifier"),
    )


_BEGIN = re.compile(rb"-----BEGIN ([^-\r\n]*)-----")


def _request(pem: bytes) -> Any:
    """As cryptography has it; its signature is good."""
    if len(pem) > REQUEST_BYTES_MAX:
        raise ValueError(f"it has {len(pem)} bytes, and the limit is {REQUEST_BYTES_MAX}")
    label = _BEGIN.search(pem)
    if label is None or label[1] != b"CERTIFICATE REQUEST":
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")

    def load() -> Any:
        from cryptography import x509

        request = x509.load_pem_x509_csr(pem)
        if not request.is_signature_valid:
            raise ValueError("it is not signed with the key that it names")
        return request

    return _of_strangers(load)


def _of_strangers(read: Callable[[], T]) -> T:
    """What is read from bytes of strangers: cryptography has a dozen kinds of errors for what is wrong with them."""
    try:
        return read()
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _of_subject(request: Any, attribute: str) -> tuple[str, ...]:
    from cryptography.x509.oid import NameOID

    def read() -> tuple[str, ...]:
        return tuple(str(found.value) for found in request.subject.get_attributes_for_oid(getattr(NameOID, attribute)))

    return _of_strangers(read)


def _alternative_names(request: Any) -> Any:
    """The SubjectAlternativeName extension's value, or None."""
    from cryptography import x509

    def read() -> Any:
        try:
            return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None

    return _of_strangers(read)


def _named(names: Any, kind: str) -> tuple[str, ...]:
    from cryptography import x509

    if names is None:
        return ()
    return tuple(str(value) for value in names.get_values_for_type(getattr(x509, kind)))


def check_chain(pem: bytes) -> None:
    """That it is one certificate or several in PEM, and no other blocks. Raises ValueError."""
    labels = [found[1] for found in _BEGIN.finditer(pem)]
    if not labels:
        raise ValueError("must contain at least one CERTIFICATE PEM block")
    if any(label != b"CERTIFICATE" for label in labels):
        raise ValueError("only CERTIFICATE PEM blocks are allowed")

    def load() -> None:
        from cryptography import x509

        x509.load_pem_x509_certificates(pem)

    try:
        _of_strangers(load)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def check_key_of_request(der: bytes) -> Any:
    """The public key of a request in DER, signed with it, of a kind that pods may have. Raises ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    def load() -> Any:
        request = x509.load_der_x509_csr(der)
        if not request.is_signature_valid:
            raise ValueError("invalid signature")
        return request.public_key()

    key = _of_strangers(load)
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in (3072, 4096):
            raise ValueError("RSA keys must have modulus size 3072 or 4096")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
            raise ValueError("elliptic public keys must use curve P256, P384, or P521")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise ValueError("unknown public key type; supported types are Ed25519, ECDSA, and RSA")
    return key


def key_and_empty_request(kind: str) -> tuple[str, bytes]:
    """(a new private key in PEM, a request in DER that says nothing but its public key), of a pod's kind of key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key: Any
    match kind:
        case "ED25519":
            key = ed25519.Ed25519PrivateKey.generate()
        case "ECDSAP256" | "ECDSAP384" | "ECDSAP521":
            curves = {"256": ec.SECP256R1, "384": ec.SECP384R1, "521": ec.SECP521R1}
            key = ec.generate_private_key(curves[kind[-3:]]())
        case _:
            key = rsa.generate_private_key(65537, int(kind.removeprefix("RSA")))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(key, None if kind == "ED25519" else hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), request.public_bytes(serialization.Encoding.DER)


def check_issued(chain: bytes, request: bytes) -> tuple[float, float]:
    """When the first certificate of a chain in PEM begins and ends; it is of the request's key. Raises ValueError."""
    from cryptography import x509

    check_chain(chain)
    leaf = _of_strangers(lambda: x509.load_pem_x509_certificates(chain))[0]
    if _of_strangers(lambda: _in_der(leaf.public_key())) != _in_der(check_key_of_request(request)):
        raise ValueError("leaf certificate was not issued to the requested public key")
    return leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()


_BLOCK = re.compile(rb"-----BEGIN ([^-\r\n]*)-----(.*?)-----END \1-----", re.DOTALL)


def trust_anchors(pem: bytes) -> tuple[dict[bytes, None], list[str]]:
    """(the certificates of authorities in this text, each once as PEM without what stands around it, what is wrong)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    found: dict[bytes, list[int]] = {}
    wrong: list[str] = []
    for index, block in enumerate(_BLOCK.finditer(pem)):
        if block[1] != b"CERTIFICATE":
            wrong.append(f"entry {index} has bad block type: {block[1].decode(errors='replace')[:64]}")
        elif b":" in block[2]:
            wrong.append(f"entry {index} has PEM block headers")
        else:
            try:
                certificate = _of_strangers(lambda block=block: x509.load_pem_x509_certificate(block[0]))
                is_authority = _of_strangers(lambda found=certificate: _is_authority(found))
            except ValueError:
                wrong.append(f"entry {index} does not parse as X.509")
                continue
            if is_authority:
                found.setdefault(certificate.public_bytes(Encoding.PEM), []).append(index)
            else:
                wrong.append(f"entry {index} does not have the CA bit set")
    twice = [where for where in found.values() if len(where) > 1]
    wrong = wrong or [f"duplicate trust anchor (indices [{' '.join(map(str, where))}])" for where in twice]
    return dict.fromkeys(found), wrong


@dataclass(frozen=True, slots=True)
class Served:
    """What a server's certificate says of it, and how far it is good with its key and the authorities beside it."""

    hosts: tuple[str, ...]
    not_after: float  # In seconds since 1970.
    has_key: bool  # The key is the certificate's.
    signed_by: int  # Which of the authorities, the last that has; -1: none of them.


def read_served(pair: pki.Pair, authorities: Sequence[bytes]) -> Served:
    """Of a pair that others may have written. Raises ValueError where it is none."""
    from cryptography import x509

    found = _of_strangers(lambda: x509.load_pem_x509_certificate(pair.certificate))
    names = _alternative_names(found)
    signers = [_of_strangers(lambda pem=one: x509.load_pem_x509_certificate(pem)) for one in authorities]
    signed_by = max((number for number, signer in enumerate(signers) if _has_signed(signer, found)), default=-1)
    hosts = (*_named(names, "DNSName"), *_named(names, "IPAddress"))
    return Served(hosts, found.not_valid_after_utc.timestamp(), _is_key_of(pair.key, found), signed_by)


def read_authority(pair: pki.Pair) -> tuple[float, bool]:
    """(when an authority ends, in seconds since 1970, whether the key is its). Raises ValueError where it is none."""
    from cryptography import x509

    found = _of_strangers(lambda: x509.load_pem_x509_certificate(pair.certificate))
    if not _is_authority(found):
        raise ValueError("it is no authority's certificate")
    return found.not_valid_after_utc.timestamp(), _is_key_of(pair.key, found)


def _is_key_of(key_pem: bytes, certificate: Any) -> bool:
    from cryptography.hazmat.primitives import serialization

    try:
        key = _of_strangers(lambda: serialization.load_pem_private_key(key_pem, None))
        return _of_strangers(lambda: _in_der(key.public_key()) == _in_der(certificate.public_key()))
    except ValueError:
        return False


def _in_der(public_key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _has_signed(authority: Any, certificate: Any) -> bool:
    try:
        _of_strangers(lambda: certificate.verify_directly_issued_by(authority))
    except ValueError:
        return False
    return True


def _is_authority(certificate: Any) -> bool:
    from cryptography import x509

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


class Authorities:
    """Those of a text in PEM, and whether one of them has signed a certificate itself."""

    def __init__(self, pem: str):
        from cryptography import x509

        found, _ = trust_anchors(pem.encode())
        self.pem = b"".join(found).decode()
        self._certificates = [x509.load_pem_x509_certificate(one) for one in found]

    def __len__(self) -> int:
        return len(self._certificates)

    def have_signed(self, certificate: Certificate) -> bool:
        return any(_has_signed(authority, certificate.read) for authority in self._certificates)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one that a client shows says of it, and until when (seconds since 1970); `read` is cryptography's."""

    common_name: str
    organizations: tuple[str, ...]
    not_after: float
    read: Any


def read_certificate(der: bytes) -> Certificate:
    """Raises ValueError."""
    from cryptography import x509

    found = _of_strangers(lambda: x509.load_der_x509_certificate(der))
    ends = _of_strangers(lambda: found.not_valid_after_utc.timestamp())
    names = _of_subject(found, "COMMON_NAME")
    return Certificate("".join(names[:1]), _of_subject(found, "ORGANIZATION_NAME"), ends, found)


def issue(authority: pki.Authority, pem: bytes, usages: Collection[str], seconds: float) -> str:
    """A certificate in PEM for what the request asks for, for the usages named here. Raises ValueError, OSError.

    It begins a little earlier than now, and never outlasts the authority.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    request, now = _request(pem), tasks.now()
    signer = x509.load_pem_x509_certificate(authority.issued.certificate.read_bytes())
    key = serialization.load_pem_private_key(authority.issued.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    lasts = seconds if seconds < SHORT_SECONDS else seconds - pki.BACKDATE_SECONDS
    ends = min(now + lasts, signer.not_valid_after_utc.timestamp())
    if ends <= now:
        raise ValueError("the authority has expired")
    purposes = {CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH, SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH}
    usage = x509.KeyUsage(
        digital_signature=DIGITAL_SIGNATURE in usages,
        content_commitment=False,
        key_encipherment=KEY_ENCIPHERMENT in usages,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(signer.subject)
        .public_key(request.public_key())
        .serial_number(tasks.rng().getrandbits(152) | 1)
        .not_valid_before(pki.certificate_time(now - pki.BACKDATE_SECONDS))
        .not_valid_after(pki.certificate_time(ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([purposes[one] for one in usages if one in purposes]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
    )
    if usage.digital_signature or usage.key_encipherment:  # One that allows nothing is no certificate to OpenSSL.
        builder = builder.add_extension(usage, True)
    if (names := _alternative_names(request)) is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), False)
    return _of_strangers(lambda: builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)).decode()
