"""The command line: a table of commands, each a module that is imported only when it is used.

A command is a module with `arguments(parser)` and `run(args) -> exit code`. Whatever it cannot do ends as one line
on standard error that says what, why and what to do; a traceback would be a defect.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

from petset.base import reasons, state
from petset.cli import exit_codes

COMMANDS = (
    # name, and its module; what cannot be done when it fails; what it is for
    ("up", "start the cluster", "start the cluster (in the foreground, or -d in the background)"),
    ("serve", "serve", "serve PetSets beside a cluster that is somewhere else, as its API's extension"),
    ("down", "stop the cluster", "stop all pods cleanly and the cluster with them; data stays"),
    ("run", "run the manifests", "start the cluster if need be, apply manifests, show the pets until all are ready"),
    ("status", "tell what runs", "what runs, where, and how to reach it"),
    ("why", "tell why", "say why a set, pod, claim, Service, ... does not get on, and what mends it"),
    ("ls", "list the pets", "list the pets of all sets, or of some: phase, revision, address, name, volume"),
    ("top", "tell what pets use", "what of CPU and memory each pet uses"),
    ("events", "show the events", "what was told of a set, its pets and claims, or of all; -f: and goes on"),
    (
        "snapshot",
        "work with snapshots",
        "take the volumes of a set's pets as one, list what was taken, revert a set to it",
    ),
    ("move", "move the set", "hand a set over to another cluster, pet by pet, with what is on its volumes"),
    ("node", "work with nodes", "list nodes, make one silent, cut one off, bring one back"),
    ("open", "open the dashboard", "open the dashboard in a browser, or print the link to it"),
    ("logs", "show the log", "what happened to the cluster: starts, stops, adoptions, refusals, warnings"),
    ("kubeconfig", "print a kubeconfig", "print a kubeconfig, or add an entry to yours"),
    ("image", "work with images", "build, load, pull, list, name and remove images"),
    ("service", "work with the service", "have systemd run the instance: at each boot, and again when it fails"),
    ("backup", "back up the cluster", "objects, keys and volumes in one file, also while it runs"),
    ("restore", "restore the cluster", "make an instance out of a backup, where there is none"),
    ("setup", "set up this machine", "install what petset needs of the system: its container runtime and the like"),
    (
        "doctor",
        "look at this machine",
        "look at this machine: what is good, what is worth knowing, what has to be mended",
    ),
    ("demo", "run the demo", "run an example and prove what it is about"),
    ("completion", "complete words", "what a shell needs to complete petset's commands, flags and names"),
    ("man", "print the man page", "print the man page: petset man | man -l -"),
    ("destroy", "destroy the cluster", "stop the cluster and delete everything of it, data included"),
)
# They ask nothing but the API: kubectl's plugin has them, too.
OF_ANY_CLUSTER = ("why", "ls", "top", "events", "snapshot")
COMPLETING = "_ARGCOMPLETE"  # Of the environment: a shell asks what could come next.
# What works with containers, images or volumes goes into the instance's namespaces, where whoever runs it is not root.
INSIDE = ("down", "destroy", "image", "backup", "restore")
ENDING = ("down", "destroy")


class Parser(argparse.ArgumentParser):
    """What it cannot understand is one line, too."""

    def error(self, message: str) -> NoReturn:
        self.exit(exit_codes.WRONG_USAGE, f"petset: cannot understand the command: {message}; see {self.prog} --help\n")

    @property
    def takes(self) -> list[argparse.Action]:
        """Its flags and arguments; those of what is below it are theirs."""
        return [action for action in self._actions if not _parsers(action) and action.dest != "help"]

    @property
    def below(self) -> dict[str, Parser]:
        """The parsers below it, by the word that leads to each."""
        return {word: one for action in self._actions for word, one in _parsers(action).items()}

    def help_of(self, action: argparse.Action) -> str:
        return self._get_formatter()._expand_help(action) if action.help else ""


def _parsers(action: argparse.Action) -> dict[str, Parser]:
    """Those that its words lead to; argparse has no name for such an action."""
    choices: Mapping[str, Parser] = vars(action)["choices"] or {}
    return choices if isinstance(choices, dict) else {}


def parser(command: str | None, of_kubectl: bool = False) -> Parser:
    """The parser; only the wanted command's module is imported for its arguments."""
    prog = "kubectl petset" if of_kubectl else "petset"
    top = Parser(prog=prog, description="Stateful services from Kubernetes manifests, on one machine.")
    if not of_kubectl:
        top.add_argument(
            "--state", metavar="DIR", help="the instance's state directory (default: PETSET_STATE, or found)"
        )
    top.add_argument(
        "--version",
        action="store_true",
        help="print petset's version and the one of Kubernetes that it serves, and stop",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, _, text in COMMANDS:
        if of_kubectl and name not in OF_ANY_CLUSTER:
            continue
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.add_argument("--state", metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name == command:
            importlib.import_module(f"petset.cli.{name}").arguments(one)
    return top


def wanted(words: Sequence[str]) -> str | None:
    """The command among the words of a line."""
    return next((word for word in words if any(word == name for name, _, _ in COMMANDS)), None)


def main(argv: list[str] | None = None, of_kubectl: bool = False) -> int:
    """`of_kubectl`: as its plugin, for the cluster that it would ask, with the commands that any can be asked."""
    words = sys.argv[1:] if argv is None else argv
    if COMPLETING in os.environ:
        from petset.cli import completion

        completion.answer()
    top = parser(wanted(words), of_kubectl)
    args = top.parse_args(words)
    if args.version:
        from petset import KUBERNETES_VERSION, __version__

        print(f"petset {__version__} (Kubernetes {'.'.join(KUBERNETES_VERSION)})")
        return 0
    if args.command is None:
        top.print_help()
        return 0
    args.instance = None if of_kubectl else state.locate(args.state)
    try:
        if args.command in INSIDE and os.geteuid() != 0 and args.instance is not None:
            from petset import rootless

            if rootless.is_wanted(args.instance):
                return rootless.within(args.instance, words, ends=args.command in ENDING)
        return importlib.import_module(f"petset.cli.{args.command}").run(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # The reader left; nothing more to say.
        return 0
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except Exception as error:
        print(f"petset: {_why(error, args)}", file=sys.stderr)
        return exit_codes.CANNOT


def _why(error: Exception, args: argparse.Namespace) -> str:
    """The line for the user; what nobody has foreseen leaves its traceback in the instance's log."""
    doing = next(doing for name, doing, _ in COMMANDS if name == args.command)
    from petset.cli import failures

    error = failures.foreseen(error, doing)
    if args.instance is None:
        return reasons.reason(error, doing, "")
    line = reasons.reason(error, doing, str(args.instance.directory))
    if reasons.is_defect(error):
        with contextlib.suppress(OSError), open(args.instance.log, "a") as log:
            traceback.print_exception(error, file=log)
            line += f" (its traceback is in {args.instance.log})"
    return line
