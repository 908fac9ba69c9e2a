"""Why no node takes a pod: what the scheduler said, and of each node the reason that can be seen from outside.

The sentence of the scheduler counts reasons over all nodes; which node has which is worked out anew here, from what
the API says of nodes and of the pods on them. What cannot be read (a user who may not list nodes) is left out.
Follows: "Assigning Pods to Nodes", "Taints and Tolerations" and "Resource Management" of the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.kinds import node_affinity, pod_phase, requests, tolerations
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import deleted, finding
from petset.why.finding import Finding
from petset.why.picture import Picture

NODES_TOLD_MAX = 8
REPELLING = ("NoSchedule", "NoExecute")


def is_silent(name: str, picture: Picture) -> bool:
    """Whether a node has stopped to say how it is."""
    node = picture.get(NODES, name)
    return node is not None and (meta.condition(node, "Ready") or {}).get("status") == "Unknown"


def node(obj: Object, picture: Picture) -> Finding:
    name, ready = meta.name(obj), meta.condition(obj, "Ready") or {}
    if ready.get("status") == "Unknown":
        says = "does not answer: nothing has been heard of it for too long"
        return finding.of(obj, says, mend=_of_silent(name, picture))
    if ready.get("status") != "True":
        return finding.of(obj, f"is not ready: {finding.quoted(ready.get('message'))}")
    pressures = [one["type"] for one in meta.parts(obj, "status", "conditions") if _is_trouble(one)]
    if pressures:
        return finding.of(
            obj, f"is ready, but has {finding.listed(pressures)}", mend="free disk or memory on that machine"
        )
    if meta.get(obj, "spec", "unschedulable"):
        mend = f"`kubectl uncordon {name}`"
        return finding.of(
            obj, "is ready, but takes no new pods: it is cordoned", mend=mend, because=_staying(obj, picture)
        )
    return finding.of(obj, "is ready and takes pods", "well")


def _staying(node: Object, picture: Picture) -> tuple[Finding, ...]:
    """The budgets that let no pod of a node that is drained go."""
    found = {one.about: one for pod in _on(node, picture) for one in deleted.budgets(pod, picture)}
    return tuple(found.values())


def _of_silent(name: str, picture: Picture) -> str:
    return f"`petset node start {name}`" if picture.is_of_petset() else f"see to the kubelet and the network of {name}"


def _is_trouble(condition: Object) -> bool:
    return condition["type"].endswith("Pressure") and condition.get("status") == "True"


def refusing(pod: Object, picture: Picture) -> tuple[Finding, ...]:
    """Of each node, why it does not take the pod."""
    everybody = picture.list(NODES)
    if not everybody:
        return () if picture.unread(NODES) else (Finding("The cluster", "has no node", mend="start a node"),)
    found = [Finding(f"Node {meta.name(one)}", why) for one in everybody if (why := reason(pod, one, picture))]
    more = len(found) - NODES_TOLD_MAX
    return (*found[:NODES_TOLD_MAX], *([Finding(f"{more} more nodes", "refuse it, too")] if more > 0 else []))


def reason(pod: Object, node: Object, picture: Picture) -> str:
    """Why one node cannot take a pod; "" when nothing of that is seen."""
    if meta.get(node, "spec", "unschedulable"):
        return "is cordoned"
    repelling = [one for one in meta.parts(node, "spec", "taints") if one.get("effect") in REPELLING]
    if untolerated := [one for one in repelling if not tolerations.tolerates(pod, one)]:
        return (
            f"has the taint {finding.listed([taint_text(one) for one in untolerated])}, which the pod does not tolerate"
        )
    if not node_affinity.allows(pod, node):
        wanted, has = meta.part(pod, "spec", "nodeSelector"), meta.labels(node)
        lacks = [f"{key}={value}" for key, value in wanted.items() if has.get(key) != value]
        return f"has not the label {finding.listed(lacks)}" if lacks else "does not match the pod's node affinity"
    return _too_full(pod, node, picture)


def taint_text(taint: Object) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _too_full(pod: Object, node: Object, picture: Picture) -> str:
    there = requests.amounts(meta.part(node, "status", "allocatable"))
    others = _on(node, picture)
    for name, asked in requests.of(pod).items():
        held = sum(requests.held(other).get(name, 0) for other in others)
        if asked and asked > (left := there.get(name, 0) - held):
            asks, has = requests.text(name, asked), requests.text(name, max(0, left))
            return f"has {has} of {name} left of {requests.text(name, there.get(name, 0))}, and the pod asks for {asks}"
    if "pods" in there and len(others) >= there["pods"]:
        return f"has {len(others)} pods, and takes no more"
    return ""


def _on(node: Object, picture: Picture) -> Sequence[Object]:
    found = picture.list(PODS, fields=f"spec.nodeName={meta.name(node)}")
    return [pod for pod in found if not pod_phase.has_ended(pod)]
