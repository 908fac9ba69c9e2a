"""Every document, made once for the tests of this room."""

from __future__ import annotations

import json
from typing import Any

import pytest

from petset.kinds import builtin
from petset.objects.registry import Kinds
from petset.server import compression
from petset.server.described import documents, plain_paths

GROUP_VERSIONS = list(dict.fromkeys((kind.group, kind.version) for kind in builtin.KINDS))


def v3(group: str, version: str, kinds: Kinds = builtin.KINDS) -> dict[str, Any]:
    return described(documents.name_of(group, version), kinds)


def described(name: str, kinds: Kinds = builtin.KINDS) -> dict[str, Any]:
    return json.loads(compression.plain(documents.v3_json(kinds, name)))


@pytest.fixture(scope="package")
def all_v3() -> dict[tuple[str, str], dict[str, Any]]:
    return {key: v3(*key) for key in GROUP_VERSIONS}


@pytest.fixture(scope="package")
def plain() -> dict[str, dict[str, Any]]:
    return {name: described(name) for name in plain_paths.of(builtin.KINDS)}


@pytest.fixture(scope="package")
def v2() -> dict[str, Any]:
    return json.loads(compression.plain(documents.v2_json(builtin.KINDS)))
