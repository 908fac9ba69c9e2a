"""What the cluster's names are: services and their endpoints in, the answer to (name, type) out. Pure.

`names_of_service` and `names_of_slice` say which records a service and each of its EndpointSlices bring, name by
name; `Zone` keeps them by name and replaces those of one of them when it changes, so that an answer is two dictionary
lookups, and a change costs its slice, however many pods there are behind the service. The names are those of the
Kubernetes DNS specification 1.1: `<service>.<namespace>.svc.<domain>` (cluster IP, or every ready address of a
headless service), `<hostname>.<service>...` for endpoints that carry one and the dashed address for those that do
not, `_<port>._<protocol>.<service>...`, `<dashed address>.<namespace>.pod.<domain>`, and PTR. As in 2016, SRV of a
headless service's bare name lists one target an endpoint: peer-finder lives from it.

Invariants: only endpoints that are ready are told (who tolerates the unready is the endpoints controller's decision); a
type that an existing name lacks is NOERROR without answers, never NXDOMAIN, and so is a name
that only has names below it; negative answers carry a SOA whose minimum is 0, so that nobody caches "no such name".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from petset.kinds import endpoint_slice
from petset.objects import meta
from petset.objects.meta import Object
from petset.wire import dns

TTL_SECONDS = 5
NEGATIVE_TTL_SECONDS = 0
SRV_PRIORITY = 10  # What 2016's cluster DNS said; weights share out 100.
SRV_WEIGHTS_TOTAL = 100
ALIASES_MAX = 8  # CNAMEs followed for one answer.
SPECIFICATION_VERSION = "1.1.0"

Names = Mapping[str, Sequence[dns.Record]]
NO_NAMES: Names = {}


@dataclass(frozen=True, slots=True)
class Answer:
    code: int = dns.NOERROR
    answers: Sequence[dns.Record] = ()
    authorities: Sequence[dns.Record] = ()
    additionals: Sequence[dns.Record] = ()
    outside: str = ""  # The last CNAME's target when it is not ours: its addresses are to be asked elsewhere.


def names_of_service(service: Object, domain: str) -> Names:
    """Every record that a service brings by itself, by name."""
    own = _own_name(service, domain)
    if not own:
        return {}
    spec = meta.part(service, "spec")
    if spec.get("type") == "ExternalName":
        target = str(spec.get("externalName") or "").rstrip(".").lower()
        return {own: [dns.Record(own, dns.CNAME, TTL_SECONDS, target)]} if dns.is_name(target) else {own: []}
    names: dict[str, list[dns.Record]] = {own: []}
    if not _is_headless(spec):
        _add_cluster_addresses(names, own, spec)
    return names


def names_of_slice(service: Object, slice_: Object, domain: str) -> Names:
    """Every record that an EndpointSlice of a service brings, by name."""
    own, spec = _own_name(service, domain), meta.part(service, "spec")
    if not own or spec.get("type") == "ExternalName":
        return {}
    pets = _pets(slice_, own)
    names: dict[str, list[dns.Record]] = {}
    for name, addresses in pets.items():
        names[name] = [_address(name, packed) for packed in addresses.values()]
    if not _is_headless(spec):
        return names
    names[own] = [_address(own, packed) for packed in _distinct(pets.values()).values()]
    for name, addresses in pets.items():
        for text in addresses:
            reverse = dns.reverse_name(text)
            names.setdefault(reverse, []).append(dns.Record(reverse, dns.PTR, TTL_SECONDS, name))
    names[own] += _targets(own, [(name, 0) for name in pets])
    for port in meta.parts(slice_, "ports"):
        if label := str(port.get("name") or "").lower():
            name = f"_{label}._{str(port.get('protocol') or 'TCP').lower()}.{own}"
            names[name] = _targets(name, [(pet, int(port.get("port") or 0)) for pet in pets])
    return names


def _own_name(service: Object, domain: str) -> str:
    """Of a service; "" where no name below it could be written."""
    own = f"{meta.name(service)}.{meta.namespace(service)}.svc.{domain}"
    return "" if len(own) + dns.LABEL_BYTES_MAX + 3 > dns.NAME_BYTES_MAX else own


def _is_headless(spec: Object) -> bool:
    """A service that has no cluster IP at all is answered like a headless one: its pods are better than nothing."""
    return spec.get("clusterIP") in (None, "", "None")


def _pets(slice_: Object, own: str) -> dict[str, dict[str, bytes]]:
    """By the name of each endpoint that is ready, in the slice's order: its addresses."""
    pets: dict[str, dict[str, bytes]] = {}
    for endpoint in meta.parts(slice_, "endpoints"):
        if not endpoint_slice.is_ready(endpoint):
            continue
        for text in meta.texts(endpoint, "addresses"):
            packed = dns.packed_address(text)
            label = str(endpoint.get("hostname") or dashed(text)).lower()
            if packed is not None and dns.is_label(label):
                pets.setdefault(f"{label}.{own}", {})[text] = packed
    return pets


def dashed(address: str) -> str:
    """The label of an address: 10-1-2-3, or an IPv6 address with dashes for colons."""
    return address.replace(".", "-").replace(":", "-")


def _distinct(groups: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    return {text: packed for group in groups for text, packed in group.items()}


def _targets(name: str, targets: Sequence[tuple[str, int]]) -> list[dns.Record]:
    weight = _weight(len(targets))
    return [
        dns.Record(name, dns.SRV, TTL_SECONDS, dns.Srv(SRV_PRIORITY, weight, port, target)) for target, port in targets
    ]


def _weight(targets: int) -> int:
    return max(1, SRV_WEIGHTS_TOTAL // max(1, targets))


def _together(parts: Iterable[Sequence[dns.Record]]) -> list[dns.Record]:
    """Records that several bring: each once (an endpoint on its way from slice to slice is in both)."""
    found = dict.fromkeys(_weighing(record, 0) for part in parts for record in part)
    share = _weight(sum(record.type == dns.SRV for record in found))
    return [_weighing(record, share) for record in found]


def _weighing(record: dns.Record, weight: int) -> dns.Record:
    data = record.data
    return replace(record, data=data._replace(weight=weight)) if isinstance(data, dns.Srv) else record


def _add_cluster_addresses(names: dict[str, list[dns.Record]], own: str, spec: Object) -> None:
    given = spec.get("clusterIPs") or [spec.get("clusterIP")]
    addresses = {str(text): packed for text in given if text and (packed := dns.packed_address(str(text)))}
    for text, packed in addresses.items():
        names[own].append(_address(own, packed))
        reverse = dns.reverse_name(text)
        names[reverse] = [dns.Record(reverse, dns.PTR, TTL_SECONDS, own)]
    if not addresses:
        return
    for port in spec.get("ports") or ():
        number = int(port.get("port") or 0)
        names[own] += _targets(own, [(own, number)])
        if port.get("name"):
            name = f"_{port['name']}._{port.get('protocol') or 'TCP'}.{own}".lower()
            names[name] = _targets(name, [(own, number)])


def _address(name: str, packed: bytes) -> dns.Record:
    return dns.Record(name, dns.A if len(packed) == 4 else dns.AAAA, TTL_SECONDS, packed)


class Zone:
    """All names of one cluster. `set_service` and `set_slice` keep it; `answer` reads it."""

    def __init__(self, domain: str = "cluster.local", own_addresses: Sequence[str] = (), networks: Sequence[str] = ()):
        self.domain = domain.strip(".").lower()
        self._services: dict[str, Object] = {}
        self._slices: dict[str, dict[str, Object]] = {}  # By service.
        self._service_of: dict[str, str] = {}  # By slice.
        self._of_part: dict[str, Names] = {}  # By the service, or by it and a slice.
        self._by_name: dict[str, dict[str, Sequence[dns.Record]]] = {}  # name -> who brings it -> records
        self._together: dict[str, Sequence[dns.Record]] = {}  # Of names that several bring, once asked.
        self._below: dict[str, int] = {}  # How many names are below this one.
        self._suffix = "." + self.domain
        self._pods = ".pod." + self.domain
        self._reverse_zones = [_reverse_zone(network) for network in networks]
        self._put("", self._apex(own_addresses))

    def _apex(self, own_addresses: Sequence[str]) -> Names:
        server, version = f"ns.dns.{self.domain}", f"dns-version.{self.domain}"
        packed = [address for text in own_addresses if (address := dns.packed_address(text))]
        return {
            self.domain: [
                self._authority(self.domain, TTL_SECONDS),
                dns.Record(self.domain, dns.NS, TTL_SECONDS, server),
            ],
            server: [_address(server, address) for address in packed],
            version: [dns.Record(version, dns.TXT, TTL_SECONDS, dns.packed_text(SPECIFICATION_VERSION))],
            f"svc.{self.domain}": [],
            f"pod.{self.domain}": [],
        }

    def _authority(self, zone: str, ttl: int = NEGATIVE_TTL_SECONDS) -> dns.Record:
        soa = dns.Soa(f"ns.dns.{self.domain}", f"hostmaster.{self.domain}", 1, 7200, 1800, 86400, NEGATIVE_TTL_SECONDS)
        return dns.Record(zone, dns.SOA, ttl, soa)

    def set_service(self, key: str, service: Object | None) -> None:
        """The service with this namespace/name is now so, or gone."""
        _set(self._services, key, service)
        self._refresh(key)

    def set_slice(self, key: str, slice_: Object | None) -> None:
        """The EndpointSlice with this namespace/name is now so, or gone."""
        service = endpoint_slice.service_of(slice_) if slice_ is not None else ""
        before = self._service_of.get(key, "")
        if before and before != service:
            self._drop_slice(before, key)
        if slice_ is not None and service:
            self._service_of[key] = service
            self._slices.setdefault(service, {})[key] = slice_
            self._refresh_slice(service, key)

    def _drop_slice(self, service: str, key: str) -> None:
        del self._service_of[key]
        kept = self._slices[service]
        del kept[key]
        if not kept:
            del self._slices[service]
        self._put(_part(service, key), NO_NAMES)

    def _refresh(self, key: str) -> None:
        service = self._services.get(key)
        self._put(key, names_of_service(service, self.domain) if service is not None else NO_NAMES)
        for slice_ in self._slices.get(key, ()):
            self._refresh_slice(key, slice_)

    def _refresh_slice(self, service: str, key: str) -> None:
        of = self._services.get(service)
        names = names_of_slice(of, self._slices[service][key], self.domain) if of is not None else NO_NAMES
        self._put(_part(service, key), names)

    def _put(self, key: str, names: Names) -> None:
        """Replace what a service or a slice brings; names that stay as they are cost nothing."""
        old = self._of_part.get(key, {})
        for name in old:
            if name not in names:
                self._take(name, key)
        for name, records in names.items():
            if old.get(name) == records:
                continue
            if name not in self._by_name:
                self._count(name, +1)
            self._by_name.setdefault(name, {})[key] = records
            self._together.pop(name, None)
        _set(self._of_part, key, names or None)

    def _take(self, name: str, key: str) -> None:
        parts = self._by_name[name]
        del parts[key]
        self._together.pop(name, None)
        if not parts:
            del self._by_name[name]
            self._count(name, -1)

    def _count(self, name: str, change: int) -> None:
        while name.endswith(self._suffix):
            _, _, name = name.partition(".")
            count = self._below.get(name, 0) + change
            _set(self._below, name, count or None)

    def answer(self, name: str, type_: int, turn: int = 0) -> Answer | None:
        """The answer, or None when the name is not the cluster's. Addresses are rotated by `turn`."""
        records = self._records(name)
        if records is None:
            return self._denial(name)
        wanted = _of_type(records, type_)
        if not wanted and type_ != dns.CNAME and records and records[0].type == dns.CNAME:
            return self._through_alias(records[0], type_)
        if not wanted:
            return Answer(authorities=[self._authority(self._zone_of(name))])
        if type_ == dns.SRV:
            return Answer(answers=wanted, additionals=self._addresses_of(wanted))
        if type_ == dns.A and len(wanted) > 1:
            turn %= len(wanted)
            wanted = [*wanted[turn:], *wanted[:turn]]
        return Answer(answers=wanted)

    def _records(self, name: str) -> Sequence[dns.Record] | None:
        """All records of a name; None when there is no such name (or it is not ours)."""
        parts = self._by_name.get(name)
        if parts is not None:
            if len(parts) == 1:
                return next(iter(parts.values()))
            found = self._together.get(name)
            if found is None:
                found = self._together[name] = _together(parts[key] for key in sorted(parts))
            return found
        if name.endswith(self._pods):
            return _pod_records(name, name[: -len(self._pods)])
        return () if name in self._below else None

    def _denial(self, name: str) -> Answer | None:
        zone = self._zone_of(name)
        return Answer(dns.NXDOMAIN, authorities=[self._authority(zone)]) if zone else None

    def _zone_of(self, name: str) -> str:
        """Which of our zones a name is in; "" when in none."""
        if name == self.domain or name.endswith(self._suffix):
            return self.domain
        for zone in self._reverse_zones:
            if name == zone or name.endswith("." + zone):
                return zone
        return name.partition(".")[2] if name in self._by_name else ""

    def _through_alias(self, alias: dns.Record, type_: int) -> Answer:
        answers = [alias]
        while len(answers) < ALIASES_MAX:
            target = str(answers[-1].data)
            records = self._records(target)
            if records is None:
                zone = self._zone_of(target)
                if not zone:
                    return Answer(answers=answers, outside=target)
                return Answer(dns.NXDOMAIN, answers, [self._authority(zone)])
            if not (records and records[0].type == dns.CNAME):
                answers += _of_type(records, type_)
                return Answer(answers=answers)
            answers.append(records[0])
        return Answer(dns.SERVFAIL, answers)

    def _addresses_of(self, targets: Sequence[dns.Record]) -> list[dns.Record]:
        found: dict[str, None] = {}
        for record in targets:
            if isinstance(record.data, dns.Srv):
                found[record.data.target] = None
        return [record for name in found for record in self._records(name) or () if record.type in (dns.A, dns.AAAA)]


def _part(service: str, slice_: str) -> str:
    return f"{service} {slice_}"


def _of_type(records: Sequence[dns.Record], type_: int) -> Sequence[dns.Record]:
    return records if type_ == dns.ANY else [record for record in records if record.type == type_]


def _pod_records(name: str, rest: str) -> Sequence[dns.Record] | None:
    """`<dashed address>.<namespace>` below pod.<domain> is that address; every namespace is taken to exist."""
    label, dot, namespace = rest.partition(".")
    if "." in namespace:
        return None
    if not dot:
        return ()
    packed = dns.packed_address(label.replace("-", ".")) if label.count("-") == 3 else None
    packed = packed or dns.packed_address(label.replace("-", ":"))
    return [_address(name, packed)] if packed else None


def _reverse_zone(network: str) -> str:
    """The reverse name of the whole labels of a network: 7.10.in-addr.arpa for 10.7.0.0/16 and 10.7.0.0/20."""
    parsed = ipaddress.ip_network(network)
    bits = 8 if parsed.version == 4 else 4
    labels = parsed.network_address.reverse_pointer.split(".")
    kept = parsed.prefixlen // bits
    return ".".join(labels[len(labels) - 2 - kept :])


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
