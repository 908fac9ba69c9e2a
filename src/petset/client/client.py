"""The one way to the API for everybody but the server: verbs over a transport, in process or over HTTPS.

A call makes one `http.Request`, sends it, and gives back the decoded object or raises `errors.ApiError` made from the
answer's Status. `watch` decodes frames as they come, however the bytes were cut. What could not be sent or was cut off
is an OSError (ConnectionError), never an ApiError: the caller knows nothing about whether it was done.

Invariants: nothing is retried here (whoever calls knows whether that is safe); answers are decoded once (in process
they are the server's own trees) and never mutated; a streaming body is closed when its reader stops.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from petset.base import well_known
from petset.client import elsewhere
from petset.kinds import builtin
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind
from petset.wire import http

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
APPLY_TYPE = "application/apply-patch+yaml"  # JSON is YAML.
# Programs write here, not people: the server's second look for repeated and misspelt fields would cost a tenth of it.
WRITE = {"fieldValidation": "Ignore"}
STRICT = {"fieldValidation": "Strict"}  # For people.
PARTIAL = f"application/json;as=PartialObjectMetadata;g={well_known.META_GROUP};v=v1"
PARTIAL_LIST = PARTIAL.replace("Metadata;", "MetadataList;")
ANSWER_BYTES_MAX = 512 * 1024 * 1024
FRAME_BYTES_MAX = 16 * 1024 * 1024
WATCH_SECONDS_MAX = 24 * 3600  # Of one whose server is near.

WatchEvent = tuple[str, Object]


class InProcess:
    """A transport that is the server's handler, called directly for a user it vouches for."""

    def __init__(self, handle: http.Handler, user: http.User):
        self._handle, self._user = handle, user

    async def send(self, request: http.Request) -> http.Response:
        return await self._handle(dataclasses.replace(request, user=self._user))


class Client:
    def __init__(
        self,
        transport: http.Transport,
        user_agent: str = "petset",
        kinds: Catalog | None = None,
        is_near: bool = False,
    ):
        """`kinds` are those that the server has; by default the built-in ones.

        `is_near`: the server is in this process and does not go without a word: watches need not end now and then.
        """
        self._transport, self._user_agent, self.is_near = transport, user_agent, is_near
        self.kinds = kinds or Catalog(builtin.KINDS)
        self._headers = (("accept", "application/json"), ("user-agent", user_agent))

    def named(self, user_agent: str) -> Client:
        """The same client under another name, by which it owns the fields that it writes."""
        return Client(self._transport, user_agent, self.kinds, self.is_near)

    def through(self, wrap: Callable[[http.Transport], http.Transport]) -> Client:
        """The same client over a transport that wraps this one's."""
        return Client(wrap(self._transport), self._user_agent, self.kinds, self.is_near)

    def kind_of(self, obj: Object) -> Kind:
        """The kind of an object's apiVersion and kind. Raises ApiError 404 when there is none now."""
        found = self.kinds.now.of(obj)
        if found is None:
            raise errors.not_found(obj["kind"], meta.get(obj, "metadata", "name", default=""))
        return found

    async def get(self, resource: Kind, name: str, namespace: str = "", subresource: str = "") -> Object:
        return _typed(resource, await self._call("GET", resource.path(namespace, name, subresource)), subresource)

    async def list(
        self,
        resource: Kind,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[list[Object], str]:
        """(items, resourceVersion of the list)."""
        items, revision, _ = await self._piece(resource, namespace, label_selector, field_selector)
        return items, revision

    async def pieces(
        self, resource: Kind, namespace: str = "", label_selector: str = "", field_selector: str = "", most: int = 0
    ) -> AsyncGenerator[tuple[list[Object], str], None]:
        """A list by the piece, of so many items at most (0: all): (items, resourceVersion of the whole).

        Raises ApiError 410 when the list is too old to go on with.
        """
        rest = ""
        while True:
            items, revision, rest = await self._piece(resource, namespace, label_selector, field_selector, most, rest)
            yield items, revision
            if not rest:
                return

    async def _piece(
        self, resource: Kind, namespace: str, label_selector: str, field_selector: str, most: int = 0, rest: str = ""
    ) -> tuple[list[Object], str, str]:
        """(items, resourceVersion of the whole, what the rest of it is asked for by; "": that is all)."""
        limited = {"limit": str(most) if most else "", "continue": rest}
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, **limited}
        answer = await self._call("GET", resource.path(namespace), query)
        if resource.elsewhere:
            return _listed_elsewhere(resource, answer)
        items = [_typed(resource, item) for item in answer.get("items") or ()]
        metadata = meta.part(answer, "metadata")
        return items, metadata.get("resourceVersion") or "", metadata.get("continue") or ""

    async def versions(
        self, resource: Kind, namespace: str = "", label_selector: str = ""
    ) -> tuple[dict[str, str], str]:
        """(each object's resourceVersion by "namespace/name", the list's): their metadata is all that comes."""
        query = {"labelSelector": label_selector}
        answer = await self._call("GET", resource.path(namespace), query, accept=f"{PARTIAL_LIST},application/json")
        found = {meta.key(item): str(item["metadata"]["resourceVersion"]) for item in meta.parts(answer, "items")}
        return found, meta.get(answer, "metadata", "resourceVersion", default="")

    async def version(self, resource: Kind, name: str, namespace: str = "") -> str:
        """The resourceVersion that an object is at; its metadata is all that comes."""
        answer = await self._call("GET", resource.path(namespace, name), accept=f"{PARTIAL},application/json")
        return str(answer["metadata"]["resourceVersion"])

    async def create(
        self,
        obj: Object,
        resource: Kind | None = None,
        subresource: str = "",
        name: str = "",
        query: Mapping[str, str] = WRITE,
    ) -> Object:
        """POST; `resource`, `subresource` and `name` are for subresources (pods/binding, serviceaccounts/token)."""
        resource = resource or self.kind_of(obj)
        namespace = meta.get(obj, "metadata", "namespace", default="")
        answer = await self._call("POST", resource.path(namespace, name, subresource), query, obj)
        return _typed(resource, answer, subresource)

    async def update(self, obj: Object, subresource: str = "") -> Object:
        """PUT, for the resourceVersion the object carries (409 Conflict when it has moved on)."""
        resource = self.kind_of(obj)
        path = resource.path(meta.namespace(obj), meta.name(obj), subresource)
        obj = meta.without(obj, ("metadata", "managedFields"))  # The server keeps them, and need not read them.
        return _typed(resource, await self._call("PUT", path, WRITE, obj), subresource)

    async def patch(
        self,
        resource: Kind,
        name: str,
        namespace: str,
        patch: Object | Sequence[Any],
        kind: str = "merge",
        subresource: str = "",
    ) -> Object:
        """PATCH; kind is merge, json or strategic."""
        path = resource.path(namespace, name, subresource)
        answer = await self._call("PATCH", path, WRITE, patch, PATCH_TYPES[kind])
        return _typed(resource, answer, subresource)

    async def apply(self, obj: Object, manager: str, *, force: bool = False, resource: Kind | None = None) -> Object:
        """Server-side apply of what `obj` says, as this field manager; what nobody knows in it is refused.

        409 Conflict names the fields that are others'; `force` takes them over.
        """
        resource = resource or self.kind_of(obj)
        namespace = meta.get(obj, "metadata", "namespace", default="")
        query = {"fieldManager": manager, **STRICT, **({"force": "true"} if force else {})}
        answer = await self._call("PATCH", resource.path(namespace, meta.name(obj)), query, obj, APPLY_TYPE)
        return _typed(resource, answer)

    async def delete(
        self,
        resource: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
        resource_version: str = "",
    ) -> Object:
        """DELETE, of exactly this uid and resourceVersion when they are given. The object, or a Status."""
        preconditions = {**({"uid": uid} if uid else {})}
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            **({"gracePeriodSeconds": grace_seconds} if grace_seconds is not None else {}),
            **({"propagationPolicy": propagation} if propagation else {}),
            **({"preconditions": preconditions} if preconditions else {}),
        }
        return await self._call("DELETE", resource.path(namespace, name), body=options)

    async def delete_all(self, resource: Kind, namespace: str) -> None:
        """DELETE of a namespace's collection; one by one of another server that has no such thing."""
        if "deletecollection" in resource.verbs:
            await self._call("DELETE", resource.path(namespace))
            return
        for obj in (await self.list(resource, namespace))[0]:
            try:
                await self.delete(resource, meta.name(obj), namespace, uid=meta.uid(obj))
            except errors.ApiError as error:
                if error.code != 404:
                    raise

    async def watch(
        self,
        resource: Kind,
        namespace: str = "",
        since: str = "",
        label_selector: str = "",
        field_selector: str = "",
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """(ADDED | MODIFIED | DELETED | BOOKMARK, object) until the server ends it; raises ApiError (410: list again).

        Close it (`contextlib.aclosing`) when leaving early, so that the server can forget it. `opened` is called when
        the server has granted it.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": str(WATCH_SECONDS_MAX) if self.is_near and not resource.elsewhere else "",
        }
        response = await self._send("GET", resource.path(namespace), query)
        if response.code != 200:
            raise _failure(response.code, await _whole(response.body))
        opened()
        if response.objects is not None:
            async with contextlib.aclosing(response.objects) as pieces:
                async for piece in pieces:
                    for type_, obj in piece:
                        yield _event(resource, type_, obj)
                    piece = type_ = obj = None  # Who waits for the next one keeps nothing of the last.
            return
        async with contextlib.aclosing(_lines(response.body)) as frames:
            async for frame in frames:
                event = _decoded(frame)
                if not resource.elsewhere:
                    yield _event(resource, event["type"], event["object"])
                elif (found := _event_elsewhere(resource, event)) is not None:
                    yield found

    async def raw(self, target: str) -> bytes:
        """The body of a GET that is no object (health, metrics, logs)."""
        response = await self._transport.send(http.Request("GET", target, self._headers))
        body = await _whole(response.body)
        if response.code >= 300:
            raise _failure(response.code, body)
        return body

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Any] | None = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> Object:
        response = await self._send(method, path, query, body, content_type, accept)
        if response.objects is not None:
            return response.objects
        answer = await _whole(response.body)
        if response.code >= 300 or response.code < 200:
            raise _failure(response.code, answer)
        return _decoded(answer)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Any] | None = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> http.Response:
        given = {key: value for key, value in (query or {}).items() if value}
        target = quote(path) + ("?" + urlencode(given) if given else "")
        headers = self._headers if not accept else (("accept", accept), *self._headers[1:])
        request = http.Request(method, target, headers, takes_objects=True)
        if body is not None:
            headers = (*headers, ("content-type", content_type))
            request = dataclasses.replace(request, headers=headers, body=encoding.dumps(body))
        return await self._transport.send(request)


def _decoded(text: bytes) -> Any:
    try:
        return encoding.loads_answer(text)
    except ValueError as error:
        raise ConnectionError(f"cannot read the answer: {error}; was the connection cut?") from error


def _listed_elsewhere(resource: Kind, answer: Any) -> tuple[list[Object], str, str]:
    """As `_piece` answers."""
    items: Any = meta.get(answer, "items")
    read = (elsewhere.read(resource, item) for item in (items if meta.is_list(items) else ()))
    found = [obj for obj in read if obj is not None]
    said = (meta.get(answer, "metadata", key) for key in ("resourceVersion", "continue"))
    revision, rest = (text if isinstance(text, str) else "" for text in said)
    return found, revision, rest


def _event_elsewhere(resource: Kind, event: Any) -> WatchEvent | None:
    """Raises ApiError, ConnectionError."""
    type_: Any = event.get("type") if meta.is_struct(event) else None
    obj: Any = event.get("object") if type_ else None
    if not isinstance(type_, str) or not meta.is_struct(obj):
        raise ConnectionError("cannot read the watch: an event has no type or no object")
    if type_ == "ERROR":
        code: Any = obj.get("code")
        raise errors.ApiError(code if isinstance(code, int) else 500, "Unknown", str(obj.get("message"))[:1000])
    if type_ == "BOOKMARK":
        revision: Any = meta.part(obj, "metadata").get("resourceVersion")
        return (type_, {"metadata": {"resourceVersion": revision}}) if isinstance(revision, str) else None
    found = elsewhere.read(resource, obj)
    return (type_, found) if found is not None and type_ in ("ADDED", "MODIFIED", "DELETED") else None


def _typed(resource: Kind, obj: Object, subresource: str = "") -> Object:
    if resource.elsewhere and not subresource:
        found = elsewhere.read(resource, obj)
        if found is None:
            raise ConnectionError(f"cannot read the answer: it is no {resource.kind}")
        return found
    # Servers may leave apiVersion and kind out of a list's items; everybody here relies on them.
    if "kind" in obj or subresource:
        return obj
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def _event(resource: Kind, type_: str, obj: Object) -> WatchEvent:
    """Raises ApiError for the event that ends a watch."""
    if type_ == "ERROR":
        raise errors.from_status(obj, 500)
    return type_, _typed(resource, obj)


async def _whole(body: bytes | AsyncIterator[bytes]) -> bytes:
    if isinstance(body, bytes):
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async for part in body:
            parts.append(part)
            size += len(part)
            if size > ANSWER_BYTES_MAX:
                raise ConnectionError(f"cannot read the answer: it is longer than {ANSWER_BYTES_MAX} bytes")
    finally:
        await _close(body)
    return b"".join(parts)


async def _lines(body: bytes | AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines of a body as they get complete; an unfinished last line is dropped, as it was cut off."""
    if isinstance(body, bytes):
        for line in body.split(b"\n")[:-1]:
            yield line
        return
    waiting: list[bytes] = []
    size = 0
    try:
        async for part in body:
            first, newline, rest = part.partition(b"\n")
            waiting.append(first)
            size += len(first)
            if size > FRAME_BYTES_MAX:
                raise ConnectionError(f"cannot read the watch: a frame is longer than {FRAME_BYTES_MAX} bytes")
            while newline:
                line = b"".join(waiting)
                if line.strip():
                    yield line
                first, newline, rest = rest.partition(b"\n")
                waiting, size = [first], len(first)
    finally:
        await _close(body)


async def _close(body: AsyncIterator[bytes]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()


def _failure(code: int, body: bytes) -> errors.ApiError:
    try:
        said: Any = encoding.loads_answer(body)
    except ValueError:
        said = None
    status: Object = said if meta.get(said, "kind") == "Status" else {}
    if not status:
        text = body[:200].decode(errors="replace")
        return errors.ApiError(code, "Unknown", f"cannot use the server's answer {code}: it is no Status: {text}")
    return errors.from_status(status, code)
