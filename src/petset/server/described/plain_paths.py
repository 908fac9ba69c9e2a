"""The paths that are no group version, as OpenAPI: the lists of groups and versions, the version, who signs tokens.

Each is a document of its own, named by its path; a group's lists its versions. `logs`, which upstream has too, is not
served here. Names of operations are upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petset.objects.meta import Object
from petset.objects.registry import Kinds
from petset.server.described import definitions, discovery, operations
from petset.server.described.definitions import Components

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class PlainPath:
    """What a GET answers: a type (meta_v1.APIGroup), a type that is a value, or JSON that no type describes."""

    operation: str
    tag: str
    does: str
    answers: str = ""
    media: str = JSON


_TOKENS = "of the issuer of service accounts' tokens"
_OF_SERVER: Mapping[str, PlainPath] = {
    ".well-known/openid-configuration": PlainPath(
        "getServiceAccountIssuerOpenIDConfiguration",
        "WellKnown",
        f"read the OpenID Connect discovery document {_TOKENS}",
    ),
    "api": PlainPath("getCoreAPIVersions", "core", "list the versions of the core group", "meta_v1.APIVersions"),
    "apis": PlainPath("getAPIVersions", "apis", "list the groups with their versions", "meta_v1.APIGroupList"),
    "openid/v1/jwks": PlainPath(
        "getServiceAccountIssuerOpenIDKeyset",
        "openid",
        f"read the public keys {_TOKENS}",
        "",
        "application/jwk-set+json",
    ),
    "version": PlainPath("getCodeVersion", "version", "read the version of the server", definitions.VERSION_INFO),
}


def of(kinds: Kinds) -> dict[str, PlainPath]:
    """By the names of their documents: api, apis/apps, version."""
    groups = {f"apis/{group}": _group(group) for group in discovery.groups(kinds) if group}
    return dict(sorted({**_OF_SERVER, **groups}.items()))


def _group(group: str) -> PlainPath:
    name, tag = operations.group_names(group)
    return PlainPath(f"get{name}APIGroup", tag, "list the versions of the group", "meta_v1.APIGroup")


def item(name: str, path: PlainPath, components: Components) -> tuple[str, Object]:
    """The path and what may be done there."""
    match path.answers:
        case "":
            schema: Object = {"type": "string"}
        case definitions.VERSION_INFO:
            schema = components.refer_value(path.answers)
        case type_name:
            schema = components.refer(type_name)
    operation: dict[str, Any] = {
        "tags": [path.tag],
        "description": path.does,
        "operationId": path.operation,
        "responses": operations.responses((200,), schema, path.media),
    }
    return f"/{name}/", {"get": operation}
