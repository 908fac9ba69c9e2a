"""The documents as bytes: written piece by piece, so that none is ever whole in memory as a tree, and compressed.

A document of version 3 is a group version's; version 2 has all of them in one, in JSON or in protobuf. Each is a pure
function of a snapshot of the kinds. `hash_of` tells documents apart without making them: by the kinds that they are
about and by the versions of what they are made from.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator

import petset
from petset.objects import encoding, package_data
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.server import compression
from petset.server.described import discovery, gnostic, operations, swagger
from petset.server.described.definitions import Components

FORM = 1  # Counts changes of how documents are made: clients keep them for as long as their hash is the same.
GZIP_LEVEL = 6

# One takes as long as its schema; it goes with its kind.
_digests: weakref.WeakKeyDictionary[Kind, str] = weakref.WeakKeyDictionary()


def hash_of(kinds: Iterable[Kind]) -> str:
    """What names a document about these kinds; another one when it would be another document."""
    made_from = [FORM, petset.__version__, petset.KUBERNETES_VERSION, package_data.schema_version()]
    about = [
        [
            *(kind.group, kind.version, kind.plural, kind.kind, kind.namespaced),
            *(kind.verbs, kind.subresources, kind.list_kind, _own(kind)),
        ]
        for kind in kinds
    ]
    return hashlib.sha512(encoding.dumps([made_from, about])).hexdigest()[:64].upper()


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


def v3(kinds: Kinds, group: str, version: str) -> bytes:
    """A group version's document, compressed."""
    return compression.gzipped(_v3(kinds, group, version), GZIP_LEVEL)


def _v3(kinds: Kinds, group: str, version: str) -> Iterator[bytes]:
    components = Components(kinds)
    yield b'{"openapi":"3.0.0","info":' + encoding.dumps(info()) + b',"paths":{'
    yield from _pairs(operations.paths(kinds, group, version, components))
    yield b'},"components":{"schemas":{'
    yield from _pairs(components.made())
    yield b"}}}"


def _pairs(found: Iterable[tuple[str, Object]]) -> Iterator[bytes]:
    separator = b""
    for name, tree in found:
        yield separator + encoding.dumps(name) + b":" + encoding.dumps(tree)
        separator = b","


# -- version 2 ----------------------------------------------------------------------------------------------------


def v2_json(kinds: Kinds) -> bytes:
    """The document of all kinds, compressed."""
    return compression.gzipped(_v2_json(kinds), GZIP_LEVEL)


def v2_protobuf(kinds: Kinds) -> bytes:
    return compression.gzipped(_v2_protobuf(kinds), GZIP_LEVEL)


def _v2_json(kinds: Kinds) -> Iterator[bytes]:
    components = Components(kinds)
    yield b'{"swagger":"2.0","info":' + encoding.dumps(info()) + b',"paths":{'
    yield from _pairs(_v2_paths(kinds, components))
    yield b'},"definitions":{'
    yield from _pairs(_v2_definitions(components))
    yield b"}}"


def _v2_protobuf(kinds: Kinds) -> Iterator[bytes]:
    components = Components(kinds)
    paths = b"".join(gnostic.path(name, item) for name, item in _v2_paths(kinds, components))
    yield gnostic.head(info())
    yield gnostic.field(gnostic.PATHS, paths)
    yield gnostic.field(
        gnostic.DEFINITIONS, b"".join(gnostic.definition(name, tree) for name, tree in _v2_definitions(components))
    )


def _v2_paths(kinds: Kinds, components: Components) -> Iterator[tuple[str, Object]]:
    for group, versions in discovery.groups(kinds).items():
        for version in versions:
            for name, item in operations.paths(kinds, group, version, components):
                yield name, swagger.path_item(item)


def _v2_definitions(components: Components) -> Iterator[tuple[str, Object]]:
    for name, tree in components.made():
        yield name, swagger.schema(tree)
