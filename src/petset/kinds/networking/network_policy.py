"""NetworkPolicy: who may speak to some pods, and whom they may speak to (networking.k8s.io/v1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from petset.kinds.pod_spec import containers
from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, each, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, label_selector, listed, named, one_of

TYPES_MAX = 2


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    for field in ("ingress", "egress"):
        spec = at(spec, field, lambda rules: each(rules, _rule))
    return fill_empty(spec, {"policyTypes": ["Ingress", *(["Egress"] if spec.get("egress") else [])]})


def _rule(rule: Object) -> Object:
    return at(rule, "ports", lambda ports: each(ports, lambda port: fill_empty(port, {"protocol": "TCP"})))


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from label_selector(spec.get("podSelector"), "spec.podSelector")
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(meta.parts(spec, field)):
            where = f"spec.{field}[{index}]"
            yield from _ports(meta.parts(rule, "ports"), f"{where}.ports")
            for position, peer in enumerate(meta.parts(rule, peers)):
                yield from _peer(peer, f"{where}.{peers}[{position}]")
    types = meta.texts(spec, "policyTypes")
    if len(types) > TYPES_MAX:
        yield FieldError.invalid("spec.policyTypes", list(types), "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        yield from one_of(kind, f"spec.policyTypes[{index}]", ("Egress", "Ingress"))


def _ports(ports: Sequence[Object], path: str) -> Errors:
    for index, port in enumerate(ports):
        where, number, last = f"{path}[{index}]", port.get("port"), port.get("endPort")
        if port.get("protocol"):
            yield from one_of(port["protocol"], f"{where}.protocol", containers.PROTOCOLS)
        if number is not None:
            yield from containers.port_reference(number, f"{where}.port")
        if last is None:
            continue
        if number is None:
            yield FieldError.required(f"{where}.port", "must be specified when `endPort` is specified")
        elif isinstance(number, str):
            yield FieldError.invalid(f"{where}.endPort", last, "must not be specified when `port` is non-numeric")
        elif last < number:
            yield FieldError.invalid(f"{where}.endPort", last, "must be greater than or equal to `port`")
        elif wrong := names.port(last):
            yield FieldError.invalid(f"{where}.endPort", last, wrong)


def _peer(peer: Object, path: str) -> Errors:
    given = [field for field in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(field) is not None]
    for field in ("podSelector", "namespaceSelector"):
        yield from label_selector(peer.get(field), f"{path}.{field}")
    if "ipBlock" in given:
        yield from _block(peer["ipBlock"], f"{path}.ipBlock")
    if not given:
        yield FieldError.required(path, "must specify a peer")
    elif len(given) > 1 and "ipBlock" in given:
        yield FieldError.forbidden(path, "may not specify both ipBlock and another peer")


def _block(block: Object, path: str) -> Errors:
    around = block.get("cidr") or ""
    yield from named(around, f"{path}.cidr", names.cidr)
    if names.cidr(around):
        return
    for index, inside in enumerate(meta.texts(block, "except")):
        if wrong := names.cidr(inside):
            yield FieldError.invalid(f"{path}.except[{index}]", inside, wrong)
        elif not _is_inside(inside, around):
            yield FieldError.invalid(f"{path}.except[{index}]", inside, "must be a strict subset of `cidr`")


def _is_inside(inside: str, around: str) -> bool:
    small, large = (ipaddress.ip_network(text, strict=False) for text in (inside, around))
    if small.version != large.version or small.prefixlen <= large.prefixlen:
        return False
    return int(large.network_address) <= int(small.network_address) <= int(large.broadcast_address)


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), tables.selector(meta.get(obj, "spec", "podSelector")), tables.age(obj, now)]


NETWORKPOLICIES = Kind(
    "networking.k8s.io",
    "v1",
    "networkpolicies",
    "NetworkPolicy",
    short_names=("netpol",),
    has_generation=True,
    default=defaults,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Pod-Selector, Age"), cells),
)

KINDS = (NETWORKPOLICIES,)
