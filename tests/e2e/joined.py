"""`python -m tests.e2e.joined KUBECONFIG NAME`: a simulated node of petset's own that joins any Kubernetes.

Its pods get ready at once and run nothing. The kubeconfig is an administrator's: petset's agent follows EndpointSlices,
which Kubernetes lets no node do.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path

from petset import cluster
from petset.base import networks
from petset.client.client import Client
from petset.client.reaching import lasting
from tests.e2e.kubernetes import SERVICE_CIDR

CAPACITY = {"cpu": "64", "memory": "128Gi", "ephemeral-storage": "100Gi", "pods": "250"}


async def joined(kubeconfig: Path, name: str, directory: Path) -> None:
    """Until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    plan = networks.simulated(networks.ClusterPlan("000000", SERVICE_CIDR), 1)
    config = cluster.node_config(name, plan, directory, may_mount=False, on_disk=False, capacity=CAPACITY)
    program = cluster.SimulatedMachine(config).node().program()
    async with lasting.Lasting(lasting.of_kubeconfig(kubeconfig)) as way:
        living = asyncio.ensure_future(program.main(Client(way, program.agent)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, living.cancel)
        await asyncio.gather(living, return_exceptions=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="petset-node-", dir="/tmp") as place:
        asyncio.run(joined(Path(sys.argv[1]), sys.argv[2], Path(place)))
