"""A client of the running instance for the commands: over HTTPS, as its administrator, by its kubeconfig."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from petset.base import pki, state
from petset.cli.main import CommandError
from petset.client import kubeconfig
from petset.client.client import Client
from petset.net.dialer import Dialer


@dataclass(frozen=True, slots=True)
class Connection:
    """The verbs, and the dialer beneath them for what needs a stream (exec)."""

    client: Client
    dialer: Dialer


def access(instance: state.State) -> kubeconfig.Access:
    """Where the instance answers. Raises CommandError when there is none."""
    try:
        return kubeconfig.parse(instance.kubeconfig.read_bytes())
    except FileNotFoundError:
        raise CommandError(
            f"cannot reach a cluster: there is no instance in {instance.directory}; start one with `petset up -d`"
        ) from None
    except ValueError as error:
        raise CommandError(
            f"cannot read {instance.kubeconfig}: {error}; run `petset up` again to write it anew"
        ) from None


def server(instance: state.State) -> str:
    return access(instance).server


@contextlib.asynccontextmanager
async def connect(instance: state.State) -> AsyncIterator[Connection]:
    """A connection for as long as the context lasts."""
    found = access(instance)
    with tempfile.TemporaryDirectory(prefix="petset-") as directory:
        issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
        state.write_private(issued.certificate, found.certificate_pem)  # ssl reads keys from files only.
        state.write_private(issued.key, found.key_pem)
        tls = pki.client_context(found.ca_pem.decode(), issued)
    async with Dialer(found.server, tls) as dialer:
        yield Connection(Client(dialer, "petset"), dialer)
