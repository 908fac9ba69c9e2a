"""The node authorizer: what a node may do, which is little and only about itself.

A node `system:node:<name>` reads the cluster's services and endpoints, its own Node, lease and pods, and of
secrets, config maps, claims, volumes and service accounts those that its pods refer to; it writes its own status,
its pods' status, its lease and events. What depends on an object's content rather than on its name (is this pod
bound to this node?) is asked of the live pods here and, for writes, again of the object itself by admission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from petset.kinds import event_v1
from petset.kinds.certificate_signing_request import CERTIFICATESIGNINGREQUESTS
from petset.kinds.cluster_trust_bundle import CLUSTERTRUSTBUNDLES
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.lease import LEASES
from petset.kinds.namespace import NODE_LEASES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.pod import PODS
from petset.kinds.pod_certificate_request import PODCERTIFICATEREQUESTS
from petset.kinds.pod_spec import claims, sources
from petset.kinds.reviews import LOCALSUBJECTACCESSREVIEWS, SUBJECTACCESSREVIEWS, TOKENREVIEWS
from petset.kinds.runtime_class import RUNTIMECLASSES
from petset.kinds.secret import SECRETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.access import users
from petset.server.access.rbac import Attributes
from petset.server.live import LiveView
from petset.store import store as stores
from petset.wire import http

READ = ("get", "list", "watch")

Reference = tuple[str, str, str]  # (plural, namespace, name)


class NodeAuthorizer:
    def __init__(self, store: stores.Store):
        self._store = store
        self._pods = LiveView(store, PODS.key(), self._told)
        self._needs: dict[str, tuple[str, tuple[Reference, ...]]] = {}  # By the pod's key: its node, what it refers to.
        self._referred: dict[tuple[str, Reference], int] = {}  # By node: how many of its pods do.

    async def catch_up(self) -> None:
        await self._pods.catch_up()

    def allows(self, user: http.User, asked: Attributes) -> bool:
        node = users.node_name(user)
        decide = _TABLE.get((asked.group, asked.full_resource))
        return bool(node) and decide is not None and decide(self, node, asked)

    def refers(self, node: str, asked: Attributes) -> bool:
        """Whether a pod of the node refers to the named object."""
        self._pods.refresh()
        return (node, (asked.resource, asked.namespace, asked.name)) in self._referred

    def _told(self, key: str, pod: Object | None) -> None:
        before = self._needs.pop(key, None)
        if pod is not None and (node := meta.get(pod, "spec", "nodeName")):
            needs = self._needs[key] = node, tuple(dict.fromkeys(references(pod)))
            self._count(*needs, 1)
        if before is not None:
            self._count(*before, -1)

    def _count(self, node: str, referred: Iterable[Reference], more: int) -> None:
        for reference in referred:
            count = self._referred.pop((node, reference), 0) + more
            if count:
                self._referred[node, reference] = count

    def may_read_volume(self, node: str, asked: Attributes) -> bool:
        """A volume is referred to through the claim it is bound to."""
        volume = self._store.get(PERSISTENTVOLUMES.key("", asked.name))
        claim = meta.part(volume.object if volume else {}, "spec", "claimRef")
        through = Attributes(
            "get",
            resource="persistentvolumeclaims",
            namespace=claim.get("namespace", ""),
            name=claim.get("name", ""),
        )
        return self.refers(node, through)

    def owns_pod(self, node: str, asked: Attributes) -> bool:
        pod = self._store.get(PODS.key(asked.namespace, asked.name)) if asked.name else None
        return pod is not None and meta.get(pod.object, "spec", "nodeName") == node

    def has_asked(self, node: str, asked: Attributes) -> bool:
        """Whether a request for a pod's certificate is this node's."""
        key = PODCERTIFICATEREQUESTS.key(asked.namespace, asked.name)
        request = self._store.get(key) if asked.name else None
        return request is not None and meta.get(request.object, "spec", "nodeName") == node


def references(pod: Object) -> Iterator[Reference]:
    """Every secret, config map, claim and service account a pod needs."""
    space, spec = meta.namespace(pod), meta.part(pod, "spec")
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", space, spec["serviceAccountName"]
    for name in claims.names(pod):
        yield "persistentvolumeclaims", space, name
    for reference in sources.of_pod(pod):
        yield _PLURALS[reference.kind], space, reference.name


_PLURALS = {"ConfigMap": CONFIGMAPS.plural, "Secret": SECRETS.plural}


Decision = Callable[[NodeAuthorizer, str, Attributes], bool]


def _reads(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb in READ


def _creates(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb == "create"


def _reads_and_creates(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb in ("create", *READ)


def _reads_referred(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    if asked.verb not in READ or not asked.name:
        return False
    if asked.resource == "persistentvolumes":
        return authorizer.may_read_volume(node, asked)
    return authorizer.refers(node, asked)


def _pods(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    if asked.verb in ("list", "watch"):
        return f"spec.nodeName={node}" in asked.field_selector.split(",") or authorizer.owns_pod(node, asked)
    if asked.verb == "create":
        return True  # Admission looks whether it is a mirror pod of the node's own.
    return asked.verb in ("get", "delete") and authorizer.owns_pod(node, asked)


def _pod_eviction(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb == "create" and authorizer.owns_pod(node, asked)


def _pod_status(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb in ("update", "patch") and authorizer.owns_pod(node, asked)


def _claim_status(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb in ("get", "update", "patch") and authorizer.refers(node, asked)


def _own_node(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    if asked.verb == "create":
        return asked.name in ("", node)  # Admission looks at the name in the body.
    return asked.verb in (*READ, "update", "patch") and asked.name == node


def _own_lease(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    if asked.namespace != NODE_LEASES:
        return False
    if asked.verb == "create":
        return asked.name in ("", node)
    return asked.verb in (*READ, "update", "patch", "delete") and asked.name == node


def _events(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb in ("create", "update", "patch")


def _own_requests(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    if asked.verb == "create":
        return True  # Admission looks at what it is for.
    return asked.verb in READ and authorizer.has_asked(node, asked)


def _account_token(authorizer: NodeAuthorizer, node: str, asked: Attributes) -> bool:
    return asked.verb == "create" and authorizer.refers(node, asked)


_TABLE: Mapping[tuple[str, str], Decision] = {
    ("", "services"): _reads,
    ("", "endpoints"): _reads,
    (ENDPOINTSLICES.group, "endpointslices"): _reads,
    ("", "pods"): _pods,
    ("", "pods/status"): _pod_status,
    ("", "pods/eviction"): _pod_eviction,
    ("", "nodes"): _own_node,
    ("", "nodes/status"): _own_node,
    (LEASES.group, "leases"): _own_lease,
    (RUNTIMECLASSES.group, "runtimeclasses"): _reads,
    ("", "events"): _events,
    (event_v1.EVENTS_V1.group, "events"): _events,
    ("", "secrets"): _reads_referred,
    ("", "configmaps"): _reads_referred,
    ("", "persistentvolumeclaims"): _reads_referred,
    ("", "persistentvolumeclaims/status"): _claim_status,
    ("", "persistentvolumes"): _reads_referred,
    ("", "serviceaccounts"): _reads_referred,
    ("", "serviceaccounts/token"): _account_token,
    (CERTIFICATESIGNINGREQUESTS.group, "certificatesigningrequests"): _reads_and_creates,
    (CLUSTERTRUSTBUNDLES.group, CLUSTERTRUSTBUNDLES.plural): _reads,
    (PODCERTIFICATEREQUESTS.group, PODCERTIFICATEREQUESTS.plural): _own_requests,
    (TOKENREVIEWS.group, "tokenreviews"): _creates,
    (SUBJECTACCESSREVIEWS.group, "subjectaccessreviews"): _creates,
    (LOCALSUBJECTACCESSREVIEWS.group, "localsubjectaccessreviews"): _creates,
}
