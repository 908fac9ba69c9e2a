"""The environment and the command line of a container: env, envFrom, references, service variables, $(VAR).

`references` says which ConfigMaps and Secrets are needed; with those at hand `variables` gives the container's own
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

from petset.node.runtime import Image
from petset.objects import expansion, meta, quantity
from petset.objects.meta import Object

PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ConfigError(Exception):
    """A container that cannot be configured; becomes CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A ConfigMap or Secret in the pod's namespace."""

    kind: str
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a container may ask about its pod and node."""

    pod: Object
    pod_ip: str = ""
    host_ip: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    services: Sequence[Object] = ()  # Of the pod's namespace, and `kubernetes`.
    sources: Mapping[tuple[str, str], Object] = field(default_factory=dict)  # (kind, name) -> ConfigMap or Secret


def references(container: Object) -> list[Reference]:
    found: list[Reference] = []
    for source in container.get("envFrom") or ():
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if source.get(key) is not None:
                found.append(Reference(kind, source[key].get("name", ""), bool(source[key].get("optional"))))
    for entry in container.get("env") or ():
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            ref = meta.get(entry, "valueFrom", key)
            if ref is not None:
                found.append(Reference(kind, ref.get("name", ""), bool(ref.get("optional"))))
    return list(dict.fromkeys(found))


def variables(container: Object, facts: Facts) -> dict[str, str]:
    """The container's own variables, later ones replacing earlier ones. Raises ConfigError."""
    result = _Variables(container["name"])
    for name, value in service_variables(facts.pod, facts.services).items():
        result.set(name, value)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for key, value in _all_of(source, facts).items():
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
    result, total = [], 0
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


def _source(kind: str, ref: Object, facts: Facts) -> Object | None:
    found = facts.sources.get((kind, ref.get("name", "")))
    if found is None and not ref.get("optional"):
        raise ConfigError(f'{kind.lower()} "{ref.get("name", "")}" not found')
    return found


def data_of(source: Object) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret, as bytes. Raises ConfigError for what is not base64."""
    return {key: _entry(source, key) for field in ("data", "binaryData") for key in source.get(field) or {}}


def _entry(source: Object, key: str) -> bytes:
    """One entry; the others are not looked at, since a container may ask for a thousand of them one by one."""
    binary = source.get("binaryData") or {}
    if key in binary:
        return _decoded(key, binary[key])
    value = source["data"][key]
    return _decoded(key, value) if source["kind"] == "Secret" else value.encode()


def _decoded(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value or "")
    except (binascii.Error, ValueError):
        raise ConfigError(f"cannot read key {key}: it is not base64") from None


def _all_of(source: Object, facts: Facts) -> dict[str, str]:
    for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if source.get(key) is not None:
            found = _source(kind, source[key], facts)
            entries = data_of(found) if found is not None else {}
            return {name: entries[name].decode(errors="surrogateescape") for name in sorted(entries)}
    return {}


def _value_from(ref: Object, container: Object, facts: Facts) -> str | None:
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if ref.get(key) is not None:
            return _keyed(kind, ref[key], facts)
    if ref.get("fieldRef") is not None:
        return field_value(ref["fieldRef"].get("fieldPath", ""), facts)
    if ref.get("resourceFieldRef") is not None:
        return resource_value(ref["resourceFieldRef"], container, facts)
    raise ConfigError("cannot read an environment variable: its valueFrom names no source that is offered here")


def _keyed(kind: str, ref: Object, facts: Facts) -> str | None:
    source = _source(kind, ref, facts)
    key = ref["key"]
    if source is not None and (key in (source.get("data") or {}) or key in (source.get("binaryData") or {})):
        return _entry(source, key).decode(errors="surrogateescape")
    if ref.get("optional"):
        return None
    namespace = meta.namespace(facts.pod)
    raise ConfigError(f"couldn't find key {key} in {kind} {namespace}/{ref.get('name', '')}")


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
    raise ConfigError(f"cannot read the field {path}: it is not one that a container can ask for")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def resource_value(ref: Object, container: Object, facts: Facts) -> str:
    """A limit or request of a container as a whole number of divisors, rounded up. Raises ConfigError."""
    if ref.get("containerName"):
        spec = facts.pod["spec"]
        everyone = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        found = next((one for one in everyone if one["name"] == ref["containerName"]), None)
        if found is None:
            raise ConfigError(f"cannot read a resource of container {ref['containerName']}: the pod has none such")
        container = found
    kind, _, name = ref.get("resource", "").partition(".")
    if kind not in ("limits", "requests") or not name:
        raise ConfigError(f"cannot read the resource {ref.get('resource', '')}: it must be limits.x or requests.x")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(name)
    if amount is None and kind == "requests":
        amount = (resources.get("limits") or {}).get(name, "0")
    if amount is None:
        amount = facts.allocatable.get(name, "0")  # Without a limit the node is the limit.
    divisor = str(ref.get("divisor") or "0")
    value, by = quantity.parse(str(amount)).value, quantity.parse(divisor).value
    result = value / by if by else value
    return str(-(-result.numerator // result.denominator))


# ---- services


def kubernetes_service(host: str, port: int) -> dict:
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
