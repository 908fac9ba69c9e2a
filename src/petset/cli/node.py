"""`petset node`: the nodes of the instance that runs; make one silent, cut it off, and bring it back."""

from __future__ import annotations

import argparse
import asyncio

from petset.base.state import State
from petset.cli import status
from petset.cli.asking import connection
from petset.cli.failures import CommandError
from petset.cli.showing import printing

ACTIONS = (
    # its name, what the node is then, what it does, and what is said
    (
        "stop",
        "stopped",
        "make it silent: its agent ends, its pods go on",
        "is stopped: its pods go on, and nobody hears of it",
    ),
    ("start", "up", "bring it back", "is up: it looks at what runs there and catches up"),
    (
        "partition",
        "partitioned",
        "cut it off from the other nodes and the API",
        "is cut off: its pods go on among themselves",
    ),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    printing.arguments(actions.add_parser("ls", help="list them"))
    for action, _, text, _ in ACTIONS:
        one = actions.add_parser(action, help=text, description=text[0].upper() + text[1:] + ".")
        one.add_argument("names", nargs="+", metavar="NAME", help="of a node")


def run(args: argparse.Namespace) -> int:
    instance: State = args.instance
    if args.action == "ls":
        printing.rows(args.output, ("name", "state", "ready", "pods"), _nodes(instance))
        return 0
    [(to, said)] = [(to, said) for action, to, _, said in ACTIONS if action == args.action]
    for name in args.names:
        turn(instance, name, to)
        print(f"node {name} {said}")
    return 0


def turn(instance: State, name: str, to: str) -> None:
    """Raises CommandError when it cannot be done."""
    answer = connection.asked(instance, {"node": name, "to": to})
    if why := answer.get("error"):
        raise CommandError(f"cannot turn node {name} to {to}: {why}; see `petset node ls`")


def _nodes(instance: State) -> list[printing.Row]:
    wanted = connection.node_states(instance)
    known = {node["name"]: node for node in asyncio.run(status.ask(instance))["nodes"]}
    gone = {"ready": False, "pods": 0}
    return [
        {**gone, **known.get(name, {}), "name": name, "state": wanted.get(name, "gone")} for name in {**known, **wanted}
    ]
