"""Whether a container that has ended is started again, and when all of them are: purely, from specs and ends.

A container's rules are asked first, in their order; the first that matches its exit code says whether it alone or all
containers of the pod begin again. Then comes the container's own policy, then the pod's. `began_anew` is when the last
such end was: what was made before that makes room, init containers run once more, the sandbox and its address stay.

Follows: "Individual container restart policy and rules" of the Kubernetes documentation (KEP-5307, KEP-5532).
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.kinds.pod_spec import pod_containers
from petset.node.runtime import Container
from petset.objects import meta
from petset.objects.meta import Object

ALL = "RestartAllContainers"
ALL_MESSAGE = "Stopping container: a container exited with a restart policy rule that restarts all"


def failed(container: Container) -> bool:
    return container.state == "exited" and (container.exit_code is None or container.exit_code != 0)


def policy_of(spec: Object, of_pod: str) -> str:
    return spec.get("restartPolicy") or of_pod


def begins_again(spec: Object, ended: Container, of_pod: str, init: bool = False) -> bool:
    """Whether it is started again after it ended like this; `of_pod` is the pod's restartPolicy."""
    if _action(spec, ended):
        return True
    policy = policy_of(spec, of_pod)
    if init and not pod_containers.is_sidecar(spec):
        return failed(ended) and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and failed(ended))


def _action(spec: Object, ended: Container) -> str:
    """What the first rule that matches says; "" when none does."""
    code = 137 if ended.exit_code is None else ended.exit_code
    for rule in meta.parts(spec, "restartPolicyRules"):
        wanted = meta.part(rule, "exitCodes")
        if (code in (wanted.get("values") or ())) == (wanted.get("operator") == "In"):
            return rule.get("action") or ""
    return ""


def may_restart_all(specs: Sequence[Object]) -> bool:
    return any(rule.get("action") == ALL for spec in specs for rule in meta.parts(spec, "restartPolicyRules"))


def began_anew(specs: Sequence[Object], containers: Sequence[Container]) -> float:
    """When a container last ended in a way that starts all of them anew; 0.0: none ever did."""
    with_rules = {spec["name"]: spec for spec in specs if spec.get("restartPolicyRules")}
    if not with_rules:
        return 0.0
    ends = [
        one.finished_at
        for one in containers
        if one.name in with_rules and one.state == "exited" and _action(with_rules[one.name], one) == ALL
    ]
    return max(ends, default=0.0)


def trigger(spec: Object, latest: Container | None, began_at: float) -> Container | None:
    """The container's last attempt, when it was that one's end that had all of them started anew."""
    is_it = latest is not None and latest.finished_at == began_at and _action(spec, latest) == ALL
    return latest if is_it else None
