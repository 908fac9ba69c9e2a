"""ServiceCIDR and IPAddress: networks that services get addresses of, and whose each address is
(networking.k8s.io/v1).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from petset.base import well_known
from petset.objects import filling, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import IMMUTABLE, Errors, immutable, listed, named, optional

FAMILIES = 2
MANAGER = "ipallocator.k8s.io"  # Of the addresses that the server itself gives.
DEFAULT_NETWORK = "kubernetes"  # The name of the ServiceCIDR that a cluster begins with.


def networks_of(obj: Object) -> list[ipaddress.IPv4Network]:
    """A ServiceCIDR's networks of the family that is served."""
    return [ipaddress.IPv4Network(text, False) for text in meta.texts(obj, "spec", "cidrs") if ":" not in text]


def number_of(address: str) -> int | None:
    """An IPv4 address as a number; None for what is none."""
    try:
        return int(ipaddress.IPv4Address(address))
    except ValueError:
        return None


def is_managed(obj: Object) -> bool:
    """Whether an IPAddress was made for the Service that has it."""
    return meta.labels(obj).get(well_known.MANAGED_BY_IP_LABEL) == MANAGER


def _check_networks(cidrs: Sequence[str], path: str) -> Errors:
    if not cidrs:
        yield FieldError.required(path, "at least one CIDR required")
        return
    if len(cidrs) > FAMILIES:
        yield FieldError.invalid(path, list(cidrs), f"may only hold up to {FAMILIES} values")
        return
    wrong = [FieldError.invalid(f"{path}[{i}]", one, why) for i, one in enumerate(cidrs) if (why := names.cidr(one))]
    yield from wrong
    if not wrong and len(cidrs) == FAMILIES and len({":" in one: None for one in cidrs}) == 1:
        why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        yield FieldError.invalid(path, list(cidrs), why)


@listed
def validate_network(obj: Object) -> Errors:
    yield from _check_networks(meta.texts(meta.part(obj, "spec"), "cidrs"), "spec.cidrs")


@listed
def validate_network_update(new: Object, old: Object) -> Errors:
    """The networks stay; one of the other family may come."""
    wanted, given = (list(meta.texts(meta.part(one, "spec"), "cidrs")) for one in (new, old))
    if len(wanted) != len(given) and (len(given), len(wanted)) != (1, FAMILIES):
        yield FieldError.invalid("spec.cidrs", wanted, IMMUTABLE)
        return
    for index, one in enumerate(given):
        if wanted[index] != one:
            yield FieldError.invalid(f"spec.cidrs[{index}]", wanted[index], IMMUTABLE)


def network_cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), ",".join(meta.texts(meta.part(obj, "spec"), "cidrs")), tables.age(obj, now)]


SERVICECIDRS = Kind(
    "networking.k8s.io",
    "v1",
    "servicecidrs",
    "ServiceCIDR",
    False,
    subresources=STATUS,
    prepare=filling.status_of_new({}),
    validate=validate_network,
    validate_update=validate_network_update,
    printer=tables.Printer(tables.columns("Name, CIDRs, Age"), network_cells),
)


@listed
def validate_address(obj: Object) -> Errors:
    parent, path = meta.get(obj, "spec", "parentRef"), "spec.parentRef"
    if parent is None:
        yield FieldError.required(path)
        return
    yield from optional(parent.get("group"), f"{path}.group", names.subdomain)
    for field in ("resource", "name"):
        yield from named(parent.get(field), f"{path}.{field}", names.path_segment)
    yield from optional(parent.get("namespace"), f"{path}.namespace", names.path_segment)


@listed
def validate_address_update(new: Object, old: Object) -> Errors:
    yield from immutable(meta.part(new, "spec"), meta.part(old, "spec"), "spec", "parentRef")


def address_cells(obj: Object, now: float) -> list[Any]:
    parent = meta.part(obj, "spec", "parentRef")
    shown = (parent.get("group"), parent.get("resource"), parent.get("namespace"), parent.get("name"))
    return [tables.name(obj), "/".join(part for part in shown if part), tables.age(obj, now)]


IPADDRESSES = Kind(
    "networking.k8s.io",
    "v1",
    "ipaddresses",
    "IPAddress",
    False,
    short_names=("ip",),
    validate=validate_address,
    validate_update=validate_address_update,
    name_rule=names.ip,
    printer=tables.Printer(tables.columns("Name, ParentRef, Age"), address_cells),
)

KINDS = (SERVICECIDRS, IPADDRESSES)
