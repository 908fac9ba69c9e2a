"""Endpoints written by hand become slices, and go with what they were made from."""

from __future__ import annotations

from typing import Any

from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.services import mirroring
from petset.objects.meta import Object


def service(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "n"}, "spec": spec}


def endpoints(*subsets: Object, **metadata: Any) -> Object:
    metadata = {"name": "db", "namespace": "n", "uid": "e", **metadata}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": list(subsets)}


SUBSET = {
    "addresses": [{"ip": "192.0.2.1", "hostname": "a"}, {"ip": "2001:db8::1"}],
    "notReadyAddresses": [{"ip": "192.0.2.2"}],
    "ports": [{"name": "sql", "port": 5432}],
}


def decided(*objects: Object) -> list[Any]:
    return mirroring.reconcile("n/db", Snapshot(objects), 0)


def made(*objects: Object) -> list[Any]:
    return [step.object for step in decided(*objects)]


def test_a_slice_for_each_family_says_what_the_endpoints_say():
    four, six = made(service(), endpoints(SUBSET, labels={"x": "y"}))
    assert four["metadata"]["labels"] == {
        "x": "y",
        "kubernetes.io/service-name": "db",
        "endpointslice.kubernetes.io/managed-by": mirroring.MANAGER,
    }
    assert four["metadata"]["ownerReferences"][0]["uid"] == "e"
    assert four["endpoints"] == [
        {"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "hostname": "a"},
        {"addresses": ["192.0.2.2"], "conditions": {"ready": False}},
    ]
    assert four["ports"] == six["ports"] == [{"name": "sql", "port": 5432, "protocol": "TCP"}]
    assert (six["addressType"], six["endpoints"][0]["addresses"]) == ("IPv6", ["2001:db8::1"])


def test_what_says_the_same_is_left_alone_and_what_does_not_is_written():
    present = made(service(), endpoints(SUBSET))
    assert decided(service(), endpoints(SUBSET), *present) == []
    only = {**SUBSET, "addresses": SUBSET["addresses"][:1]}
    steps = decided(service(), endpoints(only), *present)
    assert steps == [actions.Delete(present[1])]
    other = {**only, "ports": [{"port": 1}]}
    update, _ = decided(service(), endpoints(other), *present)
    assert isinstance(update, actions.Update) and update.object["ports"][0]["port"] == 1


def test_what_is_not_mirrored():
    present = made(service(), endpoints(SUBSET))
    gone = [actions.Delete(one) for one in present]
    assert decided(*present) == gone, "no service, no Endpoints"
    assert decided(endpoints(SUBSET), *present) == gone
    assert decided(service(selector={"a": "b"}), endpoints(SUBSET), *present) == gone
    skipping = endpoints(SUBSET, labels={"endpointslice.kubernetes.io/skip-mirror": "true"})
    assert decided(service(), skipping, *present) == gone
    leading = endpoints(SUBSET, annotations={"control-plane.alpha.kubernetes.io/leader": "{}"})
    assert decided(service(), leading, *present) == gone


def test_no_more_than_a_thousand_of_a_subset_and_the_ready_ones_first():
    many = {
        "notReadyAddresses": [{"ip": f"10.0.{n // 250}.{n % 250}"} for n in range(900)],
        "addresses": [{"ip": f"10.1.{n // 250}.{n % 250}"} for n in range(200)],
    }
    (slice_,) = made(service(), endpoints(many))
    assert len(slice_["endpoints"]) == 1000
    assert sum(one["conditions"]["ready"] for one in slice_["endpoints"]) == 200
