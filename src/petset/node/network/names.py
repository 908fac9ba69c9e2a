"""A pod's names: host name, full name, and the texts of /etc/hosts and /etc/resolv.conf.

Identity comes from spec.hostname and spec.subdomain; pods made the way of 2016 carry it as annotations, which count
where the spec says nothing. Pure. Follows: the page "DNS for Services and Pods" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from petset.base import well_known
from petset.kinds import endpoint_slice
from petset.kinds import service as service_kind
from petset.objects import meta, selectors
from petset.objects.meta import Object

HOSTNAME_CHARACTERS_MAX = 63
FQDN_CHARACTERS_MAX = 64
POD_IP = "$(POD_IP)"  # In the text of /etc/hosts: the runtime puts the address there, which it chooses.
SEARCHES_MAX, NAMESERVERS_MAX = 32, 3


def hostname(pod: Object) -> str:
    """What `hostname` prints in the pod."""
    override = pod["spec"].get("hostnameOverride")
    if override:
        return override[:HOSTNAME_CHARACTERS_MAX].rstrip("-.")
    name = pod["spec"].get("hostname") or meta.annotations(pod).get(well_known.HOSTNAME_ANNOTATION)
    return (name or meta.name(pod)[:HOSTNAME_CHARACTERS_MAX]).rstrip("-.")


class NameTooLong(Exception):
    """A full name that the kernel cannot take for a host name."""


def kernel_name(pod: Object, cluster_domain: str) -> str:
    """The host name as the kernel has it: with setHostnameAsFQDN the full one. Raises NameTooLong."""
    full = full_name(pod, cluster_domain)
    if not pod["spec"].get("setHostnameAsFQDN") or full == hostname(pod):
        return hostname(pod)
    if len(full) > FQDN_CHARACTERS_MAX:
        raise NameTooLong(
            f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long "
            f"({FQDN_CHARACTERS_MAX} characters is the max, {len(full)} characters requested)"
        )
    return full


def subdomain(pod: Object) -> str:
    if pod["spec"].get("hostnameOverride"):
        return ""  # That name alone is the pod's.
    return pod["spec"].get("subdomain") or meta.annotations(pod).get(well_known.SUBDOMAIN_ANNOTATION) or ""


def full_name(pod: Object, cluster_domain: str) -> str:
    """What `hostname -f` prints in the pod; without a subdomain just the host name."""
    domain = subdomain(pod)
    if not domain:
        return hostname(pod)
    return f"{hostname(pod)}.{domain}.{meta.namespace(pod)}.svc.{cluster_domain}"


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The machine's own files, for pods that share its network or its resolvers."""

    hosts: str = ""
    resolv_conf: str = ""


def hosts(pod: Object, cluster_domain: str, of_host: str = "") -> str:
    """/etc/hosts, with POD_IP for the address; `of_host` is the machine's own. Scripts look for its first line."""
    if pod["spec"].get("hostNetwork"):
        lines = ["# Kubernetes-managed hosts file (host network).", *of_host.splitlines()]
    else:
        full, short = full_name(pod, cluster_domain), hostname(pod)
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            f"{POD_IP}\t{full}\t{short}" if full != short else f"{POD_IP}\t{short}",
        ]
    for alias in pod["spec"].get("hostAliases") or ():
        lines.append("\t".join([alias["ip"], *(alias.get("hostnames") or ())]))
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Object, dns_address: str, cluster_domain: str, of_host: str = "") -> str:
    """/etc/resolv.conf by dnsPolicy and dnsConfig; `of_host` is the machine's own."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and pod["spec"].get("hostNetwork"):
        policy = "Default"
    nameservers: list[str] = []
    searches: list[str] = []
    options: dict[str, str | None] = {}
    if policy == "Default":
        nameservers, searches, options = _parsed(of_host)
    elif policy != "None":
        nameservers = [dns_address]
        searches = [f"{meta.namespace(pod)}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain]
        options = {"ndots": "5"}
    config: Object = pod["spec"].get("dnsConfig") or {}
    nameservers = _unique([*nameservers, *(config.get("nameservers") or ())])[:NAMESERVERS_MAX]
    searches = _unique([*searches, *(config.get("searches") or ())])[:SEARCHES_MAX]
    for option in config.get("options") or ():
        options[option["name"]] = option.get("value")
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {address}" for address in nameservers]
    if options:
        shown = [name if value in (None, "") else f"{name}:{value}" for name, value in options.items()]
        lines.append(f"options {' '.join(shown)}")
    return "\n".join(lines) + "\n"


def _unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _parsed(text: str) -> tuple[list[str], list[str], dict[str, str | None]]:
    nameservers: list[str] = []
    searches: list[str] = []
    options: dict[str, str | None] = {}
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = words[1:]
        elif words[0] == "options":
            for option in words[1:]:
                name, colon, value = option.partition(":")
                options[name] = value if colon else None
    return nameservers, searches, options


# ---- whether a pod's name is there before it starts


def awaited_services(pod: Object, services: Iterable[Object]) -> list[str]:
    """The headless services that show this pod's address before it is ready."""
    labels = meta.labels(pod)
    found: list[str] = []
    for service in services:
        selector = service["spec"].get("selector")
        shown = bool(selector) and service_kind.is_headless(service) and service_kind.publishes_unready(service)
        if shown and selectors.from_map(selector).matches(labels):
            found.append(meta.name(service))
    return found


def has_address(slices: Iterable[Object], ip: str) -> bool:
    """Whether one of these EndpointSlices leads to an address."""
    return any(
        ip in meta.texts(endpoint, "addresses") and endpoint_slice.is_ready(endpoint)
        for one in slices
        for endpoint in meta.parts(one, "endpoints")
    )
