"""Load balancers have the nodes' addresses."""

from __future__ import annotations

from typing import Any

import pytest

from petset.client.views import Snapshot
from petset.controllers.services import load_balancers
from petset.objects.meta import Object


def node(name: str, address: str, ready: str = "True") -> Object:
    given = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    status = {"conditions": [{"type": "Ready", "status": ready}], "addresses": given}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def service(*ingress: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in ingress]} if ingress else {}},
    }


SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "endpoints": [{"addresses": ["10.0.4.9"], "nodeName": "b", "conditions": {"ready": True}}],
}
NODES = (node("a", "10.0.0.1"), node("b", "10.0.4.1"), node("c", "10.0.8.1", ready="Unknown"))
NOTHING_TO_DO = None


@pytest.mark.parametrize(
    "one, then",
    [
        (service(), ["10.0.0.1", "10.0.4.1"]),
        (service("10.0.0.1", "10.0.4.1"), NOTHING_TO_DO),
        (service("10.0.0.1", "10.0.8.1"), ["10.0.0.1", "10.0.4.1"]),
        (service(externalTrafficPolicy="Local"), ["10.0.4.1"]),
        (service(loadBalancerClass="example.com/its"), NOTHING_TO_DO),
        (service("10.0.0.1", loadBalancerClass="example.com/its"), NOTHING_TO_DO),
        (service("10.0.0.1", type="ClusterIP"), []),
        (service(type="ClusterIP"), NOTHING_TO_DO),
    ],
    ids=["new", "as it is", "a node went", "only where pods are", "another's", "another's", "no more", "never"],
)
def test_the_addresses_of_a_load_balancer(one: Object, then: list[str] | None):
    steps: list[Any] = load_balancers.reconcile("default/web", Snapshot([one, SLICE, *NODES]), 0)
    if then is NOTHING_TO_DO:
        assert steps == []
    else:
        (step,) = steps
        assert [each["ip"] for each in step.object["status"]["loadBalancer"].get("ingress", ())] == then


def test_whom_a_change_concerns():
    local, view = service(externalTrafficPolicy="Local"), Snapshot([service()])
    assert list(load_balancers._balanced(NODES[0], view)) == ["default/web"]
    assert list(load_balancers._service_of(SLICE, view)) == []
    assert list(load_balancers._service_of(SLICE, Snapshot([local]))) == ["default/web"]
