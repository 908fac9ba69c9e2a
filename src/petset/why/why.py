"""Why an object does not get on: the table of kinds that can be asked about, each with the room that knows.

`of` is pure: it looks at a picture of the cluster and answers a tree of findings, the deepest of which are the causes.
Kinds that are not in the table are told of by their conditions, their events and their finalizers.
"""

from __future__ import annotations

import contextlib

from petset.kinds.apps.daemon_set import DAEMONSETS
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.batch.cron_job import CRONJOBS
from petset.kinds.batch.job import JOBS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.pod_disruption_budget import PODDISRUPTIONBUDGETS
from petset.kinds.replication_controller import REPLICATIONCONTROLLERS
from petset.kinds.service import SERVICES
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.why import claims, deleted, finding, nodes, pods, services, sets, workloads
from petset.why.deleted import Tell
from petset.why.finding import Finding
from petset.why.picture import Picture, Unseen

# The order is that in which a bare name is looked for.
SUBJECTS: tuple[tuple[Kind, Tell], ...] = (
    (PETSETS, sets.pet_set),
    (STATEFULSETS, sets.pet_set),
    (PODS, pods.pod),
    (DEPLOYMENTS, workloads.deployment),
    (JOBS, workloads.job),
    (CRONJOBS, workloads.cron_job),
    (DAEMONSETS, workloads.daemon_set),
    (PERSISTENTVOLUMECLAIMS, claims.claim),
    (SERVICES, services.service),
    (PODDISRUPTIONBUDGETS, deleted.budget),
    (REPLICASETS, workloads.replica_set),
    (REPLICATIONCONTROLLERS, workloads.replica_set),
    (NODES, nodes.node),
)


def of(kind: Kind, name: str, namespace: str, picture: Picture) -> Finding:
    """What there is to say of one object; of one that is not there, too."""
    obj = picture.get(kind, name, namespace)
    if obj is None:
        return _unread(kind, name, namespace, picture)
    try:
        return _tell(kind)(obj, picture)
    except Unseen as unseen:
        says = f"cannot be looked into: {finding.quoted(str(unseen))}"
        return finding.of(obj, says, mend="ask as a user who may read that, too")


def _tell(kind: Kind) -> Tell:
    return next((tell for one, tell in SUBJECTS if one.key() == kind.key()), _anything)


def _unread(kind: Kind, name: str, namespace: str, picture: Picture) -> Finding:
    about = f"{kind.kind} {namespace}/{name}" if namespace else f"{kind.kind} {name}"
    answer = picture.unread(kind, name, namespace)
    if answer is None:
        return Finding(about, "is being looked for", "waits")
    if not answer.is_missing:
        return Finding(about, f"cannot be read: {finding.quoted(answer.message)}", mend="ask as a user who may read it")
    with contextlib.suppress(Unseen):
        found = sets.absent_pod(picture, name, namespace) if kind.key() == PODS.key() else None
        if found is not None:
            return found
    return Finding(about, f"is not there{_namespace(namespace, picture)}")


def _namespace(name: str, picture: Picture) -> str:
    return f", and neither is its namespace {name}" if name and picture.is_missing(NAMESPACES, name) else ""


@deleted.first
def _anything(obj: Object, picture: Picture) -> Finding:
    """Any other kind: what it says of itself, and what is told of it."""
    bad = [
        one for one in meta.parts(obj, "status", "conditions") if one.get("status") == "False" and one.get("message")
    ]
    if bad:
        told = "; ".join(f"{one.get('type')} is False: {finding.quoted(one.get('message'))}" for one in bad)
        return finding.of(obj, told)
    newest = next((one for one in picture.events(obj) if one.get("type") == "Warning"), None)
    if newest is not None:
        return finding.of(obj, f"{newest.get('reason')}: {finding.quoted(newest.get('message'))}")
    return finding.of(obj, "is there, and nothing is known that is wrong with it", "well")
