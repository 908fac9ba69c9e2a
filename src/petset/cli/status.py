"""`petset status`: what runs, where, and how to reach it; exit code 0 when the API answers, 3 when nothing runs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import Any

from petset.base.state import State
from petset.cli import exit_codes
from petset.cli.asking import connection
from petset.cli.asking import sets as of_sets
from petset.cli.failures import CommandError
from petset.cli.showing import printing
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import errors, meta


def arguments(parser: argparse.ArgumentParser) -> None:
    printing.arguments(parser)


def run(args: argparse.Namespace) -> int:
    instance: State = args.instance
    process = instance.running_process()
    if process is None:
        if args.output != "table":
            printing.tree(args.output, {"running": False, "state": str(instance.directory)})
        else:
            print(f"not running (state directory {instance.directory}); start it with `petset up -d`")
        return exit_codes.NOT_SO
    answer = asyncio.run(ask(instance))
    with contextlib.suppress(CommandError):  # It is just starting, or ending.
        states = connection.node_states(instance)
        for node in answer["nodes"]:
            node["state"] = states.get(node["name"], "gone")
    found: dict[str, Any] = {"running": True, "process": process, "state": str(instance.directory), **answer}
    if args.output != "table":
        printing.tree(args.output, found)
        return 0
    print(f"running (process {process}, state directory {instance.directory})")
    print(f"api         {found['server']}: {found['api']}")
    for node in found["nodes"]:
        ready = "ready" if node["ready"] else "not ready"
        turned = f", {node['state']}" if node["state"] not in ("", "up") else ""
        print(f"node        {node['name']}: {ready}, {node['pods']} pods{turned}")
    for pet in found["sets"]:
        print(f"{pet['kind'].lower():<12}{pet['namespace']}/{pet['name']}: {pet['ready']} of {pet['replicas']} ready")
    print(f"use it      export KUBECONFIG={instance.kubeconfig}")
    return 0


async def ask(instance: State) -> dict[str, Any]:
    """What the instance that runs says of its nodes and sets."""
    async with connection.connect(instance) as connected:
        client = connected.client
        server = connection.server(instance)
        try:
            nodes, _ = await client.list(NODES)
            pods, _ = await client.list(PODS)
            sets = [item for kind in of_sets.KINDS for item in await of_sets.all_of(client, kind)]
        except (errors.ApiError, OSError) as error:
            return {"server": server, "api": f"does not answer ({error})", "nodes": [], "sets": []}
        return {
            "server": server,
            "api": "answers",
            "nodes": [
                {
                    "name": meta.name(node),
                    "state": "",
                    "ready": meta.is_condition_true(node, "Ready"),
                    "pods": sum(meta.get(pod, "spec", "nodeName") == meta.name(node) for pod in pods),
                }
                for node in nodes
            ],
            "sets": [
                {
                    "kind": item["kind"],
                    "namespace": meta.namespace(item),
                    "name": meta.name(item),
                    "replicas": item["spec"].get("replicas", 1),
                    "ready": sum(meta.is_controlled_by(pod, item) and meta.is_pod_ready(pod) for pod in pods),
                }
                for item in sets
            ],
        }
