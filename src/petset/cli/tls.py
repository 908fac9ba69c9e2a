"""How the server of a kubeconfig is spoken to: its authority, or none, and a client certificate where there is one."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from petset.base import pki, state
from petset.client import kubeconfig


def context_of(target: kubeconfig.Target) -> ssl.SSLContext:
    """Raises OSError and ValueError for certificates that are none."""
    with tempfile.TemporaryDirectory(prefix="petset-") as directory:
        issued = None
        if target.certificate_pem:
            issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
            state.write_private(issued.certificate, target.certificate_pem)  # ssl reads keys from files only.
            state.write_private(issued.key, target.key_pem)
        try:
            if target.trusts_anybody:
                return pki.unverified_context(issued)
            if target.ca_pem:
                return pki.client_context(target.ca_pem.decode(), issued)
            context = ssl.create_default_context()
            if issued is not None:
                context.load_cert_chain(issued.certificate, issued.key)
            return context
        except ssl.SSLError:
            raise ValueError("a certificate or a key in it is none") from None
