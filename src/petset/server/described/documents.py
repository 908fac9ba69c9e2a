"""The documents as bytes: written piece by piece, so that none is ever whole in memory as a tree, and compressed.

A document of version 3 is a group version's or a plain path's (plain_paths.py), by its name: api/v1, apis/apps/v1,
version; version 2 has all of them in one. Both are in JSON or in protobuf. Each is a pure function of a snapshot of the
kinds. `hashes` and `hash_of` tell documents apart without making them: by the kinds that they are about and by the
versions of what they are made from.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator, Sequence

import petset
from petset.objects import encoding, package_data
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.server import compression
from petset.server.described import (
    discovery,
    gnostic,
    gnostic_v2,
    gnostic_v3,
    merging,
    operations,
    plain_paths,
    swagger,
    upgrading,
)
from petset.server.described.definitions import Components

FORM = 2  # Counts changes of how documents are made: clients keep them for as long as their hash is the same.
GZIP_LEVEL = 6

# One takes as long as its schema; it goes with its kind.
_digests: weakref.WeakKeyDictionary[Kind, str] = weakref.WeakKeyDictionary()


def hash_of(kinds: Iterable[Kind], name: str = "") -> str:
    """What tells a document about these kinds, or one about none, from what it would be otherwise."""
    made_from = [FORM, petset.__version__, petset.KUBERNETES_VERSION, package_data.schema_version()]
    about = [
        [
            *(kind.group, kind.version, kind.plural, kind.kind, kind.namespaced),
            *(kind.verbs, kind.subresources, kind.list_kind, _own(kind)),
        ]
        for kind in kinds
    ]
    return hashlib.sha512(encoding.dumps([made_from, about, name])).hexdigest()[:64].upper()


def _own(kind: Kind) -> str:
    """A digest of a custom kind's schema, "" of a built-in kind."""
    digest = _digests.get(kind)
    if digest is None:
        schema = Components(Kinds(())).own_schema(kind)
        digest = _digests[kind] = hashlib.sha256(encoding.dumps(schema)).hexdigest() if schema is not None else ""
    return digest


def info() -> Object:
    return {"title": "petset", "version": discovery.server_version()["gitVersion"]}


# -- version 3 ----------------------------------------------------------------------------------------------------


def hashes(kinds: Kinds) -> dict[str, str]:
    """The name of every document, and its hash."""
    by_place: dict[tuple[str, str], list[Kind]] = {}
    for kind in kinds:
        by_place.setdefault((kind.group, kind.version), []).append(kind)
    of_groups = {name_of(*place): hash_of(about) for place, about in by_place.items()}
    return {**{name: hash_of((), name) for name in plain_paths.of(kinds)}, **of_groups}


def name_of(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def v3_json(kinds: Kinds, name: str) -> bytes:
    """A document of those that there are, compressed."""
    return compression.gzipped(_v3_json(kinds, name), GZIP_LEVEL)


def v3_protobuf(kinds: Kinds, name: str) -> bytes:
    return compression.gzipped(_v3_protobuf(kinds, name), GZIP_LEVEL)


def converted_json(part: bytes) -> bytes:
    """A document of version 3 of what another server describes in version 2 alone, compressed."""
    return compression.gzipped(_converted_json(merging.read(part)), GZIP_LEVEL)


def converted_protobuf(part: bytes) -> bytes:
    return compression.gzipped(_converted_protobuf(merging.read(part)), GZIP_LEVEL)


def _converted_json(part: merging.Part) -> Iterator[bytes]:
    yield b'{"openapi":"3.0.0","info":' + encoding.dumps(info()) + b',"paths":{'
    yield from _pairs(upgrading.paths(part))
    yield b'},"components":{"schemas":{'
    yield from _pairs(upgrading.components(part))
    yield b"}}}"


def _converted_protobuf(part: merging.Part) -> Iterator[bytes]:
    yield gnostic_v3.head(info())
    yield gnostic_v3.paths(upgrading.paths(part))
    yield gnostic_v3.components(upgrading.components(part))


def _v3_json(kinds: Kinds, name: str) -> Iterator[bytes]:
    components = Components(kinds)
    yield b'{"openapi":"3.0.0","info":' + encoding.dumps(info()) + b',"paths":{'
    yield from _pairs(_v3_paths(kinds, name, components))
    yield b'},"components":{"schemas":{'
    yield from _pairs(components.made())
    yield b"}}}"


def _v3_protobuf(kinds: Kinds, name: str) -> Iterator[bytes]:
    components = Components(kinds)
    yield gnostic_v3.head(info())
    yield gnostic_v3.paths(_v3_paths(kinds, name, components))
    yield gnostic_v3.components(components.made())


def _v3_paths(kinds: Kinds, name: str, components: Components) -> Iterator[tuple[str, Object]]:
    plain = plain_paths.of(kinds).get(name)
    if plain is not None:
        yield plain_paths.item(name, plain, components)
        return
    group, _, version = name.removeprefix("api").removeprefix("s").strip("/").rpartition("/")
    yield from operations.paths(kinds, group, version, components)


def _pairs(found: Iterable[tuple[str, Object]]) -> Iterator[bytes]:
    separator = b""
    for name, tree in found:
        yield separator + encoding.dumps(name) + b":" + encoding.dumps(tree)
        separator = b","


# -- version 2 ----------------------------------------------------------------------------------------------------


def v2_json(kinds: Kinds, parts: Sequence[bytes] = ()) -> bytes:
    """The document of everything, compressed; `parts` is what other servers say (merging.py)."""
    return compression.gzipped(_v2_json(kinds, merged(kinds, parts)), GZIP_LEVEL)


def v2_protobuf(kinds: Kinds, parts: Sequence[bytes] = ()) -> bytes:
    return compression.gzipped(_v2_protobuf(kinds, merged(kinds, parts)), GZIP_LEVEL)


def _v2_json(kinds: Kinds, others: merging.Merged) -> Iterator[bytes]:
    components = Components(kinds, has_defaults=False)
    yield b'{"swagger":"2.0","info":' + encoding.dumps(info()) + b',"paths":{'
    yield from _pairs(_v2_paths(kinds, components, others))
    yield b'},"definitions":{'
    yield from _pairs(_v2_definitions(components, others))
    yield b"}}"


def _v2_protobuf(kinds: Kinds, others: merging.Merged) -> Iterator[bytes]:
    components = Components(kinds, has_defaults=False)
    paths = b"".join(gnostic_v2.path(name, item) for name, item in _v2_paths(kinds, components, others))
    yield gnostic_v2.head(info())
    yield gnostic.field(gnostic_v2.PATHS, paths)
    definitions = (gnostic_v2.definition(name, tree) for name, tree in _v2_definitions(components, others))
    yield gnostic.field(gnostic_v2.DEFINITIONS, b"".join(definitions))


def merged(kinds: Kinds, parts: Sequence[bytes]) -> merging.Merged:
    """What others add to our document; ours is gone through beforehand for the names that it takes."""
    if not parts:
        return merging.NOTHING
    theirs = [merging.read(part) for part in parts]
    wanted = dict.fromkeys(name for part in theirs for name in part.definitions)
    components = Components(kinds, has_defaults=False)
    for _ in _v2_paths(kinds, components, merging.NOTHING):
        pass  # What it refers to is in the components.
    names: dict[str, None] = {}
    own: dict[str, Object] = {}
    for name, tree in _v2_definitions(components, merging.NOTHING):
        names[name] = None
        if name in wanted:
            own[name] = tree
    return merging.merge(names, own, theirs)


def _v2_paths(kinds: Kinds, components: Components, others: merging.Merged) -> Iterator[tuple[str, Object]]:
    for name, plain in plain_paths.of(kinds).items():
        path, item = plain_paths.item(name, plain, components)
        yield path, swagger.path_item(item)
    for group, versions in discovery.groups(kinds).items():
        for version in versions:
            for path, item in operations.paths(kinds, group, version, components):
                yield path, swagger.path_item(item)
    yield from others.paths.items()


def _v2_definitions(components: Components, others: merging.Merged) -> Iterator[tuple[str, Object]]:
    for name, tree in components.made():
        yield name, merging.with_kinds(swagger.definition(tree), others.also.get(name, ()))
    yield from others.definitions.items()
