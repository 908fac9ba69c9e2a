"""`petset events [NAME]`: what was told, the newest last; with -f also what is told from then on, until interrupted.

Of a name: what is about the object of that name, and about the pets and claims of the set that is called so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
from collections.abc import Iterable

from petset.base import tasks
from petset.cli.asking import clusters
from petset.cli.showing import printing
from petset.cli.showing.printing import Row
from petset.client.client import Client
from petset.kinds import pet_names
from petset.kinds.event import EVENTS
from petset.objects import errors, meta, tables
from petset.objects.meta import Object
from petset.why import picture

COLUMNS = ("age", "type", "reason", "object", "times", "message")
OF_OTHERS = {"ReplicaSet": r"{}-[a-z0-9]+", "Pod": r"{}-([a-z0-9]+-)?[a-z0-9]{{5}}", "Job": r"{}-\d+"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a set or any object (default: everything)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is told, until interrupted")
    clusters.arguments(parser, of_all="the events")
    printing.arguments(parser)


def run(args: argparse.Namespace) -> int:
    asyncio.run(_show(args))
    return 0


async def _show(args: argparse.Namespace) -> None:
    async with clusters.reached(args) as cluster:
        found, revision = await cluster.client.list(EVENTS, cluster.namespace)
        told = rows(found, args.name or "", tasks.now())
        if not args.follow or told:
            printing.rows(args.output, clusters.columns(args, COLUMNS), told, none="there are no events")
        if args.follow:
            await _follow(cluster.client, cluster.namespace, revision, args)


async def _follow(client: Client, namespace: str, revision: str, args: argparse.Namespace) -> None:
    """A line an event; those of JSON and YAML are one object each."""
    while True:
        try:
            async with contextlib.aclosing(client.watch(EVENTS, namespace, since=revision)) as events:
                async for kind, event in events:
                    revision = meta.get(event, "metadata", "resourceVersion", default=revision)
                    if kind in ("ADDED", "MODIFIED"):
                        for row in rows([event], args.name or "", tasks.now()):
                            print(printing.line(args.output, clusters.columns(args, COLUMNS), row), flush=True)
        except errors.ApiError as error:
            if error.code != 410:
                raise
            _, revision = await client.list(EVENTS, namespace)
        await asyncio.sleep(0)


def rows(events: Iterable[Object], name: str, now: float) -> list[Row]:
    """Those that are about the name, the newest last; pure."""
    found = sorted((event for event in events if not name or is_about(event, name)), key=picture.last_seen)
    return [
        {
            "namespace": meta.namespace(event),
            "age": tables.since(picture.last_seen(event), now),
            "type": event.get("type", ""),
            "reason": event.get("reason", ""),
            "object": f"{meta.get(event, 'involvedObject', 'kind')}/{meta.get(event, 'involvedObject', 'name')}",
            "times": meta.part(event, "series").get("count") or event.get("count") or 1,
            "message": " ".join(event.get("message", "").split()),
        }
        for event in found
    ]


def is_about(event: Object, name: str) -> bool:
    about = meta.part(event, "involvedObject")
    called, kind = about.get("name", ""), about.get("kind", "")
    if called == name or (kind in OF_OTHERS and re.fullmatch(OF_OTHERS[kind].format(re.escape(name)), called)):
        return True
    parent = pet_names.parsed(called)[0]
    return (kind == "Pod" and parent == name) or (kind == "PersistentVolumeClaim" and parent.endswith(f"-{name}"))
