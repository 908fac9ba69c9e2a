"""One write: what is done to which object, for whom, by which field manager, and under which options.

Whatever changes the store is handed a `Write`, whether a client asked for it (`of` reads it from the request, and
finds its options good or refuses them) or the server itself (`by_server`): rest.create, change and remove, admission,
and what a subresource writes. `field_manager` is who owns the fields that a write sets, as server-side apply counts it:
the request's fieldManager, else what its User-Agent says before the first "/".
Options: CreateOptions, UpdateOptions, PatchOptions of meta.k8s.io/v1.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from petset.base import well_known
from petset.objects import errors
from petset.objects.errors import FieldError
from petset.objects.registry import Kind
from petset.server import deletion, weight
from petset.server.access import users
from petset.server.routes import Call
from petset.wire import http

CREATE, UPDATE, PATCH, DELETE = "create", "update", "patch", "delete"
CONNECT = "connect"  # To a pod: nothing is written, but admission is asked.
STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"  # What becomes of fields that the schema does not know.
FIELD_MANAGER_BYTES_MAX = 128
UNKNOWN_MANAGER, SERVER_MANAGER = "unknown", "kube-apiserver"
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH, APPLY_PATCH_CBOR = "application/apply-patch+yaml", "application/apply-patch+cbor"
USER_AGENTS_CACHED_MAX = 64

_OPERATIONS = {"create": CREATE, "update": UPDATE, "patch": PATCH, "delete": DELETE, "deletecollection": DELETE}
OPTIONS = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", PATCH: "PatchOptions"}


@dataclass(slots=True, eq=False)  # Never changed; to freeze it would take longer than to make it.
class Write:
    operation: str  # CREATE, UPDATE, PATCH, DELETE or CONNECT.
    resource: Kind
    user: http.User
    work: weight.Work
    namespace: str = ""
    name: str = ""  # Of the object that is changed or removed; a new one has its own, or gets one.
    subresource: str = ""
    field_manager: str = UNKNOWN_MANAGER
    dry_run: bool = False
    field_validation: str = WARN
    options: deletion.Options = deletion.AS_THE_KIND_HAS_IT  # Of a removal, with preconditions.
    is_decided: bool = False  # Written as it was made: by the server, after rules of its own (binding, finalize).
    is_applied: bool = False  # Server-side apply: what is written says itself who owns its fields ...
    force: bool = False  # ... and takes those of others.
    size: int = 0  # Bytes that the client sent for it.
    warnings: list[str] = field(default_factory=list[str])  # For the answer.
    audit_annotations: dict[str, str] = field(default_factory=dict[str, str])  # For whoever keeps the audit log.


def of(call: Call, is_decided: bool = False) -> Write:
    """What a request to create, update or patch is about to write. Raises ApiError 422."""
    operation, query, route = _OPERATIONS[call.verb], call.query, call.route
    manager = call.parameter("fieldManager")
    applies = is_apply(call)
    if applies or "fieldManager" in query or "dryRun" in query or "fieldValidation" in query or "force" in query:
        _check_options(call, operation, manager, applies)
    return Write(
        operation,
        call.resource,
        call.user,
        call.work,
        route.namespace,
        route.name,
        route.subresource,
        manager or manager_of(call.request.header("user-agent")),
        bool(query.get("dryRun")),
        call.parameter("fieldValidation") or WARN,
        is_decided=is_decided,
        is_applied=applies,
        force=applies and call.flag("force"),
        size=len(call.request.body),
        warnings=call.warnings,
        audit_annotations=call.audit_annotations,
    )


def of_removal(call: Call, options: deletion.Options) -> Write:
    """What a request to delete or evict is about to remove; of a collection, without a name."""
    route = call.route
    return Write(
        DELETE,
        call.resource,
        call.user,
        call.work,
        route.namespace,
        route.name,
        route.subresource,
        manager_of(call.request.header("user-agent")),
        options.dry_run,
        options=options,
        size=len(call.request.body),
        warnings=call.warnings,
        audit_annotations=call.audit_annotations,
    )


def of_connection(call: Call, name: str) -> Write:
    """What a request to connect to a pod, by itself or as one of a service, is to admission."""
    return Write(
        CONNECT,
        call.resource,
        call.user,
        call.work,
        call.route.namespace,
        name,
        call.route.subresource,
        warnings=call.warnings,
        audit_annotations=call.audit_annotations,
    )


def by_server(operation: str, resource: Kind, namespace: str, name: str, is_decided: bool = False) -> Write:
    """A write that nobody asked for."""
    work = weight.Work(weight.Line(), users.SERVER.name)
    return Write(operation, resource, users.SERVER, work, namespace, name, "", SERVER_MANAGER, is_decided=is_decided)


def patch_types(resource: Kind) -> tuple[str, ...]:
    """The forms of a patch that a kind takes: custom kinds have no strategies."""
    strategic = () if resource.custom is not None else (STRATEGIC_MERGE_PATCH,)
    return (JSON_PATCH, MERGE_PATCH, *strategic, APPLY_PATCH, APPLY_PATCH_CBOR)


def media_type(call: Call) -> str:
    """Of the request's body, without its parameters."""
    return call.request.header("content-type").partition(";")[0].strip().lower()


def is_apply(call: Call) -> bool:
    return call.verb == PATCH and media_type(call) in (APPLY_PATCH, APPLY_PATCH_CBOR)


def _check_options(call: Call, operation: str, manager: str, applies: bool) -> None:
    """Raises ApiError 422."""
    wrong: list[FieldError] = []
    if applies and not manager:
        wrong.append(FieldError.required("fieldManager", "is required for apply patch"))
    if operation == PATCH and not applies and "force" in call.query:
        wrong.append(FieldError.forbidden("force", "may not be specified for non-apply patch"))
    wrong += _wrong_manager(manager)
    dry_run = call.query.get("dryRun", [])
    if any(value != "All" for value in dry_run):
        wrong.append(FieldError.unsupported("dryRun", [value[:40] for value in dry_run[:10]], ("All",)))
    validation = call.parameter("fieldValidation")
    if validation not in ("", STRICT, WARN, IGNORE):
        wrong.append(FieldError.unsupported("fieldValidation", validation[:40], ("", IGNORE, STRICT, WARN)))
    if wrong:
        raise errors.invalid(OPTIONS[operation], "", wrong, well_known.META_GROUP)


def _wrong_manager(manager: str) -> list[FieldError]:
    size = len(manager.encode(errors="replace"))
    if size > FIELD_MANAGER_BYTES_MAX:
        return [FieldError.too_long("fieldManager", FIELD_MANAGER_BYTES_MAX)]
    wrong: list[FieldError] = []
    position = 0  # In bytes.
    for character in manager:
        if not character.isprintable():
            why = f"invalid character U+{ord(character):04X} (at position {position})"
            wrong.append(FieldError.invalid("fieldManager", manager, why))
        position += len(character.encode(errors="replace"))
    return wrong


@functools.lru_cache(maxsize=USER_AGENTS_CACHED_MAX)
def manager_of(user_agent: str) -> str:
    """The field manager of a client that names none."""
    name = "".join(character for character in user_agent.partition("/")[0] if character.isprintable())
    return name.encode()[:FIELD_MANAGER_BYTES_MAX].decode(errors="ignore") or UNKNOWN_MANAGER
