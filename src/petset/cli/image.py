"""`petset image`: build the local stand-ins, load archives, pull from registries, and list what is there."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from petset.cli import printing, progress
from petset.cli.main import CommandError
from petset.node.images import images, recipes


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="build images of petset's own recipes by name, or all of them")
    build.add_argument("names", nargs="*", metavar="RECIPE")
    build.add_argument("--list", action="store_true", help="only say which recipes there are")
    load = actions.add_parser("load", help="load a docker or OCI archive, or an OCI layout directory")
    load.add_argument("path", metavar="FILE")
    load.add_argument("--name", metavar="REFERENCE", help="the name to give it (default: the one in the archive)")
    pull = actions.add_parser("pull", help="fetch an image from a registry")
    pull.add_argument("reference", metavar="REFERENCE")
    printing.arguments(actions.add_parser("ls", help="list the images"))


def run(args: argparse.Namespace) -> int:
    args.instance.create()
    store = images.Images(str(args.instance.images))
    try:
        return asyncio.run(_ACTIONS[args.action](store, args))
    except (images.ImageError, recipes.RecipeError) as error:
        raise CommandError(str(error)) from None


async def _build(store: images.Images, args: argparse.Namespace) -> int:
    if args.list:
        print("\n".join(store.recipes.names()))
        return 0
    for name in args.names or store.recipes.names():
        with progress.working(name) as tell:
            image = await store.build(name, tell)
        print(f"{name}: {_megabytes(image.size_bytes)}, {image.digest}")
    return 0


async def _load(store: images.Images, args: argparse.Namespace) -> int:
    if not Path(args.path).exists():
        raise CommandError(f"cannot load {args.path}: there is no such file or directory")
    for image in await store.load(args.path, args.name):
        print(f"{image.reference}: {_megabytes(image.size_bytes)}, {image.digest}")
    return 0


async def _pull(store: images.Images, args: argparse.Namespace) -> int:
    with progress.working(args.reference) as tell:
        tell("pulling")
        image = await store.pull(args.reference)
    print(f"{image.reference}: {_megabytes(image.size_bytes)}, {image.digest}")
    return 0


async def _list(store: images.Images, args: argparse.Namespace) -> int:
    rows: list[printing.Row] = [
        {
            "name": name,
            "size": _megabytes(image.size_bytes),
            "digest": image.digest[7:19],
            "recipe": image.recipe,
        }
        for image in store.list()
        for name in image.references or (f"({image.recipe})",)
    ]
    by_name = sorted(rows, key=lambda row: str(row["name"]))
    printing.rows(args.output, ("name", "size", "digest", "recipe"), by_name, none="there are no images")
    return 0


_ACTIONS = {"build": _build, "load": _load, "pull": _pull, "ls": _list}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
