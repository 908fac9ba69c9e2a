"""JSON trees as Kubernetes' protobuf: what a Go client is answered that takes nothing else.

The other way of reading.py, over the same messages. How a message is written is put together once, when its kind is
first asked for: a writer a field, in the order of their numbers. Trees are those that the server answers with, so their
types are right; a field that a message does not have is left out.
Format: protobuf's encoding document, proto2; a list has its metadata first and its items second, whatever its kind.
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.objects.protobuf import messages

Writer = Callable[[Any], bytes]

_LIST = "List"
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_SIGNED = 1 << 64
_YEAR_1 = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def has(api_version: str, kind: str) -> bool:
    """Whether objects of a kind, or lists of them, can be written."""
    return _message(api_version, kind) is not None or _item(api_version, kind) is not None


def dumps(obj: Object) -> bytes:
    """An object or a list with its envelope. Raises ValueError for a kind that has no message."""
    version, kind = obj.get("apiVersion", "v1"), obj.get("kind", "")  # What /api says has no version.
    message = _message(version, kind)
    if message is not None:
        return envelope(version, kind, writer(message)(obj))
    metadata: Any = obj.get("metadata") or {}
    return listed(version, kind, metadata, items(version, kind, obj.get("items") or ()))


def envelope(version: str, kind: str, raw: bytes) -> bytes:
    """The bytes of an object in a runtime.Unknown, as they are sent."""
    about = _bytes(1, _bytes(1, version.encode()) + _bytes(2, kind.encode()))
    return b"".join((messages.MAGIC, about, _bytes(2, raw), _bytes(3, b""), _bytes(4, b"")))


def listed(version: str, kind: str, metadata: Object, written: bytes) -> bytes:
    """A list of what `items` has written, with its envelope."""
    return envelope(version, kind, _bytes(1, writer("meta.ListMeta")(metadata)) + written)


def items(version: str, kind: str, objects: Iterable[Object]) -> bytes:
    """Objects as the items of a list of this kind. Raises ValueError for a kind that has no message."""
    message = _item(version, kind)
    if message is None:
        raise ValueError(f"{kind} of {version} has no form in protobuf")
    write = writer(message)
    return b"".join([_bytes(2, write(obj)) for obj in objects])


def event(kind: str, obj: bytes) -> bytes:
    """A watch's event about an object with its envelope, framed by its length."""
    data = _bytes(1, kind.encode()) + _bytes(2, _bytes(1, obj))
    return struct.pack(">I", len(data)) + data


def _message(version: str, kind: str) -> str | None:
    return messages.of_kind(version, kind)


def _item(version: str, kind: str) -> str | None:
    return _message(version, kind.removesuffix(_LIST)) if kind.endswith(_LIST) else None


# -- messages -----------------------------------------------------------------------------------------------------


@functools.cache
def writer(message: str) -> Writer:
    """What writes a message's fields. There are as many as the API has messages."""
    fields = [
        (key, _field(int(number), shape, flags))
        for number, (key, shape, flags) in sorted(messages.fields(message).items(), key=lambda item: int(item[0]))
    ]
    inline = [write for key, write in fields if not key]
    named = [(key, write) for key, write in fields if key]

    def write_message(tree: Mapping[str, Any]) -> bytes:
        parts = [write(value) for key, write in named if (value := tree.get(key)) is not None]
        parts.extend([write(tree) for write in inline])
        return b"".join(parts)

    return write_message


def _field(number: int, shape: str, flags: str) -> Writer:
    if shape.startswith("map "):
        return _map(number, shape[4:])
    write, wire_type = _value(shape)
    tag = _varint(number << 3 | wire_type)
    if wire_type == _BYTES:
        # What stands in the parent's own tree may have nothing in it: then it is not there.
        is_inline = "i" in flags

        def with_length(value: Any) -> bytes:
            data = write(value)
            return b"" if is_inline and not data else b"".join((tag, _varint(len(data)), data))

        one: Writer = with_length
    else:
        one = lambda value: tag + write(value)  # noqa: E731
    if "r" in flags:
        return lambda values: b"".join([one(value) for value in values])
    return one


def _map(number: int, shape: str) -> Writer:
    write = _field(2, shape, "")

    def write_map(tree: Mapping[str, Any]) -> bytes:
        return b"".join([_bytes(number, _bytes(1, key.encode()) + write(tree[key])) for key in sorted(tree)])

    return write_map


def _value(shape: str) -> tuple[Writer, int]:
    """(what writes a value, its wire type)."""
    if scalar := _SCALARS.get(shape):
        return scalar
    return (lambda tree: writer(shape)(tree)), _BYTES  # A message may hold itself, so it is looked up when it is met.


def _integer(value: int) -> bytes:
    return _varint(value if value >= 0 else value + _SIGNED)


def _time(text: str) -> bytes:
    gone = datetime.fromisoformat(text) - _YEAR_1
    seconds = gone.days * 86400 + gone.seconds - messages.EPOCH_SECONDS
    return _number(1, seconds) + _number(2, gone.microseconds * 1000)


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return _number(1, 1) + _number(2, 0) + _bytes(3, value.encode())
    return _number(1, 0) + _number(2, value) + _bytes(3, b"")


def _schema(tree: Mapping[str, Any]) -> bytes:
    return writer(messages.SCHEMA)(tree)


def _schema_or_array(value: Any) -> bytes:
    if meta.is_struct(value):
        return _bytes(1, _schema(value))
    return b"".join([_bytes(2, _schema(each)) for each in value])


def _schema_or_bool(value: Any) -> bytes:
    return _number(1, 1) + _bytes(2, _schema(value)) if meta.is_struct(value) else _number(1, value)


def _schema_or_strings(value: Any) -> bytes:
    if meta.is_struct(value):
        return _bytes(1, _schema(value))
    return b"".join([_bytes(2, text.encode()) for text in value])


_SCALARS: dict[str, tuple[Writer, int]] = {
    "string": (lambda text: text.encode(), _BYTES),
    "int": (_integer, _VARINT),
    "bool": (_integer, _VARINT),
    "float": (lambda number: struct.pack("<d", number), _FIXED64),
    "bytes": (base64.b64decode, _BYTES),
    "time": (_time, _BYTES),
    "microtime": (_time, _BYTES),
    "quantity": (lambda value: _bytes(1, str(value).encode()), _BYTES),
    "int-or-string": (_int_or_string, _BYTES),
    "strings": (lambda texts: b"".join([_bytes(1, text.encode()) for text in texts]), _BYTES),
    "raw": (lambda tree: _bytes(1, encoding.dumps(tree)), _BYTES),
    "schema-or-array": (_schema_or_array, _BYTES),
    "schema-or-bool": (_schema_or_bool, _BYTES),
    "schema-or-strings": (_schema_or_strings, _BYTES),
}


# -- the wire format ----------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    if value < 0x80:
        return value.to_bytes(1, "little")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups[-1] |= 0x80
        groups.append(value & 0x7F)
    return bytes(groups)


def _bytes(number: int, data: bytes) -> bytes:
    return b"".join((_varint(number << 3 | _BYTES), _varint(len(data)), data))


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _integer(value)
