"""Kinds come and go while the server runs: what is routed, told of and followed is what there is at that moment."""

from __future__ import annotations

import dataclasses

from petset.kinds import builtin
from petset.objects.registry import STATUS, Kind
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap

# Of a group that is none of the house's; its name's first part says where its schema is.
INGRESSES = Kind("networking.example.com", "v1", "gateways", "Ingress", short_names=("gw",), subresources=STATUS)
PATH = "/apis/networking.example.com/v1/namespaces/default/gateways"
AGGREGATED = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
INGRESS = {"apiVersion": "networking.example.com/v1", "kind": "Ingress", "metadata": {"name": "web"}}


def comes(server: Server, kind: Kind = INGRESSES) -> None:
    server.kinds.replace(server.kinds.now.with_kind(kind))


def goes(server: Server, kind: Kind = INGRESSES) -> None:
    server.kinds.replace(server.kinds.now.without(kind))


def test_a_kind_is_served_from_the_moment_it_comes_until_it_goes(server: Server) -> None:
    assert server("GET", PATH).code == 404
    comes(server)
    assert server("POST", PATH, INGRESS).code == 201
    assert server.get(f"{PATH}/web")["kind"] == "Ingress"
    goes(server)
    assert server("GET", f"{PATH}/web").code == 404
    assert "did you mean" not in server("GET", PATH).message


def test_discovery_tells_what_there_is_now_and_its_tag_changes_with_it(server: Server) -> None:
    def groups() -> list[str]:
        return [group["name"] for group in server.get("/apis")["groups"]]

    def tag() -> str:
        return server("GET", "/apis", headers=AGGREGATED).headers["etag"]

    def again(known: str) -> int:
        headers = (*AGGREGATED.items(), ("if-none-match", known))
        return server.send(http.Request("GET", "/apis", headers, user=ADMIN)).code

    before, first = groups(), tag()
    comes(server)
    assert groups() == [*before, "networking.example.com"]
    assert [row["name"] for row in server.get("/apis/networking.example.com/v1")["resources"]] == [
        "gateways",
        "gateways/status",
    ]
    assert tag() != first
    assert again(first) == 200 and again(tag()) == 304
    goes(server)
    assert groups() == before and tag() == first
    assert server("GET", "/apis/networking.example.com/v1").code == 404


def test_openapi_tells_what_there_is_now_and_a_changed_document_has_another_address(server: Server) -> None:
    def addresses() -> dict[str, str]:
        return {name: path["serverRelativeURL"] for name, path in server.get("/openapi/v3")["paths"].items()}

    before, group = addresses(), "apis/networking.example.com"
    name = f"{group}/v1"
    assert server("GET", f"/openapi/v3/{name}").code == 404
    comes(server)
    first = addresses()[name]
    assert addresses() == {**before, name: first, group: addresses()[group]}
    assert "io.k8s.api.networking.v1.Ingress" in server.get(first)["components"]["schemas"]
    comes(server, Kind("networking.example.com", "v1", "ingressclasses", "IngressClass", namespaced=False))
    assert addresses()[name] != first


def test_what_there_is_not_is_told_by_the_nearest_name_there_is_now(server: Server) -> None:
    wrong = "/apis/networking.example.com/v1/gateway"
    assert "did you mean" not in server("GET", wrong).message
    comes(server)
    assert server("GET", wrong).message.endswith("did you mean gateways?")


def test_the_preferred_version_of_a_group_is_the_most_mature_and_newest(server: Server) -> None:
    for version in ("v1beta1", "v1", "v2alpha1", "v10", "v2", "v1beta2", "old"):
        comes(server, dataclasses.replace(INGRESSES, version=version))
    versions = [found["version"] for found in server.get("/apis/networking.example.com")["versions"]]
    assert versions == ["v10", "v2", "v1", "v1beta2", "v1beta1", "v2alpha1", "old"]


def test_clusters_of_one_process_have_kinds_of_their_own(server: Server) -> None:
    comes(server)
    other = Server()
    assert (server("GET", PATH).code, other("GET", PATH).code) == (200, 404)
    assert INGRESSES not in builtin.KINDS
    other.close()


def test_watches_of_a_kind_that_goes_end_and_others_go_on(server: Server) -> None:
    comes(server)
    of_it, one_of_it = server.watch(f"{PATH}?watch=1"), server.watch(f"{PATH}?watch=1&labelSelector=a%3Db")
    unread, other = server.watch(f"{PATH}?watch=1"), server.watch("/api/v1/namespaces/default/configmaps?watch=1")
    server.create(configmap("before"))
    server.ok("POST", PATH, INGRESS)
    assert of_it.take(1) == [("ADDED", "web")] and other.take(1) == [("ADDED", "before")]
    server.ok("DELETE", f"{PATH}/web")
    goes(server)
    assert of_it.take(1) == [("DELETED", "web")] and of_it.is_over(), "what waits is told first"
    assert one_of_it.is_over()
    assert unread.take(2) == [("ADDED", "web"), ("DELETED", "web")] and unread.is_over()
    server.create(configmap("after"))
    assert other.take(1) == [("ADDED", "after")]
    assert server("GET", f"{PATH}?watch=1").code == 404
    assert server.api.watches.open_count == 1
    other.close()


def test_watches_of_a_kind_that_is_replaced_end(server: Server) -> None:
    comes(server)
    watch = server.watch(f"{PATH}?watch=1")
    server.ok("POST", PATH, INGRESS)
    assert watch.take(1) == [("ADDED", "web")]
    comes(server, Kind("networking.example.com", "v1", "ingressclasses", "IngressClass", namespaced=False))
    comes(server, dataclasses.replace(INGRESSES, short_names=()))
    assert watch.is_over()
    again = server.watch(f"{PATH}?watch=1")
    assert again.take(1) == [("ADDED", "web")]
    again.close()
