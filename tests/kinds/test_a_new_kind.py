"""To add a kind is to add a file: a house with one file more serves it, and nothing else in it was touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

INGRESS = '''
"""Ingress, of a group this house does not know; its schema is found by the first part of its name."""

from petset.objects import selectors, tables
from petset.objects.errors import FieldError
from petset.objects.registry import STATUS, Kind


def validate(obj):
    return [] if obj["spec"].get("ingressClassName") else [FieldError.required("spec.ingressClassName")]


def cells(obj, now):
    return [tables.name(obj), obj["spec"]["ingressClassName"]]


INGRESSES = Kind(
    "networking.example.com",
    "v1",
    "ingresses",
    "Ingress",
    short_names=("ing",),
    subresources=STATUS,
    validate=validate,
    fields=selectors.fields("spec.ingressClassName"),
    printer=tables.Printer(tables.columns("Name, Class"), cells),
)
KINDS = (INGRESSES,)
'''

ASKED = """
import asyncio, json, sys
from petset import kinds
kinds.__path__.append(sys.argv[1])
from petset import cluster
from petset.store import memory
from petset.wire import http

ADMIN = http.User("admin", ("system:masters",))
GROUP = "/apis/networking.example.com/v1"
PATH = GROUP + "/namespaces/default/ingresses"

async def main():
    plane = cluster.ControlPlane(memory.MemoryStore())
    await plane.begin()

    async def ask(method, path, body=None, **headers):
        data = json.dumps(body).encode() if body is not None else b""
        answer = await plane.handle(http.Request(method, path, tuple(headers.items()), data, user=ADMIN))
        body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
        return answer.code, json.loads(body)

    def ingress(name, **spec):
        return {"apiVersion": "networking.example.com/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec}

    table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    refused = await ask("POST", PATH, ingress("bad"))
    created = await ask("POST", PATH, ingress("web", ingressClassName="nginx"))
    await ask("POST", PATH, ingress("other", ingressClassName="haproxy"))
    patch = {"spec": {"rules": [{"host": "example.org"}]}}
    print(json.dumps({
        "refused": refused[1]["details"]["causes"][0]["field"],
        "created": created[0],
        "listed": [row["cells"] for row in (await ask("GET", PATH, **table))[1]["rows"]],
        "selected": len((await ask("GET", PATH + "?fieldSelector=spec.ingressClassName%3Dnginx"))[1]["items"]),
        "patched": (await ask("PATCH", PATH + "/web", patch, **strategic))[1]["spec"],
        "discovered": [found["name"] for found in (await ask("GET", GROUP))[1]["resources"]],
        "groups": [found["name"] for found in (await ask("GET", "/apis"))[1]["groups"]].count("networking.example.com"),
        "described": "/apis/networking.example.com/v1/namespaces/{namespace}/ingresses"
        in (await ask("GET", "/openapi/v3/apis/networking.example.com/v1"))[1]["paths"],
    }))

asyncio.run(main())
"""


def test_a_kind_that_is_only_a_file_is_served(tmp_path: Path) -> None:
    (tmp_path / "ingress.py").write_text(INGRESS)
    done = subprocess.run([sys.executable, "-c", ASKED, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "refused": "spec.ingressClassName",
        "created": 201,
        "listed": [["other", "haproxy"], ["web", "nginx"]],
        "selected": 1,
        "patched": {"ingressClassName": "nginx", "rules": [{"host": "example.org"}]},
        "discovered": ["ingresses", "ingresses/status"],
        "groups": 1,
        "described": True,
    }
