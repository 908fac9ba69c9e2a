"""Kubernetes' protobuf bodies as JSON trees: what Go clients since 1.32 send for the kinds they were compiled with.

A body is the magic `k8s\\0`, an envelope with apiVersion and kind, and the object's message. messages.py has the
fields; this module knows the wire format and the few types whose JSON is not their fields. As Go's JSON encoder does,
zero values are left out unless the field says them on purpose.
Invariant: bytes of strangers raise ValueError and nothing else, and become no more values and levels than a JSON body
may have; fields that are not known count as well. Format: protobuf's encoding document, proto2.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from petset.objects import encoding
from petset.objects.protobuf import messages

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_EPOCH = datetime(1970, 1, 1)


def loads(data: bytes) -> dict[str, Any]:
    """The object of a body; raises ValueError."""
    if not data.startswith(messages.MAGIC):
        raise ValueError("it does not begin with the magic of Kubernetes' protobuf")
    reading = _Reading()
    version, kind, raw = reading.envelope(data[len(messages.MAGIC) :])
    message = messages.of_kind(version, kind)
    if message is None:
        raise ValueError(f"{version[:100]} {kind[:100]} is not known in protobuf; send JSON")
    tree = {"kind": kind, "apiVersion": version, **reading.message(raw, message, 0)}
    encoding.refuse_deep(tree)  # A raw part is JSON with levels of its own.
    return tree


class _Reading:
    """One body's way from bytes to a tree, which counts what it reads."""

    def __init__(self) -> None:
        self._values = 0

    def _count(self) -> None:
        self._values += 1
        if self._values > encoding.VALUES_MAX:
            raise ValueError(f"it has more than {encoding.VALUES_MAX} values")

    def envelope(self, data: bytes) -> tuple[str, str, bytes]:
        """(apiVersion, kind, the object's bytes) of a runtime.Unknown."""
        version = kind = ""
        raw = b""
        for number, value in self._fields(data):
            if number == 1:
                for inner, text in self._fields(_as_bytes(value)):
                    if inner == 1:
                        version = _text(text)
                    elif inner == 2:
                        kind = _text(text)
            elif number == 2:
                raw = _as_bytes(value)
            elif number == 3 and value:
                raise ValueError("its content is encoded once more")
        return version, kind, raw

    def message(self, data: bytes, name: str, level: int) -> dict[str, Any]:
        if level > encoding.NESTING_LEVELS_MAX:
            raise ValueError(f"nested deeper than {encoding.NESTING_LEVELS_MAX} levels")
        fields = messages.fields(name)
        tree: dict[str, Any] = {}
        for number, value in self._fields(data):
            known = fields.get(str(number))
            if known is None:
                continue  # A newer client's field: as in JSON, what is unknown is dropped.
            key, shape, flags = known
            if shape.startswith("map "):
                entry_key, entry_value = self._map_entry(_as_bytes(value), shape[4:], level)
                tree.setdefault(key, {})[entry_key] = entry_value
            elif "i" in flags:
                tree |= self.message(_as_bytes(value), shape, level + 1)
            elif "r" in flags:
                tree.setdefault(key, []).extend(self._repeated(value, shape, level))
            else:
                read = self._value(value, shape, level)
                if "z" in flags or read not in ("", 0, False, None):
                    tree[key] = read
        return tree

    def _repeated(self, value: int | bytes, shape: str, level: int) -> list[Any]:
        if shape in ("int", "bool") and isinstance(value, bytes):
            return [self._value(number, shape, level) for number in self._packed(value)]
        return [self._value(value, shape, level)]

    def _map_entry(self, data: bytes, shape: str, level: int) -> tuple[str, Any]:
        key, value = "", self._value(b"" if shape not in ("int", "bool") else 0, shape, level)
        for number, given in self._fields(data):
            if number == 1:
                key = _text(given)
            elif number == 2:
                value = self._value(given, shape, level)
        return key, value

    def _value(self, value: int | bytes, shape: str, level: int) -> Any:
        match shape:
            case "string":
                return _text(value)
            case "int":
                return _signed(value)
            case "bool":
                return _signed(value) != 0
            case "bytes":
                return base64.b64encode(_as_bytes(value)).decode()
            case "time" | "microtime":
                return self._time(_as_bytes(value), shape == "microtime")
            case "quantity":
                return next((_text(text) for number, text in self._fields(_as_bytes(value)) if number == 1), "0") or "0"
            case "int-or-string":
                return self._int_or_string(_as_bytes(value))
            case "float":
                return _float(_as_bytes(value))
            case "schema-or-array" | "schema-or-bool" | "schema-or-strings":
                return self._schema_or(_as_bytes(value), shape, level + 1)
            case "strings":
                return [_text(text) for number, text in self._fields(_as_bytes(value)) if number == 1]
            case "raw":
                raw = next((_as_bytes(given) for number, given in self._fields(_as_bytes(value)) if number == 1), b"")
                return encoding.loads(raw) if raw else None
            case _:
                return self.message(_as_bytes(value), shape, level + 1)

    def _time(self, data: bytes, micro: bool) -> str | None:
        given = {number: _signed(value) for number, value in self._fields(data)}
        seconds, nanoseconds = given.get(1, 0), given.get(2, 0)
        if not given or (seconds, nanoseconds) == (-messages.EPOCH_SECONDS, 0):
            return None  # Go's zero time, left out or written: null in JSON.
        try:
            moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000 if micro else 0)
        except OverflowError:
            raise ValueError("a time is out of range") from None
        return moment.isoformat(timespec="microseconds" if micro else "seconds") + "Z"

    def _int_or_string(self, data: bytes) -> int | str:
        given = dict(self._fields(data))
        return _text(given.get(3, b"")) if _signed(given.get(1, 0)) == 1 else _signed(given.get(2, 0))

    def _schema_or(self, data: bytes, shape: str, level: int) -> Any:
        """A schema, or what may stand instead: several, names, or whether anything is allowed."""
        schema: dict[str, Any] | None = None
        others: list[Any] = []
        is_allowed = False
        for number, value in self._fields(data):
            if shape == "schema-or-bool" and number == 1:
                is_allowed = _signed(value) != 0
            elif number == (2 if shape == "schema-or-bool" else 1):
                schema = self.message(_as_bytes(value), messages.SCHEMA, level)
            elif number == 2:
                is_schema = shape == "schema-or-array"
                others.append(self.message(_as_bytes(value), messages.SCHEMA, level) if is_schema else _text(value))
        if schema is not None:
            return schema
        return is_allowed if shape == "schema-or-bool" else others

    def _fields(self, data: bytes) -> Iterator[tuple[int, int | bytes]]:
        """`fields`, counted."""
        for found in fields(data):
            self._count()
            yield found

    def _packed(self, data: bytes) -> Iterator[int]:
        for value in packed(data):
            self._count()
            yield value


# The wire format


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, varint or bytes) of a message, in order. Raises ValueError."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if size is None:
            if kind != BYTES:
                raise ValueError(f"wire type {kind} is not known")
            size, at = _varint(data, at)
        if at + size > end:
            raise ValueError("it ends too early")
        yield number, data[at : at + size]
        at += size


def packed(data: bytes) -> Iterator[int]:
    """The numbers of a packed list. Raises ValueError."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number ends too early, or never")
        byte = data[at]
        result |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a number was expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _float(data: bytes) -> float | int:
    """A double; raises ValueError for what JSON has no word for."""
    (number,) = struct.unpack("<d", data) if len(data) == 8 else (math.nan,)
    if not math.isfinite(number):
        raise ValueError("a number is none, or has no end")
    return int(number) if number.is_integer() and abs(number) < 2**63 else number


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError("text or a message was expected")


def _text(value: int | bytes) -> str:
    return _as_bytes(value).decode()  # UnicodeDecodeError is a ValueError.
