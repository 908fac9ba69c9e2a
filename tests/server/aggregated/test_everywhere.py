"""Owners and namespaces across servers: what another server keeps goes with its owner and with its namespace.

The other server is a petset, too: it believes the front proxy's certificate and the headers that come with it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from petset import cluster
from petset.base import pki
from petset.client import elsewhere
from petset.client.views import Snapshot
from petset.controllers import actions, garbage, namespaces
from petset.kinds import builtin
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.namespace import NAMESPACES
from petset.net import listener
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.server.access import front_proxy
from petset.server.aggregated import everywhere
from petset.server.described import remotes
from petset.store import memory
from petset.wire import http
from tests.server.aggregated_server import SERVICE
from tests.server.test_kinds import INGRESSES
from tests.waiting import until

GROUP_VERSION = INGRESSES.api_version
ELSEWHERE = Kind("networking.example.com", "v1", "gateways", "Ingress", elsewhere=True)


class Two:
    """This server with its controllers, and the other one, which can go away."""

    def __init__(self, directory: Path):
        clients, front = directory / "clients", directory / "front"
        for one in (clients, front):
            one.mkdir()
        authority = pki.authority(clients)
        self._proxies = pki.authority(front, "front-proxy-ca", "front-proxies")
        self._tls = pki.server_context(
            authority.server("api", ["extension.default.svc"]), self._proxies.certificate_pem
        )
        self._bundle = base64.b64encode(authority.certificate_pem.encode()).decode()
        shown = self._proxies.client("front-proxy-client", front_proxy.ALLOWED)
        self.here = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(front_proxy=shown))
        self.there = cluster.ControlPlane(memory.MemoryStore(), kinds=builtin.KINDS.with_kind(INGRESSES))
        self.client, self.other = (plane.client(cluster.ADMINISTRATOR) for plane in (self.here, self.there))
        self._port = 0
        self._serving = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        await self.there.begin()
        await self.here.begin()
        async with self.here.running(), self._serving:
            await self.comes()
            spec = {
                "group": INGRESSES.group,
                "version": "v1",
                "groupPriorityMinimum": 1000,
                "versionPriority": 15,
                "caBundle": self._bundle,
                "service": {"namespace": "default", "name": "extension", "port": self._port},
            }
            about = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
            await self.client.create(meta.changed(SERVICE, ("metadata", "namespace"), "default"))
            await self.client.create({**about, "metadata": {"name": "v1.networking.example.com"}, "spec": spec})
            await until(lambda: self.here.everywhere.now.of({"apiVersion": GROUP_VERSION, "kind": "Ingress"}))
            yield

    async def comes(self) -> None:
        serving = listener.serve(self.there.handle, port=self._port, tls=self._tls, front_proxies=self._proxies.name)
        self._port = (await self._serving.enter_async_context(serving)).port
        await self.here.api_services.look()

    async def goes(self) -> None:
        await self._serving.aclose()
        await self.here.api_services.look()

    def has(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        store = self.there.store if kind is INGRESSES else self.here.store
        found = store.get(kind.key(namespace if kind.namespaced else "", name))
        return found.object if found is not None else None


def play(directory: Path, scene: Callable[[Two], Awaitable[None]]) -> None:
    async def main() -> None:
        it = Two(directory)
        async with it.running():
            await scene(it)

    asyncio.run(main())


def thing(api_version: str, kind: str, name: str, *owners: Object, namespace: str = "default") -> Object:
    references = [{**meta.owner_reference(owner), "controller": False} for owner in owners]
    owned = {"ownerReferences": references} if references else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace, **owned}}


def config_map(name: str, *owners: Object, **more: Any) -> Object:
    return thing("v1", "ConfigMap", name, *owners, **more)


def ingress(name: str, *owners: Object, **more: Any) -> Object:
    return thing(GROUP_VERSION, "Ingress", name, *owners, **more)


def test_owners_and_dependents_on_both_sides(tmp_path: Path) -> None:
    async def scene(it: Two) -> None:
        above = await it.client.create(config_map("above"))
        other = await it.client.create(config_map("other"))
        middle = await it.other.create(ingress("middle", above))
        await it.other.create(ingress("shared", above, other))
        await it.client.create(config_map("below", middle))
        await it.client.create(config_map("stays", await it.other.create(ingress("there"))))
        await it.client.delete(CONFIGMAPS, "above", "default")
        await until(lambda: not it.has(INGRESSES, "middle") and not it.has(CONFIGMAPS, "below"))
        await until(lambda: len(meta.parts(it.has(INGRESSES, "shared") or {}, "metadata", "ownerReferences")) == 1)
        assert it.has(CONFIGMAPS, "stays")
        await it.client.delete(CONFIGMAPS, "other", "default", propagation="Orphan")
        await until(lambda: not it.has(CONFIGMAPS, "other"))
        shared = it.has(INGRESSES, "shared")
        assert shared is not None and "ownerReferences" not in shared["metadata"]

    play(tmp_path, scene)


def test_while_the_other_server_is_away_nothing_goes_for_its_sake(tmp_path: Path) -> None:
    async def scene(it: Two) -> None:
        for client in (it.client, it.other):
            await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "zoo"}})
        await it.other.create(ingress("inside", namespace="zoo"))
        owner = await it.other.create(ingress("owner"))
        await it.goes()
        await it.other.delete(INGRESSES, "owner", "default")
        await it.client.create(config_map("owned", owner))
        await it.client.delete(NAMESPACES, "zoo")

        def said() -> Any:
            found = it.has(NAMESPACES, "zoo")
            return meta.condition(found, "NamespaceDeletionDiscoveryFailure") if found is not None else None

        await until(lambda: (said() or {}).get("reason") == "DiscoveryFailed")
        assert said()["status"] == "True" and GROUP_VERSION in said()["message"]
        assert it.has(CONFIGMAPS, "owned") and it.has(INGRESSES, "inside", "zoo")
        await it.comes()
        await until(lambda: not it.has(NAMESPACES, "zoo") and not it.has(CONFIGMAPS, "owned"))
        assert not it.has(INGRESSES, "inside", "zoo")

    play(tmp_path, scene)


# -- pure


def test_which_kinds_there_are_everywhere() -> None:
    def resource(plural: str, *verbs: str, **more: Any) -> Object:
        kind = {"group": "g", "version": "v1", "kind": plural.title()}
        return {"resource": plural, "responseKind": kind, "scope": "Namespaced", "verbs": list(verbs), **more}

    rows = [resource("as", "list", "delete", "watch"), resource("bs", "list", "get"), resource("cs", "delete", "list")]
    there = remotes.Version("g.example.com", "v1", 1, 1, rows, is_current=True)
    away = remotes.Version("h.example.com", "v1", 1, 1, rows)
    own = remotes.Version("apps", "v9", 1, 1, [resource("deployments", "list", "delete")], is_current=True)
    found = everywhere.kinds(builtin.KINDS, [there, away, own])
    assert [(kind.group, kind.plural) for kind in found if kind.elsewhere] == [
        ("g.example.com", "as"),
        ("g.example.com", "cs"),
    ]
    assert found.lacking == ("h.example.com/v1",)
    assert everywhere.kinds(builtin.KINDS, []) is builtin.KINDS


@pytest.mark.parametrize(
    "obj",
    [None, [], "x", {}, {"metadata": 1}, {"metadata": {"name": ""}}, {"metadata": {"name": 3, "namespace": "a"}}]
    + [{"metadata": {"name": "a"}}],
)
def test_what_is_no_object_is_left_out(obj: Any) -> None:
    assert elsewhere.read(ELSEWHERE, obj) is None


def test_of_an_object_stays_who_it_is_and_whose() -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": "yes", "x": 1}
    metadata = {"name": "a", "namespace": "b", "uid": 5, "finalizers": ["f", 1], "labels": {"l": "v"}}
    read = elsewhere.read(ELSEWHERE, {"spec": {}, "metadata": {**metadata, "ownerReferences": [owner, {}, 7]}})
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}
    about = {"name": "a", "namespace": "b", "resourceVersion": "", "ownerReferences": [kept]}
    assert read == {"apiVersion": GROUP_VERSION, "kind": "Ingress", "metadata": about}


def test_a_namespace_says_what_cannot_be_asked_and_stays() -> None:
    goes = {"name": "zoo", "deletionTimestamp": "2016-08-03T00:00:00Z"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": goes, "spec": {"finalizers": ["kubernetes"]}}
    view = Snapshot([space], Kinds(builtin.KINDS, ["h.example.com/v1"]))
    (step,) = namespaces.reconcile("zoo", view, 0)
    assert isinstance(step, actions.UpdateStatus) and step.subresource == "status"
    said = meta.condition(step.object, "NamespaceDeletionDiscoveryFailure")
    assert said and (said["status"], said["reason"]) == ("True", "DiscoveryFailed")
    view = Snapshot([step.object], Kinds(builtin.KINDS, ["h.example.com/v1"]))
    assert namespaces.reconcile("zoo", view, 0) == []
    (step,) = namespaces.reconcile("zoo", Snapshot([step.object]), 0)
    assert isinstance(step, actions.UpdateStatus)
    said = meta.condition(step.object, "NamespaceDeletionDiscoveryFailure")
    assert said and said["reason"] == "ResourcesDiscovered"


def test_what_another_server_keeps_is_patched_since_only_its_metadata_is_known() -> None:
    there, gone = config_map("there"), config_map("gone")
    there = meta.changed(there, ("metadata", "uid"), "u1")
    gone = meta.changed(gone, ("metadata", "uid"), "u2")
    owned = meta.changed(ingress("i", there, gone), ("metadata", "uid"), "u3")
    owned = meta.changed(owned, ("metadata", "resourceVersion"), "7")
    view = Snapshot([there, owned], Kinds((*builtin.KINDS, ELSEWHERE)))
    _, patch = garbage.reconcile({}, garbage.key_of(owned, ELSEWHERE), view, 0)
    assert isinstance(patch, actions.Patch) and isinstance(patch.patch, dict)
    metadata: Any = patch.patch["metadata"]
    assert [one["name"] for one in metadata["ownerReferences"]] == ["there"]
    assert (metadata["uid"], metadata["resourceVersion"], metadata["finalizers"]) == ("u3", "7", None)


# -- a stranger's answers


@pytest.mark.parametrize(
    "says",
    [
        *(b"[]", b"{}", b"null", b'{"items": [1, {}, {"metadata": []}]}', b'{"items": {}}', b'{"items": 7}'),
        *(b'{"metadata": [1]}', b'{"metadata": {"resourceVersion": 5, "continue": {}}}'),
    ],
)
def test_nonsense_is_no_objects(says: bytes) -> None:
    class Nonsense:
        async def send(self, request: http.Request) -> http.Response:
            return http.Response(200, (), says)

    from petset.client.client import Client

    client = Client(Nonsense())
    assert asyncio.run(client.list(ELSEWHERE)) == ([], "")
    with pytest.raises(ConnectionError):
        asyncio.run(client.get(ELSEWHERE, "a", "b"))


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"type": "ADDED", "object": {"metadata": {"name": "a", "namespace": "b"}}}, "a"),
        ({"type": "ADDED", "object": {"metadata": {}}}, ""),
        ({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": 5}}}, ""),
        ({"type": "STRANGE", "object": {"metadata": {"name": "a", "namespace": "b"}}}, ""),
        ({"type": 5}, OSError),
        ([], OSError),
        ({"type": "ERROR", "object": {"code": "x"}}, Exception),
    ],
)
def test_a_strange_watch_ends_or_is_passed_over(says: Any, told: Any) -> None:
    class Strange:
        async def send(self, request: http.Request) -> http.Response:
            return http.Response(200, (), json.dumps(says).encode() + b"\n")

    from petset.client.client import Client

    async def names() -> list[str]:
        events = Client(Strange()).watch(ELSEWHERE)
        return [meta.name(obj) async for _, obj in events]

    if isinstance(told, str):
        assert asyncio.run(names()) == ([told] if told else [])
    else:
        with pytest.raises(told):
            asyncio.run(names())
