"""What a Job's policies say of its pods: which failure counts, fails its index or all of it, and when enough succeeded.

The first rule that matches a failed pod decides; a failure that none matches counts. Texts are those that clients show.
Follows: KEP-3329 (podFailurePolicy), KEP-3850 (backoffLimitPerIndex), KEP-3998 (successPolicy).
"""

from __future__ import annotations

from dataclasses import dataclass

from petset.controllers.jobs import indexes
from petset.objects import meta
from petset.objects.meta import Object

COUNT, IGNORE, FAIL_JOB, FAIL_INDEX = "Count", "Ignore", "FailJob", "FailIndex"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a failure, and why the whole Job fails with it ("" when it does not)."""

    action: str = COUNT
    why: str = ""


COUNTED = Verdict()


def of_failure(job: Object, pod: Object) -> Verdict:
    """For a pod that failed."""
    for place, rule in enumerate(meta.parts(job, "spec", "podFailurePolicy", "rules")):
        action = rule.get("action", COUNT)
        found = _by_exit_code(rule, pod) or _by_condition(rule, pod)
        if found:
            return Verdict(action, f"{found} matching {action} rule at index {place}" if action == FAIL_JOB else "")
    return COUNTED


def _by_exit_code(rule: Object, pod: Object) -> str:
    wanted = rule.get("onExitCodes")
    if wanted is None:
        return ""
    status = meta.part(pod, "status")
    for container in (*meta.parts(status, "containerStatuses"), *meta.parts(status, "initContainerStatuses")):
        code = meta.get(container, "state", "terminated", "exitCode")
        if not code or wanted.get("containerName") not in (None, container.get("name")):
            continue
        if (code in wanted.get("values", ())) == (wanted.get("operator") == "In"):
            return f"Container {container.get('name')} for pod {meta.key(pod)} failed with exit code {code}"
    return ""


def _by_condition(rule: Object, pod: Object) -> str:
    for pattern in meta.parts(rule, "onPodConditions"):
        for condition in meta.parts(pod, "status", "conditions"):
            if (condition.get("type"), condition.get("status")) == (pattern.get("type"), pattern.get("status", "True")):
                return f"Pod {meta.key(pod)} has condition {pattern.get('type')}"
    return ""


def success(job: Object, succeeded: indexes.Indexes) -> str:
    """Why the indexes that have succeeded are enough, "" when they are not."""
    end = meta.get(job, "spec", "completions", default=0)
    for place, rule in enumerate(meta.parts(job, "spec", "successPolicy", "rules")):
        named, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        of_them = indexes.read(named, end) if named else None
        there = succeeded.common(of_them) if of_them is not None else len(succeeded)
        if there >= (count if count is not None else len(of_them or indexes.Indexes())):
            return f"Matched rules at index {place}"
    return ""
