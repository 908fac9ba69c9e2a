"""What Services are given: addresses and ports of nodes, each to one of them only."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset import cluster
from petset.server import bootstrap
from petset.server.admission import service_addresses
from petset.wire import http
from tests.server.conftest import ADMIN, TOKEN_KEY, Server

SERVICES = "/api/v1/namespaces/default/services"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
MERGE = {"kind": "application/merge-patch+json"}


def service(name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    given = list(ports) or [{"port": 80}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": given, **spec}}


def refused(server: Server, obj: Any, method: str = "POST", path: str = SERVICES, **options: Any) -> tuple[str, str]:
    """(field, message) of the one cause."""
    answer = server(method, path, obj, **options)
    assert answer.code == 422, answer
    cause = answer.body["details"]["causes"][0]
    return cause["field"], cause["message"]


def patch(server: Server, name: str, spec: dict[str, Any]) -> Any:
    return server.ok("PATCH", f"{SERVICES}/{name}", {"spec": spec}, **MERGE)["spec"]


def test_a_service_gets_an_address_of_the_upper_part(server):
    spec = server.create(service("web"))["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]] and spec["ipFamilies"] == ["IPv4"]
    address = ipaddress.ip_address(spec["clusterIP"])
    assert address in ipaddress.ip_network("10.96.0.0/16")
    assert int(address) - int(ipaddress.ip_address("10.96.0.0")) > 256
    assert "nodePort" not in spec["ports"][0]


@pytest.mark.parametrize(
    ("size", "kept"), [(14, 0), (62, 16), (254, 16), (1022, 63), (4094, 255), (65534, 256), (1 << 20, 256)]
)
def test_how_much_of_a_network_is_for_those_that_name_theirs(size: int, kept: int):
    assert service_addresses.reserved_of_network(size) == kept


def test_who_names_an_address_has_it_alone(server):
    assert server.create(service("a", clusterIP="10.96.0.77"))["spec"]["clusterIPs"] == ["10.96.0.77"]
    field, why = refused(server, service("b", clusterIP="10.96.0.77"))
    assert field == "spec.clusterIPs" and "failed to allocate IP 10.96.0.77: provided IP is already allocated" in why
    field, why = refused(server, service("b", clusterIP="10.97.0.1"))
    assert field == "spec.clusterIPs" and "The range of valid IPs is 10.96.0.0/16" in why
    assert "already allocated" in refused(server, service("b", clusterIP="10.96.0.1"))[1], "that of kubernetes"
    server.ok("DELETE", f"{SERVICES}/a")
    assert server.create(service("b", clusterIP="10.96.0.77"))["spec"]["clusterIP"] == "10.96.0.77"


def test_what_was_refused_or_only_tried_keeps_nothing(server):
    refused(server, service("a", {"port": 0}, clusterIP="10.96.0.77"))
    tried = server.ok("POST", f"{SERVICES}?dryRun=All", service("a", clusterIP="10.96.0.77"))
    assert tried["spec"]["clusterIP"] == "10.96.0.77"
    server.create(service("b", clusterIP="10.96.0.77"))
    assert not server.plane.api.addresses._gifts


def test_it_keeps_its_address_and_may_name_no_other(server):
    spec = server.create(service("a"))["spec"]
    whole = service("a", {"port": 81})
    assert server.ok("PUT", f"{SERVICES}/a", whole)["spec"]["clusterIP"] == spec["clusterIP"]
    other = {"spec": {"clusterIP": "10.96.0.99", "clusterIPs": ["10.96.0.99"]}}
    assert refused(server, other, "PATCH", f"{SERVICES}/a", **MERGE)[1].endswith("may not change once set")


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_each_port_gets_one_of_the_nodes(server, kind: str):
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53},
        {"name": "web", "port": 80, "nodePort": 30_001},
    ]
    spec = server.create(service("a", *ports, type=kind))["spec"]
    dns, dns_tcp, web = [port["nodePort"] for port in spec["ports"]]
    assert dns == dns_tcp and 30_085 < dns < 32_768 and web == 30_001
    assert spec["externalTrafficPolicy"] == "Cluster"
    field, why = refused(server, service("b", {"port": 80, "nodePort": 30_001}, type="NodePort"))
    assert (field, "provided port is already allocated" in why) == ("spec.ports[0].nodePort", True)
    field, why = refused(server, service("b", {"port": 80, "nodePort": 80}, type="NodePort"))
    assert "The range of valid ports is 30000-32767" in why
    new = [{"name": "web", "port": 80}, {"name": "more", "port": 81}]
    kept = server.ok("PUT", f"{SERVICES}/a", service("a", *new, type=kind))["spec"]["ports"]
    assert kept[0]["nodePort"] == 30_001 and kept[1]["nodePort"] not in (dns, 30_001)
    server.create(service("b", {"port": 80, "nodePort": dns}, type="NodePort"))


def test_a_load_balancer_need_not_have_ports_of_nodes(server):
    spec = server.create(service("a", type="LoadBalancer", allocateLoadBalancerNodePorts=False))["spec"]
    assert "nodePort" not in spec["ports"][0]
    local = server.create(service("b", type="LoadBalancer", externalTrafficPolicy="Local"))["spec"]
    assert local["healthCheckNodePort"] in service_addresses.NODE_PORTS
    assert local["healthCheckNodePort"] != local["ports"][0]["nodePort"]
    changed = patch(server, "b", {"externalTrafficPolicy": "Cluster"})
    assert "healthCheckNodePort" not in changed


def test_what_its_type_has_not_goes_with_the_type(server):
    before = server.create(service("a", type="NodePort"))["spec"]
    inside = patch(server, "a", {"type": "ClusterIP"})
    assert inside["clusterIP"] == before["clusterIP"] and "externalTrafficPolicy" not in inside
    assert "nodePort" not in inside["ports"][0]
    named = patch(server, "a", {"type": "ExternalName", "externalName": "a.example"})
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "internalTrafficPolicy"} & set(named)
    again = patch(server, "a", {"type": "ClusterIP", "externalName": None})
    assert again["clusterIP"] and again["ipFamilies"] == ["IPv4"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"ipFamilyPolicy": "RequireDualStack"}, "spec.ipFamilyPolicy"),
        ({"ipFamilies": ["IPv6"]}, "spec.ipFamilies[0]"),
        ({"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}, "spec.ipFamilies[1]"),
        ({"ipFamilies": ["IPv4", "IPv6"]}, "spec.ipFamilyPolicy"),
        ({"externalTrafficPolicy": "Local"}, "spec.externalTrafficPolicy"),
        ({"healthCheckNodePort": 30_500}, "spec.healthCheckNodePort"),
        ({"loadBalancerClass": "a/b"}, "spec.loadBalancerClass"),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "spec.loadBalancerSourceRanges"),
        ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10"]}, "spec.loadBalancerSourceRanges[0]"),
        ({"trafficDistribution": "Everywhere"}, "spec.trafficDistribution"),
        ({"clusterIP": "10.96.0.300"}, "spec.clusterIP"),
        ({"type": "NodePort", "clusterIP": "None"}, "spec.clusterIP"),
    ],
)
def test_what_is_refused(server, spec: dict[str, Any], field: str):
    assert refused(server, service("a", **spec))[0] == field


def test_who_writes_endpoints_himself_may_have_both_families(server):
    spec = server.create(service("a", clusterIP="None"))["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")


def small(server: Server, cidr: str) -> None:
    """Leave this network alone."""
    server.create(
        {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"}
        | {"metadata": {"name": "small"}}
        | {"spec": {"cidrs": [cidr]}}
    )
    server.ok("DELETE", f"{CIDRS}/kubernetes")


def post(server: Server, obj: Any) -> Any:
    head = (("content-type", "application/json"),)
    return server.api.handle(http.Request("POST", SERVICES, head, json.dumps(obj).encode(), user=ADMIN))


def test_two_that_come_at_once_share_nothing_and_a_full_network_says_so(server):
    small(server, "10.99.0.0/28")

    async def all_at_once() -> list[http.Response]:
        return await asyncio.gather(*(post(server, service(f"a{n}", type="NodePort")) for n in range(20)))

    answers = server.run(all_at_once())
    codes = [answer.code for answer in answers]
    assert codes.count(201) == 14 and codes.count(422) == 6
    found = server.get(SERVICES)["items"]
    assert len({item["spec"]["clusterIP"] for item in found} - {"10.96.0.1"}) == 14
    assert len({item["spec"]["ports"][0].get("nodePort") for item in found}) == 15
    field, why = refused(server, service("more"))
    assert (field, "range is full" in why) == ("spec.clusterIPs", True)
    server.ok("DELETE", f"{SERVICES}/{found[0]['metadata']['name']}")
    server.create(service("more"))


def test_a_write_that_was_cancelled_may_be_stored_yet_and_keeps_what_it_was_given(server, monkeypatch):
    put = server.store.put

    async def slow(*args: Any) -> Any:
        await asyncio.Event().wait()
        return await put(*args)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await post(server, service("a", clusterIP="10.96.0.77"))

    with monkeypatch.context() as patched:
        patched.setattr(server.store, "put", slow)
        server.run(cancelled())
    assert "already allocated" in refused(server, service("b", clusterIP="10.96.0.77"))[1]
    later = server.loop.time() + 61
    monkeypatch.setattr(server.loop, "time", lambda: later)
    server.create(service("b", clusterIP="10.96.0.77"))


def test_an_address_that_somebody_else_speaks_for_is_not_given(server):
    small(server, "10.99.0.0/30")
    parent = {"group": "example.com", "resource": "gateways", "namespace": "default", "name": "a"}
    own = {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": "10.99.0.1"}}
    server.create({**own, "spec": {"parentRef": parent}})
    assert server.create(service("a"))["spec"]["clusterIP"] == "10.99.0.2"
    assert "already allocated" in refused(server, service("b", clusterIP="10.99.0.1"))[1]


def test_after_a_start_the_services_say_what_is_taken(server):
    server.create(service("a", {"port": 80, "nodePort": 30_007}, type="NodePort", clusterIP="10.96.0.77"))
    config = cluster.Config(TOKEN_KEY, services=bootstrap.Plan("10.96.0.1", "10.96.0.10", "10.0.0.1", 6443))
    server.api = cluster.ControlPlane(server.store, config).api
    assert "already allocated" in refused(server, service("b", clusterIP="10.96.0.77"))[1]
    assert "already allocated" in refused(server, service("b", {"port": 1, "nodePort": 30_007}, type="NodePort"))[1]


def test_services_keep_their_places_where_the_network_is_another_one(server):
    server.create(service("a", clusterIP="10.96.3.77"))
    before = server.create(service("b"))["spec"]["clusterIP"]
    plan = bootstrap.Plan("10.44.0.1", "10.44.0.10", "10.0.0.1", 6443, "10.44.0.0/16")
    server.run(bootstrap.ensure(server.api.rest, plan))
    assert server.get(f"{SERVICES}/a")["spec"]["clusterIPs"] == ["10.44.3.77"]
    assert server.get(f"{SERVICES}/b")["spec"]["clusterIP"] == before.replace("10.96", "10.44")
    assert server.get(f"{SERVICES}/kubernetes")["spec"]["clusterIP"] == "10.44.0.1"
    assert server.get(f"{CIDRS}/kubernetes")["spec"]["cidrs"] == ["10.44.0.0/16"]
    server.create(service("c", clusterIP="10.44.0.99"))


@given(st.integers(1, 40), st.integers(0, 40), st.sets(st.integers(0, 39)))
def test_one_that_is_free_is_found_while_there_is_any(size: int, reserved: int, taken: set[int]):
    numbers = range(size)
    found = service_addresses.free_of(numbers, min(reserved, size), taken.__contains__)
    free = [number for number in numbers if number not in taken]
    assert (found in free) if free else found is None
    above = [number for number in free if number >= min(reserved, size)]
    if above:
        assert found in above
