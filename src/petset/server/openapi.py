"""OpenAPI v3 as far as kubectl needs it before it sends an object.

One small document a group version: for each kind the PATCH operation with its group-version-kind and the query
parameter `fieldValidation`, which is how kubectl learns that the server checks fields itself. Types and descriptions
are not offered in this release, which is what a kind's description says. A document's URL carries its hash, so that
clients keep it; all are made once for a snapshot of the kinds.
"""

from __future__ import annotations

import functools
from typing import Any

from petset.objects import encoding, errors
from petset.objects.registry import Kind, Kinds
from petset.server import discovery
from petset.wire import http

_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]


def _operation(resource: Kind, verb: str) -> dict[str, Any]:
    kind = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    return {
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": kind,
        "parameters": _PARAMETERS,
        "responses": {"200": {"description": "OK"}},
    }


def _schema(resource: Kind) -> dict[str, Any]:
    """What `kubectl explain` shows: that it has nothing to show yet."""
    kind = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    why = "This release of petset does not offer explain texts; see the Kubernetes documentation of this kind."
    return {"type": "object", "description": why, "x-kubernetes-group-version-kind": [kind]}


def document(kinds: Kinds, group: str, version: str) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for row in discovery.served(kinds, group, version):
        space = "{namespace}" if row.namespaced else ""
        paths[row.path(space)] = {"post": _operation(row, "post")}
        if "patch" in row.verbs:
            paths[row.path(space, "{name}")] = {verb: _operation(row, verb) for verb in ("patch", "put")}
    schemas = {f"{row.version}.{row.kind}": _schema(row) for row in discovery.served(kinds, group, version)}
    info = {"title": "petset", "version": discovery.server_version()["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


@functools.lru_cache(discovery.SNAPSHOTS_KEPT_MAX)
def _documents(kinds: Kinds) -> dict[str, bytes]:
    """The index, as "", and each group version's document by its name."""
    documents = {
        f"apis/{group}/{version}" if group else f"api/{version}": encoding.dumps(document(kinds, group, version))
        for group, versions in discovery.groups(kinds).items()
        for version in versions
    }
    paths = {
        name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={discovery.content_hash(data)}"}
        for name, data in documents.items()
    }
    return {"": encoding.dumps({"paths": paths}), **documents}


V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def _v2(request: http.Request) -> http.Response:
    """The older document's head, and no type in it.

    kubectl asks for it about a kind that version 3 does not list; finding nothing there either, it goes on to
    discovery, which tells the user that there is no such kind, instead of telling him to turn validation off.
    """
    title, version = "petset", discovery.server_version()["gitVersion"]
    if "+protobuf" in request.header("accept"):
        info = _protobuf_field(1, title.encode()) + _protobuf_field(2, version.encode())
        head = _protobuf_field(1, b"2.0") + _protobuf_field(2, info)
        return http.Response(200, (("content-type", V2_PROTOBUF), ("vary", "Accept")), head)
    tree = {"swagger": "2.0", "info": {"title": title, "version": version}, "paths": {}, "definitions": {}}
    return http.Response(200, (("content-type", "application/json"), ("vary", "Accept")), encoding.dumps(tree))


def _protobuf_field(number: int, content: bytes) -> bytes:
    """A text or a message of less than 128 bytes in protobuf's wire format."""
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


def answer(kinds: Kinds, path: str, request: http.Request) -> http.Response | None:
    """The answer to a path under /openapi, None when it is none of ours. Raises ApiError 406."""
    if path == "/openapi/v2":
        return _v2(request)
    if path == "/openapi/v3":
        return http.Response(200, (("content-type", "application/json"),), _documents(kinds)[""])
    name = path.removeprefix("/openapi/v3/")
    data = _documents(kinds).get(name) if name else None
    if data is None:
        return None
    accept = request.header("accept")
    if accept and not any(form in accept for form in ("application/json", "*/*", "application/*")):
        raise errors.ApiError(406, "NotAcceptable", "only the following media types are accepted: application/json")
    tag = discovery.tag(data)
    headers: http.Headers = (("content-type", "application/json"), ("etag", tag), ("vary", "Accept"))
    if "hash=" in request.target:
        headers += (("cache-control", "public, immutable"),)
    if request.header("if-none-match") == tag:
        return http.Response(304, headers)
    return http.Response(200, headers, data)
