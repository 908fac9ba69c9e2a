"""The command line: a table of commands, each a module that is imported only when it is used.

A command is a module with `arguments(parser)` and `run(args) -> exit code`. Whatever it cannot do ends as one line
on standard error that says what, why and what to do; a traceback would be a defect.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from petset.base import state

COMMANDS = (
    # name         module       what it is for
    ("up", "up", "start the cluster (in the foreground, or -d in the background)"),
    ("down", "down", "stop all pods cleanly and the cluster with them; data stays"),
    ("status", "status", "what runs, where, and how to reach it"),
    ("kubeconfig", "kubeconfig", "print a kubeconfig, or add an entry to yours"),
    ("image", "image", "build, load, pull and list images"),
    ("demo", "demo", "run an example and prove what it is about"),
)


class CommandError(Exception):
    """What a command cannot do, in one line for the user."""


def parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser; only the wanted command's module is imported for its arguments."""
    top = argparse.ArgumentParser(
        prog="petset", description="Stateful services from Kubernetes manifests, on one machine."
    )
    top.add_argument("--state", metavar="DIR", help="the instance's state directory (default: PETSET_STATE, or found)")
    top.add_argument("--version", action="store_true", help="print the version and stop")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, module, text in COMMANDS:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument("--state", metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name == wanted:
            importlib.import_module(f"petset.cli.{module}").arguments(command)
    return top


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    wanted = next((word for word in words if any(word == name for name, _, _ in COMMANDS)), None)
    top = parser(wanted)
    args = top.parse_args(words)
    if args.version:
        from petset import __version__

        print(f"petset {__version__}")
        return 0
    if args.command is None:
        top.print_help()
        return 0
    args.instance = state.locate(args.state)
    module = next(module for name, module, _ in COMMANDS if name == args.command)
    try:
        return importlib.import_module(f"petset.cli.{module}").run(args)
    except (CommandError, state.StateError) as error:
        print(f"petset: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # The reader left; nothing more to say.
        return 0
    except KeyboardInterrupt:
        return 130
