"""The functions that Kubernetes adds to CEL, as a table: patterns, quantities, URLs, addresses, versions, formats.

A value of a type of their own (a quantity, a URL, an address, a network, a version, a format) is a map with one key
that says what it is, so that equal values are equal maps. What a function raises becomes the error of the evaluation.
Follows: "Common Expression Language in Kubernetes" of the Kubernetes documentation, by name and behaviour.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from petset.objects import names, patterns, quantity, schema_nodes

FOUND_MAX = 10_000  # Matches of one findAll.
URL_CHARACTERS_MAX = 64 * 1024

Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    parameters: tuple[str, ...]  # Types by their names in cel.py; a member's first one is what it is called on.
    result: str
    function: Callable[..., Any]
    is_member: bool = False


def _of(value: Value, *kinds: str) -> Any:
    """What a value of one of these kinds holds. Raises ValueError."""
    for kind in kinds:
        if kind in value:
            return value[kind]
    raise ValueError(f"no such overload: it is no {' or '.join(kinds)}")


def _is(made: Callable[..., Any]) -> Callable[..., bool]:
    def is_one(*given: Any) -> bool:
        try:
            made(*given)
        except ValueError:
            return False
        return True

    return is_one


def _pointer_key(text: str) -> str:
    """As a step of a JSON pointer."""
    return text.replace("~", "~0").replace("/", "~1")


# -- regular expressions


def _find(text: str, pattern: str) -> str:
    return next(patterns.compiled(pattern).found(text, 1), "")


def _find_all(text: str, pattern: str) -> list[str]:
    return _find_some(text, pattern, FOUND_MAX)


def _find_some(text: str, pattern: str, most: int) -> list[str]:
    return list(patterns.compiled(pattern).found(text, FOUND_MAX if most < 0 else min(most, FOUND_MAX)))


# -- quantities


_FRACTION = re.compile(r"-?[0-9]{1,40}(?:/[0-9]{1,10})?", re.ASCII)


def _quantity(text: str) -> Value:
    return {"quantity": str(quantity.parse(text).value)}


def _number(value: Value) -> Fraction:
    text = _of(value, "quantity")
    if not isinstance(text, str) or _FRACTION.fullmatch(text) is None:
        raise ValueError("no such overload: it is no quantity")
    return Fraction(text)


def _compared(left: Value, right: Value) -> int:
    if "semver" in left:
        return _order(_precedence(left["semver"]), _precedence(_of(right, "semver")))
    return _order(_number(left), _number(right))


def _order(before: Any, after: Any) -> int:
    return (before > after) - (before < after)


def _sum(left: Value, right: Value | int, sign: int) -> Value:
    other = right if isinstance(right, int) else _number(right)
    return {"quantity": str(_number(left) + sign * other)}


def _sign(value: Value) -> int:
    number = _number(value)
    return (number > 0) - (number < 0)


def _is_integer(value: Value) -> bool:
    number = _number(value)
    return number == int(number) and -(2**63) <= number < 2**63


def _as_integer(value: Value) -> int:
    if not _is_integer(value):
        raise ValueError("cannot convert value to integer")
    return int(_number(value))


# -- URLs


def _url(text: str) -> Value:
    if len(text) > URL_CHARACTERS_MAX:
        raise ValueError("URL parse error: it is too long")
    try:
        parsed = urlsplit(text)
        _ = parsed.port
    except ValueError as error:
        raise ValueError(f"URL parse error during conversion from string: {error}") from None
    if not (parsed.scheme and ":" in text) and not text.startswith("/"):
        raise ValueError(
            f'URL parse error during conversion from string: parse "{text[:100]}": invalid URI for request'
        )
    return {"url": text}


def _parts(value: Value) -> SplitResult:
    return urlsplit(str(_of(value, "url")))


def _host(value: Value) -> str:
    return _parts(value).netloc.rpartition("@")[2]


def _hostname(value: Value) -> str:
    host = _host(value)
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _query(value: Value) -> dict[str, list[str]]:
    return parse_qs(_parts(value).query, keep_blank_values=True, max_num_fields=1000)


# -- addresses and networks


def _ip(text: str) -> Value:
    return {"ip": str(_address(text))}


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    if "%" in text:
        raise ValueError("IP address with zone value is not allowed")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError("IPv4-mapped IPv6 address is not allowed")
    return address


def _as_text(value: Value) -> str:
    return str(_of(value, "ip", "cidr"))


def _is_canonical(text: str) -> bool:
    return str(_address(text)) == text


def _at(value: Value) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(_of(value, "ip"))


def _is_global_unicast(value: Value) -> bool:
    address = _at(value)
    special = address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local
    return not special and str(address) != "255.255.255.255"


def _is_link_local_multicast(value: Value) -> bool:
    address = _at(value)
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return int(address) >> 112 & 0xFF0F == 0xFF02


def _cidr(text: str) -> Value:
    _, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        raise ValueError("network address parse error during conversion from string: there is no prefix length")
    return {"cidr": str(ipaddress.ip_interface(text))}


def _network(value: Value) -> Any:
    return ipaddress.ip_interface(_of(value, "cidr"))


def _contains_ip(value: Value, other: Value | str) -> bool:
    address = _address(other) if isinstance(other, str) else _at(other)
    network = _network(value).network
    return address.version == network.version and address in network


def _contains_cidr(value: Value, other: Value | str) -> bool:
    inner = _network(_cidr(other) if isinstance(other, str) else other).network
    outer = _network(value).network
    return inner.version == outer.version and inner.subnet_of(outer)


# -- semantic versions

_SEMVER = re.compile(
    r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


def _semver(text: str, is_lax: bool = False) -> Value:
    text = _completed(text) if is_lax else text
    if len(text) > 256 or _SEMVER.fullmatch(text) is None:
        raise ValueError(f"semver parse error: {text[:100]!r} is no semantic version")
    return {"semver": text}


def _completed(text: str) -> str:
    """Without a v before it and zeros before its numbers, and with the numbers that it leaves out."""
    parts = [_without_zeros(part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3 and ("+" in parts[-1] or "-" in parts[-1]):
        raise ValueError("semver parse error: a short version cannot have a pre-release or build metadata")
    return ".".join([*parts, "0", "0"][: max(len(parts), 3)])


def _without_zeros(part: str) -> str:
    rest = part.lstrip("0")
    return part if len(part) < 2 else rest if rest[:1].isdigit() else f"0{rest}"


def _numbers(text: str) -> tuple[int, int, int, str]:
    match = _SEMVER.fullmatch(text)
    assert match is not None
    major, minor, patch, before = match.groups()
    return int(major), int(minor), int(patch), before or ""


def _precedence(text: str) -> tuple[Any, ...]:
    major, minor, patch, before = _numbers(text)
    if not before:
        return major, minor, patch, 1, ()
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in before.split("."))
    return major, minor, patch, 0, parts


# -- named formats


def _is_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "invalid base64"
    return ""


def _is_uuid(text: str) -> str:
    return "" if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) else "does not match UUID"


def _is_date(text: str) -> str:
    return "" if schema_nodes.time_text(text + "T00:00:00Z") else "invalid date"


def _is_date_time(text: str) -> str:
    return "" if schema_nodes.time_text(text) else "invalid datetime"


FORMATS: Mapping[str, Callable[[str], str]] = {  # What is wrong with a text, or "".
    "dns1123Label": names.label,
    "dns1123Subdomain": names.subdomain,
    "dns1035Label": names.label_1035,
    "qualifiedName": names.qualified,
    "labelValue": names.label_value,
    "dns1123LabelPrefix": lambda text: names.label(text.rstrip("-") + "x"),
    "dns1123SubdomainPrefix": lambda text: names.subdomain(text.rstrip("-.") + "x"),
    "dns1035LabelPrefix": lambda text: names.label_1035(text.rstrip("-") + "x"),
    "uri": lambda text: "" if _is(_url)(text) else "invalid URI",
    "uuid": _is_uuid,
    "byte": _is_base64,
    "date": _is_date,
    "datetime": _is_date_time,
}


def _wrong(value: Value, text: str) -> list[list[str]]:
    """A list of what is wrong with a text; of nothing where it follows the format."""
    wrong = FORMATS[_of(value, "format")](text)
    return [[wrong]] if wrong else []


def _format_named(name: str) -> list[Value]:
    """As rewriting.py has it: a list of one or none."""
    return [{"format": name}] if name in FORMATS else []


def _format(name: str) -> Callable[[], Value]:
    return lambda: {"format": name}


Unary = Callable[[Value], Any]
Binary = Callable[[Value, Any], Any]


def _asks(name: str, result: str, function: Unary) -> Function:
    """A member of a value of a type of its own."""
    return Function(name, ("MAP",), result, function, True)


def _asks_with(name: str, other: str, result: str, function: Binary) -> Function:
    return Function(name, ("MAP", other), result, function, True)


TABLE: Sequence[Function] = (
    Function("find", ("STRING", "STRING"), "STRING", _find, True),
    Function("findAll", ("STRING", "STRING"), "LIST", _find_all, True),
    Function("findAll", ("STRING", "STRING", "INT"), "LIST", _find_some, True),
    Function("quantity", ("STRING",), "MAP", _quantity),
    Function("isQuantity", ("STRING",), "BOOL", _is(_quantity)),
    Function("url", ("STRING",), "MAP", _url),
    Function("isURL", ("STRING",), "BOOL", _is(_url)),
    Function("ip", ("STRING",), "MAP", _ip),
    Function("isIP", ("STRING",), "BOOL", _is(_ip)),
    Function("ip.isCanonical", ("STRING",), "BOOL", _is_canonical),
    Function("cidr", ("STRING",), "MAP", _cidr),
    Function("isCIDR", ("STRING",), "BOOL", _is(_cidr)),
    Function("semver", ("STRING",), "MAP", _semver),
    Function("jsonpatch.escapeKey", ("STRING",), "STRING", _pointer_key),
    Function("semver", ("STRING", "BOOL"), "MAP", _semver),
    Function("isSemver", ("STRING",), "BOOL", _is(_semver)),
    Function("isSemver", ("STRING", "BOOL"), "BOOL", _is(_semver)),
    Function("string", ("MAP",), "STRING", _as_text),
    Function("format.named", ("STRING",), "LIST", _format_named),
    *(Function(f"format.{name}", (), "MAP", _format(name)) for name in FORMATS),
    _asks_with("validate", "STRING", "LIST", _wrong),
    # Quantities, and versions.
    _asks_with("isGreaterThan", "MAP", "BOOL", lambda left, right: _compared(left, right) > 0),
    _asks_with("isLessThan", "MAP", "BOOL", lambda left, right: _compared(left, right) < 0),
    _asks_with("compareTo", "MAP", "INT", _compared),
    _asks_with("add", "MAP", "MAP", lambda left, right: _sum(left, right, 1)),
    _asks_with("add", "INT", "MAP", lambda left, right: _sum(left, right, 1)),
    _asks_with("sub", "MAP", "MAP", lambda left, right: _sum(left, right, -1)),
    _asks_with("sub", "INT", "MAP", lambda left, right: _sum(left, right, -1)),
    _asks("sign", "INT", _sign),
    _asks("isInteger", "BOOL", _is_integer),
    _asks("asInteger", "INT", _as_integer),
    _asks("asApproximateFloat", "DOUBLE", lambda value: float(_number(value))),
    _asks("major", "INT", lambda value: _numbers(_of(value, "semver"))[0]),
    _asks("minor", "INT", lambda value: _numbers(_of(value, "semver"))[1]),
    _asks("patch", "INT", lambda value: _numbers(_of(value, "semver"))[2]),
    # URLs.
    _asks("getScheme", "STRING", lambda value: _parts(value).scheme),
    _asks("getHost", "STRING", _host),
    _asks("getHostname", "STRING", _hostname),
    _asks("getPort", "STRING", lambda value: str(_parts(value).port or "")),
    _asks("getEscapedPath", "STRING", lambda value: _parts(value).path),
    _asks("getQuery", "MAP", _query),
    # Addresses and networks.
    _asks("family", "INT", lambda value: _at(value).version),
    _asks("isUnspecified", "BOOL", lambda value: _at(value).is_unspecified),
    _asks("isLoopback", "BOOL", lambda value: _at(value).is_loopback),
    _asks("isLinkLocalMulticast", "BOOL", _is_link_local_multicast),
    _asks("isLinkLocalUnicast", "BOOL", lambda value: _at(value).is_link_local),
    _asks("isGlobalUnicast", "BOOL", _is_global_unicast),
    _asks_with("containsIP", "MAP", "BOOL", _contains_ip),
    _asks_with("containsIP", "STRING", "BOOL", _contains_ip),
    _asks_with("containsCIDR", "MAP", "BOOL", _contains_cidr),
    _asks_with("containsCIDR", "STRING", "BOOL", _contains_cidr),
    _asks("ip", "MAP", lambda value: {"ip": str(_network(value).ip)}),
    _asks("masked", "MAP", lambda value: {"cidr": str(_network(value).network)}),
    _asks("prefixLength", "INT", lambda value: _network(value).network.prefixlen),
)
