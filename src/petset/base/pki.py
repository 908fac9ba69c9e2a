"""The instance's own certificate authority, the certificates it issues, their TLS contexts, and keys that sign.

`authority(directory)` loads the authority or makes it; its `server(...)` and `client(...)` give a certificate that
says what was asked for, issued anew when it says something else, nears its end, or is damaged. Beside each certificate
lies a small record of what it says, so that a start with everything in place never imports `cryptography`, whose
import alone costs 100 ms and 10 MiB. At the first start a child makes everything (`apart`), for the same reason.

Invariants: keys are ECDSA P-256, PKCS 8, and every file is 0600, written whole or not at all; a key never changes
without its certificate. A client certificate's common name is the user, its organisations the groups. RFC 5280.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from petset.base import state, tasks

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
RENEW_DAYS_MIN = 30  # Fewer left: issue a new one.
BACKDATE_SECONDS = 300  # For peers whose clock is behind.
DAY_SECONDS = 86400
COORDINATE_BYTES = 32  # Of P-256.


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def certificate_pem(self) -> str:
        return self.certificate.read_text()

    def key_pem(self) -> str:
        return self.key.read_text()


class Authority:
    """Issues the instance's certificates; `issued` is its own."""

    def __init__(self, directory: Path, issued: Issued, name: str):
        self.directory, self.issued, self.name = directory, issued, name  # The name that its certificates name.
        self.certificate_pem = issued.certificate_pem()
        self._digest = hashlib.sha256(self.certificate_pem.encode()).hexdigest()

    def server(self, name: str, hosts: Sequence[str], user: str = "", groups: Sequence[str] = ()) -> Issued:
        """For a server that is reached under these DNS names and addresses."""
        return self._issued(name, {"use": "server", "hosts": list(hosts), "user": user or name, "groups": list(groups)})

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> Issued:
        """For a client that is this user in these groups."""
        return self._issued(name, {"use": "client", "hosts": [], "user": user, "groups": list(groups)})

    def _issued(self, name: str, says: dict[str, Any]) -> Issued:
        says = {**says, "issuer": self._digest}
        return _load(self.directory, name, says) or _issue(self.directory, name, says, CERTIFICATE_DAYS, self.issued)


def authority(directory: Path, name: str = "ca", user: str = "petset-ca") -> Authority:
    """The authority in this directory; made when absent or near its end. Raises OSError."""
    says: dict[str, Any] = {"use": "authority", "hosts": [], "user": user, "groups": []}
    issued = _load(directory, name, says) or _issue(directory, name, says, AUTHORITY_DAYS, None)
    return Authority(directory, issued, user)


class Pair(NamedTuple):
    """A certificate and its key in PEM, which are no files."""

    certificate: bytes
    key: bytes


def new_authority(user: str, seconds: float) -> Pair:
    """An authority of that name for so long."""
    return _made({"use": "authority", "hosts": [], "user": user, "groups": []}, tasks.now() + seconds, None)


def new_server(issuer: Pair, user: str, hosts: Sequence[str], seconds: float) -> Pair:
    """A server's that is reached under these DNS names and addresses, signed by an authority. Raises ValueError."""
    return _made({"use": "server", "hosts": list(hosts), "user": user, "groups": []}, tasks.now() + seconds, issuer)


def is_there(directory: Path, name: str = "ca") -> bool:
    """Whether an authority was made in this directory."""
    return _record(directory, name).exists()


@contextlib.contextmanager
def apart(make: Callable[[], object]) -> Generator[None]:
    """Keys and certificates are made in a child of this process, which has no other threads yet, during the block.

    At its end, whichever it is, the child has ended. What it could not make is made by whoever needs it.
    """
    child = os.fork()
    if not child:
        try:
            make()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.waitpid(child, 0)


# Signing


P256_PEM = b"\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"  # What PKCS #8 says of its kind.


class SigningKey:
    """An ECDSA P-256 key, read or made when first used. Its signatures are r and s, 32 bytes each (JWS's ES256)."""

    def __init__(self, path: Path | None = None):
        self._path = path  # Where it is kept; without, it is another one in every process.

    @functools.cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            key = serialization.load_pem_private_key(self._path.read_bytes() if self._path else b"", None)
        except (FileNotFoundError, ValueError):  # Absent, or damaged: whoever has a token must ask for another.
            key = ec.generate_private_key(ec.SECP256R1())
            if self._path:
                state.write_private(self._path, _private_pem(key))
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"cannot sign: {self._path} holds another kind of key than ECDSA P-256")
        return key

    def check(self) -> None:
        """Raises ValueError for a key of another kind. One that petset has written is known by how it begins."""
        text = b""
        with contextlib.suppress(OSError):
            text = self._path.read_bytes() if self._path else b""
        if text and P256_PEM not in text:
            self.load()

    def load(self) -> None:
        """Do now what the first use would: import, read or make. Takes a tenth of a second."""
        _ = self.identifier

    @functools.cached_property
    def coordinates(self) -> tuple[bytes, bytes]:
        """x and y of the public key."""
        numbers = self._key.public_key().public_numbers()
        return numbers.x.to_bytes(COORDINATE_BYTES), numbers.y.to_bytes(COORDINATE_BYTES)

    @functools.cached_property
    def identifier(self) -> bytes:
        """A digest of the public key."""
        return hashlib.sha256(b"".join(self.coordinates)).digest()

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        r, s = utils.decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)

    def is_signature(self, signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        if len(signature) != 2 * COORDINATE_BYTES:
            return False
        r, s = (int.from_bytes(half) for half in (signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]))
        try:
            encoded = utils.encode_dss_signature(r, s)
            self._key.public_key().verify(encoded, data, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


def _private_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# TLS contexts


def server_context(issued: Issued, client_authority_pem: str = "") -> ssl.SSLContext:
    """For a listener. With an authority, clients may present a certificate, and then it must be of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _secure(context)
    context.set_alpn_protocols(["http/1.1", "h2"])  # The first that the client speaks: docs/decisions/wire-forms.md.
    context.load_cert_chain(issued.certificate, issued.key)
    context.num_tickets = 0  # Go clients resume nothing; tickets would be two records a handshake for nobody.
    if client_authority_pem:
        context.load_verify_locations(cadata=client_authority_pem)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(authority_pem: str, issued: Issued | None = None) -> ssl.SSLContext:
    """For a dialer: the server's certificate must be of that authority and name the host that is dialled."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _secure(context)
    context.load_verify_locations(cadata=authority_pem)
    if issued is not None:
        context.load_cert_chain(issued.certificate, issued.key)
    return context


def unverified_context(issued: Issued | None = None) -> ssl.SSLContext:
    """For a dialer that believes whoever answers: no authorities are loaded, which would take long."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if issued is not None:
        context.load_cert_chain(issued.certificate, issued.key)
    return context


def _secure(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])


# Files


def _load(directory: Path, name: str, says: dict[str, Any]) -> Issued | None:
    """The certificate of that name if it says this, is whole and lasts."""
    issued = _paths(directory, name)
    try:
        record = json.loads(_record(directory, name).read_bytes())
        sound = record["says"] == says and record["digest"] == _digest(issued)
        return issued if sound and record["not_after"] - tasks.now() > RENEW_DAYS_MIN * DAY_SECONDS else None
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def _issue(directory: Path, name: str, says: dict[str, Any], days: int, issuer: Issued | None) -> Issued:
    issued = _paths(directory, name)
    not_after = tasks.now() + days * DAY_SECONDS
    signer = Pair(issuer.certificate.read_bytes(), issuer.key.read_bytes()) if issuer is not None else None
    certificate_pem, key_pem = _made(says, not_after, signer)
    state.write_private(issued.key, key_pem)
    state.write_private(issued.certificate, certificate_pem)
    # The record comes last: with it missing or of another pair, all three are made anew.
    record = {"says": says, "not_after": not_after, "digest": _digest(issued)}
    state.write_private(_record(directory, name), json.dumps(record, indent=1).encode())
    return issued


def _paths(directory: Path, name: str) -> Issued:
    return Issued(directory / f"{name}.crt", directory / f"{name}.key")


def _record(directory: Path, name: str) -> Path:
    return directory / f"{name}.json"


def _digest(issued: Issued) -> str:
    return hashlib.sha256(issued.certificate.read_bytes() + issued.key.read_bytes()).hexdigest()


def _made(says: dict[str, Any], not_after: float, issuer: Pair | None) -> Pair:
    """Signed by its own key without an issuer."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in says["groups"]]
    subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, says["user"])])
    signer_name, signer_key, signer_public = subject, key, key.public_key()
    if issuer is not None:
        signer = x509.load_pem_x509_certificate(issuer.certificate)
        loaded = serialization.load_pem_private_key(issuer.key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer_name, signer_key, signer_public = signer.subject, loaded, loaded.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(tasks.rng().getrandbits(152) | 1)
        .not_valid_before(certificate_time(tasks.now() - BACKDATE_SECONDS))
        .not_valid_after(certificate_time(not_after))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_public), critical=False)
    )
    for extension, critical in _extensions(says):
        builder = builder.add_extension(extension, critical)
    return Pair(
        builder.sign(signer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        _private_pem(key),
    )


def _extensions(says: dict[str, Any]) -> list[tuple[Any, bool]]:
    """What the certificate may be used for, and the names and addresses it speaks for."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    is_authority = says["use"] == "authority"
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    extensions: list[tuple[Any, bool]] = [
        (x509.BasicConstraints(ca=is_authority, path_length=None), True),
        (usage, True),
    ]
    if not is_authority:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if says["use"] == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions.append((x509.ExtendedKeyUsage([purpose]), False))
    if says["hosts"]:
        names = [_general_name(x509, host) for host in says["hosts"]]
        extensions.append((x509.SubjectAlternativeName(names), False))
    return extensions


def _general_name(x509: Any, host: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def certificate_time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
