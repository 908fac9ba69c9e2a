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
from petset.client import discovery
from petset.client.client import Client
from petset.kinds import builtin
from petset.kinds.pod import PODS
from petset.objects import errors
from petset.objects.registry import Kind
from petset.why import finding, reading, why
from petset.why.finding import Finding

READABLE = tuple(kind for kind in builtin.KINDS if "get" in kind.verbs)


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
    word, name = parsed(args.name)
    async with clusters.reached(args) as cluster:
        kind = (
            await _kind_meant(cluster.client, word) if word else await _kind_of(cluster.client, name, cluster.namespace)
        )
        return await reading.told(cluster.client, kind, name, cluster.namespace if kind.namespaced else "")


def parsed(words: list[str]) -> tuple[str, str]:
    """(the word for the kind, "" where none is said, and the name) of NAME, KIND/NAME or KIND NAME.

    Raises CommandError.
    """
    if len(words) == 1 and "/" not in words[0]:
        return "", words[0]
    word, _, name = " ".join(words).replace("/", " ", 1).partition(" ")
    if not name or " " in name or "/" in name:
        raise CommandError("cannot tell why: one object is asked about at a time; say NAME or KIND/NAME")
    return word, name


def known_kind(word: str) -> Kind | None:
    """A built-in kind that a word means: first of those that more is known of than of any."""
    return discovery.called((*(kind for kind, _ in why.SUBJECTS), *READABLE), word)


async def _kind_meant(client: Client, word: str) -> Kind:
    """One of the cluster's own kinds, too. Raises CommandError."""
    kind = known_kind(word) or discovery.called(await discovery.others(client, builtin.KINDS), word)
    if kind is None:
        raise CommandError(f"cannot tell why: {word} is no kind that the cluster has; see `kubectl api-resources`")
    return kind


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
    told = await reading.told(client, PODS, name, namespace)
    if told.because or told.mend:
        return PODS  # One that somebody is to make.
    why_not = f" ({refused})" if refused else ""
    what = f"nothing called {name} is in namespace {namespace}{why_not}"
    raise CommandError(f"cannot tell why: {what}; name another with -n, or KIND/NAME")
