"""OpenAPI as it is asked for: an index and a document a group version or plain path (v3), one of everything (v2).

A document is made when somebody asks for it, beside the loop, and kept compressed; those that were not asked for the
longest go first when all are more than KEPT_BYTES_MAX. What other servers say of their group versions is in `others`:
version 3 is theirs to answer, or made of their version 2 where they have no other, which is merged. Its hash is known
before it is made, so that the index costs nothing, and a URL that carries it may be kept by clients for good; an old
one leads to the new one. How documents are made stands in described/, and is imported when somebody first asks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from petset.objects import encoding, errors
from petset.objects.registry import Kinds
from petset.server import answers, compression
from petset.server.described import discovery
from petset.server.routes import Call
from petset.wire import http

V2, V3 = "/openapi/v2", "/openapi/v3"
KEPT_BYTES_MAX = 4 << 20
JSON = "application/json"
_ANY = ("*/*", "application/*", "")
_KEPT_FOR_GOOD: http.Headers = (("cache-control", "public, immutable, max-age=31536000"),)


def _names_of_protobuf(media_type: str) -> tuple[str, ...]:
    """Named so by kubectl since 1.5: @v1.0 in what it asks for, and .v1.0 in what it is answered."""
    return media_type, media_type.replace(".v1.0+", "@v1.0+")


@dataclass(frozen=True, slots=True)
class Description:
    """What another server says of its group version: of version 3 the hash, of version 2 the part that is merged."""

    group: str
    version: str
    hash: str | None  # None: it has no such document.
    part: bytes
    part_hash: str
    answer: Callable[[Call], Awaitable[http.Response]]  # His, to a request that is handed on.
    is_convertible: bool = False  # He has no version 3, which is made of the part.

    @property
    def name(self) -> str:
        from petset.server.described import documents

        return documents.name_of(self.group, self.version)


class OpenApi:
    def __init__(self) -> None:
        self.others: Mapping[str, Description] = {}  # By the names of their documents. Replaced as a whole.
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # By form and hash, the newest last.

    async def answer(self, call: Call) -> http.Response | None:
        """The answer to a path under /openapi, None when it is none of ours. Raises ApiError 406."""
        path, kinds = call.route.path, call.kinds
        if path == V2:
            return await self._v2(call)
        if path == V3:
            return http.Response(200, answers.JSON_HEADERS, self._index(kinds))
        name = path.removeprefix(f"{V3}/")
        other = self.others.get(name)
        if other is not None and other.hash is not None:
            return await other.answer(call)
        is_converted = other is not None and other.is_convertible
        hashed = other.part_hash if other is not None and is_converted else _hash(kinds, name)
        if not hashed or name == path:
            return None
        from petset.server.described import documents, gnostic_v3

        form = _form(call, gnostic_v3.MEDIA_TYPE)
        asked = call.parameter("hash")
        if asked and asked != hashed:
            return http.Response(301, (("location", f"{path}?hash={hashed}"),))
        headers = _KEPT_FOR_GOOD if asked else ()
        if other is not None and is_converted:
            part, convert = other.part, documents.converted_json if form == JSON else documents.converted_protobuf
            return await self._document(call, hashed, form, headers, lambda: convert(part))
        make = documents.v3_json if form == JSON else documents.v3_protobuf
        return await self._document(call, hashed, form, headers, lambda: make(kinds, name))

    async def _v2(self, call: Call) -> http.Response:
        from petset.server.described import documents, gnostic_v2

        kinds, form = call.kinds, _form(call, gnostic_v2.MEDIA_TYPE)
        make = documents.v2_json if form == JSON else documents.v2_protobuf
        merged = [one for one in self.others.values() if one.part]
        hashed = documents.hash_of(kinds, ",".join(one.part_hash for one in merged))
        return await self._document(call, hashed, form, (), lambda: make(kinds, [one.part for one in merged]))

    async def _document(
        self, call: Call, hashed: str, form: str, headers: http.Headers, make: Callable[[], bytes]
    ) -> http.Response:
        tag = f'"{hashed}"'
        headers = (("content-type", form), ("etag", tag), ("vary", "Accept, Accept-Encoding"), *headers)
        if call.request.header("if-none-match") == tag:
            return http.Response(304, headers)
        key = (call.route.path + form, hashed)
        if key not in self._kept:
            await call.work.in_turn(self._make, key, make)
        data = self._kept[key]
        self._kept.move_to_end(key)
        if compression.accepts(call.request):
            return http.Response(200, (*headers, ("content-encoding", "gzip")), data)
        return http.Response(200, headers, compression.plain(data))

    def _index(self, kinds: Kinds) -> bytes:
        from petset.server.described import documents

        theirs = {name: one.hash for name, one in self.others.items() if one.hash is not None}
        theirs |= {name: one.part_hash for name, one in self.others.items() if one.is_convertible}
        paths = {
            name: {"serverRelativeURL": f"{V3}/{name}" + (f"?hash={hashed}" if hashed else "")}
            for name, hashed in {**documents.hashes(kinds), **theirs}.items()
        }
        return encoding.dumps({"paths": paths})

    def _make(self, key: tuple[str, str], make: Callable[[], bytes]) -> None:
        """Keep a document, unless who had his turn before has made it."""
        if key in self._kept:
            return
        self._kept[key] = make()
        while sum(map(len, self._kept.values())) > KEPT_BYTES_MAX and len(self._kept) > 1:
            self._kept.popitem(last=False)


def _hash(kinds: Kinds, name: str) -> str:
    """Of the document of that name; "" when there is none."""
    from petset.server.described import documents, plain_paths

    match name.split("/"):
        case ["api", version]:
            group = ""
        case ["apis", group, version]:
            pass
        case _:
            return documents.hash_of((), name) if name in plain_paths.of(kinds) else ""
    about = discovery.served(kinds, group, version)
    return documents.hash_of(about) if about else ""


def _form(call: Call, protobuf: str) -> str:
    """JSON or protobuf, whichever is named first. Raises ApiError 406."""
    for kind, _ in answers.media_ranges(call.request.header("accept")):
        if kind in (JSON, *_ANY):
            return JSON
        if kind in _names_of_protobuf(protobuf):
            return protobuf
    raise errors.ApiError(406, "NotAcceptable", f"only the following media types are accepted: {JSON}, {protobuf}")
