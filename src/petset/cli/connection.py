"""A client of the running instance for the commands: over HTTPS, as its administrator, with the keys of its kubeconfig."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from petset.base import state
from petset.cli.main import CommandError
from petset.client import kubeconfig
from petset.client.client import Client


def access(instance: state.State) -> kubeconfig.Access:
    """Where the instance answers. Raises CommandError when there is none."""
    try:
        return kubeconfig.parse(instance.kubeconfig.read_bytes())
    except FileNotFoundError:
        raise CommandError(
            f"cannot reach a cluster: there is no instance in {instance.directory}; start one with `petset up -d`"
        ) from None
    except ValueError as error:
        raise CommandError(f"cannot read {instance.kubeconfig}: {error}; run `petset up` again to write it anew") from None


def server(instance: state.State) -> str:
    return access(instance).server
