"""OpenAPI as it is asked for: an index and a document a group version (v3), one document of everything (v2).

A document is made when somebody asks for it, beside the loop, and kept compressed; those that were not asked for the
longest go first when all are more than KEPT_BYTES_MAX. Its hash is known before it is made, so that the index costs
nothing, and a URL that carries it may be kept by clients for good; an old one leads to the new one. How documents are
made stands in described/.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from petset.objects import encoding, errors
from petset.objects.registry import Kinds
from petset.server import answers, compression
from petset.server.described import discovery, documents, gnostic
from petset.server.routes import Call
from petset.wire import http

V2, V3 = "/openapi/v2", "/openapi/v3"
KEPT_BYTES_MAX = 4 << 20
JSON = "application/json"
_ANY = ("*/*", "application/*", "")
# Named so by kubectl since 1.5: @v1.0 in what it asks for, and .v1.0 in what it is answered.
_V2_PROTOBUF = (gnostic.MEDIA_TYPE, gnostic.MEDIA_TYPE.replace(".v1.0+", "@v1.0+"))
_KEPT_FOR_GOOD: http.Headers = (("cache-control", "public, immutable, max-age=31536000"),)


class OpenApi:
    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # By form and hash, the newest last.

    async def answer(self, call: Call) -> http.Response | None:
        """The answer to a path under /openapi, None when it is none of ours. Raises ApiError 406."""
        path, kinds = call.route.path, call.kinds
        if path == V2:
            return await self._v2(call)
        if path == V3:
            return http.Response(200, answers.JSON_HEADERS, _index(kinds))
        group, _, version = path.removeprefix(f"{V3}/api").removeprefix("s/").rpartition("/")
        if path != f"{V3}/{_name(group, version)}" or not discovery.served(kinds, group, version):
            return None
        _require(call, JSON)
        hashed = _hash(kinds, group, version)
        asked = call.parameter("hash")
        if asked and asked != hashed:
            return http.Response(301, (("location", f"{path}?hash={hashed}"),))
        headers = _KEPT_FOR_GOOD if asked else ()
        return await self._document(call, hashed, JSON, headers, lambda: documents.v3(kinds, group, version))

    async def _v2(self, call: Call) -> http.Response:
        kinds, hashed = call.kinds, documents.hash_of(call.kinds)
        asked = [kind for kind, _ in answers.media_ranges(call.request.header("accept"))]
        if next((kind for kind in asked if kind in (*_V2_PROTOBUF, JSON, *_ANY)), JSON) in _V2_PROTOBUF:
            make: Callable[[], bytes] = lambda: documents.v2_protobuf(kinds)  # noqa: E731
            return await self._document(call, hashed, gnostic.MEDIA_TYPE, (), make)
        _require(call, JSON)
        return await self._document(call, hashed, JSON, (), lambda: documents.v2_json(kinds))

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

    def _make(self, key: tuple[str, str], make: Callable[[], bytes]) -> None:
        """Keep a document, unless who had his turn before has made it."""
        if key in self._kept:
            return
        self._kept[key] = make()
        while sum(map(len, self._kept.values())) > KEPT_BYTES_MAX and len(self._kept) > 1:
            self._kept.popitem(last=False)


def _name(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _hash(kinds: Kinds, group: str, version: str) -> str:
    return documents.hash_of(discovery.served(kinds, group, version))


def _index(kinds: Kinds) -> bytes:
    paths = {
        (name := _name(group, version)): {"serverRelativeURL": f"{V3}/{name}?hash={_hash(kinds, group, version)}"}
        for group, versions in discovery.groups(kinds).items()
        for version in versions
    }
    return encoding.dumps({"paths": paths})


def _require(call: Call, form: str) -> None:
    accept = call.request.header("accept")
    if not any(kind in (form, *_ANY) for kind, _ in answers.media_ranges(accept)):
        raise errors.ApiError(406, "NotAcceptable", f"only the following media types are accepted: {form}")
