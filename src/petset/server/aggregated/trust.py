"""By what servers believe each other: ConfigMap extension-apiserver-authentication, and who may read it.

It names the authority of front proxies and the names that their certificates have, the headers that tell who asks, and
the authority of clients. This server believes others by the same that it is to be believed by. It is written at a
start, before anybody is served, and follows the instance's authorities.
Follows: "Configure the Aggregation Layer" of the Kubernetes documentation.
"""

from __future__ import annotations

from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.namespace import SYSTEM
from petset.kinds.rbac import ROLES
from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.server import bootstrap, rest, writes
from petset.server.access import front_proxy

NAME, READER = "extension-apiserver-authentication", "extension-apiserver-authentication-reader"


def data(client_authority_pem: str, front_proxy_authority_pem: str) -> dict[str, str]:
    """Of the ConfigMap."""

    def listed(*values: str) -> str:
        return encoding.dumps(list(values)).decode()

    return {
        "client-ca-file": client_authority_pem,
        "requestheader-allowed-names": listed(front_proxy.ALLOWED),
        "requestheader-client-ca-file": front_proxy_authority_pem,
        "requestheader-extra-headers-prefix": listed(front_proxy.EXTRA_HEADERS),
        "requestheader-group-headers": listed(front_proxy.GROUP_HEADER),
        "requestheader-uid-headers": listed(front_proxy.UID_HEADER),
        "requestheader-username-headers": listed(front_proxy.USER_HEADER),
    }


async def ensure(objects: rest.Rest, client_authority_pem: str, front_proxy_authority_pem: str) -> None:
    wanted = data(client_authority_pem, front_proxy_authority_pem)
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get", "list", "watch"]}
    marks = {"labels": bootstrap.BOOTSTRAPPING}
    about = {"metadata": {"name": NAME, "namespace": SYSTEM}}
    role: Object = {
        "apiVersion": ROLES.api_version,
        "kind": ROLES.kind,
        "metadata": {"name": READER, "namespace": SYSTEM, **marks},
        "rules": [rule],
    }
    await bootstrap.ensure_all(objects, [{"apiVersion": "v1", "kind": CONFIGMAPS.kind, **about, "data": wanted}])
    if await objects.find(ROLES, SYSTEM, READER) is None:
        await objects.create(writes.by_server(writes.CREATE, ROLES, SYSTEM, READER), role)

    def follow(old: Object) -> tuple[Object, tuple[()]]:
        return {**old, "data": {**meta.part(old, "data"), **wanted}}, ()

    await objects.change(writes.by_server(writes.UPDATE, CONFIGMAPS, SYSTEM, NAME, is_decided=True), follow)
