"""`petset demo`: runs an example with petset's own client, shows its pets come up, and proves what pets are for.

The flow: start the cluster unless it runs, build the images the example needs, apply its manifests, show a live
table until every pet is ready, then run the example's proof: a list of steps, each a sentence and what shows it.
The cluster is left running, with how to use and stop it. Run again, everything is there and it takes seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from petset.base import state, tasks
from petset.cli import proofs, up
from petset.cli.asking import connection
from petset.cli.failures import CommandError
from petset.cli.given import applying, manifests
from petset.cli.showing import pets, progress
from petset.kinds.node import NODES
from petset.node.images import images, recipes
from petset.objects import package_data

if TYPE_CHECKING:
    from rich.console import Console

READY_SECONDS_MAX = 300


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("example", choices=sorted(proofs.EXAMPLES), help="which example")
    parser.add_argument("--namespace", default="default", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console(highlight=False)
    example = proofs.EXAMPLES[args.example]
    examples = package_data.place("examples")
    folder = examples / example.folder
    began = tasks.now()
    asyncio.run(_build(args.instance, example, console))
    if args.instance.running_process() is None:
        nodes = (f"--nodes={example.nodes}",) if example.nodes > 1 else ()
        for line in up.start(up.options(args.instance, *nodes)):
            console.print(line)
    else:
        console.print(f"petset runs already in {args.instance.directory}")
    asyncio.run(_show(args.instance, example, folder, args.namespace, console))
    console.print(f"\nDone in {tasks.now() - began:.0f} s. The cluster goes on running; use it:")
    console.print(f"  export KUBECONFIG={args.instance.kubeconfig}", soft_wrap=True)
    for command in example.try_this:
        console.print(f"  {_from_here(command, examples)}", soft_wrap=True)
    console.print(
        f"and stop it with `{_command()} down` (the data stays; `{_command()} up -d` brings the pets back).",
        soft_wrap=True,
    )
    return 0


def _from_here(command: str, examples: Path) -> str:
    """With the examples where they are, seen from here."""
    return (
        command
        if os.path.realpath("examples") == str(examples.resolve())
        else command.replace("examples/", f"{examples}/")
    )


def _command() -> str:
    root = state.checkout()
    return ".venv/bin/petset" if root and (root / ".venv" / "bin" / "petset").exists() else "petset"


async def _build(instance: state.State, example: proofs.Example, console: Console) -> None:
    instance.create()
    store = images.Images(str(instance.images))
    for name in example.recipes:
        began = tasks.now()
        with progress.working(f"image {name}") as tell:
            try:
                image = await store.build(name, tell)
            except (images.ImageError, recipes.RecipeError) as error:
                raise CommandError(str(error)) from None
        took = tasks.now() - began
        how = f"built in {took:.0f} s" if took > 1 else "is there"
        console.print(f"image {name}: {how}, {image.size_bytes / 1e6:.0f} MB")


async def _show(instance: state.State, example: proofs.Example, folder: Path, namespace: str, console: Console) -> None:
    async with connection.connect(instance) as connected:
        client = connected.client
        there = len((await client.list(NODES))[0])
        if there < example.nodes:
            raise CommandError(
                f"cannot show the demo: it needs {example.nodes} nodes, and there is {there}; "
                f"run `{_command()} down` and `{_command()} up -d --nodes={example.nodes}` first"
            )
        for obj in manifests.read(sorted(map(str, folder.glob("*.yaml")))):
            # What somebody tried in the demo before is made as the example has it again.
            applied = await applying.apply(client, obj, namespace, force=True)
            console.print(applied.told, soft_wrap=True)
        console.print()
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await pets.show_until_ready(client, example.resource, example.set_name, namespace, console)
        except TimeoutError:
            raise CommandError(
                f"cannot show the demo: its pets are not ready after {READY_SECONDS_MAX} s; "
                f"`petset why {example.set_name}` tells why, the log is {instance.log}"
            ) from None
        console.print("\n[bold]What a pet is[/bold]")
        stage = proofs.Stage(client, connected.dialer, namespace, example, console)
        await example.proof(stage)
