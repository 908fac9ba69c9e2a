"""`petset image`: build the local stand-ins, load archives, pull from registries, list, name and remove what is there,
and push the stand-ins into a registry, for a cluster that has forgotten the images of 2016.

What a container runs on stays: its pod is named where the instance that runs knows it; a container of another instance,
or of a petset that was killed, is found by its mounts.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from petset.base import state
from petset.cli import exit_codes
from petset.cli.asking import connection
from petset.cli.failures import CommandError
from petset.cli.given import consent
from petset.cli.showing import printing, progress
from petset.kinds.pod import PODS
from petset.node.images import collection, image_names, images, pushing, recipes
from petset.objects import errors, meta
from petset.objects.meta import Json


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
    push = actions.add_parser("push", help="put the stand-ins into a registry, built where they are not there yet")
    push.add_argument("registry", metavar="REGISTRY", help="a host, perhaps with a port and a path")
    push.add_argument("names", nargs="*", metavar="RECIPE", help="these (default: all that stand in for an image)")
    push.add_argument("--tls-verify", choices=("true", "false"), default="true", help="(default: true, or loopback)")
    push.add_argument("--map", action="store_true", help="only say which images of manifests are which of the registry")
    printing.arguments(actions.add_parser("ls", help="list the images"))
    remove = actions.add_parser("rm", help="take names of images away, and what no other name leads to")
    remove.add_argument("references", nargs="+", metavar="REFERENCE")
    tag = actions.add_parser("tag", help="give an image another name")
    tag.add_argument("source", metavar="REFERENCE")
    tag.add_argument("target", metavar="NEW")
    prune = actions.add_parser("prune", help="remove what no name leads to, and no container runs on")
    prune.add_argument("--all", action="store_true", help="also images with names that no container runs on")
    prune.add_argument("--yes", action="store_true", help="do not ask")


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
        raise CommandError(f"cannot load {args.path}: there is no such file or directory; name an image's archive")
    with progress.working(f"loading {args.path}"):
        found = await store.load(args.path, args.name)
    for image in found:
        print(f"{image.reference}: {_megabytes(image.size_bytes)}, {image.digest}")
    return 0


async def _pull(store: images.Images, args: argparse.Namespace) -> int:
    image_names.parse_reference(args.reference)  # What is no name is said before anything seems to begin.
    with progress.working(f"pulling {args.reference}"):
        image = await store.pull(args.reference)
    print(f"{image.reference}: {_megabytes(image.size_bytes)}, {image.digest}")
    return 0


async def _push(store: images.Images, args: argparse.Namespace) -> int:
    stand_ins = store.recipes.stand_ins
    names = args.names or list(dict.fromkeys(recipe for _, recipe in stand_ins))
    wanted = {name: pushing.name_in(args.registry, name) for name in names}  # What is no name is said before all else.
    if unknown := [name for name in names if name not in store.recipes.names()]:
        known = ", ".join(store.recipes.names())
        raise CommandError(f'cannot push "{unknown[0]}": there is no recipe of that name; the recipes are {known}')
    if args.map:
        print("\n".join(pushing.image_map(args.registry, [one for one in stand_ins if one[1] in names])))
        return 0
    for name, to in wanted.items():
        with progress.working(name) as tell:
            await store.build(name, tell)
            image = await store.push(f"{images.OWN_REGISTRY}/{name}", to, args.tls_verify == "true", tell)
        print(f"{image.reference}: {_megabytes(image.size_bytes)}, {image.digest}")
    return 0


COLUMNS = ("name", "size", "digest", "origin")


async def _list(store: images.Images, args: argparse.Namespace) -> int:
    found = store.list()
    if args.output != "table":
        printing.tree(args.output, [_told(image) for image in found])
        return 0
    rows = [
        {"name": name, "size": _megabytes(image.size_bytes), "digest": image.digest[7:19], "origin": _origin(image)}
        for image in found
        for name in image.references
    ]
    printing.rows(
        "table", COLUMNS, rows, none="there are no images; `petset image build` or `petset image pull` gets some"
    )
    return 0


def _told(image: collection.ImageSummary) -> dict[str, Json]:
    return {
        "digest": image.digest,
        "names": list(image.references),
        "sizeBytes": image.size_bytes,
        "added": image.added,
        "origin": _origin(image),
    }


def _origin(image: collection.ImageSummary) -> str:
    return f"recipe {image.recipe}" if image.recipe else "archive" if image.loaded else "registry"


async def _remove(store: images.Images, args: argparse.Namespace) -> int:
    users = await _users(store, args.instance)
    for given in args.references:
        name = str(image_names.parse_reference(given))
        image = next((image for image in store.list() if name in image.references), None)
        if image is None:
            raise CommandError(f"cannot remove {given}: there is no image of that name; see `petset image ls`")
        if image.digest in users and len(image.references) == 1:
            by = ", ".join(users[image.digest])
            raise CommandError(f"cannot remove {given}: it is in use by {by}; delete that first")
        await store.remove(given)
        print(f"{name}: removed")
    with progress.working("removing what nothing uses"):
        freed = await store.remove_unused(users)
    print(f"{_megabytes(freed)} are free again")
    return 0


async def _tag(store: images.Images, args: argparse.Namespace) -> int:
    await store.tag(args.source, args.target)
    print(f"{image_names.parse_reference(args.target)}: the image of {args.source}")
    return 0


async def _prune(store: images.Images, args: argparse.Namespace) -> int:
    users = await _users(store, args.instance)
    named = [image for image in store.list() if args.all and image.digest not in users]
    names = [name for image in named for name in image.references]
    lost = f"This removes {', '.join(names)}."
    if names and not consent.given(args.yes, "remove images", lost=lost):
        return exit_codes.NOT_SO
    with progress.working("removing what nothing uses"):
        freed = await store.remove_unused(users, names)
    for name in names:
        print(f"{name}: removed")
    print(f"{_megabytes(freed)} are free again")
    return 0


async def _users(store: images.Images, instance: state.State) -> dict[str, list[str]]:
    """Who runs on which image, by its digest: pods, as far as the instance that runs knows them, and containers."""
    found: dict[str, list[str]] = {}
    if instance.running_process() is not None:
        async with connection.connect(instance) as connected:
            try:
                pods, _ = await connected.client.list(PODS)
            except (errors.ApiError, OSError) as error:
                why = f"the cluster does not say which are in use ({error})"
                raise CommandError(f"cannot remove images: {why}; `petset logs` tells more") from None
        for pod in pods:
            for digest in _digests(pod):
                found.setdefault(digest, []).append(f"pod {meta.namespace(pod)}/{meta.name(pod)}")
    for digest in sorted(store.mounted()):
        found.setdefault(digest, ["a container of another instance, or of one that was left running"])
    return found


STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def _digests(pod: meta.Object) -> list[str]:
    """Of the images that its containers run on; pure."""
    if meta.get(pod, "status", "phase") in ("Succeeded", "Failed"):
        return []
    ids = [str(one.get("imageID", "")) for name in STATUSES for one in meta.parts(pod, "status", name)]
    return list(dict.fromkeys(one.rpartition("@")[2] for one in ids if one))


_ACTIONS = {
    "build": _build,
    "load": _load,
    "pull": _pull,
    "push": _push,
    "ls": _list,
    "rm": _remove,
    "tag": _tag,
    "prune": _prune,
}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
