"""Why a pod does not get on, in the order in which a pod comes to be: node, volumes, containers, probes.

`pod` goes through CAUSES; the first that knows the pod says what holds it, the later ones have not had their turn yet.
A pod that is not there is told of by the set that would make it: `sets.absent_pod`.
Follows: "Pod Lifecycle" and "Debug Pods" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable

from petset.base import well_known
from petset.kinds.pod_spec import claims as pod_claims
from petset.kinds.pod_spec import sources
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import claims, containers, deleted, finding, nodes
from petset.why.finding import Finding
from petset.why.picture import Picture

MOUNT_REASONS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
SANDBOX_REASONS = ("FailedCreatePodSandBox", "NetworkNotReady", "FailedPodSandBoxStatus")


def pod(obj: Object, picture: Picture) -> Finding:
    for cause in CAUSES:
        if (found := cause(obj, picture)) is not None:
            return found
    return finding.of(obj, f"is {phase(obj)}, and nothing is known that holds it", "waits")


def phase(obj: Object) -> str:
    return meta.get(obj, "status", "phase", default="Pending")


def _deleting(obj: Object, picture: Picture) -> Finding | None:
    if not meta.is_deleting(obj):
        return None
    node = meta.get(obj, "spec", "nodeName", default="")
    return deleted.pod(obj, picture, bool(node) and nodes.is_silent(node, picture))


def _ended(obj: Object, picture: Picture) -> Finding | None:
    if phase(obj) == "Succeeded":
        return finding.of(obj, "has done its work: all its containers ended with exit code 0", "well")
    if phase(obj) != "Failed":
        return None
    status = meta.part(obj, "status")
    if reason := status.get("reason"):
        said = finding.quoted(status.get("message"))
        return finding.of(obj, f"has Failed ({reason}): {said}", mend=_of_failed(reason, obj))
    target = meta.condition(obj, "DisruptionTarget")
    if target is not None and target.get("status") == "True":
        return finding.of(obj, f"has Failed: it was taken away ({finding.quoted(target.get('message'))})")
    return finding.of(
        obj, "has Failed: its containers ended, and it does not restart them", because=_troubles(obj, picture)
    )


def _of_failed(reason: str, obj: Object) -> str:
    if reason == "Evicted":
        return "free disk or memory on its node, and say in resources.requests what it needs"
    if reason in ("NodeAffinity", "UnexpectedAdmissionError") or reason.startswith("OutOf"):
        return f"delete it, so that it is given a node anew: {finding.kubectl('delete', obj)}"
    return ""


def _gated(obj: Object, picture: Picture) -> Finding | None:
    gates = [one["name"] for one in meta.parts(obj, "spec", "schedulingGates")]
    if not gates:
        return None
    if (where := meta.annotations(obj).get(well_known.MOVED_TO_ANNOTATION)) is not None:
        says = f"takes the place of a pet that has moved to {where}: no second one is made here"
        return finding.of(obj, says, "well")
    says = f"is given no node before its gates are taken away: {finding.listed(gates)}"
    return finding.of(obj, says, mend="let whoever set the gates take them out of spec.schedulingGates")


def _without_node(obj: Object, picture: Picture) -> Finding | None:
    if meta.get(obj, "spec", "nodeName"):
        return None
    held_by = _claims(obj, picture)
    if finding.state_of(held_by) == "held":
        return finding.of(obj, "is on no node: it waits for its volumes", because=held_by)
    condition = meta.condition(obj, "PodScheduled") or {}
    said = finding.quoted(condition.get("message"))
    if condition.get("reason") == "SchedulerError":
        return finding.of(obj, f"is on no node: {said}")
    if condition.get("status") != "False":
        scheduler = meta.get(obj, "spec", "schedulerName", default="default-scheduler")
        if scheduler != "default-scheduler":
            says = f"is on no node: it waits for the scheduler {scheduler}, which has not looked at it"
            return finding.of(obj, says, mend=f"start {scheduler}, or take spec.schedulerName away")
        return finding.of(obj, "is on no node yet: the scheduler has not looked at it", "waits")
    if nominated := meta.get(obj, "status", "nominatedNodeName"):
        return finding.of(obj, f"waits for pods of lower priority to leave node {nominated}", "waits")
    because = nodes.refusing(obj, picture)
    return finding.of(obj, f"is on no node: {said}", mend=_of_unschedulable(said), because=(*held_by, *because))


def _of_unschedulable(said: str) -> str:
    for words, mend in UNSCHEDULABLE:
        if words in said:
            return mend
    return ""


# What the scheduler says, and what mends it.
UNSCHEDULABLE = (
    ("Insufficient", "ask for less in resources.requests, take other pods away, or add a node"),
    ("Too many pods", "take other pods away, or add a node"),
    ("untolerated taint", "let the pod tolerate the taint, or take it from the node (`kubectl taint node NAME KEY-`)"),
    ("unschedulable", "let the node take pods again: `kubectl uncordon NAME`"),
    (
        "node affinity/selector",
        "give a node the labels that the pod's nodeSelector or affinity wants, or ask for others",
    ),
    ("anti-affinity", "add a node, or make the pod's podAntiAffinity a preference"),
    ("pod affinity", "start the pods that it wants to be near, or make its podAffinity a preference"),
    ("topology spread", "add nodes of other zones, or let maxSkew or whenUnsatisfiable of its constraints be milder"),
    ("free ports", "free the hostPort, or ask for another one"),
    ("volume node affinity", "bring back the node that its volume is on; a volume does not move"),
)


def _claims(obj: Object, picture: Picture) -> tuple[Finding, ...]:
    """What holds the claims that it mounts."""
    found = [claims.named(picture, name, meta.namespace(obj)) for name in pod_claims.names(obj)]
    return tuple(one for one in found if one is not None)


def _on_silent_node(obj: Object, picture: Picture) -> Finding | None:
    node = meta.get(obj, "spec", "nodeName", default="")
    if not nodes.is_silent(node, picture):
        return None
    found = picture.get(nodes.NODES, node)
    because = (nodes.node(found, picture),) if found is not None else ()
    return finding.of(obj, f"is on node {node}, of which nothing is heard: nobody knows how it is", because=because)


def _begun(obj: Object) -> bool:
    return any("waiting" not in meta.part(one.status, "state") and one.status for one in containers.of(obj))


def _volumes(obj: Object, picture: Picture) -> Finding | None:
    """It has a node, and what it mounts is not there."""
    if _begun(obj):
        return None
    missing = [
        one
        for one in sources.of_volumes(meta.parts(obj, "spec", "volumes"))
        if containers.is_missing(one, obj, picture)
    ]
    if missing:
        names = finding.listed([f"{one.kind} {one.name}" for one in missing])
        return finding.of(obj, f"cannot start without {names}, which a volume of it is made of", mend=f"create {names}")
    held_by = _claims(obj, picture)
    if held_by:
        return finding.of(obj, "cannot start: it waits for its volumes", because=held_by)
    if any(containers.trouble(one, picture) for one in containers.of(obj)):
        return None
    told = picture.event(obj, *MOUNT_REASONS, *SANDBOX_REASONS)
    if told is None:
        return None
    what = "mount its volumes" if told["reason"] in MOUNT_REASONS else "make its network and sandbox"
    return finding.of(obj, f"cannot start: the node cannot {what}: {finding.quoted(told.get('message'))}")


def _paused(obj: Object, picture: Picture) -> Finding | None:
    """2016's way to stop a set at one pet."""
    if meta.annotations(obj).get(well_known.INITIALIZED_ANNOTATION) != "false" or not meta.is_pod_ready(obj):
        return None
    if (meta.controller_of(obj) or {}).get("kind") != "PetSet":
        return None
    says = f"is ready, but its set goes no further: its annotation {well_known.INITIALIZED_ANNOTATION} is false"
    return finding.of(
        obj, says, mend=finding.kubectl("annotate", obj, f"{well_known.INITIALIZED_ANNOTATION}=true --overwrite")
    )


def _ready(obj: Object, picture: Picture) -> Finding | None:
    if not meta.is_pod_ready(obj):
        return None
    restarts = sum(one.status.get("restartCount", 0) for one in containers.of(obj))
    ended = [one for one in containers.of(obj) if not one.is_init and one.ended]
    last = f"; last it ended {containers.exit_text(ended[-1].ended)}" if ended and restarts else ""
    again = f" (restarted {finding.counted(restarts, 'time')}{last})" if restarts else ""
    return finding.of(obj, f"is ready on node {meta.get(obj, 'spec', 'nodeName')}{again}", "well")


def _troubles(obj: Object, picture: Picture) -> tuple[Finding, ...]:
    found = [containers.trouble(one, picture) for one in containers.of(obj)]
    return tuple(one for one in found if one is not None)


def _init(obj: Object, picture: Picture) -> Finding | None:
    """The init container at which it is; those behind it wait."""
    inits = [one for one in containers.of(obj) if one.is_init]
    at = next((one for one in inits if not one.is_settled), None)
    if at is None or not at.status:
        return None
    trouble = containers.trouble(at, picture)
    done = sum(one.is_settled for one in inits)
    says = f"is at init container {at.name}, {done} of {len(inits)} are done"
    if trouble is not None:
        return finding.of(obj, f"{says}, and it cannot go on", trouble.state, because=(trouble,))
    if not at.is_running:
        return finding.of(obj, f"{says}: it is starting", "waits", because=_pulling(obj, picture))
    lines = picture.last_lines(obj, at.name, previous=False)
    begun = meta.get(at.status, "state", "running", "startedAt", default="")
    return finding.of(obj, f"{says}: it runs since {begun}{finding.written(lines)}", "waits")


def _containers(obj: Object, picture: Picture) -> Finding | None:
    troubles = _troubles(obj, picture)
    if not troubles:
        return None
    has_begun = _begun(obj) or any(one.ended for one in containers.of(obj))
    says = "is not ready" if has_begun else "does not start"
    return finding.of(obj, says, finding.state_of(troubles), because=troubles)


def _readiness_gates(obj: Object, picture: Picture) -> Finding | None:
    if not meta.is_condition_true(obj, "ContainersReady"):
        return None
    gates = [one["conditionType"] for one in meta.parts(obj, "spec", "readinessGates")]
    closed = [gate for gate in gates if not meta.is_condition_true(obj, gate)]
    if not closed:
        return None
    says = f"is not ready, although its containers are: nobody has set its readiness gates {finding.listed(closed)}"
    return finding.of(
        obj, says, mend="see why the program does not that is to set them, or take spec.readinessGates away"
    )


def _pulling(obj: Object, picture: Picture) -> tuple[Finding, ...]:
    told = picture.events(obj)
    if told and told[0].get("reason") == "Pulling":
        return (Finding("The node", f"is at it: {finding.quoted(told[0].get('message'))}", "waits"),)
    return ()


def _starting(obj: Object, picture: Picture) -> Finding | None:
    waiting = [one for one in containers.of(obj) if not one.is_settled]
    if not waiting:
        return None
    node = meta.get(obj, "spec", "nodeName", default="")
    names = finding.listed([one.name for one in waiting])
    says = f"is starting on node {node}: {names} {'are' if len(waiting) > 1 else 'is'} not ready yet"
    return finding.of(obj, says, "waits", because=_pulling(obj, picture))


Cause = Callable[[Object, Picture], Finding | None]
CAUSES: tuple[Cause, ...] = (
    _deleting,
    _ended,
    _gated,
    _without_node,
    _on_silent_node,
    _paused,
    _ready,
    _volumes,
    _init,
    _containers,
    _readiness_gates,
    _starting,
)
