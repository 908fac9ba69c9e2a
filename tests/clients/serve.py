"""An API server process of its own, without nodes and controllers: for tests that use a real client.

Run as `python serve.py <directory>`: writes `kubeconfig` (an administrator's), `address` (the port) there once it
answers, and serves until it is terminated. Custom kinds are followed, and nothing else is done for the controllers
that are absent: a namespace's deletion, a claim's protection and garbage stay as they are.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from pathlib import Path

from petset import cluster
from petset.base import pki
from petset.net import listener
from petset.server import bootstrap
from petset.store import memory


def kubeconfig(authority: pki.Authority, issued: pki.Issued, port: int) -> str:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": encoded(authority.certificate_pem)}
    user = {
        "client-certificate-data": encoded(issued.certificate_pem()),
        "client-key-data": encoded(issued.key_pem()),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "petset", "cluster": cluster}],
            "users": [{"name": "petset", "user": user}],
            "contexts": [{"name": "petset", "context": {"cluster": "petset", "user": "petset"}}],
            "current-context": "petset",
        }
    )


async def serve(directory: Path) -> None:
    authority = pki.authority(directory)
    server = authority.server("server", ["localhost", "127.0.0.1"])
    store = memory.MemoryStore()
    plan = bootstrap.Plan("10.96.0.1", "10.96.0.10", "127.0.0.1", 6443)
    key = pki.SigningKey(directory / "service-accounts.key")
    served = cluster.ControlPlane(store, cluster.Config(key, services=plan))
    await served.begin()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tls = pki.server_context(server, authority.certificate_pem)
    following = cluster.together(("the custom kinds", served.definitions.keep()))
    async with following, listener.serve(served.handle, "127.0.0.1", 0, tls) as listening:
        for name, user, groups in (
            ("kubeconfig", "petset-admin", ["system:masters"]),
            ("kubeconfig-jane", "jane", ["developers"]),
            ("kubeconfig-node", "system:node:n1", ["system:nodes"]),
        ):
            issued = authority.client(name, user, groups)
            (directory / name).write_text(kubeconfig(authority, issued, listening.port))
        (directory / "address").write_text(str(listening.port))
        await stop.wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))
