"""The environment and the command line of a container: env, envFrom, service variables, $(VAR).

With the ConfigMaps and Secrets at hand (kinds/pod_spec/sources.py says which) `variables` gives the container's own
variables in order (services, envFrom, env), and `with_image` puts the image's underneath. `command` is the whole argv
with $(VAR) replaced: a name that is not defined stays as it is written, and $$ is one $. Probe and hook commands are
never expanded.

Pure. What a reference lacks is a ConfigError, unless the reference says optional.
Follows: the pages "Define dependent environment variables" and "Downward API" of the Kubernetes documentation.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from petset.kinds.pod_spec import pod_containers, sources
from petset.kinds.pod_spec.sources import Reference, SourceKind
from petset.node import env_files
from petset.node.runtime import Image
from petset.objects import expansion, meta, quantity
from petset.objects.meta import Object

PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ConfigError(Exception):
    """A container that cannot be configured; becomes CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a ConfigMap or Secret holds. Made only by `source`; each entry is decoded when it is asked for."""

    kind: SourceKind
    name: str
    texts: Mapping[str, str]
    encoded: Mapping[str, str]  # In base64.

    def entry(self, key: str) -> bytes | None:
        """One entry, None where there is none; the others are not looked at, since a container may ask for a thousand
        of them one by one. Raises ConfigError."""
        if key in self.encoded:
            return _decoded(key, self.encoded[key])
        return self.texts[key].encode() if key in self.texts else None

    def entries(self) -> dict[str, bytes]:
        """All of them. Raises ConfigError."""
        texts = {key: text.encode() for key, text in self.texts.items()}
        return texts | {key: _decoded(key, text) for key, text in self.encoded.items()}


def source(kind: SourceKind, obj: Object) -> Source:
    """From the object as the API has it."""
    if kind == "Secret":
        return Source(kind, meta.name(obj), {}, meta.part(obj, "data"))
    return Source(kind, meta.name(obj), meta.part(obj, "data"), meta.part(obj, "binaryData"))


@dataclass(frozen=True, slots=True)
class CertificateWanted:
    """What a pod asks a signer for; `key_type` as the API names it."""

    signer: str
    key_type: str
    seconds: int
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and its certificates, the own one first, in PEM."""

    key: str = ""
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a container may ask about its pod and node."""

    pod: Object
    pod_ip: str = ""
    host_ip: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict[str, str])
    services: Sequence[Object] = ()  # Of the pod's namespace, and `kubernetes`.
    sources: Mapping[tuple[SourceKind, str], Source] = field(default_factory=dict[tuple[SourceKind, str], Source])
    files: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])  # By volume and path.
    credentials: Mapping[CertificateWanted, Credential] = field(
        default_factory=dict[CertificateWanted, Credential]
    )  # Each that a volume of the pod shows.
    bundles: Sequence[Object] = ()  # All ClusterTrustBundles, where a volume of the pod shows any.


def variables(container: Object, facts: Facts) -> dict[str, str]:
    """The container's own variables, later ones replacing earlier ones. Raises ConfigError."""
    result = _Variables(container["name"])
    for name, value in service_variables(facts.pod, facts.services).items():
        result.set(name, value)
    for given in container.get("envFrom") or ():
        prefix = given.get("prefix") or ""
        for key, value in _all_of(given, facts).items():
            result.set(prefix + key, value)
    for entry in container.get("env") or ():
        if entry.get("valueFrom") is None:
            result.set(entry["name"], expand(entry.get("value") or "", result.values))
            continue
        value = _value_from(entry["valueFrom"], container, facts)
        if value is not None:
            result.set(entry["name"], value)
    return result.values


class _Variables:
    """Variables as they come, no more of them than a process could be given."""

    def __init__(self, container: str):
        self.values: dict[str, str] = {}
        self._container = container
        self._bytes = 0

    def set(self, name: str, value: str) -> None:
        """Raises ConfigError."""
        if name in self.values:
            self._bytes -= expansion.variable_size(name, expansion.size(self.values[name]))
        self._bytes += expansion.variable_size(name, expansion.size(value))
        if self._bytes > expansion.ENVIRONMENT_BYTES_MAX:
            raise ConfigError(
                f"cannot start container {self._container}: its environment is larger than "
                f"{expansion.ENVIRONMENT_BYTES_MAX} bytes, at the variable {name[:100]}; give it less, or a file"
            )
        self.values[name] = value


def with_image(own: Mapping[str, str], image: Image, hostname: str, tty: bool = False) -> dict[str, str]:
    """The image's variables below the container's own; PATH and HOSTNAME are always there."""
    result = {"PATH": PATH_DEFAULT, "HOSTNAME": hostname, **({"TERM": "xterm"} if tty else {})}
    for line in image.env:
        name, given, value = line.partition("=")
        if given:
            result[name] = value
    return {**result, **own}


def command(container: Object, image: Image, own: Mapping[str, str]) -> tuple[str, ...]:
    """The argv: the container's command and args, or the image's entry point and command. Raises ConfigError."""
    given, args = container.get("command") or (), container.get("args") or ()
    expanded, added = _words(container, given, own), _words(container, args, own)
    argv = [*expanded, *added] if given else [*image.entrypoint, *(added if args else image.command)]
    if not argv:
        raise ConfigError(
            f"cannot start container {container['name']}: neither it nor its image says what to run; give it a command"
        )
    return tuple(argv)


def _words(container: Object, words: Sequence[str], own: Mapping[str, str]) -> list[str]:
    result: list[str] = []
    total = 0
    for word in words:
        result.append(expand(word, own))
        total += expansion.size(result[-1]) + 1
        if total > expansion.ARGUMENTS_BYTES_MAX:
            raise ConfigError(
                f"cannot start container {container['name']}: its command line is larger than "
                f"{expansion.ARGUMENTS_BYTES_MAX} bytes once expanded; give it less, or a file"
            )
    return result


def expand(text: str, known: Mapping[str, str]) -> str:
    """$(NAME) becomes its value where NAME is known and stays otherwise; $$ becomes $. Raises ConfigError."""
    try:
        return expansion.expand(text, known, expansion.ENVIRONMENT_BYTES_MAX)
    except expansion.TooLarge as error:
        raise ConfigError(f"cannot expand {text[:40]!r}: {error}; refer to less") from None


# ---- references


def find(reference: Reference, facts: Facts) -> Source | None:
    """None for one that is optional and not there. Raises ConfigError."""
    found = facts.sources.get((reference.kind, reference.name))
    if found is None and not reference.optional:
        raise ConfigError(f'{reference.kind.lower()} "{reference.name}" not found')
    return found


def _decoded(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value or "")
    except (binascii.Error, ValueError):
        raise ConfigError(f"cannot read key {key}: it is not base64") from None


def _all_of(given: Object, facts: Facts) -> dict[str, str]:
    for _, reference in sources.named(given, "Ref"):
        found = find(reference, facts)
        entries = found.entries() if found is not None else {}
        return {name: entries[name].decode(errors="surrogateescape") for name in sorted(entries)}
    return {}


def _value_from(given: Object, container: Object, facts: Facts) -> str | None:
    for ref, reference in sources.named(given, "KeyRef"):
        return _keyed(ref["key"], reference, facts)
    if given.get("fieldRef") is not None:
        return field_value(given["fieldRef"].get("fieldPath", ""), facts)
    if given.get("resourceFieldRef") is not None:
        return resource_value(given["resourceFieldRef"], container, facts)
    if given.get("fileKeyRef") is not None:
        return _of_file(given["fileKeyRef"], facts)
    raise ConfigError("cannot read an environment variable: its valueFrom names no source that is offered here")


def _of_file(ref: Object, facts: Facts) -> str | None:
    volume, path, key = ref["volumeName"], ref["path"], ref["key"]
    text = facts.files.get((volume, path))
    try:
        found = env_files.value(text, key) if text is not None else None
    except env_files.Malformed as error:
        raise ConfigError(f"couldn't parse env file {path} of volume {volume}: {error}") from None
    if found is None and not ref.get("optional"):
        raise ConfigError(f'environment variable key "{key}" not found in file "{path}" of volume {volume}')
    return found


def _keyed(key: str, reference: Reference, facts: Facts) -> str | None:
    found = find(reference, facts)
    value = found.entry(key) if found is not None else None
    if value is not None:
        return value.decode(errors="surrogateescape")
    if reference.optional:
        return None
    namespace = meta.namespace(facts.pod)
    raise ConfigError(f"couldn't find key {key} in {reference.kind} {namespace}/{reference.name}")


_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


def field_value(path: str, facts: Facts) -> str:
    """A field of the pod as text, as env and downwardAPI volumes give it. Raises ConfigError."""
    pod = facts.pod
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return meta.get(pod, "metadata", subscript.group(1), subscript.group(2), default="")
    match path:
        case "metadata.name":
            return meta.name(pod)
        case "metadata.namespace":
            return meta.namespace(pod)
        case "metadata.uid":
            return meta.uid(pod)
        case "metadata.labels" | "metadata.annotations":
            pairs = meta.get(pod, "metadata", path.removeprefix("metadata."), default={})
            return "\n".join(f'{key}="{_quoted(pairs[key])}"' for key in sorted(pairs))
        case "spec.nodeName":
            return pod["spec"].get("nodeName") or ""
        case "spec.serviceAccountName":
            return pod["spec"].get("serviceAccountName") or ""
        case "status.hostIP" | "status.hostIPs":
            return facts.host_ip
        case "status.podIP" | "status.podIPs":
            return facts.pod_ip
        case _:
            raise ConfigError(f"cannot read the field {path}: it is not one that a container can ask for")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def resource_value(ref: Object, container: Object, facts: Facts) -> str:
    """A limit or request of a container as a whole number of divisors, rounded up. Raises ConfigError."""
    if ref.get("containerName"):
        found = next(
            (one for one in pod_containers.own(facts.pod["spec"]) if one["name"] == ref["containerName"]), None
        )
        if found is None:
            raise ConfigError(f"cannot read a resource of container {ref['containerName']}: the pod has none such")
        container = found
    kind, _, name = ref.get("resource", "").partition(".")
    if kind not in ("limits", "requests") or not name:
        raise ConfigError(f"cannot read the resource {ref.get('resource', '')}: it must be limits.x or requests.x")
    amount = meta.part(container, "resources", kind).get(name)
    if amount is None and kind == "requests":
        amount = meta.part(container, "resources", "limits").get(name, "0")
    if amount is None:
        amount = facts.allocatable.get(name, "0")  # Without a limit the node is the limit.
    divisor = str(ref.get("divisor") or "0")
    value, by = quantity.parse(str(amount)).value, quantity.parse(divisor).value
    result = value / by if by else value
    return str(-(-result.numerator // result.denominator))


# ---- services


def kubernetes_service(host: str, port: int) -> Object:
    """The Service `kubernetes` as far as variables are made of it, for when it has not been seen yet."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": host, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]},
    }


def service_variables(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """The variables of services with a cluster address: `kubernetes` always, the namespace's unless switched off."""
    links = pod["spec"].get("enableServiceLinks")
    result: dict[str, str] = {}
    for service in services:
        is_api = meta.name(service) == "kubernetes" and meta.namespace(service) == "default"
        if not is_api and (links is False or meta.namespace(service) != meta.namespace(pod)):
            continue
        result.update(_of_service(service))
    return result


def _of_service(service: Object) -> dict[str, str]:
    host = service["spec"].get("clusterIP")
    ports = service["spec"].get("ports") or ()
    if not host or host == "None" or not ports:
        return {}
    prefix = meta.name(service).upper().replace("-", "_")
    shown = f"[{host}]" if ":" in host else host
    first = ports[0]
    result = {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": str(first["port"])}
    for port in ports:
        if port.get("name"):
            result[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    protocol = (first.get("protocol") or "TCP").lower()
    result[f"{prefix}_PORT"] = f"{protocol}://{shown}:{first['port']}"
    for port in ports:
        protocol = port.get("protocol") or "TCP"
        one = f"{prefix}_PORT_{port['port']}_{protocol}"
        result[one] = f"{protocol.lower()}://{shown}:{port['port']}"
        result[f"{one}_PROTO"] = protocol.lower()
        result[f"{one}_PORT"] = str(port["port"])
        result[f"{one}_ADDR"] = host
    return result
