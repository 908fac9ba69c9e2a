"""What this server serves, in the forms clients ask for it: the version, the groups, their resources.

Everything is made from a snapshot of the kinds, once for each: `/api` and `/apis` plain or as one aggregated document
(apidiscovery.k8s.io/v2 and v2beta1, chosen by Accept), and the resource list of each group version. A kind's
subresources are listed with it; `scale` answers autoscaling/v1 Scale, `eviction` takes policy/v1 Eviction. The
aggregated documents carry a tag of their content, so that a client that has one need not read it again.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import petset
from petset.base import well_known
from petset.kinds import reviews
from petset.objects import encoding
from petset.objects.registry import Kind, Kinds
from petset.server import answers
from petset.server.described import remotes
from petset.server.described.remotes import Remotes, Version
from petset.wire import http

# The group, version, kind and verbs of a subresource that is not just another way to the object itself.
SUBRESOURCES: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "token": (reviews.AUTHENTICATION_GROUP, "v1", "TokenRequest", ("create",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "attach": ("", "v1", "PodAttachOptions", ("create", "get")),
    "portforward": ("", "v1", "PodPortForwardOptions", ("create", "get")),
    "log": ("", "v1", "Pod", ("get",)),
}
SNAPSHOTS_KEPT_MAX = 4  # Of kinds, whose documents are kept: those of clusters in one process, and while they change.
_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?", re.ASCII)
_FORMS = {version: f"{well_known.DISCOVERY_GROUP}/{version}" for version in ("v2", "v2beta1")}


def server_version() -> dict[str, str]:
    major, minor = petset.KUBERNETES_VERSION
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.0+petset-{petset.__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }


def build() -> tuple[str, str, str]:
    """What is counted as the version: major, minor, and all of it."""
    version = server_version()
    return version["major"], version["minor"], version["gitVersion"]


VERSION_FIELDS = tuple(server_version())


def groups(kinds: Kinds) -> dict[str, list[str]]:
    """Every group ("" is core) with its versions, the preferred one first; those of custom kinds by their names."""
    found: dict[str, list[str]] = {}
    custom: dict[str, None] = {}
    for resource in kinds:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
        if resource.custom is not None and len(versions) == 1:
            custom[resource.group] = None
    in_order = [*(group for group in found if group not in custom), *sorted(custom)]
    return {group: sorted(found[group], key=_priority) for group in in_order}


def _priority(version: str) -> tuple[int, int, int, str]:
    """What comes first in a group: v2, v1, v1beta1, v1alpha1; then what is no such version."""
    read = _VERSION.fullmatch(version)
    if read is None:
        return 3, 0, 0, version
    major, stage, minor = read.groups()
    return ("", "beta", "alpha").index(stage or ""), -int(major), -int(minor or 0), version


def served(kinds: Kinds, group: str, version: str) -> list[Kind]:
    return [row for row in kinds if (row.group, row.version) == (group, version)]


def storage_version_hash(kind: Kind) -> str:
    """What says in which version a kind's objects are stored, as upstream makes it: equal where they are the same."""
    stored = kind.stored_as or kind
    name = f"{stored.group}/{stored.version}/{stored.kind}"
    return base64.b64encode(hashlib.sha256(name.encode()).digest()[:8]).decode()


def subresource(resource: Kind, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    """(group, version, kind, verbs) of a subresource."""
    own = (resource.group, resource.version, resource.kind)
    if name == "proxy":
        return "", "v1", f"{resource.kind}ProxyOptions", ("create", "delete", "get", "patch", "update")
    if name == "finalize":
        return (*own, ("update",))
    return SUBRESOURCES.get(name) or (*own, ("get", "patch", "update"))


def resource_list(kinds: Kinds, group: str, version: str) -> dict[str, Any]:
    """The plain APIResourceList of a group version."""
    listed: list[dict[str, Any]] = []
    for row in served(kinds, group, version):
        listed.append(
            {
                "name": row.plural,
                "singularName": row.singular,
                "namespaced": row.namespaced,
                "kind": row.kind,
                "verbs": list(row.verbs),
                **({"shortNames": list(row.short_names)} if row.short_names else {}),
                **({"categories": list(row.categories)} if row.categories else {}),
                **({"storageVersionHash": storage_version_hash(row)} if "get" in row.verbs else {}),
            }
        )
        for name in row.subresources:
            sub_group, sub_version, kind, verbs = subresource(row, name)
            listed.append(
                {
                    "name": f"{row.plural}/{name}",
                    "singularName": "",
                    "namespaced": row.namespaced,
                    **({"group": sub_group, "version": sub_version} if sub_group != group else {}),
                    "kind": kind,
                    "verbs": list(verbs),
                }
            )
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


# Upstream's: where in discovery a group is, among those of other servers.
FIRST_GROUP_PRIORITY, GROUP_STEP, CUSTOM_GROUP_PRIORITY = 18_000, 100, 1_000
VERSION_PRIORITY, CUSTOM_VERSION_PRIORITY = 15, 100


def priorities(kinds: Kinds) -> dict[str, tuple[int, int]]:
    """(the group's, its versions') by group, as its APIServices say them."""
    own = dict.fromkeys(kind.group for kind in kinds if kind.custom is None)
    steps = {name: FIRST_GROUP_PRIORITY - GROUP_STEP * place for place, name in enumerate(own)}
    custom = (CUSTOM_GROUP_PRIORITY, CUSTOM_VERSION_PRIORITY)
    return {name: (steps[name], VERSION_PRIORITY) if name in steps else custom for name in groups(kinds)}


def everything(kinds: Kinds, others: Remotes) -> dict[str, list[str | Version]]:
    """Every group with its versions: names of those of this server, and what others have."""
    if others is remotes.NOBODY:
        return {name: list(versions) for name, versions in groups(kinds).items()}
    known = priorities(kinds)
    return remotes.order(groups(kinds), others, lambda name: known[name][0], lambda name: known[name][1], _priority)


def group(name: str, versions: Sequence[str | Version]) -> dict[str, Any]:
    named = [one if isinstance(one, str) else one.version for one in versions]
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in named]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": listed, "preferredVersion": listed[0]}


def _aggregated_resource(row: Kind) -> dict[str, Any]:
    subresources: list[dict[str, Any]] = []
    for name in row.subresources:
        sub_group, sub_version, kind, verbs = subresource(row, name)
        kind_reference = {"group": sub_group, "version": sub_version, "kind": kind}
        subresources.append({"subresource": name, "responseKind": kind_reference, "verbs": list(verbs)})
    return {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
        **({"shortNames": list(row.short_names)} if row.short_names else {}),
        **({"categories": list(row.categories)} if row.categories else {}),
        **({"subresources": subresources} if subresources else {}),
    }


def aggregated(kinds: Kinds, core: bool, form: str, others: Remotes = remotes.NOBODY) -> dict[str, Any]:
    """The APIGroupDiscoveryList of the core group, or of all others."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [_version(kinds, name, one) for one in versions],
        }
        for name, versions in everything(kinds, others).items()
        if (name == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": form, "metadata": {}, "items": items}


def _version(kinds: Kinds, group: str, version: str | Version) -> dict[str, Any]:
    if isinstance(version, Version):
        return version.document
    resources = [_aggregated_resource(row) for row in served(kinds, group, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _plain(kinds: Kinds, core: bool, others: Remotes) -> dict[str, Any]:
    if core:
        return {"kind": "APIVersions", "versions": groups(kinds).get("", []), "serverAddressByClientCIDRs": []}
    named = [_named_group(name, versions) for name, versions in everything(kinds, others).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}


def _named_group(name: str, versions: Sequence[str | Version]) -> dict[str, Any]:
    return {key: value for key, value in group(name, versions).items() if key not in ("kind", "apiVersion")}


# -- answers ------------------------------------------------------------------------------------------------------


@functools.lru_cache(SNAPSHOTS_KEPT_MAX)
def _documents(kinds: Kinds, others: Remotes) -> dict[str, bytes]:
    """Each path's plain document; of a group version that another server has, it is his to answer."""
    known = groups(kinds)
    trees: dict[str, Any] = {
        "/api": _plain(kinds, True, others),
        "/apis": _plain(kinds, False, others),
        "/version": server_version(),
    }
    for name, versions in everything(kinds, others).items():
        root = f"/apis/{name}" if name else "/api"
        if name:
            trees[root] = group(name, versions)
        for version in known.get(name, ()):
            trees[f"{root}/{version}"] = resource_list(kinds, name, version)
    return {path: encoding.dumps(tree) for path, tree in trees.items()}


@functools.lru_cache(SNAPSHOTS_KEPT_MAX * 2 * len(_FORMS))
def _aggregated(kinds: Kinds, core: bool, form: str, others: Remotes) -> tuple[bytes, str]:
    """(the document, its tag)."""
    data = encoding.dumps(aggregated(kinds, core, form, others))
    return data, tag(data)


def tag(data: bytes) -> str:
    """An entity tag that changes with the content."""
    return f'"{content_hash(data)}"'


def content_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest().upper()


def answer(kinds: Kinds, path: str, request: http.Request, others: Remotes = remotes.NOBODY) -> http.Response | None:
    """The answer to a discovery path, None when it is none."""
    if path in ("/api", "/apis"):
        return _root(kinds, path == "/api", request, others)
    data = _documents(kinds, others).get(path)
    return http.Response(200, answers.JSON_HEADERS, data) if data is not None else None


def _root(kinds: Kinds, core: bool, request: http.Request, others: Remotes) -> http.Response:
    """/api or /apis in the first of the accepted forms that is known; the plain one otherwise."""
    for kind, given in answers.media_ranges(request.header("accept")):
        form = _FORMS.get(given.get("v", ""))
        if kind != "application/json":
            continue
        if given.get("as") == "APIGroupDiscoveryList" and given.get("g") == well_known.DISCOVERY_GROUP and form:
            data, entity_tag = _aggregated(kinds, core, form, others)
            content = f"application/json;g={well_known.DISCOVERY_GROUP};v={given['v']};as=APIGroupDiscoveryList"
            headers = (("content-type", content), ("etag", entity_tag), ("vary", "Accept"))
            if request.header("if-none-match") == entity_tag:
                return http.Response(304, headers)
            return http.Response(200, headers, data)
        if not given:
            break
    return http.Response(200, answers.JSON_HEADERS, _documents(kinds, others)["/api" if core else "/apis"])
