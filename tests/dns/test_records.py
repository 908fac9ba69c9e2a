"""Answers, case by case (cases/dns/records.yaml), read with dnspython; and what a change of the cluster changes."""

from __future__ import annotations

import pathlib

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
import yaml

from petset.dns import records
from petset.wire import dns as wire

CASES = yaml.safe_load((pathlib.Path(__file__).parent.parent / "cases/dns/records.yaml").read_text())
NETWORKS = ["10.7.0.0/24", "10.8.0.0/24"]


def zone_of(given):
    zone = records.Zone("cluster.local", ["10.8.0.10"], NETWORKS)
    for service in given["services"]:
        zone.set_service(key(service), service)
    for slice_ in given["slices"]:
        zone.set_slice(key(slice_), slice_)
    return zone


def slice_of(service, *pets, name="x"):
    """An EndpointSlice of a service in the namespace n; `pets` are addresses and hostnames."""
    labels = {"kubernetes.io/service-name": service}
    endpoints = [{"addresses": [ip], "hostname": host} for ip, host in pets]
    return {"metadata": {"name": name, "namespace": "n", "labels": labels}, "endpoints": endpoints}


def key(obj):
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


ZONE = zone_of(CASES["given"])


def full(name):
    if name.endswith("."):
        return name
    return "cluster.local." if name == "@" else f"{name}.cluster.local."


def ask(zone, name, type_):
    """The answer as records.Answer, and as dnspython reads its bytes (None where it is not ours)."""
    query = wire.parse_query(dns.message.make_query(name, type_).to_wire())
    found = zone.answer(query.name, query.type)
    if found is None:
        return None, None
    packet = wire.response(query, found.code, found.answers, found.authorities, found.additionals)
    return found, dns.message.from_wire(packet)


def shown(message):
    """The answer section's data as text, without the cluster's domain."""
    data = [item.to_text() for rrset in message.answer for item in rrset]
    return [text.replace(".cluster.local.", "") for text in data]


@pytest.mark.parametrize("case", CASES["then"], ids=lambda case: case[0])
def test_answer(case):
    question, expected = case
    name, type_ = question.split()
    found, message = ask(ZONE, full(name), type_)
    if expected == "ELSEWHERE":
        assert found is None
        return
    assert found is not None and message is not None
    if isinstance(expected, str) and expected.startswith("OUTSIDE"):
        assert found.outside == expected.split()[1]
        return
    if expected in ("NXDOMAIN", "SERVFAIL"):
        assert dns.rcode.to_text(message.rcode()) == expected
        assert expected == "SERVFAIL" or soa_minimum(message) == 0
        return
    assert message.rcode() == dns.rcode.NOERROR
    if expected == "NODATA":
        assert not message.answer
        assert soa_minimum(message) == 0
        return
    assert sorted(shown(message)) == sorted(map(str, expected))
    assert all(rrset.ttl == records.TTL_SECONDS for rrset in message.answer)


def soa_minimum(message):
    (rrset,) = message.authority
    assert rrset.rdtype == dns.rdatatype.SOA
    assert rrset.ttl == 0
    return rrset[0].minimum


def test_srv_brings_the_addresses_of_its_targets():
    _, message = ask(ZONE, "nginx.default.svc.cluster.local.", "SRV")
    addresses = {str(rrset.name): rrset[0].address for rrset in message.additional}
    assert addresses == {
        "web-0.nginx.default.svc.cluster.local.": "10.7.0.4",
        "web-1.nginx.default.svc.cluster.local.": "10.7.0.5",
        "web-3.nginx.default.svc.cluster.local.": "10.7.0.7",
    }


def test_letter_case_of_the_question_comes_back():
    query = wire.parse_query(dns.message.make_query("wEb-0.NGINX.default.SVC.cluster.LOCAL.", "A").to_wire())
    packet = wire.response(query, answers=ZONE.answer(query.name, query.type).answers)
    message = dns.message.from_wire(packet)
    assert str(message.question[0].name) == str(message.answer[0].name) == "wEb-0.NGINX.default.SVC.cluster.LOCAL."


def test_addresses_take_turns():
    first = [ZONE.answer("nginx.default.svc.cluster.local", wire.A, turn).answers[0].data[-1] for turn in range(6)]
    assert first == [4, 5, 7, 4, 5, 7]


def test_a_successor_is_answered_at_once_and_nothing_is_left_of_what_went():
    zone = records.Zone()
    before = dict(zone._by_name), dict(zone._below)
    service = {"metadata": {"name": "s", "namespace": "n"}, "spec": {"clusterIP": "None"}}

    def address():
        found = zone.answer("a-0.s.n.svc.cluster.local", wire.A)
        return [record.data for record in found.answers] if found.code == wire.NOERROR else None

    zone.set_slice("n/x", slice_of("s", ("10.0.0.1", "a-0")))
    assert address() is None
    zone.set_service("n/s", service)
    assert address() == [bytes([10, 0, 0, 1])]
    zone.set_slice("n/x", slice_of("s", ("10.0.0.2", "a-0"), ("10.0.0.3", "a-1")))
    assert address() == [bytes([10, 0, 0, 2])]
    assert zone.answer("1.0.0.10.in-addr.arpa", wire.PTR) is None
    zone.set_slice("n/x", slice_of("s", ("10.0.0.3", "a-1")))
    assert address() is None
    zone.set_slice("n/x", None)
    assert zone.answer("s.n.svc.cluster.local", wire.A).code == wire.NOERROR
    zone.set_service("n/s", None)
    assert zone.answer("s.n.svc.cluster.local", wire.A).code == wire.NXDOMAIN
    assert (zone._by_name, zone._below) == before


def test_two_services_of_one_pod_share_its_reverse_name():
    zone = records.Zone()
    for name in ("a", "b"):
        zone.set_service(f"n/{name}", {"metadata": {"name": name, "namespace": "n"}, "spec": {"clusterIP": "None"}})
        zone.set_slice(f"n/{name}-x", slice_of(name, ("10.0.0.1", "p")))
    names = [record.data for record in zone.answer("1.0.0.10.in-addr.arpa", wire.PTR).answers]
    assert names == ["p.a.n.svc.cluster.local", "p.b.n.svc.cluster.local"]
    zone.set_service("n/a", None)
    assert [r.data for r in zone.answer("1.0.0.10.in-addr.arpa", wire.PTR).answers] == ["p.b.n.svc.cluster.local"]


def test_slices_of_one_service_are_told_together_and_each_change_costs_its_own():
    zone = records.Zone()
    zone.set_service("n/s", {"metadata": {"name": "s", "namespace": "n"}, "spec": {"clusterIP": "None"}})

    def told(type_):
        return zone.answer("s.n.svc.cluster.local", type_).answers

    zone.set_slice("n/a", slice_of("s", *((f"10.0.0.{n}", f"p{n}") for n in range(100)), name="a"))
    zone.set_slice("n/b", slice_of("s", ("10.0.1.1", "q"), ("10.0.0.7", "p7"), name="b"))
    assert len(told(wire.A)) == 101, "one that moves from slice to slice is there once"
    assert {record.data.weight for record in told(wire.SRV)} == {1} and len(told(wire.SRV)) == 101
    first = zone._of_part["n/s n/a"]
    zone.set_slice("n/b", slice_of("s", ("10.0.1.2", "q"), name="b"))
    assert zone._of_part["n/s n/a"] is first
    assert bytes([10, 0, 1, 2]) in {record.data for record in told(wire.A)}
    zone.set_slice("n/a", slice_of("other", ("10.0.0.1", "p"), name="a"))
    assert [record.data for record in told(wire.A)] == [bytes([10, 0, 1, 2])]
    assert told(wire.SRV)[0].data.weight == 100
