"""How the server of a kubeconfig is dialled: its address, what is believed of it, and as whom it is asked."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from petset.base import pki, state
from petset.client.reaching import kubeconfig

PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Way:
    """What a dialer is given."""

    url: str
    context: ssl.SSLContext | None
    headers: tuple[tuple[str, str], ...]
    address: tuple[str, int] | None  # Where it is, if the URL says whom its certificate names.


def way(target: kubeconfig.Target) -> Way:
    """Raises OSError and ValueError for certificates that are none, and for a server that is no address."""
    parts = urlsplit(target.server)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"its server {target.server!r} is no http or https address")
    context_ = context(target) if parts.scheme == "https" else None
    address, url = None, target.server
    port = parts.port or PORTS[parts.scheme]
    if target.server_name:
        address, url = (parts.hostname, port), f"{parts.scheme}://{target.server_name}:{port}{parts.path}"
    headers = (("authorization", target.authorization),) if target.authorization else ()
    return Way(url, context_, headers, address)


def context(target: kubeconfig.Target) -> ssl.SSLContext:
    """Its authority, or none, and a client certificate where there is one.

    Only for that one something is written: a pod with a token may have nowhere to. Raises OSError and ValueError for
    certificates that are none.
    """
    if not target.certificate_pem:
        return _context(target, None)
    with tempfile.TemporaryDirectory(prefix="petset-") as directory:
        issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
        state.write_private(issued.certificate, target.certificate_pem)  # ssl reads keys from files only.
        state.write_private(issued.key, target.key_pem)
        return _context(target, issued)


def _context(target: kubeconfig.Target, issued: pki.Issued | None) -> ssl.SSLContext:
    try:
        if target.trusts_anybody:
            return pki.unverified_context(issued)
        if target.ca_pem:
            return pki.client_context(target.ca_pem.decode(), issued)
        found = ssl.create_default_context()
        if issued is not None:
            found.load_cert_chain(issued.certificate, issued.key)
        return found
    except ssl.SSLError:
        raise ValueError("a certificate or a key in it is none") from None
