"""Quantities (500m, 1Gi, 1e3): exact parsing, comparison and the canonical spelling the API server writes.

A quantity is a number with a suffix: binary (Ki .. Ei), decimal (n u m "" k M G T P E) or a decimal exponent. It is
kept as an exact fraction, rounded up to whole nanos as upstream does, and is spelled with the largest suffix that
leaves no fraction, in the suffix family it was written in. All functions take the text as objects carry it and are
cached, since the same few spellings occur in every pod.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from petset.base import memory

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SHAPE = re.compile(r"^([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,9}|)$", re.ASCII)
TEXT_CHARACTERS_MAX = 64
EXPONENT_MAX = 64
VALUE_MAX = 2**63 - 1  # Larger values are capped, as upstream caps them.


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact value and the suffix family it was written in: binary, decimal or exponent."""

    value: Fraction
    family: str

    def __str__(self) -> str:
        return _spell(self)


@memory.cached(4096)
def parse(text: str) -> Quantity:
    """The quantity; raises ValueError."""
    match = _SHAPE.match(text) if len(text) <= TEXT_CHARACTERS_MAX else None
    if match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    sign, digits, suffix = match.groups()
    if digits.endswith("."):
        digits += "0"
    value = Fraction(digits)
    if suffix in _BINARY:
        value, family = value * _BINARY[suffix], "binary"
    elif suffix in _DECIMAL:
        value, family = value * Fraction(10) ** _DECIMAL[suffix], "decimal"
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > EXPONENT_MAX:
            raise ValueError("unable to parse quantity's suffix")
        value, family = value * Fraction(10) ** exponent, "exponent"
    value = Fraction(-(-value.numerator * 10**9 // value.denominator), 10**9)  # Rounded up to whole nanos.
    value = min(value, Fraction(VALUE_MAX))
    return Quantity(-value if sign == "-" else value, family)


def _spell(quantity: Quantity) -> str:
    value, family = quantity.value, quantity.family
    if value == 0:
        return "0"
    if family == "binary" and abs(value) < 1024:
        family = "decimal"  # 512 needs no binary suffix, and 0.5Gi is spelled in Mi.
    if family == "binary" and value.denominator == 1:
        for suffix, factor in reversed(_BINARY.items()):
            if value.numerator % factor == 0:
                return f"{value.numerator // factor}{suffix}"
        return str(value.numerator)
    for suffix, exponent in reversed(_DECIMAL.items()):
        scaled = value / Fraction(10) ** exponent
        if scaled.denominator == 1:
            if family == "exponent" and exponent:
                return f"{scaled.numerator}e{exponent}"
            return f"{scaled.numerator}{suffix}"
    raise AssertionError("a quantity is a whole number of nanos")


@memory.cached(4096)
def canonical(text: str) -> str:
    """The spelling the API server stores: 1024Mi -> 1Gi, 0.5 -> 500m, 1000m -> 1."""
    return _spell(parse(text))


def compare(a: str, b: str) -> int:
    """-1, 0 or 1."""
    left, right = parse(a).value, parse(b).value
    return (left > right) - (left < right)


@memory.cached(4096)
def to_bytes(text: str) -> int:
    """The value rounded up to a whole number: bytes, counts."""
    value = parse(text).value
    return -(-value.numerator // value.denominator)


@memory.cached(4096)
def to_milli(text: str) -> int:
    """Thousandths, rounded up: CPU."""
    value = parse(text).value * 1000
    return -(-value.numerator // value.denominator)


def total(texts: Iterable[str]) -> str:
    """The sum, spelled in the first one's family; "0" for none."""
    value, family = Fraction(0), ""
    for text in texts:
        quantity = parse(text)
        value, family = value + quantity.value, family or quantity.family
    return _spell(Quantity(value, family or "decimal"))
