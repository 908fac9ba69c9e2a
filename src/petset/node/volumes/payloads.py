"""What the files of configMap, secret, downwardAPI and projected volumes contain.

`references` and `tokens` say what must be fetched for a pod's volumes; `files` then gives every path of one volume
with its bytes and mode. Pure: fetching and writing are volumes.py's.

A payload that lacks something required raises environment.ConfigError; the volume is tried again.
Follows: the pages "Volumes" and "Projected Volumes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from petset.node import environment
from petset.node.environment import ConfigError, Facts, Reference
from petset.objects import meta
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


def is_payload(volume: Object) -> bool:
    return any(volume.get(kind) is not None for kind in KINDS)


def _parts(volume: Object) -> Iterator[tuple[str, Object, int]]:
    """(kind, source, default mode) of everything that is put together in a volume."""
    for kind in KINDS:
        source = volume.get(kind)
        if source is None:
            continue
        mode = source.get("defaultMode")
        mode = MODE_DEFAULT if mode is None else mode
        if kind != "projected":
            yield kind, source, mode
            continue
        for part in source.get("sources") or ():
            for inner in ("configMap", "secret", "downwardAPI", "serviceAccountToken"):
                if part.get(inner) is not None:
                    yield inner, part[inner], mode
            unknown = [key for key in part if key not in (*KINDS, "serviceAccountToken") and part[key] is not None]
            if unknown:
                raise ConfigError(f"cannot project {unknown[0]}: this release of petset does not offer it")


def _reference(kind: str, source: Object) -> Reference:
    name = source.get("secretName") or source.get("name") or ""
    return Reference("ConfigMap" if kind == "configMap" else "Secret", name, bool(source.get("optional")))


def references(volumes: Sequence[Object]) -> list[Reference]:
    found = [
        _reference(kind, source)
        for volume in volumes
        for kind, source, _ in _parts(volume)
        if kind in ("configMap", "secret")
    ]
    return list(dict.fromkeys(found))


def tokens(volumes: Sequence[Object]) -> list[TokenWanted]:
    found = [
        _token(source) for volume in volumes for kind, source, _ in _parts(volume) if kind == "serviceAccountToken"
    ]
    return list(dict.fromkeys(found))


def _token(source: Object) -> TokenWanted:
    return TokenWanted(source.get("audience") or "", int(source.get("expirationSeconds") or TOKEN_SECONDS_DEFAULT))


def files(volume: Object, facts: Facts, issued: Mapping[TokenWanted, str]) -> dict[str, File]:
    """Every file of a payload volume by its path; later sources win. Raises ConfigError."""
    found: dict[str, File] = {}
    for kind, source, mode in _parts(volume):
        if kind == "serviceAccountToken":
            found[_path(source.get("path") or "token")] = File(issued[_token(source)].encode(), mode)
        elif kind == "downwardAPI":
            for item in source.get("items") or ():
                found[_path(item["path"])] = File(_downward(item, facts).encode(), _mode(item, mode))
        else:
            found.update(_keys(kind, source, facts, mode))
    return found


def _keys(kind: str, source: Object, facts: Facts, mode: int) -> dict[str, File]:
    reference = _reference(kind, source)
    found = facts.sources.get((reference.kind, reference.name))
    if found is None:
        if reference.optional:
            return {}
        raise ConfigError(f'{reference.kind.lower()} "{reference.name}" not found')
    data = environment.data_of(found)
    if not source.get("items"):
        return {key: File(value, mode) for key, value in sorted(data.items())}
    result: dict[str, File] = {}
    for item in source["items"]:
        if item["key"] in data:
            result[_path(item["path"])] = File(data[item["key"]], _mode(item, mode))
        elif not reference.optional:
            raise ConfigError(f"references non-existent {reference.kind.lower()} key: {item['key']}")
    return result


def _downward(item: Object, facts: Facts) -> str:
    if item.get("fieldRef") is not None:
        return environment.field_value(item["fieldRef"].get("fieldPath", ""), facts)
    return environment.resource_value(item["resourceFieldRef"], {}, facts)


def _mode(item: Object, default: int) -> int:
    return default if item.get("mode") is None else item["mode"]


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


def names_claim(volume: Object) -> str:
    return meta.get(volume, "persistentVolumeClaim", "claimName", default="")
