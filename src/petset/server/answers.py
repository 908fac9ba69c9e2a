"""Objects, lists and errors as answers, in the form the caller accepts.

The Accept header is read once a distinct value: an object as it is (JSON), as a row of a Table, or as its metadata
only. Plain objects and lists are the store's bytes, joined, never decoded or encoded here. A caller that prefers
protobuf but takes JSON gets JSON; one that takes neither of ours gets 406.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from petset.base import tasks, well_known
from petset.net import failures
from petset.objects import encoding, errors, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import weight
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http

JSON, TABLE, PARTIAL = "json", "table", "partial"
FORMS = {
    JSON: "application/json",
    TABLE: "application/json;as=Table;g=meta.k8s.io;v=v1",
    PARTIAL: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
}
JSON_HEADERS: http.Headers = (("content-type", "application/json"),)
_ACCEPTED_CACHED_MAX = 500
_accepted: dict[tuple[str, tuple[str, ...]], str] = {}


def representation(accept: str, offered: tuple[str, ...] = tuple(FORMS)) -> str:
    """The first form of the Accept header that is offered. Raises ApiError 406."""
    known = _accepted.get((accept, offered))
    if known is None:
        known = _negotiate(accept, offered)
        if len(_accepted) >= _ACCEPTED_CACHED_MAX:
            _accepted.clear()
        _accepted[accept, offered] = known
    return known


def require_json(call: Call) -> None:
    """For what has neither rows nor metadata of its own: an answer to a question. Raises ApiError 406."""
    representation(call.request.header("accept"), (JSON,))


def media_ranges(accept: str) -> list[tuple[str, dict[str, str]]]:
    """(type, parameters) of each range of an Accept header, in its order."""
    ranges: list[tuple[str, dict[str, str]]] = []
    for text in accept.split(","):
        kind, *rest = (part.strip() for part in text.split(";"))
        parameters: dict[str, str] = {}
        for parameter in rest:
            name, _, value = parameter.partition("=")
            parameters[name] = value
        ranges.append((kind.lower(), parameters))
    return ranges


def _negotiate(accept: str, offered: tuple[str, ...]) -> str:
    if not accept.strip():
        return JSON
    for kind, given in media_ranges(accept):
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        wanted = given.get("as")
        if wanted is None:
            return JSON
        if given.get("g") != well_known.META_GROUP or given.get("v") not in ("v1", "v1beta1"):
            continue
        form = _AS.get(wanted)
        if form in offered:
            return form
    accepted = ", ".join(FORMS[form] for form in offered)
    raise errors.ApiError(406, "NotAcceptable", f"only the following media types are accepted: {accepted}")


_AS = {"Table": TABLE, "PartialObjectMetadata": PARTIAL, "PartialObjectMetadataList": PARTIAL}


WARNINGS_MAX = 30
WARNINGS_CHARACTERS_MAX = 4096  # Of all together, else each is cut: clients read a head of 8 KiB or more.
WARNING_CHARACTERS_MAX = 256  # Where there are more.


def warning_headers(warnings: Sequence[str]) -> http.Headers:
    told = list(dict.fromkeys(warnings))[:WARNINGS_MAX]
    if sum(map(len, told)) > WARNINGS_CHARACTERS_MAX:
        told = [text[:WARNING_CHARACTERS_MAX] for text in told]
    return tuple(("warning", f"299 - {_quoted(text)}") for text in told)


def _quoted(text: str) -> str:
    clean = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def json(code: int, obj: Any, headers: http.Headers = ()) -> http.Response:
    return http.Response(code, JSON_HEADERS + headers, encoding.dumps(obj))


def failure(error: errors.ApiError, warnings: Sequence[str] = ()) -> http.Response:
    return failures.failure(error, warning_headers(warnings))


def success(resource: Kind, name: str = "", uid: str = "") -> dict[str, Any]:
    """The Status that says an object is gone, or many."""
    details = {
        **({"name": name} if name else {}),
        **({"group": resource.group} if resource.group else {}),
        "kind": resource.plural,
        **({"uid": uid} if uid else {}),
    }
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def entry(call: Call, found: stores.Entry, code: int = 200) -> http.Response:
    """One stored object."""
    form = representation(call.request.header("accept"))
    headers = head(call)
    if form is JSON:
        if call.request.takes_objects:
            return http.Response(code, headers, objects=found.object)
        return http.Response(code, headers, found.encoded)
    return http.Response(code, headers, encoding.dumps(shown(call, form, found.object)))


def tree(call: Call, obj: Object, code: int = 200) -> http.Response:
    """One object that is not (or not like this) in the store: a dry run's, a review, a Scale."""
    return http.Response(code, head(call), encoding.dumps(obj))


def shown(call: Call, form: str, obj: Object) -> Object:
    """An object as a Table of one row, or its metadata only."""
    if form is TABLE:
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return tables.table(call.resource.printer, [obj], tasks.now(), included(call), metadata=metadata)
    return partial(obj)


def partial(obj: Object) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{well_known.META_GROUP}/v1", "metadata": obj["metadata"]}


def included(call: Call) -> str:
    """How much of each object a Table's row carries. Raises ApiError 400."""
    wanted = call.parameter("includeObject") or "Metadata"
    if wanted not in ("None", "Metadata", "Object"):
        raise errors.bad_request(f"cannot make a table: includeObject is {wanted[:40]!r}; use None, Metadata or Object")
    return wanted


_READERS = ("curl", "Wget", "Mozilla/5.0")  # By which a person reads.
_JSON_TYPE = JSON_HEADERS[0][1]


def is_for_people(call: Call) -> bool:
    """Whether ?pretty=, or who asks, says that a person reads the answer."""
    asked = call.parameter("pretty") if call.query else ""
    return call.flag("pretty") if asked else call.request.header("user-agent").startswith(_READERS)


async def readable(call: Call, response: http.Response) -> http.Response:
    """An answer in JSON with a line for each value; one that comes in pieces, or compressed, is left as it is."""
    body = response.body
    is_json = response.header("content-type") == _JSON_TYPE and not response.header("content-encoding")
    if not is_json or not isinstance(body, bytes) or not body:
        return response
    return replace(response, body=await call.work.beside(len(body), encoding.indented, body))


def head(call: Call) -> http.Headers:
    """Of an answer in JSON."""
    return JSON_HEADERS + warning_headers(call.warnings) if call.warnings else JSON_HEADERS


Runs = AsyncIterator[list[bytes | memoryview]]  # The items of each run in JSON.


async def object_list(call: Call, entries: Sequence[stores.Entry], metadata: Mapping[str, Any]) -> http.Response:
    """Many stored objects; plain ones are joined as they are. A long list is made as it is read, run by run.

    Items of built-in kinds do not name their apiVersion and kind, which the list's own say, as upstream.
    """
    headers = head(call)
    form = representation(call.request.header("accept"))
    resource = call.resource
    kind = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata}
    if form is JSON and call.request.takes_objects:
        objects = [obj async for run in call.work.in_runs(entries, size, _objects) for obj in run]
        return http.Response(200, headers, objects={**kind, "items": objects})
    encoded = [found.encoded for found in entries]
    is_short = sum(map(len, encoded)) <= weight.RUN_BYTES_MAX
    is_one_run = is_short and len(entries) <= weight.RUN_OBJECTS_MAX
    if form is TABLE:
        opened = _opened(tables.head(resource.printer, metadata=metadata), "rows")
        rows = call.work.in_runs(entries, size, _rows, resource, tasks.now(), included(call))
        return await _list(headers, opened, rows, is_one_run)
    if form is PARTIAL:
        partials = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"{well_known.META_GROUP}/v1",
            "metadata": metadata,
        }
        runs = call.work.in_runs(entries, size, _partials)
        return await _list(headers, _opened(partials, "items"), runs, is_one_run)
    if resource.custom is not None:
        return await _list(headers, _opened(kind, "items"), _typed(encoded), is_short)
    return await _list(headers, _opened(kind, "items"), _untyped(encoded, resource), is_short, b"{")


async def _list(headers: http.Headers, opened: bytes, runs: Runs, in_one: bool, cut_off: bytes = b"") -> http.Response:
    """`cut_off` is what each item lacks at its beginning."""
    pieces = _pieces(opened, runs, cut_off)
    return http.Response(200, headers, b"".join([piece async for piece in pieces]) if in_one else pieces)


async def _pieces(head: bytes, runs: Runs, cut_off: bytes) -> AsyncIterator[bytes]:
    """A slow reader holds up one run, and otherwise shares the store's bytes."""
    separator = b"," + cut_off
    before, is_empty = head + cut_off, True
    async for run in runs:
        run[0] = before + run[0]
        yield separator.join(run)
        before, is_empty = separator, False
    yield head + b"]}" if is_empty else b"]}"


async def _typed(encoded: Sequence[bytes]) -> Runs:
    for run in weight.runs(encoded, len):
        yield list(run)


async def _untyped(encoded: Sequence[bytes], resource: Kind) -> Runs:
    """The same without apiVersion and kind, which what is stored begins with: the rest is looked at, not copied."""
    named = b'{"apiVersion":%s,"kind":%s,' % (encoding.dumps(resource.api_version), encoding.dumps(resource.kind))
    begin, rest = operator.itemgetter(slice(len(named))), operator.itemgetter(slice(len(named), None))
    for run in weight.runs(encoded, len):
        if set(map(begin, run)) == {named}:
            yield list(map(rest, map(memoryview, run)))
        else:
            yield [rest(one) if begin(one) == named else _untyped_by_hand(one) for one in run]


def _untyped_by_hand(encoded: bytes) -> bytes:
    """Of an object that names them elsewhere, or something else."""
    return encoding.dumps(untyped(encoding.loads_answer(encoded)))[1:]


def untyped(obj: Object) -> Object:
    """An item of a list of a built-in kind."""
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}


def size(found: stores.Entry) -> int:
    """What an object weighs: its bytes."""
    return len(found.encoded)


def _opened(head: Mapping[str, Any], items: str) -> bytes:
    """A list up to its first item."""
    return b'%s,"%s":[' % (encoding.dumps(head)[:-1], items.encode())


def _rows(entries: Sequence[stores.Entry], resource: Kind, now: float, include: str) -> list[bytes | memoryview]:
    return [encoding.dumps(tables.rows(resource.printer, _objects(entries), now, include))[1:-1]]


def _partials(entries: Sequence[stores.Entry]) -> list[bytes | memoryview]:
    return [encoding.dumps([partial(found.object) for found in entries])[1:-1]]


def _objects(entries: Sequence[stores.Entry]) -> list[Object]:
    return [found.object for found in entries]
