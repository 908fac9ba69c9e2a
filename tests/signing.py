"""Keys, and requests for certificates, as a user makes them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from petset.base import well_known

CLIENT_USAGES = ("digital signature", "key encipherment", "client auth")


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(made: ec.EllipticCurvePrivateKey) -> bytes:
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_pem(
    name: str, groups: Sequence[str] = (), hosts: Sequence[str] = (), of: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """A request for this subject and these DNS names and addresses, in PEM."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
    return builder.sign(of or key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def authority_pem(name: str, is_authority: bool = True) -> str:
    """A certificate that signs itself, in PEM, of an authority or of nobody in particular."""
    named, of = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key()
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(of.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2016, 8, 3))
        .not_valid_after(datetime.datetime(2116, 8, 3))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(of, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def issued_status(request: dict[str, Any], now: float, seconds: float = 7200, of: Any = None) -> dict[str, Any]:
    """The status of a PodCertificateRequest that some signer has answered; for another key than it names where `of`."""
    wanted = x509.load_der_x509_csr(base64.b64decode(request["spec"]["stubPKCS10Request"]))
    begins = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    ends = begins + datetime.timedelta(seconds=seconds)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request["spec"]["podName"])])
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(of or wanted.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key(), hashes.SHA256())
    )
    condition = {"type": "Issued", "status": "True", "reason": "Tested", "message": ""}
    return {
        "certificateChain": made.public_bytes(serialization.Encoding.PEM).decode(),
        "notBefore": _stamp(begins),
        "notAfter": _stamp(ends),
        "beginRefreshAt": _stamp(begins + datetime.timedelta(seconds=seconds / 2)),
        "conditions": [{**condition, "lastTransitionTime": _stamp(begins)}],
    }


def _stamp(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def request(name: str, pem: bytes, signer: str = well_known.CLIENT_SIGNER, **spec: Any) -> dict[str, Any]:
    """A CertificateSigningRequest."""
    spec = {
        "request": base64.b64encode(pem).decode(),
        "signerName": signer,
        "usages": list(CLIENT_USAGES),
        **spec,
    }
    made = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}}
    return {**made, "spec": spec}


def certificate(csr: Any) -> x509.Certificate:
    """The one in its status."""
    return x509.load_pem_x509_certificate(base64.b64decode(csr["status"]["certificate"]))
