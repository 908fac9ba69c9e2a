"""Checks of small core kinds: ConfigMap, Secret, ServiceAccount, Namespace, Node, Event, and of Lease."""

from __future__ import annotations

from collections.abc import Mapping

from petset.base import well_known
from petset.kinds.validation_affinity import EFFECTS
from petset.objects import encoding, meta, names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import IMMUTABLE, POSITIVE, Errors, at_least, listed, named, one_of

DATA_BYTES_MAX = 1024 * 1024
_KEPT = "field is immutable when `immutable` is set"


# -- configuration ------------------------------------------------------------------------------------------------


@listed
def config_map(obj: Object) -> Errors:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    yield from _keys(data, "data")
    yield from _keys(binary, "binaryData")
    for key in data:
        if key in binary:
            yield FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    if _bytes(data) + sum(_decoded(text) for text in binary.values()) > DATA_BYTES_MAX:
        yield FieldError.too_long("data", DATA_BYTES_MAX)


def _keys(given: Mapping[str, str], path: str) -> Errors:
    for key in given:
        if wrong := names.config_key(key):
            yield FieldError.invalid(f"{path}[{key}]", key, wrong)


def _bytes(given: Mapping[str, str]) -> int:
    return sum(len(text) if text.isascii() else len(text.encode()) for text in given.values())


def _decoded(base64: str) -> int:
    return len(base64) * 3 // 4


@listed
def config_map_update(new: Object, old: Object) -> Errors:
    if old.get("immutable"):
        yield from _unchanged(new, old, "data", "binaryData")


def _unchanged(new: Object, old: Object, *fields: str) -> Errors:
    if not new.get("immutable"):
        yield FieldError.forbidden("immutable", _KEPT)
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield FieldError.forbidden(field, _KEPT)


# The keys that a secret of a known type must have; one of them where they are alternatives.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    well_known.DOCKERCFG_SECRET: (".dockercfg",),
    well_known.DOCKERCONFIGJSON_SECRET: (".dockerconfigjson",),
    well_known.SSH_AUTH_SECRET: ("ssh-privatekey",),
    well_known.TLS_SECRET: ("tls.crt", "tls.key"),
}


@listed
def secret(obj: Object) -> Errors:
    data, kind = obj.get("data") or {}, obj.get("type") or ""
    yield from _keys(data, "data")
    if sum(_decoded(text) for text in data.values()) > DATA_BYTES_MAX:
        yield FieldError.too_long("data", DATA_BYTES_MAX)
    if kind == well_known.SERVICE_ACCOUNT_TOKEN_SECRET and not meta.annotations(obj).get(
        well_known.SERVICE_ACCOUNT_NAME_ANNOTATION
    ):
        yield FieldError.required(f"metadata.annotations[{well_known.SERVICE_ACCOUNT_NAME_ANNOTATION}]")
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            yield FieldError.required(f"data[{key}]")
        elif key.startswith(".docker") and not _is_json(data[key]):
            yield FieldError.invalid(f"data[{key}]", "<secret contents redacted>", "it is not JSON")
    if kind == well_known.BASIC_AUTH_SECRET and not ("username" in data or "password" in data):
        yield FieldError.required("data[username]")
        yield FieldError.required("data[password]")


def _is_json(base64_text: str) -> bool:
    import base64

    try:
        encoding.loads(base64.b64decode(base64_text))
    except ValueError:
        return False
    return True


@listed
def secret_update(new: Object, old: Object) -> Errors:
    if new.get("type") != old.get("type"):
        yield FieldError.invalid("type", new.get("type"), IMMUTABLE)
    if old.get("immutable"):
        yield from _unchanged(new, old, "data")


# -- the rest -----------------------------------------------------------------------------------------------------


@listed
def service_account(obj: Object) -> Errors:
    for index, reference in enumerate(obj.get("imagePullSecrets") or ()):
        yield from named(reference.get("name"), f"imagePullSecrets[{index}].name", names.subdomain)


@listed
def namespace(obj: Object) -> Errors:
    for index, name in enumerate(meta.get(obj, "spec", "finalizers", default=())):
        if wrong := names.qualified(name):
            yield FieldError.invalid(f"spec.finalizers[{index}]", name, wrong)
        elif "/" not in name and name != "kubernetes":
            yield FieldError.invalid(
                f"spec.finalizers[{index}]", name, "name is neither a standard finalizer name nor is it fully qualified"
            )


@listed
def node(obj: Object) -> Errors:
    seen: dict[tuple[str, str], None] = {}
    for index, taint in enumerate(meta.get(obj, "spec", "taints", default=())):
        where, key, effect = f"spec.taints[{index}]", taint.get("key") or "", taint.get("effect") or ""
        if wrong := names.qualified(key):
            yield FieldError.invalid(f"{where}.key", key, wrong)
        if wrong := names.label_value(taint.get("value") or ""):
            yield FieldError.invalid(f"{where}.value", taint["value"], wrong)
        yield from one_of(effect, f"{where}.effect", EFFECTS)
        if (key, effect) in seen:
            yield FieldError.duplicate(where, dict(taint))
        seen[(key, effect)] = None


@listed
def node_update(new: Object, old: Object) -> Errors:
    """What identifies a node is set once."""
    for field in ("podCIDR", "providerID"):
        before = meta.get(old, "spec", field, default="")
        if before and meta.get(new, "spec", field, default="") != before:
            yield FieldError.forbidden(f"spec.{field}", "node updates may not change it once it is set")


@listed
def event(obj: Object) -> Errors:
    """An event lives in the namespace of what it is about; that of a cluster-scoped object in default."""
    about, space = meta.get(obj, "involvedObject", "namespace", default=""), meta.namespace(obj)
    if (about and about != space) or (not about and space not in ("default", "kube-system")):
        yield FieldError.invalid("involvedObject.namespace", about, "does not match event.namespace")


@listed
def lease(obj: Object) -> Errors:
    spec = obj.get("spec") or {}
    yield from at_least(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds", 1)
    yield from at_least(spec.get("leaseTransitions"), "spec.leaseTransitions")
    if spec.get("leaseDurationSeconds") == 0:
        yield FieldError.invalid("spec.leaseDurationSeconds", 0, POSITIVE)
