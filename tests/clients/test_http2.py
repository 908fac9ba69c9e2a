"""The whole server for who speaks HTTP/2 and nothing else: lists, a watch, a write and a refusal on one connection."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from pathlib import Path

from tests.clients.conftest import Served
from tests.net.http2_client import Client


def _dialing(kubeconfig: Path, directory: Path) -> tuple[int, ssl.SSLContext]:
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    files = [directory / name for name in ("certificate", "key")]
    for path, field in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
        path.write_bytes(base64.b64decode(user[field]))
    context.load_cert_chain(*files)
    context.set_alpn_protocols(["h2"])
    return int(cluster["server"].rpartition(":")[2]), context


def test_one_connection_lists_watches_and_writes(served: Served, space: str, tmp_path: Path) -> None:
    async def main() -> None:
        port, context = _dialing(served.directory / "kubeconfig", tmp_path)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        client = Client(reader, writer, 0)
        path = f"/api/v1/namespaces/{space}/configmaps"
        code, body = await client.answer(client.ask(path))
        listed = json.loads(body)
        assert code == "200" and listed["kind"] == "ConfigMapList"
        watch = client.ask(f"{path}?watch=true&resourceVersion={listed['metadata']['resourceVersion']}")
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        posted = client.ask(path, "POST", json.dumps(made).encode(), ("content-type", "application/json"))
        assert (await client.answer(posted))[0] == "201"
        while b"\n" not in client.bodies.get(watch, b""):
            assert await client.read()
        event = json.loads(client.bodies[watch].splitlines()[0])
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a") and watch not in client.ended
        code, body = await client.answer(client.ask(f"{path}/b"))
        assert code == "404" and json.loads(body)["reason"] == "NotFound"
        code, body = await client.answer(client.ask("/openapi/v2"))
        assert code == "200" and json.loads(body)["swagger"] == "2.0"  # Megabytes, past every window.
        writer.close()

    asyncio.run(asyncio.wait_for(main(), 60))
