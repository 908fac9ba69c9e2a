"""Checks of a pod's volumes: names, exactly one source each, and the sources that petset serves.

Sources of storage systems that petset has no driver for are checked by their schema only; the node says so when a
pod asks for one. `volumes` answers the volume names through the pod's check, which needs them for the mounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from petset.kinds import cluster_trust_bundle, persistent_volume_claim, pod_certificate_request, signers
from petset.objects import meta, names, quantity
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import NOT_NEGATIVE, Errors, label_selector, named, named_once, object_metadata, one_of

Check = Callable[[Object, str], Errors]

FILE_MODE_MAX, DIRECTORY_MODE_MAX = 0o777, 0o1777

TOKEN_SECONDS_MIN, TOKEN_SECONDS_MAX = 600, 2**32

KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")

HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)

FIELD_PATHS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)

VOLUME_FIELD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")

CONTAINER_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)


def volumes(given: Sequence[Object], path: str) -> Errors:
    seen: dict[str, None] = {}
    for index, volume in enumerate(given):
        where = f"{path}[{index}]"
        name = volume.get("name", "")
        yield from named_once(name, f"{where}.name", names.label, seen)
        source = {key: value for key, value in volume.items() if key != "name"}
        yield from _one_of(source, where, _SOURCES, "a volume type", "volume type")


def _one_of(given: Object, path: str, checks: Mapping[str, Check], wanted: str, at_most: str) -> Errors:
    """A source is one of its kinds, and the first that is given is checked as such."""
    kinds = [key for key, value in given.items() if value is not None]
    if not kinds:
        yield FieldError.required(path, f"must specify {wanted}")
    for extra in kinds[1:]:
        yield FieldError.forbidden(f"{path}.{extra}", f"may not specify more than 1 {at_most}")
    if kinds and (check := checks.get(kinds[0])):
        yield from check(given[kinds[0]], f"{path}.{kinds[0]}")


def file_mode(mode: int | None, path: str) -> Errors:
    if mode is not None and not 0 <= mode <= FILE_MODE_MAX:
        yield FieldError.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def relative(value: str | None, path: str) -> Errors:
    """A file below the volume's directory."""
    if not value:
        yield FieldError.required(path)
    elif wrong := names.relative_path(value):
        yield FieldError.invalid(path, value, wrong)
    elif value.startswith(".."):
        yield FieldError.invalid(path, value, "must not start with '..'")


def field_reference(given: Object, path: str, supported: Sequence[str]) -> Errors:
    """An ObjectFieldSelector; labels and annotations may be asked for one key: metadata.labels['app']."""
    field = given.get("fieldPath", "")
    if not field:
        yield FieldError.required(f"{path}.fieldPath")
        return
    base, bracket, rest = field.partition("['")
    if bracket:
        key = rest.removesuffix("']")
        if base not in ("metadata.labels", "metadata.annotations") or not rest.endswith("']"):
            yield FieldError.invalid(
                f"{path}.fieldPath", field, "error converting fieldPath: field label not supported"
            )
        elif wrong := names.qualified(key if base == "metadata.labels" else key.lower()):
            yield FieldError.invalid(f"{path}.fieldPath", key, wrong)
    elif field not in supported:
        yield FieldError.unsupported(f"{path}.fieldPath", field, supported)


def resource_reference(given: Object, path: str, needs_container: bool) -> Errors:
    if needs_container and not given.get("containerName"):
        yield FieldError.required(f"{path}.containerName")
    wanted = given.get("resource", "")
    if not wanted:
        yield FieldError.required(f"{path}.resource")
    elif wanted not in CONTAINER_RESOURCES and not wanted.startswith(("limits.hugepages-", "requests.hugepages-")):
        yield FieldError.unsupported(f"{path}.resource", wanted, CONTAINER_RESOURCES)


def _empty_dir(given: Object, path: str) -> Errors:
    if "sizeLimit" in given and quantity.parse(given["sizeLimit"]).value < 0:
        yield FieldError.invalid(f"{path}.sizeLimit", given["sizeLimit"], NOT_NEGATIVE)
    mode = given.get("mode")
    if mode is not None and not 0 <= mode <= DIRECTORY_MODE_MAX:
        yield FieldError.invalid(f"{path}.mode", mode, "must be a number between 0 and 01777 (octal), both inclusive")
    medium = given.get("medium", "")
    if medium not in ("", "Memory") and not medium.startswith("HugePages"):
        yield FieldError.unsupported(f"{path}.medium", medium, ("", "Memory", "HugePages"))


def host_path(given: Object, path: str) -> Errors:
    value = given.get("path", "")
    if not value:
        yield FieldError.required(f"{path}.path")
    elif ".." in value.split("/"):
        yield FieldError.invalid(f"{path}.path", value, "must not contain '..'")
    if given.get("type") and given["type"] not in HOST_PATH_TYPES:
        yield FieldError.unsupported(f"{path}.type", given["type"], HOST_PATH_TYPES)


def _items(items: Sequence[Object], path: str) -> Errors:
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        if not item.get("key"):
            yield FieldError.required(f"{where}.key")
        yield from relative(item.get("path"), f"{where}.path")
        yield from file_mode(item.get("mode"), f"{where}.mode")


def _secret(given: Object, path: str) -> Errors:
    if not given.get("secretName"):
        yield FieldError.required(f"{path}.secretName")
    yield from file_mode(given.get("defaultMode"), f"{path}.defaultMode")
    yield from _items(meta.parts(given, "items"), f"{path}.items")


def _config_map(given: Object, path: str) -> Errors:
    if not given.get("name"):
        yield FieldError.required(f"{path}.name")
    yield from file_mode(given.get("defaultMode"), f"{path}.defaultMode")
    yield from _items(meta.parts(given, "items"), f"{path}.items")


def _downward(given: Object, path: str) -> Errors:
    yield from file_mode(given.get("defaultMode"), f"{path}.defaultMode")
    for index, item in enumerate(meta.parts(given, "items")):
        where = f"{path}.items[{index}]"
        yield from relative(item.get("path"), f"{where}.path")
        yield from file_mode(item.get("mode"), f"{where}.mode")
        field, amount = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None and amount is not None:
            yield FieldError.invalid(
                where, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
            )
        elif field is not None:
            yield from field_reference(field, f"{where}.fieldRef", VOLUME_FIELD_PATHS)
        elif amount is not None:
            yield from resource_reference(amount, f"{where}.resourceFieldRef", True)
        else:
            yield FieldError.required(where, "one of fieldRef and resourceFieldRef is required")


def _claim(given: Object, path: str) -> Errors:
    yield from named(given.get("claimName"), f"{path}.claimName", names.subdomain)


def _projected(given: Object, path: str) -> Errors:
    yield from file_mode(given.get("defaultMode"), f"{path}.defaultMode")
    for index, source in enumerate(meta.parts(given, "sources")):
        where = f"{path}.sources[{index}]"
        yield from _one_of(source, where, _PROJECTIONS, "a projected volume source", "volume type per source")


def _projected_files(given: Object, path: str) -> Errors:
    if not given.get("name"):
        yield FieldError.required(f"{path}.name")
    yield from _items(meta.parts(given, "items"), f"{path}.items")


def _token(given: Object, path: str) -> Errors:
    yield from relative(given.get("path"), f"{path}.path")
    seconds = given.get("expirationSeconds")
    if seconds is not None and seconds < TOKEN_SECONDS_MIN:
        yield FieldError.invalid(
            f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"
        )
    elif seconds is not None and seconds > TOKEN_SECONDS_MAX:
        yield FieldError.invalid(
            f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
        )


def _trust_bundle(given: Object, path: str) -> Errors:
    name, signer = given.get("name"), given.get("signerName")
    if name is not None and signer is not None:
        yield FieldError.invalid(path, name, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield FieldError.required(f"{path}.name", "must be a valid object name")
        elif wrong := cluster_trust_bundle.wrong_name(name, cluster_trust_bundle.signer_in_name(name)):
            yield FieldError.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {wrong}")
        if given.get("labelSelector") is not None:
            why = "labelSelector must be unset if name is specified"
            yield FieldError.invalid(f"{path}.labelSelector", given["labelSelector"], why)
    elif signer is not None:
        yield from signers.named(signer, f"{path}.signerName")
        yield from label_selector(given.get("labelSelector"), f"{path}.labelSelector")
    else:
        yield FieldError.required(path, "either name or signerName must be specified")
    yield from relative(given.get("path"), f"{path}.path")


def _pod_certificate(given: Object, path: str) -> Errors:
    signer = given.get("signerName") or ""
    yield from signers.named(signer, f"{path}.signerName")
    if given.get("keyType") not in KEY_TYPES:
        yield FieldError.unsupported(f"{path}.keyType", given.get("keyType") or "", KEY_TYPES)
    seconds, most = given.get("maxExpirationSeconds"), pod_certificate_request.lifetime_seconds_max(signer)
    least = pod_certificate_request.LIFETIME_SECONDS_MIN
    if seconds is not None and seconds < least:
        why = f"if provided, maxExpirationSeconds must be >= {least}"
        yield FieldError.invalid(f"{path}.maxExpirationSeconds", seconds, why)
    elif seconds is not None and seconds > most:
        why = f"if provided, maxExpirationSeconds must be <= {most}"
        yield FieldError.invalid(f"{path}.maxExpirationSeconds", seconds, why)
    files = [field for field in ("credentialBundlePath", "keyPath", "certificateChainPath") if given.get(field)]
    for field in files:
        yield from relative(given[field], f"{path}.{field}")
    if not files:
        why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        yield FieldError.required(path, why)


def _nfs(given: Object, path: str) -> Errors:
    if not given.get("server"):
        yield FieldError.required(f"{path}.server")
    if not given.get("path"):
        yield FieldError.required(f"{path}.path")
    elif not given["path"].startswith("/"):
        yield FieldError.invalid(f"{path}.path", given["path"], "must be an absolute path")


def _image(given: Object, path: str) -> Errors:
    if not given.get("reference"):
        yield FieldError.required(f"{path}.reference")
    if given.get("pullPolicy"):
        yield from one_of(given["pullPolicy"], f"{path}.pullPolicy", ("Always", "IfNotPresent", "Never"))


def _ephemeral(given: Object, path: str) -> Errors:
    template = given.get("volumeClaimTemplate")
    if template is None:
        yield FieldError.required(f"{path}.volumeClaimTemplate")
        return
    where = f"{path}.volumeClaimTemplate"
    yield from object_metadata(meta.part(template, "metadata"), f"{where}.metadata")
    yield from persistent_volume_claim.validate_spec(meta.part(template, "spec"), f"{where}.spec")


_SOURCES: Mapping[str, Check] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "persistentVolumeClaim": _claim,
    "projected": _projected,
    "nfs": _nfs,
    "image": _image,
    "ephemeral": _ephemeral,
}

_PROJECTIONS: Mapping[str, Check] = {
    "secret": _projected_files,
    "configMap": _projected_files,
    "downwardAPI": _downward,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _trust_bundle,
    "podCertificate": _pod_certificate,
}
