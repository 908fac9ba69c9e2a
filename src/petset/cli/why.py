"""`petset why NAME`: in plain sentences why something does not get on, down to the cause, and what mends it.

Exit code 0 when all is well, 3 when it is not. Any Kubernetes can be asked: only reads are sent.
"""

from __future__ import annotations

import argparse
import asyncio

from petset.cli import exit_codes
from petset.cli.asking import clusters
from petset.cli.failures import CommandError
from petset.cli.showing import printing
from petset.client.client import Client
from petset.kinds import builtin
from petset.objects import errors
from petset.objects.registry import Kind
from petset.why import finding, reading, why
from petset.why.finding import Finding


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="+", metavar="NAME", help="of a set, pod, claim, Service, ...; or KIND/NAME")
    clusters.arguments(parser)
    printing.arguments(parser)


def run(args: argparse.Namespace) -> int:
    told = asyncio.run(_told(args))
    if args.output == "table":
        print("\n".join(finding.lines(told)))
    else:
        printing.tree(args.output, finding.as_object(told))
    return 0 if told.is_well else exit_codes.NOT_SO


async def _told(args: argparse.Namespace) -> Finding:
    kind, name = parsed(args.name)
    async with clusters.reached(args) as cluster:
        if kind is None:
            kind = await _kind_of(cluster.client, name, cluster.namespace)
        return await reading.told(cluster.client, kind, name, cluster.namespace if kind.namespaced else "")


def parsed(words: list[str]) -> tuple[Kind | None, str]:
    """(the kind, if it is said, and the name) of NAME, KIND/NAME or KIND NAME. Raises CommandError."""
    if len(words) == 1 and "/" not in words[0]:
        return None, words[0]
    word, _, name = " ".join(words).replace("/", " ", 1).partition(" ")
    if not name or " " in name or "/" in name:
        raise CommandError("cannot tell why: one object is asked about at a time; say NAME or KIND/NAME")
    return kind_named(word), name


def kind_named(word: str) -> Kind:
    """A kind by its plural, singular or short name, with its group or without. Raises CommandError."""
    plain, _, group = word.lower().partition(".")
    for kind in (*(kind for kind, _ in why.SUBJECTS), *builtin.KINDS):
        known = (kind.plural, kind.singular, *kind.short_names)
        if (
            plain in known
            and "get" in kind.verbs
            and (not group or group in (kind.group, f"{kind.version}.{kind.group}"))
        ):
            return kind
    raise CommandError(f"cannot tell why: {word} is no kind that is known here; see `kubectl api-resources`")


async def _kind_of(client: Client, name: str, namespace: str) -> Kind:
    """Of a bare name: the first of the kinds that can be asked about of which there is one."""
    refused: str = ""
    for kind, _ in why.SUBJECTS:
        try:
            await client.get(kind, name, namespace if kind.namespaced else "")
            return kind
        except errors.ApiError as error:
            if error.code not in (403, 404):
                raise
            refused = refused or (error.message if error.code == 403 else "")
    pod = next(kind for kind, _ in why.SUBJECTS if kind.plural == "pods")
    told = await reading.told(client, pod, name, namespace)
    if told.because or told.mend:
        return pod  # One that somebody is to make.
    why_not = f" ({refused})" if refused else ""
    what = f"nothing called {name} is in namespace {namespace}{why_not}"
    raise CommandError(f"cannot tell why: {what}; name another with -n, or KIND/NAME")
