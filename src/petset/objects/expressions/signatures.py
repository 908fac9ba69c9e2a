"""What functions and operators take and give, by types: those of CEL's standard, its extensions, and Kubernetes' own.

`of` gives the overloads of a function: the types of what it is called on and of its arguments, and that of its value.
A and B stand for any type, the same one wherever they stand. A function that is not here takes and gives what the
runtime says.
Follows: the CEL language definition (standard definitions), and "Common Expression Language in Kubernetes".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from petset.objects.expressions import rewriting, types
from petset.objects.expressions.types import Type

Overload = tuple[tuple[Type, ...], Type]

_NUMBERS = ("int", "uint", "double")
_ORDERED = ("bool", "string", "bytes", "timestamp", "duration")
_COMPARED = "; ".join(
    [f"{one}, {other} -> bool" for one in _NUMBERS for other in _NUMBERS]
    + [f"{one}, {one} -> bool" for one in _ORDERED]
)
_EXTREME = "; ".join(f"list({one}) -> {one}" for one in (*_NUMBERS, *_ORDERED))
_TIME_PART = "timestamp -> int; timestamp, string -> int"
_TIME_OR_SPAN = f"{_TIME_PART}; duration -> int"
_OF_QUANTITY = "quantity, quantity -> quantity; quantity, int -> quantity"
_BETWEEN = "quantity, quantity -> {0}; semver, semver -> {0}"

_NAMES: Mapping[str, str] = {  # Of types of Kubernetes' own.
    "quantity": "kubernetes.Quantity",
    "semver": "kubernetes.Semver",
    "url": "kubernetes.URL",
    "format": "kubernetes.NamedFormat",
    "ip": "net.IP",
    "cidr": "net.CIDR",
    "authorizer": "kubernetes.authorization.Authorizer",
    "path": "kubernetes.authorization.PathCheck",
    "group": "kubernetes.authorization.GroupCheck",
    "resource": "kubernetes.authorization.ResourceCheck",
    "decision": "kubernetes.authorization.Decision",
}

_TABLE: Mapping[str, str] = {
    "!_": "bool -> bool",
    "-_": "int -> int; double -> double",
    "_&&_": "bool, bool -> bool",
    "_||_": "bool, bool -> bool",
    "@not_strictly_false": "bool -> bool",
    "_?_:_": "bool, A, A -> A",
    "_==_": "A, A -> bool",
    "_!=_": "A, A -> bool",
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), _COMPARED),
    "_+_": "int, int -> int; uint, uint -> uint; double, double -> double; string, string -> string; "
    "bytes, bytes -> bytes; list(A), list(A) -> list(A); timestamp, duration -> timestamp; "
    "duration, timestamp -> timestamp; duration, duration -> duration",
    "_-_": "int, int -> int; uint, uint -> uint; double, double -> double; timestamp, timestamp -> duration; "
    "timestamp, duration -> timestamp; duration, duration -> duration",
    "_*_": "int, int -> int; uint, uint -> uint; double, double -> double",
    "_/_": "int, int -> int; uint, uint -> uint; double, double -> double",
    "_%_": "int, int -> int; uint, uint -> uint",
    "@in": "A, list(A) -> bool; A, map(A, B) -> bool",
    "_[_]": "list(A), int -> A; map(A, B), A -> B; optional_type(list(A)), int -> optional_type(A); "
    "optional_type(map(A, B)), A -> optional_type(B)",
    "_[?_]": "list(A), int -> optional_type(A); map(A, B), A -> optional_type(B); "
    "optional_type(list(A)), int -> optional_type(A); optional_type(map(A, B)), A -> optional_type(B)",
    # Optionals.
    "optional.of": "A -> optional_type(A)",
    "optional.ofNonZeroValue": "A -> optional_type(A)",
    "optional.none": "-> optional_type(?)",
    "hasValue": "optional_type(A) -> bool",
    "value": "optional_type(A) -> A",
    "orValue": "optional_type(A), A -> A",
    "or": "optional_type(A), optional_type(A) -> optional_type(A)",
    # Conversions.
    "dyn": "A -> dyn",
    "type": "A -> type(dyn)",
    "size": "string -> int; bytes -> int; list(A) -> int; map(A, B) -> int",
    "bool": "bool -> bool; string -> bool",
    "int": "int -> int; uint -> int; double -> int; string -> int; timestamp -> int; duration -> int",
    "uint": "uint -> uint; int -> uint; double -> uint; string -> uint",
    "double": "double -> double; int -> double; uint -> double; string -> double",
    "bytes": "bytes -> bytes; string -> bytes",
    "string": "string -> string; bool -> string; int -> string; uint -> string; double -> string; bytes -> string; "
    "timestamp -> string; duration -> string; ip -> string; cidr -> string",
    "timestamp": "timestamp -> timestamp; string -> timestamp; int -> timestamp",
    "duration": "duration -> duration; string -> duration; int -> duration",
    # Times.
    **dict.fromkeys(("getHours", "getMinutes", "getSeconds", "getMilliseconds"), _TIME_OR_SPAN),
    **dict.fromkeys(
        ("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"), _TIME_PART
    ),
    # Texts.
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches"), "string, string -> bool"),
    **dict.fromkeys(("lowerAscii", "upperAscii", "trim", "strings.quote"), "string -> string"),
    "reverse": "string -> string; list(A) -> list(A)",
    "charAt": "string, int -> string",
    "indexOf": "string, string -> int; string, string, int -> int; list(A), A -> int",
    "lastIndexOf": "string, string -> int; string, string, int -> int; list(A), A -> int",
    "join": "list(string) -> string; list(string), string -> string",
    "split": "string, string -> list(string); string, string, int -> list(string)",
    "replace": "string, string, string -> string; string, string, string, int -> string",
    "substring": "string, int -> string; string, int, int -> string",
    "format": "string, list(dyn) -> string",
    "find": "string, string -> string",
    "findAll": "string, string -> list(string); string, string, int -> list(string)",
    "base64.encode": "bytes -> string",
    "base64.decode": "string -> bytes",
    "jsonpatch.escapeKey": "string -> string",
    # Lists.
    "isSorted": "; ".join(f"list({one}) -> bool" for one in (*_NUMBERS, *_ORDERED)),
    "sum": "; ".join(f"list({one}) -> {one}" for one in (*_NUMBERS, "duration")),
    "min": _EXTREME,
    "max": _EXTREME,
    "includes": "A, list(B) -> bool",  # As rewriting.py has it, too.
    "slice": "list(A), int, int -> list(A)",
    "flatten": "list(list(A)) -> list(A); list(dyn) -> list(dyn); list(dyn), int -> list(dyn)",
    "sort": "; ".join(f"list({one}) -> list({one})" for one in (*_NUMBERS, *_ORDERED)),
    "@sortByAssociatedKeys": "; ".join(f"list(A), list({one}) -> list(A)" for one in (*_NUMBERS, *_ORDERED)),
    "distinct": "list(A) -> list(A)",
    "lists.range": "int -> list(int)",
    "first": "list(A) -> optional_type(A)",
    "last": "list(A) -> optional_type(A)",
    rewriting.MERGED: "list(map(A, B)) -> map(A, B)",
    **{f"sets.{name}": "list(A), list(A) -> bool" for name in ("contains", "intersects", "equivalent")},
    # Quantities, versions, addresses, URLs, formats.
    **{f"is{name}": "string -> bool" for name in ("Quantity", "URL", "IP", "CIDR")},
    **{name: f"string -> {name}" for name in ("quantity", "url", "cidr")},
    "semver": "string -> semver; string, bool -> semver",
    "isSemver": "string -> bool; string, bool -> bool",
    "ip": "string -> ip; cidr -> ip",
    "isGreaterThan": _BETWEEN.format("bool"),
    "isLessThan": _BETWEEN.format("bool"),
    "compareTo": _BETWEEN.format("int"),
    "add": _OF_QUANTITY,
    "sub": _OF_QUANTITY,
    "sign": "quantity -> int",
    "isInteger": "quantity -> bool",
    "asInteger": "quantity -> int",
    "asApproximateFloat": "quantity -> double",
    **dict.fromkeys(("major", "minor", "patch"), "semver -> int"),
    **dict.fromkeys(("getScheme", "getHost", "getHostname", "getPort", "getEscapedPath"), "url -> string"),
    "getQuery": "url -> map(string, list(string))",
    "ip.isCanonical": "string -> bool",
    "family": "ip -> int",
    **dict.fromkeys(
        ("isUnspecified", "isLoopback", "isLinkLocalMulticast", "isLinkLocalUnicast", "isGlobalUnicast"), "ip -> bool"
    ),
    "containsIP": "cidr, ip -> bool; cidr, string -> bool",
    "containsCIDR": "cidr, cidr -> bool; cidr, string -> bool",
    "masked": "cidr -> cidr",
    "prefixLength": "cidr -> int",
    "validate": "format, string -> list(list(string))",  # As rewriting.py has it.
    "format.named": "string -> list(format)",
    # Access.
    "serviceAccount": "authorizer, string, string -> authorizer",
    "path": "authorizer, string -> path",
    "group": "authorizer, string -> group",
    "resource": "group, string -> resource",
    **dict.fromkeys(
        ("subresource", "namespace", "name", "fieldSelector", "labelSelector"), "resource, string -> resource"
    ),
    "check": "path, string -> decision; resource, string -> decision",
    "allowed": "decision -> bool",
    "errored": "decision -> bool",
    "error": "decision -> string",
    "reason": "decision -> string",
}
_FORMAT = re.compile(r"format\.\w+")
_TOKEN = re.compile(r"[^\s(),]+|[(),]")


@functools.cache
def of(function: str) -> Sequence[Overload] | None:
    """None for a function that is not known."""
    text = _TABLE.get(function) or ("-> format" if _FORMAT.fullmatch(function) else None)
    return None if text is None else [_overload(one) for one in text.split(";")]


def _overload(text: str) -> Overload:
    given, _, result = text.partition("->")
    return tuple(_types(given)), _types(result)[0]


def _types(text: str) -> list[Type]:
    return _parsed(_TOKEN.findall(text), 0)[0]


def _parsed(tokens: Sequence[str], at: int) -> tuple[list[Type], int]:
    found: list[Type] = []
    while at < len(tokens) and tokens[at] != ")":
        name, at = tokens[at], at + 1
        inner: list[Type] = []
        if at < len(tokens) and tokens[at] == "(":
            inner, at = _parsed(tokens, at + 1)
            at += 1  # Past the bracket.
        if at < len(tokens) and tokens[at] == ",":
            at += 1
        found.append(Type(_NAMES.get(name, name), tuple(inner)))
    return found, at


def matched(overloads: Sequence[Overload], given: Sequence[Type]) -> Type | None:
    """The type of the value for arguments of these types: dyn where overloads that fit differ; None where none fits."""
    results: list[Type] = []
    for parameters, result in overloads:
        if len(parameters) != len(given):
            continue
        bound: dict[str, Type] = {}
        if all(_fits(parameter, one, bound) for parameter, one in zip(parameters, given)):
            results.append(_filled(result, bound))
    if not results:
        return None
    first = results[0]
    return first if all(_same(first, other) for other in results[1:]) else types.DYN


def _same(one: Type, other: Type) -> bool:
    return one.kind == other.kind and len(one.of) == len(other.of) and all(map(_same, one.of, other.of))


def _fits(parameter: Type, given: Type, bound: dict[str, Type]) -> bool:
    if parameter.kind in ("A", "B"):
        known = bound.get(parameter.kind)
        made = given if known is None else types.joined(known, given)
        if made is not None:
            bound[parameter.kind] = made
        return made is not None
    if parameter.kind == "dyn" or given.kind in ("dyn", "?"):
        for inner in parameter.of:
            _fits(inner, types.DYN, bound)
        return True
    if parameter.kind != given.kind:
        return False
    return all(_fits(inner, part, bound) for inner, part in zip(parameter.of, given.of))


def _filled(result: Type, bound: Mapping[str, Type]) -> Type:
    if result.kind in ("A", "B"):
        return bound.get(result.kind, types.DYN)
    return Type(result.kind, tuple(_filled(inner, bound) for inner in result.of)) if result.of else result
