"""`petset run FILE...`: bring the cluster up where it is not, apply manifests, and show the pets until all are ready.

What does not get ready within --timeout is told of with the sentences of `petset why`. Then it is said how what runs is
reached. With --rm everything that this run made goes again at the end, the claims of its sets and what is on them
included, and the cluster is stopped if this run started it; the command of --then is run in between, with KUBECONFIG.

Exit code 0 when all got ready (or what the command ended with), 3 when not, 4 when the server refused something.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from petset.base import tasks
from petset.cli import exit_codes
from petset.cli.asking import connection, sets
from petset.cli.given import applying, flags, manifests
from petset.cli.given.applying import Applied
from petset.cli.showing import pets, reaching
from petset.client import following
from petset.client.client import Client
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.registry import Kind
from petset.why import finding, reading
from petset.why.finding import Finding

if TYPE_CHECKING:
    from rich.console import Console

TIMEOUT = "5m"
LATER_SECONDS = 0.2  # Between two looks, however much changes.
# What is waited for; the rest is there as soon as it is applied.
WORKLOADS = ("PetSet", "StatefulSet", "Deployment", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Pod")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="manifests: files, directories, - for standard input")
    parser.add_argument("-n", "--namespace", default="default", help="of what names none (default: default)")
    parser.add_argument("--timeout", type=flags.seconds, default=TIMEOUT, metavar="DURATION", help=f"({TIMEOUT})")
    parser.add_argument("--rm", action="store_true", help="take all of it away again at the end, its data included")
    parser.add_argument("--force-conflicts", action="store_true", help="take over fields that others have set")
    parser.add_argument(
        "--then",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run this once all are ready, with KUBECONFIG set; last",
    )
    parser.add_argument("--simulate", action="store_true", help="start a cluster that runs no containers")


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    objects = manifests.read(args.files)
    is_ours = _started(args, console)
    try:
        return asyncio.run(_run(args, objects, console))
    except applying.Refused as refused:
        console.stderr = True
        console.print(f"petset: {refused}", soft_wrap=True)
        return exit_codes.REFUSED
    except asyncio.CancelledError:
        return exit_codes.TERMINATED
    finally:
        if args.rm and is_ours:
            from petset.cli import down

            console.print(down.stop(args.instance), soft_wrap=True)


def _started(args: argparse.Namespace, console: Console) -> bool:
    """Whether the cluster was not up, and is now."""
    if args.instance.running_process() is not None:
        connection.wait_until_ready(args.instance)
        return False
    from petset.cli import up

    for line in up.start(up.options(args.instance, *(["--simulate"] if args.simulate else []))):
        console.print(line, soft_wrap=True)
    return True


async def _run(args: argparse.Namespace, objects: Sequence[meta.Object], console: Console) -> int:
    applied: list[Applied] = []
    if (task := asyncio.current_task()) is not None:  # What was made goes all the same.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with connection.connect(args.instance) as connected:
        client = connected.client
        try:
            for obj in objects:
                one = await applying.apply(client, obj, args.namespace, args.force_conflicts)
                applied.append(one)
                console.print(one.told, soft_wrap=True)
            held = await _until_ready(client, applied, args.timeout, console)
            for told in held:
                console.print("\n".join(finding.lines(told)), soft_wrap=True)
            if held:
                return exit_codes.NOT_SO
            for line in await reaching.lines(client, [one.obj for one in applied]):
                console.print(line, soft_wrap=True)
            if args.then:
                environment = {**os.environ, "KUBECONFIG": str(args.instance.kubeconfig)}
                return await tasks.in_thread(_ended, args.then, environment)
            return 0
        finally:
            if args.rm:
                await _take_away(client, applied, console)


def _ended(command: Sequence[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, env=environment, check=False).returncode


async def _take_away(client: Client, applied: Sequence[Applied], console: Console) -> None:
    left = await applying.take_away(client, applied)
    kept = [one.called for one in applied if not one.is_new]
    if any(one.is_new for one in applied):
        console.print("taken away again, with its claims and what was on them", soft_wrap=True)
    if kept:
        console.print(f"stays, since it was there before: {', '.join(kept)}", soft_wrap=True)
    if left:
        console.print(f"is still going: {', '.join(left)}; `petset why NAME` tells why", soft_wrap=True)


async def _until_ready(client: Client, applied: Sequence[Applied], seconds: float, console: Console) -> list[Finding]:
    """What holds whom when the time is over; nothing once all are ready."""
    wanted = [one for one in applied if one.obj["kind"] in WORKLOADS]
    held: list[Finding] = []
    changed = asyncio.Event()
    places = {(kind.path(space)): (kind, space) for kind, space in _places(wanted)}
    async with asyncio.TaskGroup() as group:
        watchers = [
            tasks.spawn(group, _watch(client, kind, space, changed), "watch") for kind, space in places.values()
        ]
        with contextlib.suppress(TimeoutError), pets.showing(console) as show:
            async with asyncio.timeout(seconds):
                while True:
                    changed.clear()
                    held = await _held(client, wanted)
                    show(await _pets(client, wanted))
                    if not held:
                        break
                    await changed.wait()
                    await asyncio.sleep(LATER_SECONDS)
        for watcher in watchers:
            watcher.cancel()
    return await _held(client, wanted) if held else []  # As it is now, not as it was when it was looked at last.


def _places(wanted: Sequence[Applied]) -> list[tuple[Kind, str]]:
    """What changes when something gets ready: the objects, their pods and claims."""
    spaces = dict.fromkeys(meta.namespace(one.obj) for one in wanted)
    found = [(one.kind, meta.namespace(one.obj)) for one in wanted]
    return found + [(kind, space) for space in spaces for kind in (PODS, PERSISTENTVOLUMECLAIMS)]


async def _watch(client: Client, kind: Kind, namespace: str, changed: asyncio.Event) -> None:
    """Tells that something changed, however often the watch ends."""
    async with contextlib.aclosing(following.states(client, kind, namespace)) as found:
        async for _ in found:
            changed.set()


async def _held(client: Client, wanted: Sequence[Applied]) -> list[Finding]:
    found = [await reading.told(client, one.kind, meta.name(one.obj), meta.namespace(one.obj)) for one in wanted]
    return [told for told in found if not told.is_well]


async def _pets(client: Client, wanted: Sequence[Applied]) -> list[pets.Pet]:
    """The rows of all sets together."""
    found: list[pets.Pet] = []
    for one in wanted:
        if one.kind in sets.KINDS:
            space, name = meta.namespace(one.obj), meta.name(one.obj)
            for family in await sets.families(client, space, [name]):
                if family.owner["kind"] == one.obj["kind"]:
                    found += pets.rows(family.owner, family.pods, family.claims)
    return found
