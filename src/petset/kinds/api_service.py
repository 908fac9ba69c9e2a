"""APIService: who serves a group version (apiregistration.k8s.io/v1).

One without a service is of this server itself: every group version that it has gets one. One with a service hands all
below /apis/GROUP/VERSION on to who is behind that service. Whether he can be reached stands in condition Available,
which server/aggregated writes. Paths, reasons and messages of what is wrong are upstream's.
"""

from __future__ import annotations

from typing import Any

from petset.objects import meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.objects.validation import Errors, listed

GROUP = "apiregistration.k8s.io"
AVAILABLE = "Available"
SERVICE_PORT_DEFAULT = 443
GROUP_PRIORITY_MAX, VERSION_PRIORITY_MAX = 20_000, 1_000


def name_of(group: str, version: str) -> str:
    return f"{version}.{group}"


def group_version(obj: Object) -> tuple[str, str]:
    spec = meta.part(obj, "spec")
    return spec.get("group") or "", spec.get("version") or ""


def defaults(obj: Object) -> Object:
    return at(obj, "spec", lambda spec: at(spec, "service", lambda given: fill(given, {"port": SERVICE_PORT_DEFAULT})))


def prepare(new: Object, old: Object | None) -> Object:
    return meta.without(new, ("status",)) if old is None and "status" in new else new


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    group, version = group_version(obj)
    if meta.name(obj) != name_of(group, version):
        told = f'must be `spec.version+"."+spec.group`: "{name_of(group, version)}"'
        yield FieldError.invalid("metadata.name", meta.name(obj), told)
    if not group:
        if version != "v1":
            yield FieldError.required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    elif wrong := names.subdomain(group):
        yield FieldError.invalid("spec.group", group, wrong)
    if wrong := names.label_1035(version):
        yield FieldError.invalid("spec.version", version, wrong)
    for field, most in (("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)):
        value = spec.get(field) or 0
        if not 0 < value <= most:
            yield FieldError.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
    yield from _service(spec)


def _service(spec: Object) -> Errors:
    service, bundle, trusts = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify")
    if service is None:
        for field, given in (("caBundle", bundle), ("insecureSkipTLSVerify", trusts)):
            if given:
                yield FieldError.invalid(f"spec.{field}", given, f"local APIServices may not have {_article(field)}")
        return
    for field in ("namespace", "name"):
        value = service.get(field) or ""
        if not value:
            yield FieldError.required(f"spec.service.{field}")
        elif wrong := names.label(value):  # They become a name of TLS and a key.
            yield FieldError.invalid(f"spec.service.{field}", value, wrong)
    if wrong := names.port(service.get("port")):
        yield FieldError.invalid("spec.service.port", service.get("port"), f"port is not valid: {wrong}")
    if trusts and bundle:
        why = "may not be true if caBundle is present"
        yield FieldError.invalid("spec.insecureSkipTLSVerify", trusts, why)


def _article(field: str) -> str:
    return "a caBundle" if field == "caBundle" else field


def _place(obj: Object) -> str:
    service = meta.get(obj, "spec", "service")
    return f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"


def _available(obj: Object) -> str:
    condition = meta.condition(obj, AVAILABLE)
    if condition is None:
        return "Unknown"
    if condition.get("status") == "True":
        return "True"
    return f"{condition.get('status', 'Unknown')} ({condition.get('reason', '')})"


def cells(obj: Object, now: float) -> list[Any]:
    return [tables.name(obj), _place(obj), _available(obj), tables.age(obj, now)]


APISERVICES = Kind(
    GROUP,
    "v1",
    "apiservices",
    "APIService",
    False,
    categories=("api-extensions",),
    subresources=("status",),
    default=defaults,
    prepare=prepare,
    name_rule=names.path_segment,
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Service, Available, Age"), cells),
)

KINDS = (APISERVICES,)
