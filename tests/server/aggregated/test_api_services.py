"""Group versions that another server has: who is asked, what he is told, what becomes of it when he is away."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.base import pki
from petset.kinds import api_service as kind
from petset.server.access import front_proxy
from petset.server.aggregated import availability, remote, services, trust
from petset.server.aggregated.services import Services
from petset.server.described import remotes
from petset.wire import http
from tests.server.aggregated_server import FLUNDERS, GROUP, ROOT, SERVICE, ExtensionServer, api_service, flunder
from tests.server.conftest import ADMIN, JANE, Server
from tests.server.pods.test_proxy import Pipe

API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = f"v1alpha1.{GROUP}"
AGGREGATED = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
HOSTS = ("extension.default.svc",)


class Aggregated(Server):
    """A server that follows its APIServices, and an extension server beside it."""

    def __init__(self, directory: Path):
        super().__init__()
        front = directory / "front"
        front.mkdir()
        proxies = pki.authority(front, "front-proxy-ca", "front-proxies")
        self.front_proxy_ca = proxies.certificate_pem
        self.plane.api_services = Services(
            self.store, self.api, self.kinds, proxies.client("front-proxy-client", front_proxy.ALLOWED)
        )
        self.extension = ExtensionServer(self.loop, directory, HOSTS, self.front_proxy_ca)
        self._keeping = self.loop.create_task(self.plane.api_services.keep())

    def until(self, condition: Any) -> Any:
        async def wait() -> Any:
            while not (found := condition()):
                assert not self._keeping.done(), self._keeping.exception()
                await asyncio.sleep(0.001)
            return found

        return self.run(wait())

    def register(self, **spec: Any) -> None:
        self.create(SERVICE)
        self.ok("POST", API_SERVICES, api_service(self.extension.bundle, self.extension.port, **spec))
        self.until(lambda: self.condition() is not None)

    def condition(self, name: str = NAME) -> Any:
        found = self.store.get(f"/{kind.GROUP}/apiservices/{name}")
        condition = kind.meta.condition(found.object, "Available") if found is not None else None
        return (condition["status"], condition["reason"]) if condition else None

    def message(self) -> str:
        found = self.store.get(f"/{kind.GROUP}/apiservices/{NAME}")
        assert found is not None
        return (kind.meta.condition(found.object, "Available") or {})["message"]

    def look(self) -> None:
        self.run(self.plane.api_services.look())

    def group(self) -> Any:
        items = self.get("/apis", headers=AGGREGATED)["items"]
        return next((item for item in items if item["metadata"]["name"] == GROUP), None)

    def close(self) -> None:
        self._keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.run(self._keeping)
        self.extension.close()
        super().close()


@pytest.fixture
def aggregated(tmp_path: Path) -> Iterator[Aggregated]:
    server = Aggregated(tmp_path)
    yield server
    server.close()


def test_requests_are_handed_on_with_who_asks(aggregated: Aggregated) -> None:
    aggregated.register()
    assert aggregated.condition() == ("True", "Passed")
    who = http.User("jo", ("system:masters", "b"), "u-1", (("example.com/Team", ("x", "y")),))
    forged = {"x-remote-user": "eve", "x-remote-group": "evil", "x-remote-extra-a": "b"}
    forged |= {"authorization": "Bearer none", "host": "petset:6443"}
    assert aggregated("POST", FLUNDERS, flunder("a"), user=who, headers=forged).code == 201
    asked = aggregated.extension.asked[-1]
    assert asked.header("host") == f"extension.default.svc:{aggregated.extension.port}"
    assert asked.header_values("x-remote-user") == ["jo"] and asked.header("x-remote-uid") == "u-1"
    assert asked.header_values("x-remote-group") == ["system:masters", "b", "system:authenticated"]
    assert asked.header_values("x-remote-extra-example.com%2fteam") == ["x", "y"]
    assert not asked.header("authorization") and not asked.header("x-remote-extra-a")
    shown = asked.peer.certificate_user
    assert shown is not None and shown.name == front_proxy.ALLOWED
    assert [one["metadata"]["name"] for one in aggregated.get(FLUNDERS)["items"]] == ["a"]
    assert aggregated.get(f"{FLUNDERS}/a")["kind"] == "Flunder"
    missing = aggregated("GET", f"{FLUNDERS}/b")
    assert missing.code == 404 and missing.message == 'flunders "b" not found'
    assert aggregated("DELETE", f"{FLUNDERS}/a").code == 200


def test_requests_share_a_connection_which_goes_with_the_api_service(aggregated: Aggregated) -> None:
    """A handshake takes longer than the answer: one for each request made a get of 0.5 ms one of 28."""
    aggregated.register()
    aggregated.get(FLUNDERS)
    before = len(aggregated.extension.connections)
    for number in range(20):
        aggregated.ok("POST", FLUNDERS, flunder(f"f{number}"))
        aggregated.get(f"{FLUNDERS}/f{number}")
    assert 1 <= len(aggregated.extension.connections) == before <= 3  # Also that of probes, and of what it describes.
    aggregated.ok("DELETE", f"{API_SERVICES}/{NAME}")
    aggregated.until(lambda: not aggregated.extension.connections)


def test_a_connection_that_was_closed_over_there_is_none_to_ask_by(aggregated: Aggregated) -> None:
    aggregated.register()
    aggregated.get(FLUNDERS)
    aggregated.extension.close()
    assert aggregated("GET", FLUNDERS).code == 503
    aggregated.extension.begin()
    aggregated.look()
    aggregated.get(FLUNDERS)
    aggregated.ok("POST", FLUNDERS, flunder("again"))


def test_a_watch_comes_through_as_it_happens(aggregated: Aggregated) -> None:
    aggregated.register()
    watch = aggregated.watch(f"{FLUNDERS}?watch=1")
    aggregated.ok("POST", FLUNDERS, flunder("a"))
    assert watch.take(1) == [("ADDED", "a")]
    aggregated.ok("POST", FLUNDERS, flunder("b"))
    assert watch.take(1) == [("ADDED", "b")]
    watch.close()


WEBSOCKET = (
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
)
SPDY = (
    ("upgrade", "SPDY/3.1"),
    ("x-stream-protocol-version", "v4.channel.k8s.io"),
    ("x-stream-protocol-version", "channel.k8s.io"),
)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (WEBSOCKET, (("sec-websocket-accept", "x"), ("sec-websocket-protocol", "v5.channel.k8s.io"))),
        (SPDY, (("x-stream-protocol-version", "v4.channel.k8s.io"),)),
    ],
    ids=["WebSocket", "SPDY"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_upgrade_is_two_joined_connections(aggregated: Aggregated, method: str, asked: Any, chosen: Any) -> None:
    async def shouting(stream: http.ByteStream) -> None:
        while data := await stream.read():
            stream.write(data.upper())
            await stream.drain()

    aggregated.register()
    seen: list[http.Request] = []

    def say(request: http.Request) -> http.Response:
        seen.append(request)
        return http.Response(101, (("connection", "Upgrade"), asked[0], *chosen), upgraded=shouting)

    aggregated.extension.say = say
    headers = (("connection", "Upgrade"), *asked)
    answer = aggregated.send(http.Request(method, f"{FLUNDERS}/a/exec?command=ls", headers, user=ADMIN))
    assert answer.code == 101 and answer.upgraded is not None
    assert set(chosen) | {asked[0]} <= set(answer.headers)
    (request,) = [one for one in seen if one.target == f"{FLUNDERS}/a/exec?command=ls"]
    assert [pair for pair in request.headers if pair in asked] == list(asked), "as they were asked, repeated ones too"
    assert request.method == method and request.header("x-remote-user") == ADMIN.name
    upgraded = answer.upgraded

    async def converse() -> None:
        pipe = Pipe()
        serving = asyncio.ensure_future(upgraded(pipe))
        pipe.incoming.put_nowait(b"shout")
        assert await pipe.outgoing.get() == b"SHOUT"
        pipe.incoming.put_nowait(b"")
        await serving

    aggregated.run(converse())
    aggregated.extension.say = None


def test_who_may_not_ask_is_refused_here(aggregated: Aggregated) -> None:
    aggregated.register()
    before = len(aggregated.extension.asked)
    refused = aggregated("GET", FLUNDERS, user=JANE)
    assert refused.code == 403 and f'cannot list resource "flunders" in API group "{GROUP}"' in refused.message
    assert aggregated("GET", FLUNDERS, user=None).code == 401
    assert all(asked.target == ROOT for asked in aggregated.extension.asked[before:])


def test_discovery_shows_it(aggregated: Aggregated) -> None:
    assert aggregated("GET", f"/apis/{GROUP}").code == 404
    aggregated.register()
    (version,) = aggregated.group()["versions"]
    assert version["version"] == "v1alpha1" and version["freshness"] == "Current"
    (resource,) = version["resources"]
    assert (resource["resource"], resource["responseKind"]["kind"], resource["scope"]) == (
        "flunders",
        "Flunder",
        "Namespaced",
    )
    assert resource["shortNames"] == ["fl"] and resource["subresources"][0]["subresource"] == "status"
    assert GROUP in [group["name"] for group in aggregated.get("/apis")["groups"]]
    assert aggregated.get(f"/apis/{GROUP}")["preferredVersion"]["version"] == "v1alpha1"
    assert aggregated.get(ROOT)["resources"][0]["name"] == "flunders"
    aggregated.ok("DELETE", f"{API_SERVICES}/{NAME}")
    aggregated.until(lambda: not aggregated.api.backends.of_groups)
    assert aggregated.group() is None and aggregated("GET", FLUNDERS).code == 404


def test_one_that_is_away_is_stale_and_holds_up_nobody(aggregated: Aggregated) -> None:
    aggregated.register()
    aggregated.extension.say = lambda request: http.Response(500, (), b"ill")
    aggregated.look()
    assert aggregated.condition() == ("False", "FailedDiscoveryCheck")
    url = f"https://extension.default.svc:{aggregated.extension.port}{ROOT}"
    assert aggregated.message() == f"failing or missing response from {url}: bad status from {url}: 500"
    refused = aggregated("GET", FLUNDERS)
    assert refused.code == 503 and refused.message == "service unavailable"
    asked = len(aggregated.extension.asked)
    (version,) = aggregated.group()["versions"]
    assert version["freshness"] == "Stale" and version["resources"][0]["resource"] == "flunders"
    assert len(aggregated.extension.asked) == asked, "discovery asks nobody"
    aggregated.extension.say = None
    aggregated.look()
    assert aggregated.condition() == ("True", "Passed") and aggregated.group()["versions"][0]["freshness"] == "Current"
    assert aggregated.get(FLUNDERS)["items"] == []


def test_one_of_several_servers_that_answers_is_enough(aggregated: Aggregated) -> None:
    """Behind a Service some may be gone, and the cluster does not know it yet."""
    aggregated.register()
    refused = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500}
    asked: list[http.Request] = []

    def fourth_time(request: http.Request) -> http.Response:
        asked.append(request)
        if len(asked) % services.PROBE_ATTEMPTS != 4:
            return http.Response(500, (("content-type", "application/json"),), json.dumps(refused).encode())
        return http.Response(200, (("content-type", "application/json"),), b"{}")

    aggregated.extension.say = lambda request: fourth_time(request) if request.path == ROOT else http.Response(404)
    aggregated.look()
    assert aggregated.condition() == ("True", "Passed")
    assert len(asked) == services.PROBE_ATTEMPTS  # The others were asked with it.
    aggregated.extension.say = lambda request: http.Response(500)
    aggregated.look()
    assert aggregated.condition() == ("False", "FailedDiscoveryCheck") and "bad status" in aggregated.message()


def test_a_certificate_of_somebody_else(aggregated: Aggregated, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    bundle = base64.b64encode(pki.authority(other).certificate_pem.encode()).decode()
    aggregated.register(caBundle=bundle)
    assert aggregated.condition() == ("False", "FailedDiscoveryCheck") and "not trusted" in aggregated.message()
    change = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
    aggregated.ok("PATCH", f"{API_SERVICES}/{NAME}", change, kind="application/merge-patch+json")
    aggregated.until(lambda: aggregated.condition() == ("True", "Passed"))


def test_every_group_version_here_has_one(aggregated: Aggregated) -> None:
    aggregated.until(lambda: aggregated.condition("v1.apps") == ("True", "Local"))
    table = aggregated.get(API_SERVICES, headers={"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
    rows = {row["cells"][0]: row["cells"][1:3] for row in table["rows"]}
    assert rows["v1."] == ["Local", "True"] and rows["v1.rbac.authorization.k8s.io"] == ["Local", "True"]
    served = {(one.group, one.version) for one in aggregated.kinds.now if not one.steps_back}
    assert set(rows) == {f"{version}.{group}" for group, version in served}
    aggregated.ok("DELETE", f"{API_SERVICES}/v1.apps")
    aggregated.until(lambda: aggregated.condition("v1.apps") == ("True", "Local"))


def test_what_this_server_has_of_itself_stays_its_own(aggregated: Aggregated) -> None:
    aggregated.until(lambda: aggregated.condition("v1.apps") == ("True", "Local"))
    spec = {"service": {"namespace": "default", "name": "extension"}, "insecureSkipTLSVerify": True}
    aggregated.ok("PATCH", f"{API_SERVICES}/v1.apps", {"spec": spec}, kind="application/merge-patch+json")
    aggregated.look()
    assert aggregated.get("/apis/apps/v1/statefulsets")["items"] == []


def test_what_is_kept_of_a_cluster_that_lacks_the_service(aggregated: Aggregated) -> None:
    aggregated.ok("POST", API_SERVICES, api_service("", 443, caBundle=None, insecureSkipTLSVerify=True))
    aggregated.until(lambda: aggregated.condition() == ("False", "ServiceNotFound"))
    assert aggregated.message() == 'service/extension in "default" is not present'
    service = {**SERVICE, "spec": {"clusterIP": "None", "ports": [{"port": 443}], "selector": {"a": "b"}}}
    aggregated.create(service)
    aggregated.until(lambda: aggregated.condition() == ("False", "EndpointsNotFound"))
    aggregated.create(slice_of("extension", []))
    aggregated.until(lambda: aggregated.condition() == ("False", "MissingEndpoints"))
    assert (
        aggregated.message() == 'endpointslices for service/extension in "default" have no addresses with port name ""'
    )
    aggregated.ok("DELETE", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/extension-1")
    aggregated.until(lambda: aggregated.condition() == ("False", "EndpointsNotFound"))


def slice_of(service: str, endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "https", "port": 8443}],
    }


def cluster_service(port: int) -> dict[str, Any]:
    ports = [{"port": port, "name": "https"}]
    return {"metadata": {"name": "extension"}, "spec": {"type": "ClusterIP", "ports": ports}}


READY, NOT_READY = (
    slice_of("extension", [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]) for ready in (True, False)
)


@pytest.mark.parametrize(
    ("service", "slices", "reason"),
    [
        (None, [], "ServiceNotFound"),
        (cluster_service(80), [READY], "ServicePortError"),
        (cluster_service(443), [], "EndpointsNotFound"),
        (cluster_service(443), [NOT_READY], "MissingEndpoints"),
        (cluster_service(443), [{**READY, "ports": [{"name": "http", "port": 80}]}], "MissingEndpoints"),
        (cluster_service(443), [NOT_READY, READY], None),
        (SERVICE, [], None),
    ],
)
def test_what_the_cluster_says_of_a_service(service: Any, slices: Any, reason: str | None) -> None:
    found = availability.of_cluster(api_service("", 443), service, slices)
    assert (found.reason if found else None) == reason


def test_a_verdict_that_says_nothing_new_is_no_change() -> None:
    obj = {**api_service("", 443), "status": {}}
    once = {**obj, "status": availability.told(obj, availability.PASSED, "2016-01-01T00:00:00Z")}
    assert availability.told(once, availability.PASSED, "2017-01-01T00:00:00Z") is once["status"]
    assert availability.is_available(once) and not availability.is_available(obj)


def test_priorities_order_groups_and_versions() -> None:
    others = remotes.Remotes(
        (
            remotes.Version("first.example", "v1", 19_000, 10),
            remotes.Version("first.example", "v2", 19_000, 20),
            remotes.Version("last.example", "v1", 100, 10),
            remotes.Version("own", "v9", 100, 99),
        )
    )
    found = remotes.order({"own": ["v1"], "crd": ["v1"]}, others, {"own": 18_000, "crd": 1_000}.__getitem__,
                          lambda name: 15, str)  # fmt: skip
    names = {name: [v if isinstance(v, str) else v.version for v in versions] for name, versions in found.items()}
    assert list(names.items()) == [
        ("first.example", ["v2", "v1"]), ("own", ["v9", "v1"]), ("crd", ["v1"]), ("last.example", ["v1"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    "tree", [None, [], {}, {"kind": "APIResourceList"}, {"kind": "APIResourceList", "resources": 7}]
)
def test_what_is_no_list_of_resources(tree: Any) -> None:
    with pytest.raises(ValueError, match="no APIResourceList"):
        remotes.resources(tree, "g", "v1")


def test_nonsense_among_resources_is_passed_over() -> None:
    given = [7, {}, {"name": ""}, {"name": "a/b"}, {"name": "x", "verbs": 7, "kind": [], "shortNames": [1]}]
    (found,) = remotes.resources({"kind": "APIResourceList", "resources": given}, "g", "v1")
    assert found["resource"] == "x" and found["verbs"] == [] and "shortNames" not in found


def test_a_name_cannot_become_a_header() -> None:
    user = http.User("a\r\nx-remote-group: system:masters", (), "", (("k\r\n: v", ("x",)),))
    made = remote.headers(http.Request("GET", "/"), user)
    assert all("\r" not in name and ":" not in name for name, _ in made)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"version": "v2"}, "metadata.name"),
    ({"group": ""}, "metadata.name"),
    ({"version": "1"}, "spec.version"),
    ({"groupPriorityMinimum": 0}, "spec.groupPriorityMinimum"),
    ({"groupPriorityMinimum": 20_001}, "spec.groupPriorityMinimum"),
    ({"versionPriority": 1_001}, "spec.versionPriority"),
    ({"insecureSkipTLSVerify": True}, "spec.insecureSkipTLSVerify"),
    ({"service": None}, "spec.caBundle"),
    ({"service": {"name": "a"}}, "spec.service.namespace"),
    ({"service": {"name": "a", "namespace": "b", "port": 70_000}}, "spec.service.port"),
]


@pytest.mark.parametrize(("spec", "field"), WRONG, ids=[field for _, field in WRONG])
def test_what_an_api_service_may_not_say(server: Server, spec: dict[str, Any], field: str) -> None:
    given = {**api_service("QQ==", 443)["spec"], **spec}
    answer = server(
        "POST", API_SERVICES, {**api_service("", 443), "spec": {k: v for k, v in given.items() if v is not None}}
    )
    assert answer.code == 422 and field in [cause["field"] for cause in answer.body["details"]["causes"]]


def test_by_what_others_believe_this_server(server: Server) -> None:
    at = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    server.run(trust.ensure(server.api.rest, "CLIENTS", "PROXIES"))
    server.run(trust.ensure(server.api.rest, "CLIENTS", "NEWER"))
    found = server.get(at)["data"]
    assert found["client-ca-file"] == "CLIENTS" and found["requestheader-client-ca-file"] == "NEWER"
    assert json.loads(found["requestheader-allowed-names"]) == ["front-proxy-client"]
    assert json.loads(found["requestheader-username-headers"]) == ["X-Remote-User"]
    assert server("GET", at, user=JANE).code == 403
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "extension"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": trust.READER},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "jane"}],
    }
    server.create(binding, "kube-system")
    assert server("GET", at, user=JANE).code == 200
