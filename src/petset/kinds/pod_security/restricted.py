"""The controls of the restricted level, beyond the baseline: no root, no capabilities, a profile, no odd volumes.

Follows: "Pod Security Standards" of the Kubernetes documentation; KEP-127 for pods that have users of their own.
"""

from __future__ import annotations

from petset.kinds.pod_security import baseline
from petset.kinds.pod_security.subject import (
    Control,
    Subject,
    Violation,
    containers_named,
    names,
    noun,
    quoted,
    security,
    setters,
    sorted_once,
)
from petset.objects import meta
from petset.objects.meta import Object

VOLUMES = (
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
)
OTHER_VOLUMES = (
    *("hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd"),
    *("flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk"),
    *("photonPersistentDisk", "portworxVolume", "scaleIO", "storageos"),
)
ALL, NET_BIND_SERVICE = "ALL", "NET_BIND_SERVICE"


def but_windows(control: Control) -> Control:
    """For pods of Windows, which cannot set what is asked for."""
    return lambda subject: None if subject.is_windows else control(subject)


def but_own_users(control: Control) -> Control:
    """For pods whose root is nobody on the node."""
    return lambda subject: None if subject.has_own_users else control(subject)


def privilege_escalation(subject: Subject) -> Violation | None:
    bad = names(subject.containers, lambda one: security(one).get("allowPrivilegeEscalation") is not False)
    detail = f"{containers_named(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail) if bad else None


def capabilities(subject: Subject) -> Violation | None:
    def keeps(container: Object) -> bool:
        return ALL not in meta.texts(security(container), "capabilities", "drop")

    def added(container: Object) -> list[str]:
        return [one for one in meta.texts(security(container), "capabilities", "add") if one != NET_BIND_SERVICE]

    details: list[str] = []
    if bad := names(subject.containers, keeps):
        details.append(f'{containers_named(bad)} must set securityContext.capabilities.drop=["ALL"]')
    if bad := names(subject.containers, added):
        found = sorted_once(one for container in subject.containers for one in added(container))
        details.append(f"{containers_named(bad)} must not include {quoted(found)} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def volumes(subject: Subject) -> Violation | None:
    odd = [
        volume
        for volume in meta.parts(subject.spec, "volumes")
        if all(volume.get(source) is None for source in VOLUMES)
    ]
    if not odd:
        return None
    bad = [volume["name"] for volume in odd]
    types = sorted_once(
        next((one for one in OTHER_VOLUMES if volume.get(one) is not None), "unknown") for volume in odd
    )
    uses = f"{noun('uses', 'use', bad)} {noun('restricted volume type', 'restricted volume types', types)}"
    detail = f"{noun('volume', 'volumes', bad)} {quoted(bad)} {uses} {quoted(types)}"
    return Violation("restricted volume types", detail)


def no_root(subject: Subject) -> Violation | None:
    own = subject.context.get("runAsNonRoot")
    explicit = names(subject.containers, lambda container: security(container).get("runAsNonRoot") is False)
    if who := setters(own is False, explicit):
        return Violation("runAsNonRoot != true", f"{who} must not set securityContext.runAsNonRoot=false")
    if own:
        return None
    implicit = names(subject.containers, lambda container: security(container).get("runAsNonRoot") is None)
    detail = f"pod or {containers_named(implicit)} must set securityContext.runAsNonRoot=true"
    return Violation("runAsNonRoot != true", detail) if implicit else None


def no_user_0(subject: Subject) -> Violation | None:
    bad = names(subject.containers, lambda container: security(container).get("runAsUser") == 0)
    who = setters(subject.context.get("runAsUser") == 0, bad)
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def seccomp(subject: Subject) -> Violation | None:
    if (violation := baseline.seccomp(subject)) is not None:
        return violation
    if subject.context.get("seccompProfile") is not None:
        return None
    bad = names(subject.containers, lambda container: security(container).get("seccompProfile") is None)
    detail = f'pod or {containers_named(bad)} must set securityContext.seccompProfile.type to "RuntimeDefault" or '
    return Violation("seccompProfile", f'{detail}"Localhost"') if bad else None
