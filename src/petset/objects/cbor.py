"""CBOR to and from JSON's values; the one place that imports cbor2, when CBOR is first met.

What strangers send may be nothing but JSON in another form: maps, lists, texts (as text or as bytes, which is how
upstream's clients write them), whole and broken numbers, true, false and null. Of the tags only those are taken that
say how bytes are written in JSON, and the one that says "this is CBOR"; a key may stand in a map once. The limits are
those of encoding.py. Formats: RFC 8949; KEP-4222 has Kubernetes' choices.
"""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Callable
from typing import Any

from petset.objects import encoding
from petset.objects.meta import Json

MEDIA_TYPE, SEQUENCE_MEDIA_TYPE = "application/cbor", "application/cbor-seq"
SELF_DESCRIBED = b"\xd9\xd9\xf7"  # Tag 55799: the first bytes of whatever is not part of something larger.

_INTEGERS = range(-(2**63), 2**64)


def loads(data: bytes) -> Json:
    """The tree; raises ValueError."""
    library = _library()
    rest = io.BytesIO(data.removeprefix(SELF_DESCRIBED))
    decoder = library.CBORDecoder(
        rest,
        semantic_decoders=_refusals(),
        max_depth=encoding.NESTING_LEVELS_MAX + 1,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
    try:
        tree = decoder.decode()
    except (library.CBORError, UnicodeError, OverflowError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None
    if rest.read(1):
        raise ValueError("something follows it")
    tree = _Values(library.CBORTag).of(tree)
    encoding.refuse_deep(tree)
    return tree


def dumps(tree: Any) -> bytes:
    """A tree that came from any `loads`, without what says that it is CBOR."""
    return _library().dumps(tree)


def event(kind: str, obj: bytes) -> bytes:
    """A watch's event about an encoded object; one follows the other without a frame (RFC 8742)."""
    return b"\xa2" + dumps("type") + dumps(kind) + dumps("object") + obj


def list_head(count: int) -> bytes:
    """What stands before as many values to make a list of them."""
    if count < 24:
        return bytes((0x80 | count,))
    return b"\x9a" + count.to_bytes(4, "big")


# What says that bytes are base64 in JSON, in one of its alphabets or hexadecimal: base64 is what Kubernetes has.
_BYTES_TAGS = (21, 22, 23)
# Those that the library has a meaning for; any other becomes a value that is refused.
_KNOWN_TAGS = (*range(6), 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)


class _Values:
    """One body's values, counted: shared parts could make a few bytes become many."""

    def __init__(self, tag: Any) -> None:
        self._tag = tag
        self._count = 0

    def of(self, value: Any) -> Json:
        self._count += 1
        if self._count > encoding.VALUES_MAX:
            raise ValueError(f"it has more than {encoding.VALUES_MAX} values")
        match value:
            case None | bool() | str():
                return value
            case bytes():
                return value.decode()  # UnicodeDecodeError is a ValueError.
            case int() if value in _INTEGERS:
                return value
            case float() if math.isfinite(value):
                return value
            case list():
                return [self.of(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
            case dict():
                return self._map(value)  # pyright: ignore[reportUnknownArgumentType]
            case self._tag() if value.tag in _BYTES_TAGS and isinstance(value.value, bytes):
                return base64.b64encode(value.value).decode()
            case _:
                raise ValueError("it has a value that JSON has not")

    def _map(self, value: dict[Any, Any]) -> Json:
        tree = {_key(key): self.of(each) for key, each in value.items()}
        if len(tree) != len(value):
            raise ValueError("a key is once a text, and once the same as bytes")
        return tree


def _key(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode()
    if isinstance(key, str):
        return key
    raise ValueError("a key of a map is no text")


def _refuse(decoder: Any, immutable: bool) -> Any:
    raise ValueError("it has a tag that means nothing here")


@functools.cache
def _refusals() -> dict[int, Callable[[Any, bool], Any]]:
    return dict.fromkeys(_KNOWN_TAGS, _refuse)


@functools.cache
def _library() -> Any:
    import cbor2

    return cbor2
