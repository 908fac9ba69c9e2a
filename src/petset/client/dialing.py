"""What a dialer shows and believes when it reaches a cluster by a kubeconfig that petset wrote."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from petset.base import pki, state
from petset.client import kubeconfig


def context(access: kubeconfig.Access) -> ssl.SSLContext:
    """Raises ssl.SSLError, ValueError for certificates or a key that are damaged."""
    with tempfile.TemporaryDirectory(prefix="petset-") as directory:
        issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
        state.write_private(issued.certificate, access.certificate_pem)  # ssl reads keys from files only.
        state.write_private(issued.key, access.key_pem)
        return pki.client_context(access.ca_pem.decode(), issued)
