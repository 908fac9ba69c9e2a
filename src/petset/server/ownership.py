"""Who owns which fields, kept with every write; and what server-side apply makes of a configuration.

`defaulted` stands between what a client wants and admission: the defaults are the client's own, what admission and the
kind add is nobody's. A write of the status owns fields of the status only, one of the object none of them. An object
that nobody was named the owner of is not followed until somebody applies to it. Rules: objects/owners.py and apply.py.
"""

from __future__ import annotations

from typing import Any

from petset.base import tasks
from petset.objects import apply, cbor, encoding, errors, managed, meta, owners, schema, typed_fields
from petset.objects.managed import NOTHING, Fields
from petset.objects.meta import Object
from petset.objects.owners import Owner
from petset.objects.registry import OF_STATUS, Kind
from petset.server import decoding, writes
from petset.server.routes import Call
from petset.server.writes import Write


def defaulted(
    write: Write, new: Object, before: Object | None, others: owners.Comparisons = owners.NO_OTHERS
) -> Object:
    """The object with its defaults and with who owns its fields then. Raises ApiError 422.

    `others` is what the write changes in those versions of the kind that other owners wrote in.
    """
    new = write.resource.default(new)
    if write.is_applied:
        return new
    given: Any = new["metadata"].get("managedFields")
    if before is None and given is None:  # Most of what is created.
        fields = typed_fields.set_by_new(schema.node_of(write.resource), _written(write, new))
        return owners.with_entries(new, [_owner(write, owners.UPDATE).entry(fields, _now())] if fields else ())
    live = owners.of(before) if before is not None else ()
    entries = live
    if given is not None and given is not live and not write.subresource:
        entries = owners.given(given, live)
        if entries is not live and (wrong := owners.wrong(given)):
            raise errors.invalid(write.resource.kind, meta.name(new), wrong, write.resource.group)
    if entries or before is None:
        found = compared(write, write.resource, before or {}, new)
        entries = owners.updated(entries, found, _owner(write, owners.UPDATE), _now(), others)
    return owners.with_entries(new, entries)


def compared(write: Write, kind: Kind, before: Object, new: Object) -> typed_fields.Comparison:
    """What a write changes, in a version of its kind."""
    return typed_fields.compare(schema.node_of(kind), _written(write, before), _written(write, new))


def _written(write: Write, obj: Object) -> Object:
    """What of an object this way of writing is about."""
    if write.subresource in OF_STATUS:
        return {key: obj[key] for key in ("metadata", "status") if key in obj}
    if "status" in obj and "status" in write.resource.subresources:
        return {key: value for key, value in obj.items() if key != "status"}
    return obj


def _owner(write: Write, operation: str) -> Owner:
    return Owner(write.field_manager, operation, write.resource.api_version, write.subresource)


def _now() -> str:
    return tasks.rfc3339(tasks.now())


# -- apply --------------------------------------------------------------------------------------------------------


async def configuration(call: Call, resource: Kind) -> Object:
    """What the request applies, as an object of the kind of which most may be missing. Raises ApiError 400, 413."""
    data = call.request.body
    if len(data) > decoding.OBJECT_BYTES_MAX:
        raise errors.too_large(f"Request entity too large: limit is {decoding.OBJECT_BYTES_MAX} bytes; send less")
    return await call.work.beside(len(data), _configuration, call, resource)


def _yaml(data: bytes) -> Any:
    from petset.objects import documents

    return documents.load(data)


def _configuration(call: Call, resource: Kind) -> Object:
    data = call.request.body
    is_cbor = writes.media_type(call) == writes.APPLY_PATCH_CBOR
    is_json = not is_cbor and data.lstrip()[:1] == b"{"
    loads = cbor.loads if is_cbor else encoding.loads if is_json else _yaml
    try:
        tree: Any = loads(data)
    except ValueError as error:
        raise errors.bad_request(f"error decoding {'CBOR' if is_cbor else 'YAML'}: {error}") from None
    if not meta.is_struct(tree) or not tree.get("apiVersion") or not tree.get("kind"):
        raise errors.bad_request("cannot apply: the configuration must be an object with its apiVersion and kind")
    if tree["apiVersion"] != resource.api_version:
        raise errors.bad_request(
            "Incorrect version specified in apply patch. Specified patch version: "
            f"{str(tree['apiVersion'])[:100]}, expected: {resource.api_version}"
        )
    config, unknown = schema.partial(decoding.typed(tree, resource), resource)
    if config["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    if unknown:
        raise not_typed(config, [f"{_path(each)}: field not declared in schema" for each in unknown])
    if call.parameter("fieldValidation") == writes.STRICT and (twice := _repeated(data, is_json, is_cbor)):
        raise errors.bad_request(f"strict decoding error: {', '.join(twice[: schema.UNKNOWN_FIELDS_TOLD_MAX])}")
    return config


def _repeated(data: bytes, is_json: bool, is_cbor: bool) -> list[str]:
    if is_cbor:
        return []  # It was refused for them.
    if is_json:
        return [f'duplicate field "{path}"' for path in encoding.duplicate_fields(data)]
    from petset.objects import documents

    return documents.repeated_keys(data)


def _path(unknown: str) -> str:
    """unknown field "spec.foo" -> .spec.foo."""
    return "." + unknown.partition('"')[2].rstrip('"')


def not_typed(config: Object, why: list[str]) -> errors.ApiError:
    """400: the configuration does not fit the kind's type."""
    metadata = config["metadata"]
    name = "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
    text = why[0] if len(why) == 1 else "\n".join(["errors:", *(f"  {each}" for each in why)])
    return errors.bad_request(
        f"failed to create typed patch object ({name}; {config['apiVersion']}, Kind={config['kind']}): {text}"
    )


def applied(write: Write, live: Object, config: Object) -> Object:
    """The live object after the configuration was applied, all owners' fields taken as this version's.

    Raises ApiError 400 or 409.
    """
    return apply.at_once(applying(write, live, config), schema.node_of(write.resource))


def applying(write: Write, live: Object, config: Object) -> apply.Steps[Object]:
    """The same, which asks for the object in the versions that other owners wrote in."""
    node, owner = schema.node_of(write.resource), _owner(write, owners.APPLY)
    ignored = _ignored(write, live, config)
    try:
        return (yield from apply.applying(live, config, node, owner, _now(), write.force, ignored))
    except apply.Conflicts as conflicts:
        raise apply.refusal(conflicts) from None
    except apply.NotTyped as error:
        raise not_typed(config, [str(error)]) from None


def _ignored(write: Write, live: Object, config: Object) -> Fields:
    """What this way of writing cannot own."""
    if write.subresource in OF_STATUS:
        others = {managed.field(key): NOTHING for key in (*live, *config) if key not in ("status", "metadata")}
        metadata = {managed.field(key): NOTHING for key in write.resource.status_keeps}
        return {**others, "f:metadata": metadata} if metadata else others
    return {"f:status": NOTHING} if "status" in write.resource.subresources else NOTHING
