"""What this server serves, in the forms clients ask for it: the version, the groups, their resources.

Everything is made once from the table of kinds: `/api` and `/apis` plain or as one aggregated document
(apidiscovery.k8s.io/v2 and v2beta1, chosen by Accept), and the resource list of each group version. A kind's
subresources are listed with it; `scale` answers autoscaling/v1 Scale, `eviction` takes policy/v1 Eviction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import petset
from petset.kinds import builtin
from petset.objects import encoding
from petset.objects.registry import Kind
from petset.server import answers
from petset.wire import http

# The group, version, kind and verbs of a subresource that is not just another way to the object itself.
SUBRESOURCES: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "attach": ("", "v1", "PodAttachOptions", ("create", "get")),
    "portforward": ("", "v1", "PodPortForwardOptions", ("create", "get")),
    "log": ("", "v1", "Pod", ("get",)),
}
_FORMS = {"v2": "apidiscovery.k8s.io/v2", "v2beta1": "apidiscovery.k8s.io/v2beta1"}


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


def groups() -> dict[str, list[str]]:
    """Every group ("" is core) with its versions, the preferred one first."""
    found: dict[str, list[str]] = {}
    for resource in builtin.KINDS:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return {group: sorted(versions, key=lambda v: ("alpha" in v, "beta" in v, v)) for group, versions in found.items()}


def served(group: str, version: str) -> list[Kind]:
    return [row for row in builtin.KINDS if (row.group, row.version) == (group, version)]


def subresource(resource: Kind, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    """(group, version, kind, verbs) of a subresource."""
    own = (resource.group, resource.version, resource.kind)
    if name == "finalize":
        return (*own, ("update",))
    return SUBRESOURCES.get(name) or (*own, ("get", "patch", "update"))


def resource_list(group: str, version: str) -> dict[str, Any]:
    """The plain APIResourceList of a group version."""
    listed: list[dict[str, Any]] = []
    for row in served(group, version):
        listed.append(
            {
                "name": row.plural,
                "singularName": row.singular,
                "namespaced": row.namespaced,
                "kind": row.kind,
                "verbs": list(row.verbs),
                **({"shortNames": list(row.short_names)} if row.short_names else {}),
                **({"categories": list(row.categories)} if row.categories else {}),
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


def group(name: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in groups()[name]]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions[0]}


def _aggregated_resource(row: Kind) -> dict[str, Any]:
    subresources = []
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


def aggregated(core: bool, form: str) -> dict[str, Any]:
    """The APIGroupDiscoveryList of the core group, or of all others."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "resources": [_aggregated_resource(row) for row in served(name, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }
        for name, versions in groups().items()
        if (name == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": form, "metadata": {}, "items": items}


def _plain(core: bool) -> dict[str, Any]:
    if core:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_named_group(name) for name in groups() if name]}


def _named_group(name: str) -> dict[str, Any]:
    return {key: value for key, value in group(name).items() if key not in ("kind", "apiVersion")}


def _json(tree: Any) -> http.Response:
    return http.Response(200, (("content-type", "application/json"),), encoding.dumps(tree))


def root(core: bool, accept: str) -> http.Response:
    """/api or /apis in the first of the accepted forms that is known; the plain one otherwise."""
    for kind, given in answers.media_ranges(accept):
        form = _FORMS.get(given.get("v", ""))
        if kind != "application/json":
            continue
        if given.get("as") == "APIGroupDiscoveryList" and given.get("g") == "apidiscovery.k8s.io" and form:
            content = f"application/json;g=apidiscovery.k8s.io;v={given['v']};as=APIGroupDiscoveryList"
            headers = (("content-type", content), ("vary", "Accept"))
            return http.Response(200, headers, encoding.dumps(aggregated(core, form)))
        if not given:
            break
    return _json(_plain(core))


def answer(path: str, accept: str) -> http.Response | None:
    """The answer to a discovery path, None when it is none."""
    known = groups()
    match path.split("/")[1:]:
        case ["api"]:
            return root(True, accept)
        case ["apis"]:
            return root(False, accept)
        case ["api", version] if version in known[""]:
            return _json(resource_list("", version))
        case ["apis", name] if name in known and name:
            return _json(group(name))
        case ["apis", name, version] if version in known.get(name, ()) and name:
            return _json(resource_list(name, version))
        case ["version"]:
            return _json(server_version())
    return None
