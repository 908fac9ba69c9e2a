"""`petset kubeconfig`: the instance's kubeconfig on standard output, or an entry in the user's own file.

`petset up` always writes `<state>/kubeconfig`. Only when asked is the user's file touched: its cluster, user and
context of our name are replaced, everything else stays as it was, and the file is replaced whole or not at all.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from petset.base import state
from petset.cli.main import CommandError
from petset.client.kubeconfig import CONTEXT
from petset.objects import documents


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
        theirs = documents.load(target.read_bytes()) or {}
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
    return f"context {CONTEXT} is in {target} and current"


def default_file() -> Path:
    first = next((part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part), None)
    return Path(first) if first else Path.home() / ".kube" / "config"


def merge(theirs: Any, ours: dict[str, Any]) -> dict[str, Any] | None:
    """Their kubeconfig with our entries in place of those of the same names; None when theirs is not one."""
    if not isinstance(theirs, dict):
        return None
    merged = {"apiVersion": "v1", "kind": "Config", **theirs}
    for section in ("clusters", "users", "contexts"):
        old = theirs.get(section)
        old = [] if old is None else old
        if not isinstance(old, list) or not all(isinstance(entry, dict) for entry in old):
            return None
        names = [entry["name"] for entry in ours[section]]
        merged[section] = [entry for entry in old if entry.get("name") not in names] + ours[section]
    merged["current-context"] = ours["current-context"]
    return merged
