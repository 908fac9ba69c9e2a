"""A client of the running instance for the commands: over HTTPS, as its administrator, by its kubeconfig."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from petset.base import state
from petset.cli.failures import CommandError
from petset.client.client import Client
from petset.client.reaching import dialing, kubeconfig
from petset.kinds.node import NODES
from petset.net import control
from petset.net.dialer import Dialer
from petset.objects import errors, meta

READY_SECONDS_MAX = 120.0
AGAIN_SECONDS = 0.2
CONTROL_SECONDS_MAX = 60.0


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
        raise _unreadable(instance, str(error)) from None


def _unreadable(instance: state.State, why: str) -> CommandError:
    return CommandError(f"cannot read {instance.kubeconfig}: {why}; run `petset up` again to write it anew")


def server(instance: state.State) -> str:
    return access(instance).server


@contextlib.asynccontextmanager
async def connect(instance: state.State) -> AsyncGenerator[Connection]:
    """A connection for as long as the context lasts."""
    found = access(instance)
    try:
        tls = dialing.context(found.target)
    except ValueError:
        raise _unreadable(instance, "its certificates or its key are damaged") from None
    async with Dialer(found.server, tls) as dialer:
        yield Connection(Client(dialer, "petset"), dialer)


def wait_until_ready(instance: state.State) -> None:
    """Until the node of an instance that runs, or is just starting, is ready. Raises CommandError."""
    try:
        asyncio.run(asyncio.wait_for(_until_ready(instance), READY_SECONDS_MAX))
    except TimeoutError:
        raise CommandError(
            f"cannot reach the cluster: it runs in {instance.directory}, but its node is not ready after "
            f"{READY_SECONDS_MAX:.0f} s; `petset logs` tells why"
        ) from None


async def _until_ready(instance: state.State) -> None:
    while True:
        with contextlib.suppress(CommandError, OSError, errors.ApiError):  # It is still starting.
            async with connect(instance) as connected:
                nodes, revision = await connected.client.list(NODES)
                if any(meta.is_condition_true(node, "Ready") for node in nodes):
                    return
                async for _, node in connected.client.watch(NODES, since=revision):
                    if meta.is_condition_true(node, "Ready"):
                        return
        if instance.running_process() is None:
            raise CommandError("cannot reach the cluster: petset has ended meanwhile; `petset logs` tells why")
        await asyncio.sleep(AGAIN_SECONDS)


# Its own way in, beside the API.


def node_states(instance: state.State) -> meta.Object:
    """What each of its nodes is to be: up, stopped or partitioned. Raises CommandError."""
    return meta.part(asked(instance, {}), "states")


def asked(instance: state.State, question: meta.Object, doing: str = "reach the nodes") -> meta.Object:
    """The answer of the instance that runs to one of its own commands. Raises CommandError."""
    try:
        return control.ask(instance.control, question, CONTROL_SECONDS_MAX)
    except (control.NobodyListens, FileNotFoundError):
        why = f"petset does not run in {instance.directory}, or is just starting; start it with `petset up -d`"
        raise CommandError(f"cannot {doing}: {why}") from None
    except OSError as error:
        raise CommandError(f"cannot {doing}: {error or 'no answer came'}; see {instance.log}") from None
