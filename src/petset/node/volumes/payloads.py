"""What the files of configMap, secret, downwardAPI and projected volumes contain.

kinds/pod_spec/sources.py says what must be fetched for a pod's volumes, `tokens` which tokens it needs; `files` then
gives every path of one volume with its bytes and mode. Pure: fetching and writing are volumes.py's.

A payload that lacks something required raises environment.ConfigError; the volume is tried again.
Follows: the pages "Volumes" and "Projected Volumes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from petset.base import certificates
from petset.kinds import cluster_trust_bundle, pod_certificate_request
from petset.kinds.pod_spec import sources
from petset.kinds.pod_spec.sources import Reference
from petset.node import environment
from petset.node.environment import CertificateWanted, ConfigError, Credential, Facts
from petset.objects import meta, selectors
from petset.objects.meta import Object

MODE_DEFAULT = 0o644
PATH_PARTS_MAX = 100  # Of one file of a volume.
TOKEN_SECONDS_DEFAULT = 3600


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int = MODE_DEFAULT


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """A service account's token for an audience ("" is the API itself)."""

    audience: str = ""
    seconds: int = TOKEN_SECONDS_DEFAULT


KINDS = ("configMap", "secret", "downwardAPI", "projected")
_PROJECTED = ("configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")


def is_payload(volume: Object) -> bool:
    return any(volume.get(kind) is not None for kind in KINDS)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Entries of a ConfigMap or Secret: all, or those that are listed."""

    reference: Reference
    mode: int
    items: tuple[tuple[str, str, int], ...] | None  # (key, path, mode)


@dataclass(frozen=True, slots=True)
class _Downward:
    """One field or resource of the pod, as downwardAPI asks for it."""

    path: str
    mode: int
    wanted: Object


@dataclass(frozen=True, slots=True)
class _Token:
    path: str
    mode: int
    wanted: TokenWanted


@dataclass(frozen=True, slots=True)
class _Bundle:
    """What signers are trusted by: of one ClusterTrustBundle, or of those of a signer with certain labels."""

    path: str
    mode: int
    wanted: Object


@dataclass(frozen=True, slots=True)
class _Certificate:
    path: str
    mode: int
    wanted: CertificateWanted
    shown: Callable[[Credential], str]


_Part = _Keys | _Downward | _Token | _Bundle | _Certificate


def _parts(volume: Object) -> Iterator[_Part]:
    """Everything that is put together in a volume. Raises ConfigError."""
    for kind in KINDS:
        source = volume.get(kind)
        if source is None:
            continue
        mode = _mode(source.get("defaultMode"), MODE_DEFAULT)
        if kind != "projected":
            yield from _of_source(kind, source, mode)
            continue
        for projection in source.get("sources") or ():
            for inner in _PROJECTED:
                if projection.get(inner) is not None:
                    yield from _of_source(inner, projection[inner], mode)
            for key in projection:
                if key not in _PROJECTED and projection[key] is not None:
                    raise ConfigError(f"cannot project {key}: petset does not offer it")


def _of_source(kind: str, source: Object, mode: int) -> Iterator[_Part]:
    if kind == "serviceAccountToken":
        seconds = int(source.get("expirationSeconds") or TOKEN_SECONDS_DEFAULT)
        yield _Token(source.get("path") or "token", mode, TokenWanted(source.get("audience") or "", seconds))
    if kind == "podCertificate":
        wanted = _certificate_wanted(source)
        for field, shown in _CREDENTIAL_FILES.items():
            if source.get(field):
                yield _Certificate(source[field], mode, wanted, shown)
    if kind == "clusterTrustBundle":
        yield _Bundle(source.get("path") or "", mode, source)
    if kind == "downwardAPI":
        for item in source.get("items") or ():
            yield _Downward(item["path"], _mode(item.get("mode"), mode), item)
    for _, reference in sources.named({kind: source}, ""):
        items = [(item["key"], item["path"], _mode(item.get("mode"), mode)) for item in source.get("items") or ()]
        yield _Keys(reference, mode, tuple(items) or None)


_CREDENTIAL_FILES: Mapping[str, Callable[[Credential], str]] = {
    "credentialBundlePath": lambda credential: credential.key + credential.chain,
    "keyPath": lambda credential: credential.key,
    "certificateChainPath": lambda credential: credential.chain,
}


def _certificate_wanted(source: Object) -> CertificateWanted:
    seconds = source.get("maxExpirationSeconds") or pod_certificate_request.LIFETIME_SECONDS_DEFAULT
    annotations = tuple(sorted(meta.part(source, "userAnnotations").items()))
    return CertificateWanted(source.get("signerName") or "", source.get("keyType") or "", seconds, annotations)


def _mode(given: int | None, default: int) -> int:
    return default if given is None else given


def tokens(volumes: Sequence[Object]) -> list[TokenWanted]:
    found = [part.wanted for volume in volumes for part in _parts(volume) if isinstance(part, _Token)]
    return list(dict.fromkeys(found))


def certificates_wanted(volumes: Sequence[Object]) -> list[CertificateWanted]:
    found = [part.wanted for volume in volumes for part in _parts(volume) if isinstance(part, _Certificate)]
    return list(dict.fromkeys(found))


def asks_for_bundles(volumes: Sequence[Object]) -> bool:
    """Whether any of them shows ClusterTrustBundles."""
    projections = (part for volume in volumes for part in meta.parts(volume, "projected", "sources"))
    return any(part.get("clusterTrustBundle") is not None for part in projections)


def files(volume: Object, facts: Facts, issued: Mapping[TokenWanted, str]) -> dict[str, File]:
    """Every file of a payload volume by its path; later sources win. Raises ConfigError."""
    found: dict[str, File] = {}
    for part in _parts(volume):
        match part:
            case _Token(path, mode, wanted):
                found[_path(path)] = File(issued[wanted].encode(), mode)
            case _Downward(path, mode, wanted):
                found[_path(path)] = File(_downward(wanted, facts).encode(), mode)
            case _Certificate(path, mode, wanted, shown):
                found[_path(path)] = File(shown(facts.credentials[wanted]).encode(), mode)
            case _Bundle(path, mode, wanted):
                found[_path(path)] = File(_trust_anchors(wanted, facts), mode)
            case _Keys():
                found.update(_keys(part, facts))
    return found


def _keys(part: _Keys, facts: Facts) -> dict[str, File]:
    source = environment.find(part.reference, facts)
    if source is None:
        return {}
    if part.items is None:
        return {key: File(value, part.mode) for key, value in sorted(source.entries().items())}
    found: dict[str, File] = {}
    for key, path, mode in part.items:
        if (value := source.entry(key)) is not None:
            found[_path(path)] = File(value, mode)
        elif not part.reference.optional:
            raise ConfigError(f"references non-existent {part.reference.kind.lower()} key: {key}")
    return found


def _trust_anchors(wanted: Object, facts: Facts) -> bytes:
    """Each certificate once, in the order of the bundles' names."""
    name, signer = wanted.get("name"), wanted.get("signerName")
    if name is not None:
        chosen = [bundle for bundle in facts.bundles if meta.name(bundle) == name]
    else:
        selector = selectors.from_object(wanted.get("labelSelector"))
        chosen = [
            bundle
            for bundle in facts.bundles
            if cluster_trust_bundle.signer(bundle) == signer and selector.matches(meta.labels(bundle))
        ]
    if not chosen and not wanted.get("optional"):
        which = f"ClusterTrustBundle {name}" if name is not None else f"ClusterTrustBundles of signer {signer}"
        raise ConfigError(f"cannot project {which}: there is none that fits; make it, or say that it is optional")
    anchors: dict[bytes, None] = {}
    for bundle in sorted(chosen, key=meta.name):
        anchors |= certificates.trust_anchors(str(meta.get(bundle, "spec", "trustBundle") or "").encode())[0]
    return b"".join(anchors)


def _downward(wanted: Object, facts: Facts) -> str:
    if wanted.get("fieldRef") is not None:
        return environment.field_value(wanted["fieldRef"].get("fieldPath", ""), facts)
    return environment.resource_value(wanted["resourceFieldRef"], {}, facts)


def _path(path: str) -> str:
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise ConfigError(f"cannot write the file {path!r} of a volume: its path must stay inside; correct it")
    if path.count("/") > PATH_PARTS_MAX:
        raise ConfigError(f"cannot write a file of a volume: its path has more than {PATH_PARTS_MAX} parts; shorten it")
    return path


def readable_by_group(wanted: Mapping[str, File], group: int | None) -> dict[str, File]:
    """With a fsGroup, its members may read every file."""
    if group is None:
        return dict(wanted)
    return {path: File(file.data, file.mode | 0o440) for path, file in wanted.items()}
