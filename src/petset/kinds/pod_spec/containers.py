"""Checks of a container: image, ports, environment, mounts, probes, resources, security.

One function a part; `container` puts them together for regular and init containers alike, and says what an init
container may not have. Whether names and host ports repeat among a pod's containers is for the pod's check.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from petset.kinds.pod_spec import lifecycle, volumes
from petset.objects import expansion, meta, names, quantity
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.validation import NOT_NEGATIVE, Errors, at_least, named, one_of, optional

PULL_POLICIES = ("Always", "IfNotPresent", "Never")

PROTOCOLS = ("SCTP", "TCP", "UDP")

PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")

BIND_OPTIONS = ("nodev", "noexec", "nosuid")

SECCOMP_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")

STANDARD_RESOURCES = ("cpu", "ephemeral-storage", "memory")

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def container(given: Object, path: str, volumes: Container[str], on_host: bool, init: bool) -> Errors:
    yield from named(given.get("name"), f"{path}.name", names.label)
    image = given.get("image") or ""
    if not image:
        yield FieldError.required(f"{path}.image")
    elif image != image.strip():
        yield FieldError.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(given.get("imagePullPolicy"), f"{path}.imagePullPolicy", PULL_POLICIES)
    yield from one_of(given.get("terminationMessagePolicy"), f"{path}.terminationMessagePolicy", _MESSAGE_POLICIES)
    yield from _restarts(given, path, init)
    if given.get("ports"):
        yield from ports(given["ports"], f"{path}.ports", on_host)
    if given.get("env"):
        yield from environment(given["env"], f"{path}.env")
    if given.get("env") or given.get("args") or given.get("command"):
        yield from _expansion(given, path)
    if given.get("envFrom"):
        yield from _environment_from(given["envFrom"], f"{path}.envFrom")
    if given.get("volumeMounts"):
        yield from mounts(given["volumeMounts"], f"{path}.volumeMounts", volumes, _is_privileged(given))
    if given.get("volumeDevices"):
        yield from _devices(given, f"{path}.volumeDevices", volumes)
    for field in PROBES:
        if given.get(field) is not None:
            yield from probe(given[field], f"{path}.{field}", field)
    if given.get("lifecycle"):
        for field in ("postStart", "preStop"):
            if given["lifecycle"].get(field) is not None:
                yield from handler(given["lifecycle"][field], f"{path}.lifecycle.{field}", _LIFECYCLE_HANDLERS)
    if given.get("resources"):
        yield from resources(given["resources"], f"{path}.resources")
    if given.get("securityContext"):
        yield from security(given["securityContext"], f"{path}.securityContext")


_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")


def _restarts(given: Object, path: str, init: bool) -> Errors:
    """A sidecar is an init container that restarts always; other init containers have neither probes nor hooks."""
    yield from lifecycle.restarts(given, path)
    if init and given.get("restartPolicy") != "Always":
        for field in ("lifecycle", *PROBES):
            if given.get(field) is not None:
                yield FieldError.forbidden(
                    f"{path}.{field}", "may not be set for init containers without restartPolicy=Always"
                )


def _is_privileged(given: Object) -> bool:
    return bool(meta.part(given, "securityContext").get("privileged"))


def ports(given: Sequence[Object], path: str, on_host: bool) -> Errors:
    seen: dict[str, None] = {}
    for index, port in enumerate(given):
        where = f"{path}[{index}]"
        if name := port.get("name"):
            yield from optional(name, f"{where}.name", names.port_name)
            if name in seen:
                yield FieldError.duplicate(f"{where}.name", name)
            seen[name] = None
        number, host = port.get("containerPort") or 0, port.get("hostPort") or 0
        if not number:
            yield FieldError.required(f"{where}.containerPort")
        elif wrong := names.port(number):
            yield FieldError.invalid(f"{where}.containerPort", number, wrong)
        if host and (wrong := names.port(host)):
            yield FieldError.invalid(f"{where}.hostPort", host, wrong)
        if on_host and host != number:
            yield FieldError.invalid(f"{where}.hostPort", host, "must match `containerPort` when `hostNetwork` is true")
        yield from one_of(port.get("protocol"), f"{where}.protocol", PROTOCOLS)
        yield from optional(port.get("hostIP"), f"{where}.hostIP", names.ip)


def environment(given: Sequence[Object], path: str) -> Errors:
    for index, variable in enumerate(given):
        where = f"{path}[{index}]"
        yield from named(variable.get("name"), f"{where}.name", names.environment_variable)
        source = variable.get("valueFrom")
        if source is None:
            continue
        where = f"{where}.valueFrom"
        if not source:
            yield FieldError.invalid(where, "", _ONE_SOURCE)
        if variable.get("value"):
            yield FieldError.invalid(where, "", "may not be specified when `value` is not empty")
        if len(source) > 1:
            yield FieldError.invalid(where, "", "may not have more than one field specified at a time")
        if (field := source.get("fieldRef")) is not None:
            yield from volumes.field_reference(field, f"{where}.fieldRef", _ENVIRONMENT_FIELDS)
        if (amount := source.get("resourceFieldRef")) is not None:
            yield from volumes.resource_reference(amount, f"{where}.resourceFieldRef", False)
        if (file := source.get("fileKeyRef")) is not None:
            yield from _file_key(file, f"{where}.fileKeyRef")
        for kind in ("configMapKeyRef", "secretKeyRef"):
            if (reference := source.get(kind)) is not None:
                if not reference.get("name"):
                    yield FieldError.required(f"{where}.{kind}.name")
                yield from named(reference.get("key"), f"{where}.{kind}.key", names.config_key)


def _file_key(given: Object, path: str) -> Errors:
    if not given.get("key"):
        yield FieldError.required(f"{path}.key")
    elif wrong := names.environment_variable(given["key"]):
        yield FieldError.invalid(f"{path}.key", given["key"], wrong)
    if not given.get("volumeName"):
        yield FieldError.required(f"{path}.volumeName")
    yield from volumes.relative(given.get("path"), f"{path}.path")


_ONE_SOURCE = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"

_ENVIRONMENT_FIELDS = tuple(
    path for path in volumes.FIELD_PATHS if path not in ("metadata.annotations", "metadata.labels")
)  # A variable holds one label's value, never all of them.


def _expansion(given: Object, path: str) -> Errors:
    """That the environment and the command line are no larger, expanded, than a process may be given.

    What comes from elsewhere counts nothing here: the node knows it.
    """
    sizes: dict[str, int] = {}
    total = 0

    def size_of(name: str) -> int:
        return sizes.get(name, 0)

    for variable in meta.parts(given, "env"):
        name = variable.get("name", "")
        total -= expansion.variable_size(name, sizes[name]) if name in sizes else 0
        sizes[name] = 0 if variable.get("valueFrom") else expansion.expanded_size(variable.get("value") or "", size_of)
        total += expansion.variable_size(name, sizes[name])
        if total > expansion.ENVIRONMENT_BYTES_MAX:
            yield FieldError.too_long(f"{path}.env", expansion.ENVIRONMENT_BYTES_MAX)
            return
    for field in ("command", "args"):
        words = meta.texts(given, field)
        if sum(expansion.expanded_size(word, size_of) + 1 for word in words) > expansion.ARGUMENTS_BYTES_MAX:
            yield FieldError.too_long(f"{path}.{field}", expansion.ARGUMENTS_BYTES_MAX)


def _environment_from(given: Sequence[Object], path: str) -> Errors:
    for index, source in enumerate(given):
        where = f"{path}[{index}]"
        yield from optional(source.get("prefix"), f"{where}.prefix", names.environment_variable)
        kinds = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        if not kinds:
            yield FieldError.invalid(where, "", "must specify one of: `configMapRef` or `secretRef`")
        if len(kinds) > 1:
            yield FieldError.invalid(where, "", "may not have more than one field specified at a time")
        for kind in kinds:
            yield from named(source[kind].get("name"), f"{where}.{kind}.name", names.subdomain)


def mounts(given: Sequence[Object], path: str, volumes: Container[str], privileged: bool) -> Errors:
    seen: dict[str, None] = {}
    for index, mount in enumerate(given):
        where = f"{path}[{index}]"
        name, at = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield FieldError.required(f"{where}.name")
        elif name not in volumes:
            yield FieldError.not_found(f"{where}.name", name)
        if not at:
            yield FieldError.required(f"{where}.mountPath")
        if at in seen:
            yield FieldError.invalid(f"{where}.mountPath", at, "must be unique")
        seen[at] = None
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield FieldError.invalid(
                f"{where}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are exclusive"
            )
        for field in ("subPath", "subPathExpr"):
            yield from optional(mount.get(field), f"{where}.{field}", names.relative_path)
        if mount.get("recursiveReadOnly") is not None:
            yield from _recursive(mount, f"{where}.recursiveReadOnly")
        for position, option in enumerate(mount.get("bindMountOptions") or ()):
            if option not in BIND_OPTIONS:
                yield FieldError.unsupported(f"{where}.bindMountOptions[{position}]", option, BIND_OPTIONS)
        if propagation := mount.get("mountPropagation"):
            yield from one_of(propagation, f"{where}.mountPropagation", PROPAGATIONS)
            if propagation == "Bidirectional" and not privileged:
                yield FieldError.forbidden(
                    f"{where}.mountPropagation",
                    "Bidirectional mount propagation is available only to privileged containers",
                )


def _recursive(mount: Object, path: str) -> Errors:
    mode = mount.get("recursiveReadOnly")
    if mode in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            yield FieldError.forbidden(path, "may only be specified when readOnly is true")
        if mount.get("mountPropagation") not in (None, "", "None"):
            yield FieldError.forbidden(path, "may only be specified when mountPropagation is None or not specified")
    elif mode is not None and mode != "Disabled":
        yield FieldError.unsupported(path, mode, ("Disabled", "Enabled", "IfPossible"))


def _devices(given: Object, path: str, volumes: Container[str]) -> Errors:
    mounted = dict.fromkeys(mount.get("name") for mount in meta.parts(given, "volumeMounts"))
    for index, device in enumerate(given["volumeDevices"]):
        where, name = f"{path}[{index}]", device.get("name", "")
        if not name:
            yield FieldError.required(f"{where}.name")
        elif name not in volumes:
            yield FieldError.not_found(f"{where}.name", name)
        elif name in mounted:
            yield FieldError.invalid(f"{where}.name", name, "must not already exist in volumeMounts")
        if not device.get("devicePath"):
            yield FieldError.required(f"{where}.devicePath")


_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")

_LIFECYCLE_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")


def probe(given: Object, path: str, kind: str) -> Errors:
    yield from handler(given, path, _PROBE_HANDLERS)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from at_least(given.get(field), f"{path}.{field}")
    if kind != "readinessProbe" and given.get("successThreshold", 1) != 1:
        yield FieldError.invalid(f"{path}.successThreshold", given["successThreshold"], "must be 1")
    grace = given.get("terminationGracePeriodSeconds")
    if grace is not None and kind == "readinessProbe":
        yield FieldError.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    elif grace is not None:
        yield from at_least(grace, f"{path}.terminationGracePeriodSeconds", 1)


def handler(given: Object, path: str, kinds: Sequence[str]) -> Errors:
    """Exactly one way to ask or to act."""
    present = [kind for kind in kinds if given.get(kind) is not None]
    if not present:
        yield FieldError.required(path, "must specify a handler type")
    for extra in present[1:]:
        yield FieldError.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    for kind in present[:1]:
        yield from _HANDLERS[kind](given[kind], f"{path}.{kind}")


def _exec(given: Object, path: str) -> Errors:
    if not given.get("command"):
        yield FieldError.required(f"{path}.command")


def _http_get(given: Object, path: str) -> Errors:
    if not given.get("path"):
        yield FieldError.required(f"{path}.path")
    yield from port_reference(given.get("port"), f"{path}.port")
    yield from one_of(given.get("scheme"), f"{path}.scheme", ("HTTP", "HTTPS"))
    for index, header in enumerate(meta.parts(given, "httpHeaders")):
        name = header.get("name") or ""
        if not name or any(not (c.isascii() and (c.isalnum() or c in "-_")) for c in name):
            yield FieldError.invalid(
                f"{path}.httpHeaders[{index}].name",
                name,
                "a valid HTTP header must consist of letters, digits, '-' or '_' (e.g. 'X-Header-Name')",
            )


def _tcp_socket(given: Object, path: str) -> Errors:
    yield from port_reference(given.get("port"), f"{path}.port")


def _grpc(given: Object, path: str) -> Errors:
    yield from port_reference(given.get("port"), f"{path}.port")


def _sleep(given: Object, path: str) -> Errors:
    yield from at_least(given.get("seconds"), f"{path}.seconds")


_HANDLERS: Mapping[str, volumes.Check] = {
    "exec": _exec,
    "httpGet": _http_get,
    "tcpSocket": _tcp_socket,
    "grpc": _grpc,
    "sleep": _sleep,
}


def port_reference(given: int | str | None, path: str) -> Errors:
    """A port by its number or by its name."""
    if wrong := names.port_name(given) if isinstance(given, str) else names.port(given):
        yield FieldError.invalid(path, given, wrong)


def resources(given: Object, path: str) -> Errors:
    """Requests no higher than limits, both of resources that exist."""
    limits, requests = meta.part(given, "limits"), meta.part(given, "requests")
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{path}.{field}[{name}]"
            if wrong := _resource_name(name):
                yield FieldError.invalid(where, name, wrong)
            if quantity.parse(amount).value < 0:
                yield FieldError.invalid(where, amount, NOT_NEGATIVE)
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and quantity.compare(amount, limit) > 0:
            yield FieldError.invalid(
                f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}"
            )


def _resource_name(name: str) -> str:
    if wrong := names.qualified(name):
        return wrong
    if "/" in name or name in STANDARD_RESOURCES or name.startswith("hugepages-"):
        return ""
    return "must be a standard resource for containers"


def security(given: Object, path: str) -> Errors:
    for field in ("runAsUser", "runAsGroup"):
        yield from at_least(given.get(field), f"{path}.{field}")
    if given.get("allowPrivilegeEscalation") is False:
        if given.get("privileged"):
            yield FieldError.invalid(
                path, dict(given), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            )
        if "CAP_SYS_ADMIN" in meta.texts(given, "capabilities", "add"):
            yield FieldError.invalid(
                path,
                dict(given),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            )
    yield from seccomp(given.get("seccompProfile"), f"{path}.seccompProfile")
    if given.get("procMount"):
        yield from one_of(given["procMount"], f"{path}.procMount", ("Default", "Unmasked"))


def seccomp(given: Object | None, path: str) -> Errors:
    if given is None:
        return
    yield from one_of(given.get("type"), f"{path}.type", SECCOMP_TYPES)
    profile = given.get("localhostProfile")
    if given.get("type") == "Localhost" and not profile:
        yield FieldError.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif given.get("type") != "Localhost" and profile:
        yield FieldError.invalid(f"{path}.localhostProfile", profile, "can only be set when seccomp type is Localhost")
    elif profile and (wrong := names.relative_path(profile)):
        yield FieldError.invalid(f"{path}.localhostProfile", profile, wrong)
