"""`petset completion`: what a shell needs to complete petset's commands, flags and names.

    source <(petset completion bash)        or zsh; in fish: petset completion fish | source

The script hands the line to petset itself (argcomplete), which answers out of the parsers that `--help` prints, so that
it knows every flag there is. Only the module of the line's command is imported. Names are asked of whoever knows them
cheaply: recipes of the disk, nodes and pets of the instance that runs; who does not answer at once has none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from petset.base import networks, state
from petset.cli import main

if TYPE_CHECKING:
    from petset.objects.registry import Kind

SHELLS = ("bash", "zsh", "fish")
ANSWER_SECONDS_MAX = 1.0

Names = Callable[[state.State], Iterable[str]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="which shell it is for")


def run(args: argparse.Namespace) -> int:
    import argcomplete

    print(argcomplete.shellcode(["petset"], shell=args.shell))  # type: ignore[no-untyped-call]
    return 0


def answer() -> None:
    """What the shell asked for; does not return."""
    import argcomplete
    from argcomplete import lexers

    line, point = os.environ.get("COMP_LINE", ""), int(os.environ.get("COMP_POINT") or 0)
    words = lexers.split_line(line, point)[3]
    wanted = main.wanted(words[1:])
    parser = main.parser(wanted)
    for action in _actions(parser):
        if completer := _completer(wanted or "", action):
            action.completer = completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def _actions(parser: main.Parser) -> Iterator[argparse.Action]:
    """All that a parser and those below it take."""
    yield from parser.takes
    for below in parser.below.values():
        yield from _actions(below)


def _completer(command: str, action: argparse.Action) -> Callable[..., Iterable[str]] | None:
    from argcomplete import completers

    if action.metavar in ("DIR", "FILE"):
        paths = completers.DirectoriesCompleter() if action.metavar == "DIR" else completers.FilesCompleter()
        return _with_instances(paths) if action.dest == "state" else paths
    names = NAMES.get((command, action.dest))
    if names is None or action.choices is not None:
        return None

    def complete(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
        try:
            return list(names(state.locate(getattr(parsed_args, "state", None))))
        except Exception:  # Whatever it is, it is said when the command is run.
            return []

    return complete


def _with_instances(paths: Callable[..., Iterable[str]]) -> Callable[..., Iterable[str]]:
    def complete(**asked: object) -> Iterable[str]:
        return [*networks.instances(), *paths(**asked)]

    return complete


# Who knows which names


def _recipes(_: state.State) -> Iterable[str]:
    from petset.node.images import recipes

    return recipes.Recipes(recipes.default_folder()).names()


def _images(instance: state.State) -> Iterable[str]:
    from petset.node.images import images

    return [name for image in images.Images(str(instance.images)).list() for name in image.references]


def _nodes(instance: state.State) -> Iterable[str]:
    from petset.cli.asking import connection

    return connection.node_states(instance)


def _sets(instance: state.State) -> Iterable[str]:
    from petset.kinds.pet_set import PETSETS
    from petset.kinds.stateful_set import STATEFULSETS

    return _named(instance, PETSETS, STATEFULSETS)


def _pets(instance: state.State) -> Iterable[str]:
    from petset.kinds.pod import PODS

    return [*_sets(instance), *_named(instance, PODS)]


def _named(instance: state.State, *kinds: Kind) -> list[str]:
    """The names of objects, in whichever namespace they are."""
    from petset.cli.asking import connection
    from petset.objects import meta

    async def ask() -> list[str]:
        async with asyncio.timeout(ANSWER_SECONDS_MAX), connection.connect(instance) as connected:
            return [meta.name(one) for kind in kinds for one in (await connected.client.list(kind))[0]]

    return asyncio.run(ask())


NAMES: dict[tuple[str, str], Names] = {
    # (command, where its parser puts it): who knows the names.
    ("image", "names"): _recipes,
    ("image", "references"): _images,
    ("image", "source"): _images,
    ("node", "names"): _nodes,
    ("events", "name"): _pets,
    ("ls", "names"): _sets,
    ("top", "names"): _sets,
    ("why", "name"): _pets,
}
