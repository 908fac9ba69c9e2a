"""Pod Security admission: pods are held to the level that their namespace enforces, and it is told what would not pass.

A pod that violates what is enforced is refused; what is only warned of or audited goes with the write. So it is with
what pods are made from (Deployments, sets, Jobs, ...), of which nothing is refused. A namespace's labels must be
readable where they change; when it comes to enforce more, its pods that would not be let in are told of, the first
3,000 of them, for a second. Only what may change a container is looked at; there are no exemptions.
Rules: kinds/pod_security/. Follows: "Pod Security Admission" of the Kubernetes documentation, and KEP-2579.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

from petset.base import tasks, well_known
from petset.kinds.apps.daemon_set import DAEMONSETS
from petset.kinds.apps.deployment import DEPLOYMENTS
from petset.kinds.apps.replica_set import REPLICASETS
from petset.kinds.batch.cron_job import CRONJOBS
from petset.kinds.batch.job import JOBS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.pod_security import levels, standards
from petset.kinds.pod_security.levels import Level, Policy
from petset.kinds.pod_spec import pod_containers
from petset.kinds.pod_template import PODTEMPLATES
from petset.kinds.replication_controller import REPLICATIONCONTROLLERS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.writes import Write
from petset.store import store as stores

PODS_LOOKED_AT_MAX = 3000
LOOKING_SECONDS_MAX = 1.0

# Subresources of a pod that change nothing of its containers; whichever others there are may.
_HARMLESS = ("attach", "binding", "eviction", "exec", "log", "portforward", "proxy", "status")

# What pods are made from, and where the template is.
TEMPLATES: dict[Kind, tuple[str, ...]] = {
    PODTEMPLATES: ("template",),
    CRONJOBS: ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        (DEPLOYMENTS, REPLICASETS, STATEFULSETS, PETSETS, DAEMONSETS, JOBS, REPLICATIONCONTROLLERS),
        ("spec", "template"),
    ),
}

ENFORCED, VIOLATIONS, ERROR = (
    well_known.POD_SECURITY_PREFIX + key for key in ("enforce-policy", "audit-violations", "error")
)


class Context(Protocol):
    @property
    def write(self) -> Write: ...

    def find(self, resource: Kind, name: str, namespace: str = "") -> Object | None: ...


def of_a_pod(context: Context, pod: Object, old: Object | None) -> Callable[[], None] | None:
    write = context.write
    if write.subresource in _HARMLESS or (old is not None and not _is_significant(pod, old)):
        return None
    policy = _policy(context)
    if policy.is_silent:
        write.audit_annotations[ENFORCED] = str(policy.enforce)
        return None
    return functools.partial(_judge_pod, write, policy, pod)


def of_a_template(context: Context, obj: Object, old: Object | None) -> Callable[[], None] | None:
    policy = _policy(context)
    if context.write.subresource or policy.is_silent:
        return None
    template = meta.part(obj, *TEMPLATES[context.write.resource])
    return functools.partial(_tell, context.write, policy, template, {}) if template else None


def of_a_namespace(context: Context, space: Object, old: Object | None) -> Callable[[], None] | None:
    """Raises ApiError 422 when a label that is new cannot be read."""
    wrong = levels.of(meta.labels(space)).wrong
    if wrong and not context.write.subresource and (old is None or wrong != levels.of(meta.labels(old)).wrong):
        raise errors.invalid(NAMESPACES.kind, meta.name(space), wrong)
    return None


def _policy(context: Context) -> Policy:
    space = context.find(NAMESPACES, context.write.namespace)
    return levels.of(meta.labels(space)) if space is not None else levels.NOTHING


def _judge_pod(write: Write, policy: Policy, pod: Object) -> None:
    """Raises ApiError 403."""
    found = standards.violations(policy.enforce, pod)
    write.audit_annotations[ENFORCED] = str(policy.enforce)
    refused = f'violates PodSecurity "{policy.enforce}": {standards.told(found)}' if found else ""
    _tell(write, policy, pod, {policy.enforce: found}, is_refused=bool(refused))
    if refused:
        raise errors.forbidden(PODS.plural, meta.name(pod), refused)


def _tell(
    write: Write,
    policy: Policy,
    pod: Object,
    known: dict[Level, Sequence[standards.Violation]],
    is_refused: bool = False,
) -> None:
    """What is audited, and what is warned of unless the write is refused anyhow."""
    for level in (policy.audit, policy.warn):
        if level not in known:
            known[level] = standards.violations(level, pod)
    if policy.wrong:
        wrong = ", ".join(f"{error.field}: {error.message}" for error in policy.wrong)
        write.audit_annotations[ERROR] = f"Failed to parse policy: {wrong}"
    if known[policy.audit]:
        write.audit_annotations[VIOLATIONS] = _would(policy.audit, known[policy.audit])
    if known[policy.warn] and not is_refused:
        write.warnings.append(_would(policy.warn, known[policy.warn]))


def _would(level: Level, found: Sequence[standards.Violation]) -> str:
    return f'would violate PodSecurity "{level}": {standards.told(found)}'


def _is_significant(pod: Object, old: Object) -> bool:
    """Whether an update adds a container or changes an image: all that it may change of what is looked at."""
    if pod.get("spec") is old.get("spec"):
        return False
    for field in pod_containers.OWN:
        after, before = ([one.get("image") for one in meta.parts(version, "spec", field)] for version in (pod, old))
        if after != before:
            return True
    known = {one["name"]: one.get("image") for one in meta.parts(old, "spec", pod_containers.EPHEMERAL)}
    added = meta.parts(pod, "spec", pod_containers.EPHEMERAL)
    return any(one["name"] not in known or one.get("image") != known[one["name"]] for one in added)


# -- The pods that are there already --------------------------------------------------------------------------------


async def tell_of_pods(store: stores.Store, write: Write, new: Object, old: Object) -> bool:
    """Warn of the pods of a namespace that comes to enforce more; whether the cluster went on meanwhile."""
    level, before = levels.of(meta.labels(new)).enforce, levels.of(meta.labels(old)).enforce
    if write.subresource or level == before or level.name == levels.PRIVILEGED:
        return False
    if level.version == before.version and not level.is_stricter(before):
        return False
    name = meta.name(new)
    entries = store.list(PODS.key(name))[1]
    first, until, looked_at = entries[:PODS_LOOKED_AT_MAX], tasks.monotonic() + LOOKING_SECONDS_MAX, 0
    found: dict[str, list[str]] = {}  # By the reasons: the pods.
    async for run in write.work.in_runs(first, lambda entry: len(entry.encoded), _looked_at, level):
        looked_at += len(run)
        for pod, reasons in run:
            if reasons:
                found.setdefault(reasons, []).append(pod)
        if tasks.monotonic() > until:
            break
    told: list[str] = []
    if looked_at < len(entries):
        many = f"the first {looked_at} of {len(entries)} existing pods"
        told.append(f"new PodSecurity enforce level only checked against {many}")
    if found:
        told.append(f'existing pods in namespace "{name}" violate the new PodSecurity enforce level "{level}"')
    told += sorted(f"{_named(sorted(pods))}: {reasons}" for reasons, pods in found.items())
    write.warnings.extend(told)
    return bool(entries)


def _looked_at(entries: Sequence[stores.Entry], level: Level) -> list[tuple[str, str]]:
    pods = [entry.object for entry in entries]
    return [(meta.name(pod), standards.reasons(standards.violations(level, pod))) for pod in pods]


def _named(pods: Sequence[str]) -> str:
    others = len(pods) - 1
    return pods[0] if not others else f"{pods[0]} (and {others} other pod{'s' if others > 1 else ''})"
