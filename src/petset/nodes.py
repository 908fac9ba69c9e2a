"""The nodes of an instance that is up: simulated ones and those of real containers, as they are to be.

`simulate` and `run_containers` live until `stop` is set and take the nodes down then: pods stop with their grace, the
network goes, data stays. Meanwhile `petset node` turns nodes over the instance's own socket (switches.py), and
`is_ready` is told each one that gets ready. `Served` is what both need to know of the control plane.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset import cluster, switches
from petset.base import networks, state, well_known
from petset.net import control, lending, listener
from petset.objects.meta import Object
from petset.server.access import users
from petset.store import sqlite

log = logging.getLogger("petset")


@dataclass(frozen=True, slots=True)
class Served:
    """The control plane, up and answering, and what the node needs to know of it."""

    state: state.State
    plan: networks.Plan
    lost: Sequence[networks.NodePlan]  # That the instance had, and has no more.
    simulated: Mapping[str, networks.NodePlan]  # By name: beside those of the plan.
    kept: Mapping[str, str]  # What nodes were turned to, by name.
    store: sqlite.SqliteStore
    plane: cluster.ControlPlane
    tls: ssl.SSLContext
    front_proxies: str  # The name of the authority whose certificates are of who asks for others.
    port: int
    node_name: str  # Of the first; others have their number after it.

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def names(self) -> list[str]:
        """Of all its nodes."""
        return [*(node.name(self.node_name) for node in self.plan.nodes), *self.simulated]

    @property
    def names_up(self) -> list[str]:
        """Of those that are to be up."""
        return [name for name in self.names if self.kept.get(name, switches.UP) == switches.UP]

    def lines(self) -> Iterable[str]:
        """What became of nodes that the instance has no more, and which are not to be up."""
        for name in self.names:
            if (kept := self.kept.get(name, switches.UP)) != switches.UP:
                yield f"kept: node {name} is {kept}, as it was before; `petset node start {name}` brings it back"
        for node in self.lost:
            name, directory = node.name(self.node_name), node.directory(self.state.directory)
            yield (
                f"lost: node {name} is gone, as a machine that is lost; its data stays in {directory}: more --nodes "
                f"bring it back, and `kubectl delete node {name}` lets its pods be made elsewhere"
            )


Ready = Callable[[str], None]  # Told the node's name; "": none is to be up.
# Of simulated nodes beside real ones: only pods that tolerate it come to them.
TAINT = {"key": well_known.SIMULATED_NODE, "value": "true", "effect": "NoSchedule"}


async def simulate(served: Served, stop: asyncio.Event, is_ready: Ready) -> None:
    from petset.node import registration, simulated

    only = len(served.plan.nodes) + len(served.simulated) == 1
    capacity = registration.capacity_of_machine(simulated.PODS_MAX if only else simulated.OWN_ADDRESSES)
    networks.forget(served.lost)
    networks.remember(served.state.directory, served.plan)
    first = served.node_name
    machines = [_simulated_machine(served, node, capacity, node.name(first)) for node in served.plan.nodes]
    async with _living(served, [*machines, *_simulated_machines(served)], is_ready):
        await stop.wait()
        served.plane.stop_soon()
    networks.forget(served.plan.nodes)


@contextlib.asynccontextmanager
async def _living(served: Served, machines: Sequence[switches.Switched], is_ready: Ready) -> AsyncGenerator[None]:
    """The nodes, as they are to be and as commands turn them."""

    def save(states: Mapping[str, str]) -> None:
        served.state.write(state.SWITCHES, {"states": dict(states)})

    turned = switches.Switches(served.plane, machines, served.kept, save)

    async def answer(asked: Object) -> Object:
        if asked.get("open"):
            return {"address": served.address, "link": served.plane.api.sessions.link()}
        name, to = asked.get("node"), asked.get("to")
        if name is not None or to is not None:
            if name not in turned.states or to not in switches.STATES:
                return {"error": f"there is no node {name}, but {', '.join(turned.states)}"}
            try:
                await turned.turn(str(name), str(to))
            except (networks.NetworkError, OSError) as error:
                return {"error": str(error)}
        return {"states": turned.states}

    async with turned.turned_on(is_ready), control.served(served.state.control, answer):
        if not served.names_up:
            is_ready("")
        yield


def _simulated_machine(
    served: Served, plan: networks.NodePlan, capacity: Mapping[str, str], name: str, **own: Any
) -> cluster.SimulatedMachine:
    directory = plan.directory(served.state.directory) / "node"
    config = cluster.node_config(name, plan, directory, may_mount=False, on_disk=False, capacity=capacity, **own)
    return cluster.SimulatedMachine(config, served.state.log)


def _simulated_machines(served: Served, *taints: Object) -> list[cluster.SimulatedMachine]:
    """Those that are asked for beside the others."""
    from petset.node import registration, simulated

    capacity = registration.capacity_of_machine(simulated.OWN_ADDRESSES)
    own: dict[str, Any] = {"labels": {well_known.SIMULATED_NODE: "true"}, "taints": taints}
    return [_simulated_machine(served, plan, capacity, name, **own) for name, plan in served.simulated.items()]


async def run_containers(served: Served, limits: cluster.Limits, stop: asyncio.Event, is_ready: Ready) -> None:
    """Networks, the API on the pods' side, DNS, runtimes and agents; at the stop: pods stopped, networks taken away."""
    from petset import machine

    machine.check(served.state, limits)
    plan, plane = served.plan, served.plane
    await _take_lost_down(served)
    async with (
        machine.opened(served.state, plan.nodes, served.node_name, limits) as machines,
        contextlib.AsyncExitStack() as opened,
    ):
        lacks = [lack for one in machines for lack in await one.network.setup()]
        for lack in dict.fromkeys(lacks):
            log.warning("%s", lack)
        places = [(one.plan.gateway, served.port) for one in machines]
        for address, port in (*places, (plan.cluster.kubernetes_address, cluster.KUBERNETES_PORT)):
            there = listener.serve(plane.handle, address, port, served.tls, front_proxies=served.front_proxies)
            await opened.enter_async_context(there)
        await opened.enter_async_context(plane.living(cluster.dns(plan, machine.read("/etc/resolv.conf"))))
        proxy = cluster.proxy(plan, served.node_name, limits.node_port_addresses)
        lender = lending.lender_of(served.state)
        ports = [cluster.led_in(plan, lender)] if lender is not None else []
        everywhere = [*machines, *_simulated_machines(served, TAINT)]
        async with plane.living(proxy, *ports), _living(served, everywhere, is_ready):
            await stop.wait()
            plane.stop_soon()
        await machine.take_down(machines, lambda name: plane.client(users.of_node(name)))


async def _take_lost_down(served: Served) -> None:
    """Stop what a killed petset has left running on nodes that are no more. Their directories stay."""
    from petset import machine

    if served.lost:
        async with machine.opened(served.state, served.lost, served.node_name) as machines:
            await machine.stop_left(machines, lambda name: served.plane.client(users.of_node(name)))
        networks.remember(served.state.directory, served.plan)
