"""The Pod Security Standards as a table: which controls each level has in each version of Kubernetes.

A control has several forms, each from a version on; one of the restricted level may stand in the place of one of the
baseline, which is then left out. `violations` goes through them in the order of their names, the baseline's first.
Follows: "Pod Security Standards" of the Kubernetes documentation, to v1.37.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from petset.kinds.pod_security import baseline, restricted
from petset.kinds.pod_security.levels import BASELINE, PRIVILEGED, RESTRICTED, Level
from petset.kinds.pod_security.subject import Control, Subject, Violation
from petset.objects.meta import Object


@dataclass(frozen=True, slots=True)
class Row:
    level: str
    name: str
    forms: tuple[tuple[int, Control], ...]  # From which minor version on.
    instead_of: str = ""


def _row(level: str, name: str, *forms: tuple[int, Control], instead_of: str = "") -> Row:
    return Row(level, name, forms, instead_of)


_CAPABILITIES, _SECCOMP = restricted.capabilities, restricted.seccomp
_ESCALATION = restricted.privilege_escalation
_WINDOWS, _USERS = restricted.but_windows, restricted.but_own_users

# In the order in which violations are told.
TABLE = (
    _row(BASELINE, "appArmorProfile", (0, baseline.apparmor)),
    _row(BASELINE, "capabilities_baseline", (0, baseline.capabilities)),
    _row(BASELINE, "hostNamespaces", (0, baseline.host_namespaces)),
    _row(BASELINE, "hostPathVolumes", (0, baseline.host_path_volumes)),
    _row(BASELINE, "hostPorts", (0, baseline.host_ports)),
    _row(BASELINE, "hostProbesAndHostLifecycle", (34, baseline.hosts_of_probes)),
    _row(BASELINE, "privileged", (0, baseline.privileged)),
    _row(BASELINE, "procMount", (0, baseline.proc_mount), (35, baseline.proc_mount_35)),
    _row(
        BASELINE,
        "seLinuxOptions",
        (0, baseline.selinux(baseline.SELINUX_TYPES)),
        (31, baseline.selinux(baseline.SELINUX_TYPES_OF_31)),
    ),
    _row(BASELINE, "seccompProfile_baseline", (0, baseline.seccomp_annotations), (19, baseline.seccomp)),
    _row(BASELINE, "sysctls", *((minor, baseline.sysctls(minor)) for minor in baseline.SYSCTLS)),
    _row(BASELINE, "windowsHostProcess", (0, baseline.windows_host_process)),
    _row(RESTRICTED, "allowPrivilegeEscalation", (8, _ESCALATION), (25, _WINDOWS(_ESCALATION))),
    _row(
        RESTRICTED,
        "capabilities_restricted",
        (22, _CAPABILITIES),
        (25, _WINDOWS(_CAPABILITIES)),
        instead_of="capabilities_baseline",
    ),
    _row(RESTRICTED, "procMount_restricted", (35, baseline.proc_mount), instead_of="procMount"),
    _row(RESTRICTED, "restrictedVolumes", (0, restricted.volumes), instead_of="hostPathVolumes"),
    _row(RESTRICTED, "runAsNonRoot", (0, restricted.no_root), (35, _USERS(restricted.no_root))),
    _row(RESTRICTED, "runAsUser", (23, restricted.no_user_0), (35, _USERS(restricted.no_user_0))),
    _row(
        RESTRICTED,
        "seccompProfile_restricted",
        (19, _SECCOMP),
        (25, _WINDOWS(_SECCOMP)),
        instead_of="seccompProfile_baseline",
    ),
)


def violations(level: Level, pod: Object) -> Sequence[Violation]:
    """What in a pod, or a pod's template, is against a level."""
    if level.name == PRIVILEGED:
        return ()
    subject = Subject(pod)
    found = [control(subject) for control in _controls(level.name, level.minor)]
    return [violation for violation in found if violation is not None]


def told(found: Sequence[Violation]) -> str:
    return ", ".join(map(str, found))


def reasons(found: Sequence[Violation]) -> str:
    return ", ".join(violation.reason for violation in found)


@functools.cache  # Of two levels in NEWEST_MINOR versions.
def _controls(level: str, minor: int) -> tuple[Control, ...]:
    rows = [row for row in TABLE if level == RESTRICTED or row.level == BASELINE]
    there = {row.name: [form for since, form in row.forms if since <= minor] for row in rows}
    replaced = [row.instead_of for row in rows if there[row.name]]
    return tuple(there[row.name][-1] for row in rows if there[row.name] and row.name not in replaced)
