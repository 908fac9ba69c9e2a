"""Request bodies as checked objects: JSON, YAML, CBOR or protobuf in, a tree of the route's kind out, or a precise 4xx.

`body` turns bytes into a tree, whatever strangers send; `checked` holds a tree against the schema of its kind the way
the write asks for (fieldValidation Strict, Warn or Ignore): unknown and repeated fields are errors, warnings or
nothing. Wrong types are always 400, missing required fields 422 together with what validation finds later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from petset.objects import cbor, encoding, errors, meta, schema
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.protobuf import messages, reading
from petset.objects.registry import Kind
from petset.server import weight, writes
from petset.server.routes import Call
from petset.server.writes import Write

OBJECT_BYTES_MAX = 3 * 1024 * 1024 // 2
SHOWN_BYTES_MAX = 30  # Of a body that cannot be read.
JSON_TYPES = ("application/json", "text/json", "")
YAML_TYPES = ("application/yaml", "text/yaml", "application/x-yaml")


async def body(call: Call) -> Any:
    """The request's body as a tree, read beside the loop when it is large. Raises ApiError 400, 413 or 415."""
    return await call.work.beside(len(call.request.body), _tree, call, writes.media_type(call))


def _tree(call: Call, kind: str) -> Any:
    data = call.request.body
    if len(data) > OBJECT_BYTES_MAX:
        raise errors.too_large(
            f"Request entity too large: limit is {OBJECT_BYTES_MAX} bytes and the body has {len(data)}; send less"
        )
    if kind in JSON_TYPES:
        return _read(data, call.resource, "json", encoding.loads)
    if kind in YAML_TYPES:
        from petset.objects import documents

        return _read(data, call.resource, "yaml", documents.load)
    if kind == messages.MEDIA_TYPE:
        return _read(data, call.resource, "protobuf", reading.loads)
    if kind == cbor.MEDIA_TYPE:
        return _read(data, call.resource, "cbor", cbor.loads)
    raise errors.unsupported_media_type(kind[:100], ("application/json", "application/yaml", cbor.MEDIA_TYPE))


def _read(data: bytes, resource: Kind, form: str, loads: Callable[[bytes], Any]) -> Any:
    try:
        return loads(data)
    except ValueError as error:
        begin = data[:SHOWN_BYTES_MAX].hex() + (" ..." if len(data) > SHOWN_BYTES_MAX else "")
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get version/kind; "
            f"{form} parse error: {error} ({begin})"
        ) from None


_FIRST = ["apiVersion", "kind"]


def typed(tree: Any, resource: Kind) -> dict[str, Any]:
    """The tree, when it is an object of the resource's kind (both may be left out). Raises ApiError 400."""
    if not meta.is_struct(tree):
        raise errors.bad_request(f"cannot read the body: it is not an object of kind {resource.kind}")
    version, kind = tree.get("apiVersion") or resource.api_version, tree.get("kind") or resource.kind
    if version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({str(version)[:100]}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind != resource.kind:
        raise errors.bad_request(
            f"{str(kind)[:100]} in version {resource.version!r} cannot be handled as a {resource.kind}: "
            "the kind in the data does not match that of the URL"
        )
    if tree.get("metadata") is None:
        tree = {**tree, "metadata": {}}
    elif not isinstance(tree["metadata"], Mapping):
        raise errors.bad_request(f"cannot read the {resource.kind}: its metadata is not an object")
    if list(islice(tree, 2)) == _FIRST and tree["apiVersion"] and tree["kind"]:
        return tree  # As it is to be stored.
    return {"apiVersion": version, "kind": kind, **{k: v for k, v in tree.items() if k not in ("apiVersion", "kind")}}


def checked(
    write: Write, tree: Any, data: bytes = b"", stored: Object | None = None, is_yaml: bool = False
) -> tuple[dict[str, Any], list[FieldError]]:
    """(the object without what its schema does not know, its missing required fields).

    `data` is the JSON or YAML that the tree came from, where repeated keys can be looked for; `stored` the object that
    it was made of, whose sections are not checked again. Raises ApiError 400.
    """
    resource, mode = write.resource, write.field_validation
    obj, unknown, missing = schema.check(typed(tree, resource), resource, stored=stored)
    if mode == writes.IGNORE:
        return obj, missing
    repeated: list[str] = []
    if data and is_yaml:
        from petset.objects import documents

        repeated = documents.repeated_keys(data)[: schema.UNKNOWN_FIELDS_TOLD_MAX]
    elif data and not encoding.has_no_duplicates(data, tree):
        repeated = [
            f'duplicate field "{path}"' for path in encoding.duplicate_fields(data)[: schema.UNKNOWN_FIELDS_TOLD_MAX]
        ]
    wrong = [*repeated, *unknown] if is_yaml else [*unknown, *repeated]  # As upstream's two decoders find them.
    if wrong and mode == writes.STRICT:
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {', '.join(wrong)}"
        )
    write.warnings.extend(wrong)
    return obj, missing


def patched(
    call: Call, write: Write, tree: Any, stored: Object, shown_characters_max: int = 200
) -> tuple[dict[str, Any], list[FieldError]]:
    """What a patch made of an object, checked. A strategic one with a wrong type is itself what is invalid (422)."""
    try:
        return checked(write, tree, b"", stored)
    except errors.WrongType as wrong:
        if writes.media_type(call) != writes.STRATEGIC_MERGE_PATCH:
            raise
        text = call.request.body[:shown_characters_max].decode(errors="replace")
        raise errors.invalid("", "", [FieldError.invalid("patch", text, wrong.why)]) from None


async def posted(call: Call, write: Write) -> tuple[Object, list[FieldError]]:
    """The body as a checked object of the write's kind, read beside the loop when it is large."""
    size = len(call.request.body)
    return _posted(call, write) if weight.is_light(size) else await call.work.in_turn(_posted, call, write)


def _posted(call: Call, write: Write) -> tuple[Object, list[FieldError]]:
    kind = writes.media_type(call)
    is_yaml = kind in YAML_TYPES
    is_text = is_yaml or kind in JSON_TYPES
    return checked(write, _tree(call, kind), call.request.body if is_text else b"", is_yaml=is_yaml)


async def patch_body(call: Call) -> Any:
    """A JSON patch document of any kind. Raises ApiError 400 or 413."""
    data = call.request.body
    if len(data) > OBJECT_BYTES_MAX:
        raise errors.too_large(f"Request entity too large: limit is {OBJECT_BYTES_MAX} bytes; send a smaller patch")
    try:
        return await call.work.beside(len(data), encoding.loads, data)
    except ValueError as error:
        raise errors.bad_request(f"error decoding patch: it is not JSON: {error}") from None
