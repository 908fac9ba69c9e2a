"""`petset kubeconfig`: the instance's kubeconfig on standard output, or an entry in the user's own file.

`petset up` always writes `<state>/kubeconfig`. Only when asked is the user's file touched: the instance's cluster, user
and context are replaced (those of another instance of the same name are not: ours gets a number then), everything
else stays as it was, and the file is replaced whole or not at all.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from petset.base import state
from petset.cli.asking import connection
from petset.cli.failures import CommandError
from petset.client.reaching import kubeconfig
from petset.objects import documents
from petset.objects.meta import Json, Object


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--write",
        nargs="?",
        const="",
        metavar="FILE",
        help="add the context to FILE (default: the first of KUBECONFIG, else ~/.kube/config) and make it current",
    )
    parser.add_argument("--path", action="store_true", help="print the path of the instance's own kubeconfig instead")


def run(args: argparse.Namespace) -> int:
    instance = args.instance
    if not instance.kubeconfig.is_file():
        raise CommandError(
            f"cannot print a kubeconfig: there is no instance in {instance.directory}; start one with `petset up -d`"
        )
    connection.access(instance)  # Raises where it is damaged.
    if args.write is not None:
        print(write(instance, args.write or None))
    elif args.path:
        print(instance.kubeconfig)
    else:
        print(instance.kubeconfig.read_text(), end="")
    return 0


def write(instance: state.State, file: str | None) -> str:
    """Merge our entry into a kubeconfig file; one line that says what was done. Raises CommandError."""
    target = Path(file) if file else default_file()
    ours = documents.load(instance.kubeconfig.read_bytes())
    try:
        theirs: Json = documents.load(target.read_bytes()) or {}
    except FileNotFoundError:
        theirs = {}
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot add to {target}: it cannot be read as a kubeconfig ({str(error).splitlines()[0]}); "
            "mend it, or name another file"
        ) from None
    merged = merge(theirs, ours)
    if merged is None:
        raise CommandError(f"cannot add to {target}: it is not a kubeconfig; mend it, or name another file")
    state.write_private(target.resolve(), documents.dump(merged))
    return f"context {merged['current-context']} is in {target} and current"


def default_file() -> Path:
    first = next((part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part), None)
    return Path(first) if first else Path.home() / ".kube" / "config"


SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}


def merge(theirs: Json, ours: dict[str, Any]) -> dict[str, Any] | None:
    """Their kubeconfig with our entries in place of this instance's older ones; None when theirs is not one."""
    if not isinstance(theirs, dict):
        return None
    old: dict[str, list[Object]] = {}
    for section in SECTIONS:
        entries: Json = theirs.get(section)
        if entries is None:
            entries = []
        if not isinstance(entries, list):
            return None
        old[section] = [entry for entry in entries if isinstance(entry, dict)]
        if len(old[section]) < len(entries):
            return None
    name = _name_among(old["clusters"], ours["clusters"][0])
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", **theirs, "current-context": name}
    for section, part in SECTIONS.items():
        entry = {"name": name, part: ours[section][0][part]}
        merged[section] = [each for each in old[section] if each.get("name") != name] + [entry]
    merged["contexts"][-1] = {"name": name, "context": {"cluster": name, "user": name}}
    return merged


def _name_among(clusters: list[Object], ours: Object) -> str:
    """Our name, with a number where another instance that still exists has it."""
    taken = {entry.get("name"): kubeconfig.state_of(entry) for entry in clusters}
    mine, number, name = kubeconfig.state_of(ours), 1, ours["name"]
    while taken.get(name) not in (None, "", mine) and state.State(Path(taken[name])).exists():
        number += 1
        name = f"{ours['name']}-{number}"
    return name
