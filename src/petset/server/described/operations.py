"""What may be done under a path, as OpenAPI v3 operations: every verb of a kind and of its subresources.

A kind has its collection (of a namespace and of all), its objects, and a path for each subresource; the verbs are the
kind's own and discovery's for subresources. Parameters, bodies and answers follow from the verb. An operation is named
as upstream names it (readCoreV1NamespacedPod), and its group, version and kind are those that it takes or answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.server import writes
from petset.server.described import definitions, discovery
from petset.server.described.definitions import Components

JSON = "application/json"

# -- query parameters: name -> (type, what it does) ---------------------------------------------------------------

_QUERY: Mapping[str, tuple[str, str]] = {
    "allowWatchBookmarks": ("boolean", "A watch may tell how far it is, without a change to tell of."),
    "command": ("string", "The program and its arguments; the parameter is repeated for each."),
    "container": ("string", "The container of the pod; the only one, or the default one, when it is not given."),
    "continue": ("string", "The next part of a list: what the part before it said in metadata.continue."),
    "dryRun": ("string", "All: everything is done but for the writing."),
    "fieldManager": ("string", "Who writes, as metadata.managedFields tells."),
    "fieldSelector": ("string", "Only objects whose fields are so."),
    "fieldValidation": (
        "string",
        "What becomes of unknown and duplicate fields: Ignore, Warn (the default) or Strict.",
    ),
    "follow": ("boolean", "Go on with what the container writes."),
    "force": ("boolean", "Server-side apply takes over the fields of other managers."),
    "gracePeriodSeconds": ("integer", "How long the object has to end."),
    "labelSelector": ("string", "Only objects whose labels are so."),
    "limit": ("integer", "How many objects an answer may have; there is more where it has metadata.continue."),
    "limitBytes": ("integer", "How many bytes of the log to answer."),
    "orphanDependents": ("boolean", "An older way to say propagationPolicy."),
    "path": ("string", "The path to ask the pod, service or node for."),
    "ports": ("integer", "The ports to forward."),
    "pretty": ("string", "Whether the answer has a line for each value, for people to read; so it has for curl."),
    "previous": ("boolean", "The log of the container before this one."),
    "propagationPolicy": ("string", "What becomes of what the object owns: Orphan, Background or Foreground."),
    "resourceVersion": ("string", "Where a list or a watch begins."),
    "resourceVersionMatch": ("string", "How resourceVersion is meant: Exact or NotOlderThan."),
    "sendInitialEvents": ("boolean", "A watch begins with all that there is, and a bookmark at its end."),
    "sinceSeconds": ("integer", "Of the log what is not older."),
    "sinceTime": ("string", "Of the log what is not older than this moment."),
    "stderr": ("boolean", "Take what the program writes to stderr."),
    "stdin": ("boolean", "Give the program a stdin."),
    "stdout": ("boolean", "Take what the program writes to stdout."),
    "tailLines": ("integer", "How many lines from the end of the log."),
    "timeoutSeconds": ("integer", "When a list or a watch ends."),
    "timestamps": ("boolean", "Each line of the log begins with its time."),
    "tty": ("boolean", "Give the program a terminal."),
    "watch": ("boolean", "Tell of changes as they come, instead of answering a list."),
}
_WRITING = ("dryRun", "fieldManager", "fieldValidation")
_SELECTING = (
    *("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion"),
    *("resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"),
)
_DELETING = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_STREAMED = ("container", "stderr", "stdin", "stdout", "tty")
_OF_SUBRESOURCES: Mapping[str, Sequence[str]] = {
    "attach": _STREAMED,
    "exec": ("command", *_STREAMED),
    "portforward": ("ports",),
    "proxy": ("path",),
    "log": (
        *("container", "follow", "limitBytes", "previous", "sinceSeconds", "sinceTime", "tailLines", "timestamps"),
    ),
}
_CONNECTED = ("attach", "exec", "portforward", "proxy")
_NAMESPACE_TEXT = "The namespace of the objects."


@dataclass(frozen=True, slots=True)
class _Verb:
    method: str
    action: str  # x-kubernetes-action.
    word: str  # Of the operation's name.
    does: str  # Of its description.
    query: Sequence[str] = ()
    codes: Sequence[int] = (200,)


_VERBS: Mapping[str, _Verb] = {
    "list": _Verb("get", "list", "list", "list or watch objects of kind", _SELECTING),
    "create": _Verb("post", "post", "create", "create", _WRITING, (200, 201, 202)),
    "deletecollection": _Verb(
        "delete",
        "deletecollection",
        "delete",
        "delete collection of",
        sorted({*_SELECTING, *_DELETING} - {"watch", "allowWatchBookmarks"}),
    ),
    "get": _Verb("get", "get", "read", "read the specified"),
    "update": _Verb("put", "put", "replace", "replace the specified", _WRITING, (200, 201)),
    "patch": _Verb("patch", "patch", "patch", "partially update the specified", (*_WRITING, "force"), (200, 201)),
    "delete": _Verb("delete", "delete", "delete", "delete", _DELETING, (200, 202)),
}
_OF_COLLECTIONS = ("list", "create", "deletecollection")
_OF_OBJECTS = ("get", "update", "delete", "patch")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where operations stand, and what they are about."""

    row: Kind
    subresource: str = ""
    scope: str = ""  # Of the operation's name: Namespaced, or nothing.
    suffix: str = ""


def paths(kinds: Kinds, group: str, version: str, components: Components) -> Iterator[tuple[str, Object]]:
    """(path, its operations) of a group version. What they take and answer is referred to in the components."""
    yield _root(group, version, components)
    for row in discovery.served(kinds, group, version):
        yield from _of_kind(row, components)


def _root(group: str, version: str, components: Components) -> tuple[str, Object]:
    path = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    operation = {
        "tags": [_tag(group, version)],
        "description": "get available resources",
        "operationId": f"get{_title(group, version)}APIResources",
        "responses": responses((200,), components.refer("meta_v1.APIResourceList")),
    }
    return path, {"get": operation}


def _of_kind(row: Kind, components: Components) -> Iterator[tuple[str, Object]]:
    space, scope = ("{namespace}", "Namespaced") if row.namespaced else ("", "")
    collection = [verb for verb in _OF_COLLECTIONS if verb in row.verbs]
    if collection:
        yield row.path(space), _item(_Place(row, scope=scope), collection, components)
    if row.namespaced and "list" in row.verbs:
        yield row.path(), _item(_Place(row, suffix="ForAllNamespaces"), ["list"], components, is_everywhere=True)
    objects = [verb for verb in _OF_OBJECTS if verb in row.verbs]
    if objects:
        yield row.path(space, "{name}"), _item(_Place(row, scope=scope), objects, components, has_name=True)
    for name in row.subresources:
        verbs = discovery.subresource(row, name)[3]
        place = _Place(row, name, scope, "".join(part.capitalize() for part in name.split("/")))
        yield row.path(space, "{name}", name), _item(place, verbs, components, has_name=True)


def _item(
    place: _Place, verbs: Sequence[str], components: Components, has_name: bool = False, is_everywhere: bool = False
) -> Object:
    known = [(verb, _VERBS[verb]) for verb in verbs if verb in _VERBS]
    row = place.row
    parameters: list[Object] = []
    if has_name:
        parameters.append(_in_path("name", f"name of the {row.kind}"))
    if row.namespaced and not is_everywhere:
        parameters.append(_in_path("namespace", _NAMESPACE_TEXT))
    parameters.append(_in_query("pretty"))
    item: dict[str, Any] = {how.method: _operation(place, verb, how, components) for verb, how in known}
    return {**item, "parameters": parameters}


def _operation(place: _Place, verb: str, how: _Verb, components: Components) -> dict[str, Any]:
    row, name = place.row, place.subresource
    group, version, kind, _ = discovery.subresource(row, name) if name else (row.group, row.version, row.kind, ())
    about = f"{name} of the specified {row.kind}" if name else row.kind
    is_connection = name in _CONNECTED
    query = _OF_SUBRESOURCES.get(name, how.query)
    body = None if is_connection else _body(place, verb, components)
    return {
        "tags": [_tag(row.group, row.version)],
        "description": f"connect {how.method.upper()} requests to {about}" if is_connection else f"{how.does} {about}",
        "operationId": _operation_id(place, verb, how),
        **({"parameters": [_in_query(one) for one in query]} if query else {}),
        **({"requestBody": body} if body else {}),
        "responses": _answers(place, verb, how, components),
        "x-kubernetes-action": "connect" if is_connection else how.action,
        "x-kubernetes-group-version-kind": definitions.gvk(group, version, kind),
    }


def _operation_id(place: _Place, verb: str, how: _Verb) -> str:
    title = _title(place.row.group, place.row.version)
    kind = f"{place.scope}{place.row.kind}{place.suffix}"
    if place.subresource in _CONNECTED:
        return f"connect{title}{how.method.capitalize()}{kind}"
    return f"{how.word}{title}{'Collection' if verb == 'deletecollection' else ''}{kind}"


def _body(place: _Place, verb: str, components: Components) -> Object | None:
    match verb:
        case "create" | "update":
            return {"required": True, "content": {JSON: {"schema": _type(place, components)}}}
        case "patch":
            schema = {"schema": components.refer_value(definitions.PATCH)}
            return {"required": True, "content": dict.fromkeys(writes.patch_types(place.row), schema)}
        case "delete" | "deletecollection":
            return {"content": {JSON: {"schema": components.refer("meta_v1.DeleteOptions")}}}
        case _:
            return None


def _answers(place: _Place, verb: str, how: _Verb, components: Components) -> Object:
    if place.subresource in (*_CONNECTED, "log"):
        return responses((200,), {"type": "string"}, "*/*" if place.subresource in _CONNECTED else "text/plain")
    if verb == "list":
        return responses(how.codes, components.refer_list(place.row))
    if verb == "deletecollection" or (verb == "delete" and not place.subresource):
        return responses(how.codes, components.refer("meta_v1.Status"))
    if place.subresource in ("binding", "eviction"):
        return responses((201,), components.refer("meta_v1.Status"))
    return responses(how.codes, _type(place, components))


def _type(place: _Place, components: Components) -> Object:
    """What is sent to a place and answered from it."""
    row, name = place.row, place.subresource
    if name:
        group, version, kind, _ = discovery.subresource(row, name)
        if (group, version, kind) != (row.group, row.version, row.kind):
            return components.refer_named(group, version, kind)
    return components.refer_kind(row)


_CODES = {200: "OK", 201: "Created", 202: "Accepted"}


def responses(codes: Sequence[int], schema: Object, media: str = JSON) -> Object:
    """The answers of an operation, one schema for all that succeed."""
    found: dict[str, Any] = {
        str(code): {"description": _CODES[code], "content": {media: {"schema": schema}}} for code in codes
    }
    return {**found, "401": {"description": "Unauthorized"}}


def _in_query(name: str) -> Object:
    kind, text = _QUERY[name]
    return {"name": name, "in": "query", "description": text, "schema": {"type": kind, "uniqueItems": True}}


def _in_path(name: str, text: str) -> Object:
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "description": text, "required": True, "schema": schema}


def group_names(group: str) -> tuple[str, str]:
    """A group in the names of operations and as their tag: RbacAuthorization, rbacAuthorization."""
    first, *others = _words(group)
    return first + "".join(others), first.lower() + "".join(others)


def _tag(group: str, version: str) -> str:
    return f"{group_names(group)[1]}_{version}"


def _title(group: str, version: str) -> str:
    """CoreV1, RbacAuthorizationV1, ExampleComV1."""
    return group_names(group)[0] + version.capitalize()


def _words(group: str) -> list[str]:
    return [part.capitalize() for part in (group or "core").removesuffix(".k8s.io").replace("-", ".").split(".")]
