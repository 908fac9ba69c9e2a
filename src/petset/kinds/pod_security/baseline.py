"""The controls of the baseline level: what lets a pod out of its container is not to be used.

Each is a function of a subject to what violates it, or None; standards.py says from which version on. Reasons and
details are in upstream's words, which people search for.
Follows: "Pod Security Standards" of the Kubernetes documentation, and KEP-2579.
"""

from __future__ import annotations

from collections.abc import Iterator

from petset.base import well_known
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

DEFAULT_CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
PROFILES = ("RuntimeDefault", "Localhost")

# Safe ones, from which minor version on.
SYSCTLS = {
    0: (
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"),
        *("net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"),
    ),
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: (
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout"),
        *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"),
    ),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    37: ("net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"),
}
SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t")
SELINUX_TYPES_OF_31 = (*SELINUX_TYPES, "container_engine_t")


def host_namespaces(subject: Subject) -> Violation | None:
    used = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if subject.spec.get(field)]
    return Violation("host namespaces", ", ".join(used)) if used else None


def host_path_volumes(subject: Subject) -> Violation | None:
    bad = [volume["name"] for volume in meta.parts(subject.spec, "volumes") if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", f"{noun('volume', 'volumes', bad)} {quoted(bad)}") if bad else None


def host_ports(subject: Subject) -> Violation | None:
    def of(container: Object) -> list[str]:
        return [str(port["hostPort"]) for port in meta.parts(container, "ports") if port.get("hostPort")]

    bad = names(subject.containers, of)
    if not bad:
        return None
    ports = sorted_once(port for container in subject.containers for port in of(container))
    uses = f"{noun('uses', 'use', bad)} {noun('hostPort', 'hostPorts', ports)}"
    return Violation("hostPort", f"{containers_named(bad)} {uses} {', '.join(ports)}")


def hosts_of_probes(subject: Subject) -> Violation | None:
    """Who looks at a container may be sent nowhere else."""
    found = {container["name"]: [*_hosts(container)] for container in subject.containers}
    bad = sorted(name for name, hosts in found.items() if hosts)
    if not bad:
        return None
    hosts = sorted_once(host for name in bad for host in found[name])
    what = noun("probe or lifecycle host", "probe or lifecycle hosts", hosts)
    uses = noun("uses", "use", bad)
    return Violation("probe or lifecycle host", f"{containers_named(bad)} {uses} {what} {quoted(hosts)}")


def _hosts(container: Object) -> Iterator[str]:
    lifecycle = meta.part(container, "lifecycle")
    probes = (meta.part(container, probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe"))
    for handler in (*probes, meta.part(lifecycle, "postStart"), meta.part(lifecycle, "preStop")):
        for way in ("httpGet", "tcpSocket"):
            if host := meta.part(handler, way).get("host"):
                yield host


def privileged(subject: Subject) -> Violation | None:
    bad = names(subject.containers, lambda container: security(container).get("privileged"))
    detail = f"{containers_named(bad)} must not set securityContext.privileged=true"
    return Violation("privileged", detail) if bad else None


def capabilities(subject: Subject) -> Violation | None:
    def added(container: Object) -> list[str]:
        given = meta.texts(security(container), "capabilities", "add")
        return [name for name in given if name not in DEFAULT_CAPABILITIES]

    bad = names(subject.containers, added)
    if not bad:
        return None
    found = sorted_once(name for container in subject.containers for name in added(container))
    detail = f"{containers_named(bad)} must not include {quoted(found)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def proc_mount(subject: Subject) -> Violation | None:
    def masked_otherwise(container: Object) -> str:
        given = security(container).get("procMount")
        return given if given is not None and given != "Default" else ""

    bad = names(subject.containers, masked_otherwise)
    if not bad:
        return None
    types = sorted_once(filter(None, map(masked_otherwise, subject.containers)))
    return Violation("procMount", f"{containers_named(bad)} must not set securityContext.procMount to {quoted(types)}")


def proc_mount_35(subject: Subject) -> Violation | None:
    return None if subject.has_own_users else proc_mount(subject)


def apparmor(subject: Subject) -> Violation | None:
    def other(context: Object) -> str | None:
        profile = context.get("appArmorProfile")
        return None if profile is None or profile.get("type") in PROFILES else profile.get("type") or ""

    bad = names(subject.containers, lambda container: other(security(container)) is not None)
    by_pod = other(subject.context) is not None
    types = [other(context) for context in (subject.context, *map(security, subject.containers))]
    values = sorted_once(value for value in types if value is not None)
    prefix = well_known.APPARMOR_ANNOTATION_PREFIX
    annotated = sorted(
        f"{key}={_as_written(value)}"
        for key, value in subject.annotations.items()
        if key.startswith(prefix) and value and value != "runtime/default" and not value.startswith("localhost/")
    )
    values += annotated
    who = setters(by_pod, bad, *([noun("annotation", "annotations", annotated)] if annotated else []))
    if not who:
        return None
    detail = f"{who} must not set AppArmor profile type to {quoted(values)}"
    return Violation(noun("forbidden AppArmor profile", "forbidden AppArmor profiles", values), detail)


def seccomp_annotations(subject: Subject) -> Violation | None:
    """Before there was a field."""
    keys = [well_known.SECCOMP_POD_ANNOTATION]
    keys += [well_known.SECCOMP_CONTAINER_ANNOTATION_PREFIX + one["name"] for one in subject.containers]
    bad = sorted_once(
        f"{key}={_as_written(subject.annotations[key])}"
        for key in keys
        if key in subject.annotations and not _is_seccomp(subject.annotations[key])
    )
    if not bad:
        return None
    return Violation("seccompProfile", f"forbidden {noun('annotation', 'annotations', bad)} {', '.join(bad)}")


def _is_seccomp(profile: str) -> bool:
    return profile in ("runtime/default", "docker/default") or profile.startswith("localhost/")


def _as_written(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def seccomp(subject: Subject) -> Violation | None:
    """That no profile is named but the runtime's and the node's own; so do both levels."""

    def other(context: Object) -> str | None:
        profile = context.get("seccompProfile")
        return None if profile is None or profile.get("type") in PROFILES else profile.get("type") or ""

    bad = names(subject.containers, lambda container: other(security(container)) is not None)
    who = setters(other(subject.context) is not None, bad)
    if not who:
        return None
    types = [other(context) for context in (subject.context, *map(security, subject.containers))]
    values = sorted_once(value for value in types if value is not None)
    return Violation("seccompProfile", f"{who} must not set securityContext.seccompProfile.type to {quoted(values)}")


def selinux(allowed: tuple[str, ...]) -> Control:
    def control(subject: Subject) -> Violation | None:
        def is_bad(context: Object) -> bool:
            options = meta.part(context, "seLinuxOptions")
            return (options.get("type") or "") not in allowed or bool(options.get("user") or options.get("role"))

        bad = names(subject.containers, lambda container: is_bad(security(container)))
        who = setters(is_bad(subject.context), bad)
        if not who:
            return None
        all_options = [
            meta.part(one, "seLinuxOptions") for one in (subject.context, *map(security, subject.containers))
        ]
        types = sorted_once(one["type"] for one in all_options if (one.get("type") or "") not in allowed)
        told = [f"{noun('type', 'types', types)} {quoted(types)}"] if types else []
        told += [f"{field} may not be set" for field in ("user", "role") if any(one.get(field) for one in all_options)]
        return Violation("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(told)}")

    return control


def sysctls(minor: int) -> Control:
    safe = tuple(name for since, names_ in SYSCTLS.items() if since <= minor for name in names_)

    def control(subject: Subject) -> Violation | None:
        bad = [one["name"] for one in meta.parts(subject.context, "sysctls") if one["name"] not in safe]
        return Violation("forbidden sysctls", ", ".join(bad)) if bad else None

    return control


def windows_host_process(subject: Subject) -> Violation | None:
    def is_bad(context: Object) -> bool:
        return bool(meta.part(context, "windowsOptions").get("hostProcess"))

    who = setters(is_bad(subject.context), names(subject.containers, lambda container: is_bad(security(container))))
    detail = f"{who} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail) if who else None
