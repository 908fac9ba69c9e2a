"""The real programs of a world, as up.py composes them: who they are, and what they are handed."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

from petset.client import client as api
from petset.controllers import run as controllers_run
from petset.dns import records
from petset.dns import server as dns_server
from petset.wire import http
from petset.world.process import Main

if TYPE_CHECKING:
    from petset.world.world import World

CONTROLLERS_USER = http.User("system:kube-controller-manager", ("system:masters",))
DNS_USER = http.User("system:kube-dns", ("system:masters",))
SCHEDULER_USER = http.User("system:kube-scheduler", ("system:masters",))


def volumes_directory(world: World) -> str:
    return os.path.join(world.disk, "volumes")


class Directories:
    """The disk where volumes are: what is removed is told to the laws."""

    def __init__(self, world: World):
        self._world = world

    async def make(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    async def remove(self, path: str) -> None:
        self._world.laws.directory_removed(path)
        shutil.rmtree(path, ignore_errors=True)  # It may have been removed, and the answer about it lost.

    async def free_bytes(self) -> int:
        return 1 << 60


def controllers(world: World) -> Main:
    directories = Directories(world)

    async def main(client: api.Client) -> None:
        await controllers_run.run_controllers(
            client, hostpath=directories, volumes_directory=volumes_directory(world), ca_pem="a certificate"
        )

    return main


def dns(world: World) -> Main:
    """The DNS server but for its sockets."""

    async def main(client: api.Client) -> None:
        world.zone = records.Zone()
        async with asyncio.TaskGroup() as group:
            await dns_server.follow(client, world.zone, group)
            await asyncio.get_running_loop().create_future()

    return main
