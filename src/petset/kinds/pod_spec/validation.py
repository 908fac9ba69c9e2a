"""Checks of a PodSpec and of a pod template.

`spec` is the check of a PodSpec wherever it stands; a set's claim templates count as volumes that mounts may name.
What may change in a pod once it exists is in kinds/pod.py.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Any

from petset.kinds.pod_spec import containers, ephemeral, lifecycle, placement, pod_containers, volumes
from petset.objects import meta, names
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import (
    Errors,
    at_least,
    labels,
    named,
    named_once,
    not_negative_quantities,
    one_of,
    optional,
)

DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")

NAMESERVERS_MAX = 3

SEARCH_DOMAINS_MAX, SEARCH_CHARACTERS_MAX = 32, 2048

SYSCTL_CHARACTERS_MAX = 253

HOSTNAME_CHARACTERS_MAX = 64

_SYSCTL_PART = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"

INT32_MAX = 2**31 - 1


def spec(given: Object, path: str, claims: Sequence[str] = (), in_template: bool = False) -> Errors:
    """A PodSpec; `claims` are the names of a set's claim templates."""
    own = meta.parts(given, "volumes")
    if own:
        yield from volumes.volumes(own, f"{path}.volumes")
    mountable = dict.fromkeys((*(volume.get("name", "") for volume in own), *claims))
    yield from _containers(given, path, mountable)
    if given.get("ephemeralContainers"):
        where = f"{path}.ephemeralContainers"
        if in_template:
            yield FieldError.forbidden(where, "ephemeral containers not allowed in pod template")
        else:
            yield from ephemeral.containers(given, where, mountable)
    yield from _variables_of_files(given, own, path)
    yield from one_of(given.get("restartPolicy"), f"{path}.restartPolicy", lifecycle.RESTART_POLICIES)
    deadline = given.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= INT32_MAX:
        yield FieldError.invalid(
            f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {INT32_MAX}, inclusive"
        )
    yield from _names(given, path)
    yield from _host_name(given, path)
    yield from _host_users(given, path)
    yield from _dns(given, path)
    if given.get("securityContext"):
        yield from _security(given, given["securityContext"], f"{path}.securityContext")
    yield from placement.placement(given, path)
    for index, alias in enumerate(meta.parts(given, "hostAliases")):
        yield from named(alias.get("ip"), f"{path}.hostAliases[{index}].ip", names.ip)
        for position, hostname in enumerate(meta.texts(alias, "hostnames")):
            yield from named(hostname, f"{path}.hostAliases[{index}].hostnames[{position}]", names.subdomain)
    yield from not_negative_quantities(given.get("overhead"), f"{path}.overhead")
    for index, gate in enumerate(meta.parts(given, "readinessGates")):
        yield from named(gate.get("conditionType"), f"{path}.readinessGates[{index}].conditionType", names.qualified)
    if given.get("os"):
        yield from one_of(given["os"].get("name"), f"{path}.os.name", ("linux", "windows"))


def _containers(given: Object, path: str, mountable: Container[str]) -> Errors:
    regular, initial = meta.parts(given, "containers"), meta.parts(given, "initContainers")
    if not regular:
        yield FieldError.required(f"{path}.containers")
    on_host = bool(given.get("hostNetwork"))
    seen: dict[str, None] = {}
    host_ports: dict[tuple[Any, ...], None] = {}
    for field, group in (("containers", regular), ("initContainers", initial)):
        for index, container in enumerate(group):
            where = f"{path}.{field}[{index}]"
            init = field == "initContainers"
            yield from containers.container(container, where, mountable, on_host, init)
            if container.get("lifecycle") or container.get("resizePolicy"):
                yield from lifecycle.of_pod(container, where, given)
            name = container.get("name", "")
            if name and name in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen[name] = None
            if init and container.get("restartPolicy") != "Always":
                continue  # It has ended before others listen.
            for position, port in enumerate(meta.parts(container, "ports")):
                if host := port.get("hostPort"):
                    taken = (port.get("protocol"), port.get("hostIP") or "", host)
                    if taken in host_ports:
                        shown = "/".join(str(part) for part in taken)
                        yield FieldError.duplicate(f"{where}.ports[{position}].hostPort", shown)
                    host_ports[taken] = None


def _variables_of_files(given: Object, own: Sequence[Object], path: str) -> Errors:
    """A file of variables lies in an emptyDir of the pod."""
    known = {volume.get("name"): volume for volume in own}
    for place, container in pod_containers.placed(given):
        for position, variable in enumerate(meta.parts(container, "env")):
            name = meta.get(variable, "valueFrom", "fileKeyRef", "volumeName")
            if not name:
                continue
            where = f"{path}.{place}.env[{position}].valueFrom.fileKeyRef.volumeName"
            if name not in known:
                yield FieldError.not_found(where, name)
            elif known[name].get("emptyDir") is None:
                yield FieldError.invalid(where, name, "referenced volume must be of type emptyDir")


def _names(given: Object, path: str) -> Errors:
    for field, rule in (
        ("hostname", names.label),
        ("subdomain", names.label),
        ("serviceAccountName", names.subdomain),
        ("schedulerName", names.qualified),
        ("priorityClassName", names.subdomain),
        ("runtimeClassName", names.subdomain),
    ):
        yield from optional(given.get(field), f"{path}.{field}", rule)
    for index, reference in enumerate(meta.parts(given, "imagePullSecrets")):
        if not reference.get("name"):
            yield FieldError.required(f"{path}.imagePullSecrets[{index}].name")


def _host_name(given: Object, path: str) -> Errors:
    override, where = given.get("hostnameOverride"), f"{path}.hostnameOverride"
    if override is None:
        return
    if given.get("setHostnameAsFQDN"):
        yield FieldError.forbidden(where, "may not be specified when setHostnameAsFQDN is true")
    if given.get("hostNetwork"):
        yield FieldError.forbidden(where, "may not be specified when hostNetwork is true")
    if len(override) > HOSTNAME_CHARACTERS_MAX:
        yield FieldError.too_long(where, HOSTNAME_CHARACTERS_MAX)
    if wrong := names.subdomain(override):
        yield FieldError.invalid(where, override, wrong)


def _host_users(given: Object, path: str) -> Errors:
    """Users of its own go with nothing else of the host's, and the whole of /proc with no others."""
    if given.get("hostUsers") is not False:
        for place, container in pod_containers.placed(given):
            if meta.get(container, "securityContext", "procMount") == "Unmasked":
                where = f"{path}.{place}.securityContext.procMount"
                yield FieldError.invalid(where, "Unmasked", "`hostUsers` must be false to use `Unmasked`")
        return
    for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if given.get(field):
            yield FieldError.forbidden(f"{path}.{shown}", "when `hostUsers` is false")
    for place, container in pod_containers.placed(given):
        if container.get("volumeDevices"):
            yield FieldError.forbidden(f"{path}.{place}.volumeDevices", "when `hostUsers` is false")


def _dns(given: Object, path: str) -> Errors:
    policy = given.get("dnsPolicy")
    yield from one_of(policy, f"{path}.dnsPolicy", DNS_POLICIES)
    config = meta.part(given, "dnsConfig")
    nameservers, searches = meta.texts(config, "nameservers"), meta.texts(config, "searches")
    where = f"{path}.dnsConfig"
    if policy == "None" and not config:
        yield FieldError.required(where, f"must provide `dnsConfig` when `dnsPolicy` is {policy}")
    elif policy == "None" and not nameservers:
        yield FieldError.required(
            f"{where}.nameservers", f"must provide at least one DNS nameserver when `dnsPolicy` is {policy}"
        )
    if len(nameservers) > NAMESERVERS_MAX:
        yield FieldError.invalid(
            f"{where}.nameservers", list(nameservers), f"must not have more than {NAMESERVERS_MAX} nameservers"
        )
    for index, nameserver in enumerate(nameservers):
        yield from named(nameserver, f"{where}.nameservers[{index}]", names.ip)
    if len(searches) > SEARCH_DOMAINS_MAX:
        yield FieldError.invalid(
            f"{where}.searches", list(searches), f"must not have more than {SEARCH_DOMAINS_MAX} search paths"
        )
    if len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        yield FieldError.invalid(
            f"{where}.searches",
            list(searches),
            f"must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list",
        )
    for index, search in enumerate(searches):
        if search != ".":
            yield from named(search.removesuffix("."), f"{where}.searches[{index}]", _search_domain)
    for index, option in enumerate(meta.parts(config, "options")):
        if not option.get("name"):
            yield FieldError.required(f"{where}.options[{index}]", "must not be empty")


def _search_domain(text: str) -> str:
    return names.subdomain(text.replace("_", "a"))  # Resolvers take underscores, names of objects do not.


def _security(given: Object, context: Object, path: str) -> Errors:
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        yield from at_least(context.get(field), f"{path}.{field}")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        yield from at_least(group, f"{path}.supplementalGroups[{index}]")
    if context.get("fsGroupChangePolicy"):
        yield from one_of(context["fsGroupChangePolicy"], f"{path}.fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    yield from containers.seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    seen: dict[str, None] = {}
    for index, sysctl in enumerate(meta.parts(context, "sysctls")):
        where, name = f"{path}.sysctls[{index}].name", sysctl.get("name", "")
        yield from named_once(name, where, _sysctl, seen)
    if given.get("shareProcessNamespace") and given.get("hostPID"):
        yield FieldError.invalid(
            f"{path.rpartition('.')[0]}.shareProcessNamespace",
            True,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        )


def _sysctl(name: str) -> str:
    if len(name) > SYSCTL_CHARACTERS_MAX:
        return f"must be no more than {SYSCTL_CHARACTERS_MAX} characters"
    if re.fullmatch(rf"{_SYSCTL_PART}([./]{_SYSCTL_PART})*", name):
        return ""
    return "must be a sysctl name: parts between '.' or '/' of lower case letters and digits, '-' or '_' inside them"


def template(given: Object, path: str, claims: Sequence[str] = ()) -> Errors:
    """A PodTemplateSpec."""
    metadata = meta.part(given, "metadata")
    yield from labels(metadata.get("labels"), f"{path}.metadata.labels")
    for key in meta.part(metadata, "annotations"):
        yield from named(key.lower(), f"{path}.metadata.annotations", names.qualified)
    yield from spec(meta.part(given, "spec"), f"{path}.spec", claims, in_template=True)
