"""CustomResourceDefinition: a kind that a user adds to the cluster (apiextensions.k8s.io/v1).

Names, scope and versions are checked here, the schema of each version by objects/structural; the paths, reasons and
messages are upstream's. What the cluster makes of a definition (accepted names, conditions, stored versions) stands in
its status, which server/custom writes; a new one has only its storage version there. Who deletes a definition marks it
and leaves a finalizer, which goes when the last of its objects has gone.
Follows: the Kubernetes API reference of CustomResourceDefinition v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from petset.base import well_known
from petset.kinds import client_config, volume_snapshots
from petset.objects import cel, jsonpath, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.structural import wellformed
from petset.objects.validation import Errors, immutable, listed, named, one_of, optional

GROUP = "apiextensions.k8s.io"
ESTABLISHED, NAMES_ACCEPTED, TERMINATING = "Established", "NamesAccepted", "Terminating"
VERSIONS_MAX = 100
COLUMNS_MAX = 100
SELECTABLE_FIELDS_MAX = 8
WARNING_CHARACTERS_MAX = 256
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
REVIEW_VERSIONS = ("v1", "v1beta1")
_PROTECTED = ("k8s.io", "kubernetes.io")


def storage_version(obj: Object) -> str:
    return next((one["name"] for one in meta.parts(obj, "spec", "versions") if one.get("storage")), "")


def schema_of(version: Object) -> Object:
    return meta.part(version, "schema", "openAPIV3Schema")


# -- defaults, and what a write may not set


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    def given_names(given: Object) -> Object:
        kind = given.get("kind") or ""
        return fill_empty(given, {"singular": kind.lower(), **({"listKind": kind + "List"} if kind else {})})

    spec = within(spec, "names", given_names)
    spec = fill(spec, {"conversion": {"strategy": "None"}})
    return within(spec, "conversion", _conversion_defaults)


def _conversion_defaults(conversion: Object) -> Object:
    return at(conversion, "webhook", lambda webhook: at(webhook, "clientConfig", client_config.defaults))


def prepare(new: Object, old: Object | None) -> Object:
    status = meta.part(new, "status") if old is not None else meta.part({})
    stored = list(meta.texts(status, "storedVersions"))
    storage = storage_version(new)
    if storage and storage not in stored:
        stored.append(storage)
    empty: Mapping[str, Any] = {"acceptedNames": {"plural": "", "kind": ""}, "conditions": []}
    return {**new, "status": {**empty, **status, "storedVersions": stored}}


def when_deleted(obj: Object, moment: str) -> Object:
    """Its objects go first."""
    marked = meta.with_finalizers(obj, well_known.CUSTOM_RESOURCE_CLEANUP_FINALIZER)
    why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    present = meta.parts(obj, "status", "conditions")
    conditions = with_condition(present, TERMINATING, True, "InstanceDeletionPending", why, moment)
    return meta.changed(marked, ("status", "conditions"), conditions)


def with_condition(
    conditions: Iterable[Object], type_: str, holds: bool, reason: str, message: str, moment: str
) -> list[Object]:
    new = {
        "type": type_,
        "status": "True" if holds else "False",
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }
    return meta.with_condition(conditions, new)


# -- checks


@listed
def validate(obj: Object) -> Errors:
    spec, given = meta.part(obj, "spec"), meta.part(obj, "spec", "names")
    name, wanted = obj["metadata"].get("name") or "", f"{given.get('plural', '')}.{spec.get('group', '')}"
    if name != wanted:
        yield FieldError.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    group = spec.get("group") or ""
    yield from named(group, "spec.group", names.subdomain)
    if group and "." not in group:
        yield FieldError.invalid("spec.group", group, "should be a domain with at least one dot")
    yield from _approval(obj, group)
    yield from one_of(spec.get("scope"), "spec.scope", ("Cluster", "Namespaced"))
    yield from _names(given)
    yield from _versions(meta.parts(spec, "versions"))
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield FieldError.invalid("spec.preserveUnknownFields", True, why)
    yield from _conversion(meta.part(spec, "conversion"))
    yield from _stored(obj)


def _approval(obj: Object, group: str) -> Errors:
    if not any(group == one or group.endswith(f".{one}") for one in _PROTECTED):
        return
    approved = meta.annotations(obj).get(well_known.API_APPROVED_ANNOTATION, "")
    where = f"metadata.annotations[{well_known.API_APPROVED_ANNOTATION}]"
    if not approved:
        why = f'protected groups must have approval annotation "{well_known.API_APPROVED_ANNOTATION}"'
        yield FieldError.required(where, why)
    elif not approved.startswith(("https://", "http://", "unapproved")):
        why = 'must be a URL, or begin with "unapproved"'
        yield FieldError.invalid(where, approved, why)


def _names(given: Object, path: str = "spec.names") -> Errors:
    for field in ("plural", "singular", "kind", "listKind"):
        value, where = given.get(field) or "", f"{path}.{field}"
        is_kind = field in ("kind", "listKind")
        if not value:
            yield FieldError.required(where)
        elif wrong := names.label_1035(value.lower() if is_kind else value):
            mixed = "may have mixed case, but should otherwise match: " if is_kind else ""
            yield FieldError.invalid(where, value, mixed + wrong)
    for field in ("shortNames", "categories"):
        for index, value in enumerate(meta.texts(given, field)):
            if wrong := names.label_1035(value):
                yield FieldError.invalid(f"{path}.{field}[{index}]", value, wrong)
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        yield FieldError.invalid(f"{path}.listKind", given["listKind"], "kind and listKind may not be the same")


def _versions(versions: Sequence[Object]) -> Errors:
    if len(versions) > VERSIONS_MAX:
        yield FieldError.too_many("spec.versions", len(versions), VERSIONS_MAX)
        return
    for index, version in enumerate(versions):
        yield from _version(version, f"spec.versions[{index}]")
    told = [version.get("name") or "" for version in versions]
    if len(frozenset(told)) != len(told):
        yield FieldError.invalid("spec.versions", told, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield FieldError.invalid("spec.versions", told, "must have exactly one version marked as storage version")


def _version(version: Object, path: str) -> Errors:
    yield from named(version.get("name"), f"{path}.name", names.label_1035)
    warning = version.get("deprecationWarning")
    if warning is not None:
        if not version.get("deprecated"):
            yield FieldError.invalid(f"{path}.deprecationWarning", warning, "can only be set for deprecated versions")
        if not warning:
            yield FieldError.invalid(f"{path}.deprecationWarning", warning, "must not be an empty string")
        elif len(warning) > WARNING_CHARACTERS_MAX or not warning.isprintable():
            why = f"must be printable and <= {WARNING_CHARACTERS_MAX} characters long"
            yield FieldError.invalid(f"{path}.deprecationWarning", warning, why)
    where = f"{path}.schema.openAPIV3Schema"
    if not schema_of(version):
        yield FieldError.required(where)
    yield from _scale(meta.part(version, "subresources", "scale"), f"{path}.subresources.scale", version)
    columns = meta.parts(version, "additionalPrinterColumns")
    if len(columns) > COLUMNS_MAX:
        yield FieldError.too_many(f"{path}.additionalPrinterColumns", len(columns), COLUMNS_MAX)
    for index, column in enumerate(columns[:COLUMNS_MAX]):
        yield from _column(column, f"{path}.additionalPrinterColumns[{index}]")
    yield from _selectable(version, f"{path}.selectableFields")


@listed
def validate_new(obj: Object) -> Errors:
    yield from _schemas(obj, {})


def _schemas(obj: Object, known: Mapping[str, Object]) -> Errors:
    """What is wrong with the versions' schemas; `known`: those of before, by version."""
    group = meta.part(obj, "spec").get("group") or ""
    for index, version in enumerate(meta.parts(obj, "spec", "versions")[:VERSIONS_MAX]):
        schema = schema_of(version)
        if schema and not volume_snapshots.brings(group, schema):
            is_new = known.get(version.get("name") or "") != schema
            yield from wellformed.schema(schema, f"spec.versions[{index}].schema.openAPIV3Schema", is_new)


def _scale(scale: Object, path: str, version: Object) -> Errors:
    if meta.get(version, "subresources", "scale") is None:
        return
    for field, roots in (
        ("specReplicasPath", (".spec.",)),
        ("statusReplicasPath", (".status.",)),
        ("labelSelectorPath", (".spec.", ".status.")),
    ):
        value = scale.get(field) or ""
        if not value:
            if field != "labelSelectorPath":
                yield FieldError.required(f"{path}.{field}")
        elif not value.startswith("."):
            yield FieldError.invalid(f"{path}.{field}", value, "must be a simple json path starting with .")
        elif not value.startswith(roots):
            under = " or ".join(root.rstrip(".") for root in roots)
            under = f"either {under}" if len(roots) > 1 else under
            yield FieldError.invalid(f"{path}.{field}", value, f"should be a json path under {under}")


def _column(column: Object, path: str) -> Errors:
    if not column.get("name"):
        yield FieldError.required(f"{path}.name")
    kind, told = column.get("type") or "", f"must be one of {','.join(COLUMN_TYPES)}"
    if not kind:
        yield FieldError.required(f"{path}.type", told)
    elif kind not in COLUMN_TYPES:
        yield FieldError.invalid(f"{path}.type", kind, told)
    if column.get("format") and column["format"] not in COLUMN_FORMATS:
        yield FieldError.invalid(f"{path}.format", column["format"], f"must be one of {','.join(COLUMN_FORMATS)}")
    value = column.get("jsonPath") or ""
    if not value:
        yield FieldError.required(f"{path}.JSONPath")
    elif not value.startswith("."):
        yield FieldError.invalid(f"{path}.JSONPath", value, "must be a simple json path starting with .")
    else:
        try:
            jsonpath.parse(value)
        except ValueError as error:
            yield FieldError.invalid(f"{path}.JSONPath", value, str(error))


def _selectable(version: Object, path: str) -> Errors:
    fields = meta.parts(version, "selectableFields")
    if len(fields) > SELECTABLE_FIELDS_MAX:
        yield FieldError.too_many(path, len(fields), SELECTABLE_FIELDS_MAX)
        return
    seen: dict[str, None] = {}
    for index, field in enumerate(fields):
        value, where = field.get("jsonPath") or "", f"{path}[{index}].jsonPath"
        if not value:
            yield FieldError.required(where)
            continue
        found: Object | None = schema_of(version)
        for step in value.removeprefix(".").split("."):
            found = meta.part(found, "properties").get(step) if found is not None else None
        if not value.startswith(".") or found is None:
            yield FieldError.invalid(where, value, "is an invalid path: does not refer to a valid field")
        elif value.startswith(".metadata"):
            yield FieldError.invalid(where, value, "must not point to fields in metadata")
        elif found.get("type") not in ("string", "boolean", "integer"):
            why = "must point to a field of type string, boolean or integer. "
            why += "Enum string fields and strings with formats are allowed."
            yield FieldError.invalid(where, value, why)
        if value in seen:
            yield FieldError.duplicate(where, value)
        seen[value] = None


def _conversion(conversion: Object) -> Errors:
    path, strategy, webhook = "spec.conversion", conversion.get("strategy"), conversion.get("webhook")
    yield from one_of(strategy, f"{path}.strategy", ("None", "Webhook"))
    if strategy != "Webhook":
        if webhook is not None:
            yield FieldError.forbidden(f"{path}.webhook", "should not be set when strategy is not set to Webhook")
        return
    config, where = meta.get(conversion, "webhook", "clientConfig"), f"{path}.webhookClientConfig"
    if config is None:
        yield FieldError.required(where, "required when strategy is set to Webhook")
    else:
        yield from client_config.wrong(config, where)
    versions = meta.texts(conversion, "webhook", "conversionReviewVersions")
    if not versions:
        yield FieldError.required(f"{path}.conversionReviewVersions")
    elif not any(version in REVIEW_VERSIONS for version in versions):
        why = f"must include at least one of {', '.join(REVIEW_VERSIONS)}"
        yield FieldError.invalid(f"{path}.conversionReviewVersions", list(versions), why)


def _stored(obj: Object) -> Errors:
    stored = meta.texts(obj, "status", "storedVersions")
    known = [version.get("name") for version in meta.parts(obj, "spec", "versions")]
    for index, version in enumerate(stored):
        if version not in known:
            why = (
                f"missing from spec.versions; {version} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {version} and removes "
                f"{version} from status.storedVersions"
            )
            yield FieldError.invalid(f"status.storedVersions[{index}]", version, why)
    accepted = meta.part(obj, "status", "acceptedNames")
    for field in ("plural", "singular"):
        yield from optional(accepted.get(field), f"status.acceptedNames.{field}", names.label_1035)


@listed
def validate_update(new: Object, old: Object) -> Errors:
    known = {one.get("name") or "": schema_of(one) for one in meta.parts(old, "spec", "versions")}
    yield from _schemas(new, known)
    spec, before = meta.part(new, "spec"), meta.part(old, "spec")
    yield from immutable(spec, before, "spec", "group")
    yield from immutable(meta.part(spec, "names"), meta.part(before, "names"), "spec.names", "plural")
    if meta.is_condition_true(old, ESTABLISHED):  # It is known by these from then on.
        yield from immutable(spec, before, "spec", "scope")
        yield from immutable(meta.part(spec, "names"), meta.part(before, "names"), "spec.names", "kind")


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), meta.get(obj, "metadata", "creationTimestamp", default="<unknown>")]


CUSTOMRESOURCEDEFINITIONS = Kind(
    GROUP,
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=("status",),
    has_generation=True,
    cost=cel.COST,
    default=defaults,
    prepare=prepare,
    validate=validate,
    validate_new=validate_new,
    validate_update=validate_update,
    printer=tables.Printer(tables.columns("Name, Created At"), cells),
    when_deleted=when_deleted,
)

KINDS = (CUSTOMRESOURCEDEFINITIONS,)
