"""Checks of how a container ends and begins again: restart policies and rules, stop signals, what a resize restarts.

Follows: "Pod Lifecycle" of the Kubernetes documentation (container restart rules: KEP-5307, KEP-5532; stop signals:
KEP-4960), and "Resize CPU and Memory Resources assigned to Containers".
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.objects import meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import Errors, one_of

RESTART_POLICIES = ("Always", "Never", "OnFailure")
RULE_ACTIONS = ("Restart", "RestartAllContainers")
OPERATORS = ("In", "NotIn")
RULES_MAX, EXIT_CODES_MAX = 20, 255
RESIZABLE = ("cpu", "memory")
RESIZE_POLICIES = ("NotRequired", "RestartContainer")
# Of Linux; real-time signals count from either end.
STOP_SIGNALS = (
    *("SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO"),
    *("SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGRTMAX"),
    *(f"SIGRTMAX-{number}" for number in range(1, 15)),
    "SIGRTMIN",
    *(f"SIGRTMIN+{number}" for number in range(1, 16)),
    *("SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG"),
    *("SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ"),
)


def of_pod(given: Object, path: str, pod_spec: Object) -> Errors:
    """What depends on the pod that the container is in."""
    signal = meta.get(given, "lifecycle", "stopSignal")
    yield from stop_signal(signal, f"{path}.lifecycle.stopSignal", meta.get(pod_spec, "os", "name", default=""))
    if given.get("resizePolicy"):
        policy = pod_spec.get("restartPolicy") or "Always"
        yield from resize_policies(given["resizePolicy"], f"{path}.resizePolicy", policy)


def restarts(given: Object, path: str) -> Errors:
    """A container's own restart policy, with rules for single exit codes."""
    policy, rules = given.get("restartPolicy"), meta.parts(given, "restartPolicyRules")
    if not policy:
        if rules:
            yield FieldError.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
            yield from _rules(rules, path)
        return
    yield from one_of(policy, f"{path}.restartPolicy", RESTART_POLICIES)
    yield from _rules(rules, path)


def _rules(rules: Sequence[Object], path: str) -> Errors:
    if len(rules) > RULES_MAX:
        yield FieldError.too_many(f"{path}.restartPolicyRules", len(rules), RULES_MAX)
        return
    for index, rule in enumerate(rules):
        where = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action") not in RULE_ACTIONS:
            yield FieldError.unsupported(f"{where}.action", rule.get("action") or "", RULE_ACTIONS)
        codes = rule.get("exitCodes")
        if codes is None:
            yield FieldError.required(f"{where}.exitCodes", "must be specified")
            continue
        if codes.get("operator") not in OPERATORS:
            yield FieldError.unsupported(f"{where}.exitCodes.operator", codes.get("operator") or "", OPERATORS)
        if len(codes.get("values") or ()) > EXIT_CODES_MAX:
            yield FieldError.too_many(f"{where}.exitCodes.values", len(codes["values"]), EXIT_CODES_MAX)


def stop_signal(given: str | None, path: str, system: str) -> Errors:
    """`system` is the pod's spec.os.name."""
    if given is None:
        return
    if not system:
        yield FieldError.forbidden(path, "may not be set for containers with empty `spec.os.name`")
    elif given not in STOP_SIGNALS:
        yield FieldError.unsupported(path, given, STOP_SIGNALS)


def resize_policies(given: Sequence[Object], path: str, restart_policy: str) -> Errors:
    """`restart_policy` is the pod's: where nothing is ever restarted, no resize is."""
    seen: dict[str, None] = {}
    for index, one in enumerate(given):
        resource, policy = one.get("resourceName") or "", one.get("restartPolicy") or ""
        if resource in seen:
            yield FieldError.duplicate(f"{path}[{index}]", resource)
        seen[resource] = None
        for value, supported in ((resource, RESIZABLE), (policy, RESIZE_POLICIES)):
            if not value:
                yield FieldError.required(path)
            elif value not in supported:
                yield FieldError.unsupported(path, value, supported)
        if restart_policy == "Never" and policy != "NotRequired":
            yield FieldError.invalid(path, policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")
