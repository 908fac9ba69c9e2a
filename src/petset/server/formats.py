"""Answers in another form than JSON, for who takes no JSON: YAML, CBOR and Kubernetes' protobuf.

Everything behind answers as JSON has it; here, at the edge, an answer becomes what the Accept header asks for. Who
takes JSON as well gets JSON, whatever he names first: it is kept encoded, and anything else is made for him alone. An
object of a kind that has no form in protobuf is 406 before anything is done. Lists are written run by run beside the
loop, watches event by event. Follows: RFC 9110, 12.5.1; KEP-4222 for CBOR.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from petset.base import well_known
from petset.objects import cbor, encoding, errors
from petset.objects.meta import Json, Object
from petset.objects.protobuf import messages, writing
from petset.server import answers, weight
from petset.server.routes import Call
from petset.wire import http

JSON = "application/json"
YAML = "application/yaml"
_ANY = (JSON, "application/*", "*/*")
_CACHED_MAX = 500
ITEM_BYTES = 4096  # What an item of a list is taken to weigh.
_PARTIAL = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """How trees are written: one at a time, the items of a list a run at a time, the events of a watch."""

    media_type: str
    dumps: Callable[[Object], bytes]
    items: Callable[[Sequence[Object], str, str], bytes]
    listed: Callable[[Object, int, bytes], bytes]
    event_media_type: str = ""  # "": not watched in this form.
    event: Callable[[str, Object], bytes] = lambda kind, obj: b""


def _yaml(obj: Object) -> bytes:
    return _yaml_dumped(dict(obj))


def _yaml_dumped(tree: Json) -> bytes:
    from petset.objects import documents

    return documents.dump(tree)


def _yaml_items(objects: Sequence[Object], version: str, kind: str) -> bytes:
    return _yaml_dumped([dict(obj) for obj in objects])


def _yaml_listed(head: Object, count: int, items: bytes) -> bytes:
    return _yaml_dumped(dict(head)) + (b"items:\n" + items if count else b"items: []\n")


def _cbor_items(objects: Sequence[Object], version: str, kind: str) -> bytes:
    return b"".join(map(cbor.dumps, objects))


def _cbor_listed(head: Object, count: int, items: bytes) -> bytes:
    body = b"".join([cbor.dumps(key) + cbor.dumps(head[key]) for key in head])
    return b"".join(
        (cbor.SELF_DESCRIBED, _map_head(len(head) + 1), body, cbor.dumps("items"), cbor.list_head(count), items)
    )


def _map_head(count: int) -> bytes:
    return bytes((0xA0 | count,))  # A list's own keys are few.


def _protobuf_items(objects: Sequence[Object], version: str, kind: str) -> bytes:
    return writing.items(version, kind, objects)


def _protobuf_listed(head: Object, count: int, items: bytes) -> bytes:
    return writing.listed(head["apiVersion"], head["kind"], head["metadata"], items)


PROTOBUF = Format(
    messages.MEDIA_TYPE,
    writing.dumps,
    _protobuf_items,
    _protobuf_listed,
    f"{messages.MEDIA_TYPE};stream=watch",
    lambda kind, obj: writing.event(kind, writing.dumps(obj)),
)
CBOR = Format(
    cbor.MEDIA_TYPE,
    lambda obj: cbor.SELF_DESCRIBED + cbor.dumps(obj),
    _cbor_items,
    _cbor_listed,
    cbor.SEQUENCE_MEDIA_TYPE,
    lambda kind, obj: cbor.event(kind, cbor.dumps(obj)),
)
_BY_MEDIA_TYPE = {
    messages.MEDIA_TYPE: PROTOBUF,
    cbor.MEDIA_TYPE: CBOR,
    cbor.SEQUENCE_MEDIA_TYPE: CBOR,
    YAML: Format(YAML, _yaml, _yaml_items, _yaml_listed),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an Accept header asks for that takes no JSON."""

    format: Format
    shape: str  # Table, PartialObjectMetadata, or "" for objects as they are.
    accept: str  # What would ask for the same as JSON.

    def as_json(self, request: http.Request) -> http.Request:
        """The request as somebody else would make it."""
        headers = tuple((name, self.accept if name == "accept" else value) for name, value in request.headers)
        return replace(request, headers=headers, takes_objects=not self.shape)


_wanted: dict[str, Wanted | None] = {}


def wanted(request: http.Request) -> Wanted | None:
    """The form that a request wants its answer in, None for JSON (or for what will be refused as such)."""
    accept = request.header("accept")
    try:
        return _wanted[accept]
    except KeyError:
        if len(_wanted) >= _CACHED_MAX:
            _wanted.clear()
        found = _wanted[accept] = _asked(accept)
        return found


def _asked(accept: str) -> Wanted | None:
    ranges = answers.media_ranges(accept)
    if not accept.strip() or any(kind in _ANY for kind, _ in ranges):
        return None
    for kind, given in ranges:
        format, shape = _BY_MEDIA_TYPE.get(kind), given.get("as", "").removesuffix("List")
        if format is None or shape not in ("", _PARTIAL, "Table") or (shape == "Table" and format is PROTOBUF):
            continue
        if not shape:
            return Wanted(format, "", JSON)
        if given.get("g") == well_known.META_GROUP and given.get("v") == "v1":
            return Wanted(format, shape, f"{JSON};as={given['as']};g={given['g']};v={given['v']}")
    return None


def require(call: Call, wanted: Wanted) -> None:
    """That what the call answers with can be written so. Raises ApiError 406."""
    kind = call.route.resource
    is_plain = not wanted.shape and not call.route.subresource
    if wanted.format is PROTOBUF and kind and is_plain and not writing.has(kind.api_version, kind.kind):
        raise _not_acceptable(f"{kind.kind} of {kind.api_version} has no form in protobuf")
    if call.verb == "watch" and not wanted.format.event_media_type:
        raise _not_acceptable(f"nothing is watched as {wanted.format.media_type}")


def _not_acceptable(why: str) -> errors.ApiError:
    taken = ", ".join((JSON, cbor.MEDIA_TYPE))
    return errors.ApiError(406, "NotAcceptable", f"only the following media types are accepted: {taken}: {why}")


async def answered(call: Call, wanted: Wanted, response: http.Response) -> http.Response:
    """The answer in the form that is wanted. Raises ApiError 406."""
    if not response.header("content-type").startswith(JSON):
        return response  # Logs, metrics and what pods answer are what they are.
    form, objects = wanted.format, response.objects
    if call.verb == "watch" and call.route.resource is not None and response.code == 200:
        pieces: Any = response.body if objects is None else objects
        return _written(response, form.event_media_type, _told(call.work, form, pieces))
    if objects is not None and call.verb in ("list", "deletecollection"):
        kind = call.route.resource
        is_custom = kind is not None and kind.custom is not None
        return _written(response, form.media_type, await _listed(call.work, form, objects, is_custom))
    if objects is not None:
        return _written(response, form.media_type, await call.work.beside(ITEM_BYTES, form.dumps, objects))
    body = response.body if isinstance(response.body, bytes) else b"".join([piece async for piece in response.body])
    try:
        return _written(response, form.media_type, await call.work.beside(len(body), _translated, form, body))
    except ValueError as error:
        raise _not_acceptable(str(error)) from None


def failure(wanted: Wanted | None, response: http.Response) -> http.Response:
    """A refusal in the form that is wanted."""
    if wanted is None or not isinstance(response.body, bytes):
        return response
    return _written(response, wanted.format.media_type, _translated(wanted.format, response.body))


def _translated(form: Format, body: bytes) -> bytes:
    return form.dumps(encoding.loads_answer(body))


def _written(response: http.Response, media_type: str, body: bytes | AsyncIterator[bytes]) -> http.Response:
    headers = tuple((name, media_type if name == "content-type" else value) for name, value in response.headers)
    return replace(response, headers=headers, body=body, objects=None, begun=None)


async def _listed(work: weight.Work, form: Format, tree: Object, is_custom: bool) -> bytes:
    head = {key: value for key, value in tree.items() if key != "items"}
    found: Sequence[Object] = tree["items"]
    made = work.in_runs(found, _item_bytes, _items, form, tree["apiVersion"], tree["kind"], is_custom)
    return form.listed(head, len(found), b"".join([run async for run in made]))


def _items(objects: Sequence[Object], form: Format, version: str, kind: str, is_custom: bool) -> bytes:
    return form.items(objects if is_custom else [answers.untyped(obj) for obj in objects], version, kind)


# A watch's events, by the piece; of who is in this process as trees, of Tables and metadata in lines of JSON.
Pieces = AsyncGenerator[Any, None]


def _events(piece: Any) -> list[tuple[str, Object]]:
    if not isinstance(piece, bytes):
        return list(piece)
    lines: list[Any] = [encoding.loads_answer(line) for line in piece.splitlines()]
    return [(event["type"], event["object"]) for event in lines]


async def _told(work: weight.Work, form: Format, pieces: Pieces) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            async for run in work.in_runs(_events(piece), _item_bytes, _run, form):
                yield run


def _item_bytes(item: Any) -> int:
    return ITEM_BYTES


def _run(events: Sequence[tuple[str, Object]], form: Format) -> bytes:
    return b"".join([form.event(kind, obj) for kind, obj in events])
