"""Why an owner's pods are not made at all: a quota, a limit, a policy, a webhook said no to its creation.

The owner's controller says so in an event; what it quotes is the server's answer, from which the kind of refusal and
what mends it are told. A quota is named with what is used of it.
Follows: "Resource Quotas", "Pod Security Admission" and "Admission Control" of the Kubernetes documentation.
"""

from __future__ import annotations

import re

from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import finding
from petset.why.finding import Finding
from petset.why.picture import Picture

MADE = "SuccessfulCreate"
REASONS = ("FailedCreate", "ReplicaSetCreateError")
# What the answer says, whose it is, and what mends it.
REFUSALS = (
    (
        r"exceeded quota: (?P<name>[\w.-]+)",
        "ResourceQuota",
        "raise the quota, free what others use of it, or ask for less",
    ),
    (
        r"must specify .* for: ",
        "ResourceQuota",
        "say resources.requests and limits in the template: the quota counts them",
    ),
    (
        r"violates PodSecurity",
        "Pod Security",
        "correct the template's securityContext, or label the namespace with a milder level",
    ),
    (r"admission webhook \"(?P<name>[^\"]+)\"", "Webhook", "satisfy what the webhook asks for, or mend it"),
    (
        r"failed calling webhook \"(?P<name>[^\"]+)\"",
        "Webhook",
        "see to the service behind the webhook, or delete its configuration",
    ),
    (
        r"ValidatingAdmissionPolicy '(?P<name>[^']+)'",
        "ValidatingAdmissionPolicy",
        "satisfy the policy, or change its binding",
    ),
    (
        r"(maximum|minimum) (cpu|memory|storage) usage per",
        "LimitRange",
        "ask for what the LimitRange allows, or change it",
    ),
    (
        r"serviceaccount \"?(?P<name>[\w.-]+)\"? not found|error looking up service account",
        "ServiceAccount",
        "create the ServiceAccount",
    ),
    (r"no PriorityClass with name (?P<name>[\w.-]+)", "PriorityClass", "create the PriorityClass"),
    (
        r"pvc (?P<name>[\w.-]+) is being deleted",
        "PersistentVolumeClaim",
        "wait until the old claim is gone, or see why it stays",
    ),
    (r"because it is being terminated", "Namespace", "use another namespace: this one is being deleted"),
    (r"is invalid:", "The template", "correct the field that is named"),
)


def of(owner: Object, picture: Picture) -> Finding | None:
    """What refused an owner's newest pod; None when nothing is told of it, or it was made since."""
    told = picture.event(owner, MADE, *REASONS)
    if told is None or told.get("reason") == MADE:
        return None
    said = told.get("message") or ""
    for pattern, whose, mend in REFUSALS:
        if found := re.search(pattern, said):
            name = found.groupdict().get("name") or ""
            used = _used(name, meta.namespace(owner), picture) if whose == "ResourceQuota" and name else ""
            return Finding(
                f"{whose} {name}".strip(), f"does not let its pods be made: {finding.quoted(said)}{used}", mend=mend
            )
    return Finding("The API server", f"does not let its pods be made: {finding.quoted(said)}")


def _used(name: str, namespace: str, picture: Picture) -> str:
    quota = picture.get(RESOURCEQUOTAS, name, namespace)
    hard, used = (meta.part(quota or {}, "status", key) for key in ("hard", "used"))
    full = [f"{used.get(key, '0')} of {most} {key}" for key, most in hard.items()]
    return f" (used: {finding.listed(full)})" if full else ""
