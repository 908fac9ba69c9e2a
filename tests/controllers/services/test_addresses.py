"""An object for each address of a Service, and networks that stay while they are used."""

from __future__ import annotations

from typing import Any

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.services import addresses
from petset.objects.meta import Object

FINALIZER = "networking.k8s.io/service-cidr-finalizer"


def service(name: str, *texts: str) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIPs": list(texts)}}


def address(text: str, name: str) -> dict[str, Any]:
    return addresses.wanted(text, service(name, text))


def network(name: str, *cidrs: str, **metadata: Any) -> dict[str, Any]:
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"}
    return {**head, "metadata": {"name": name, **metadata}, "spec": {"cidrs": list(cidrs)}}


def looked_at(text: str, *objects: Object) -> list[actions.Action]:
    return addresses.reconcile_address(text, Snapshot(objects), 0)


def test_an_address_has_an_object_while_a_service_has_it():
    web, present = service("web", "10.0.0.5"), address("10.0.0.5", "web")
    assert looked_at("10.0.0.5", web) == [actions.Create(present)]
    assert present["spec"]["parentRef"] == {"group": "", "resource": "services", "namespace": "default", "name": "web"}
    assert looked_at("10.0.0.5", web, present) == []
    assert looked_at("10.0.0.5", present) == [actions.Delete(present)]
    assert looked_at("10.0.0.5", service("other", "10.0.0.5"), present) == [actions.Delete(present)]


def test_an_address_that_somebody_else_made_is_left_alone():
    foreign = {**address("10.0.0.5", "web"), "metadata": {"name": "10.0.0.5"}}
    assert looked_at("10.0.0.5", foreign) == []
    assert looked_at("10.0.0.5", service("web", "10.0.0.5"), foreign) == []


def test_a_headless_service_has_none():
    assert addresses._addresses_of(service("web", "None"), Snapshot([])) == ()


def decided(name: str, *objects: Object) -> Any:
    (step,) = addresses.reconcile_network(name, Snapshot(objects), 0)
    return step


def test_a_network_is_kept_and_ready():
    new = network("a", "10.0.0.0/24")
    assert decided("a", new).object["metadata"]["finalizers"] == [FINALIZER]
    kept = network("a", "10.0.0.0/24", finalizers=[FINALIZER])
    step = decided("a", kept)
    (ready,) = step.object["status"]["conditions"]
    assert (ready["type"], ready["status"]) == ("Ready", "True")
    assert addresses.reconcile_network("a", Snapshot([step.object]), 0) == []


def test_a_network_goes_when_no_address_is_of_it_alone():
    going = network("a", "10.0.0.0/24", finalizers=[FINALIZER, "x/y"], deletionTimestamp="2026-01-01T00:00:00Z")
    used = address("10.0.0.5", "web")
    step = decided("a", going, used)
    assert (step.object["status"]["conditions"][0]["status"], step.object["status"]["conditions"][0]["reason"]) == (
        "False",
        "Terminating",
    )
    assert decided("a", going, address("10.0.1.5", "web")).object["metadata"]["finalizers"] == ["x/y"]
    assert decided("a", going, used, network("b", "10.0.0.0/16")).object["metadata"]["finalizers"] == ["x/y"]
    assert list(addresses._networks_that_go(used, Snapshot([going, network("b", "10.0.0.0/16")]))) == ["a"]
