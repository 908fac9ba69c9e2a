"""Ingress: which hosts and paths lead to which services (networking.k8s.io/v1).

Who serves it is an ingress controller's business, of the class that it names.
"""

from __future__ import annotations

from typing import Any

from petset.base import well_known
from petset.objects import filling, meta, names, tables
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, listed, named, one_of, optional

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
HOSTS_SHOWN_MAX = 3

_NEVER_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_NEVER_LAST = ("/..", "/.")


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    rules = meta.parts(spec, "rules")
    if not rules and spec.get("defaultBackend") is None:
        yield FieldError.invalid("spec", list(rules), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(rules):
        yield from _rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(meta.parts(spec, "tls")):
        where = f"spec.tls[{index}]"
        for position, host in enumerate(meta.texts(tls, "hosts")):
            if wrong := _host(host):
                yield FieldError.invalid(f"{where}.hosts[{position}]", host, wrong)
        yield from optional(tls.get("secretName"), f"{where}.secretName", names.subdomain)
    if (class_ := spec.get("ingressClassName")) is not None and (wrong := names.subdomain(class_)):
        yield FieldError.invalid("spec.ingressClassName", class_, wrong)
    annotated = meta.annotations(obj).get(well_known.INGRESS_CLASS_ANNOTATION)
    if annotated is not None and class_ is not None and annotated != class_:
        path = f"annotations.{well_known.INGRESS_CLASS_ANNOTATION}"
        yield FieldError.invalid(path, annotated, "must match `ingressClassName` when both are specified")
    yield from _addresses(obj)


def _host(text: str) -> str:
    return names.wildcard_subdomain(text) if "*" in text else names.subdomain(text)


def _rule(rule: Object, path: str) -> Errors:
    if host := rule.get("host"):
        if not names.ip(host):
            yield FieldError.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        if wrong := _host(host):
            yield FieldError.invalid(f"{path}.host", host, wrong)
    if rule.get("http") is None:
        return
    paths = meta.parts(rule, "http", "paths")
    if not paths:
        yield FieldError.required(f"{path}.http.paths")
    for index, one in enumerate(paths):
        where = f"{path}.http.paths[{index}]"
        if one.get("pathType") is None:
            yield FieldError.required(f"{where}.pathType", "pathType must be specified")
            continue
        yield from _path(one, where)
        yield from _backend(meta.part(one, "backend"), f"{where}.backend")


def _path(given: Object, path: str) -> Errors:
    kind, text = given["pathType"], given.get("path") or ""
    yield from one_of(kind, f"{path}.pathType", PATH_TYPES)
    if kind not in PATH_TYPES:
        return
    is_exact = kind != "ImplementationSpecific"
    if not text.startswith("/") and (text or is_exact):
        yield FieldError.invalid(f"{path}.path", text, "must be an absolute path")
    if is_exact:
        for wrong in _NEVER_IN_PATHS:
            if wrong in text:
                yield FieldError.invalid(f"{path}.path", text, f"must not contain '{wrong}'")
        for wrong in _NEVER_LAST:
            if text.endswith(wrong):
                yield FieldError.invalid(f"{path}.path", text, f"cannot end with '{wrong}'")


def _backend(backend: Object, path: str) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield FieldError.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        if resource.get("apiGroup") is not None and (wrong := names.subdomain(resource["apiGroup"])):
            yield FieldError.invalid(f"{path}.resource.apiGroup", resource["apiGroup"], wrong)
        for field in ("kind", "name"):
            yield from named(resource.get(field), f"{path}.resource.{field}", names.path_segment)
    elif service is not None:
        yield from named(service.get("name"), f"{path}.service.name", names.label)
        name, number = meta.get(service, "port", "name"), meta.get(service, "port", "number")
        if name and number:
            yield FieldError.invalid(path, "", "cannot set both port name & port number")
        elif name:
            yield from optional(name, f"{path}.service.port.name", names.port_name)
        elif number:
            if wrong := names.port(number):
                yield FieldError.invalid(f"{path}.service.port.number", number, wrong)
        else:
            yield FieldError.required(path, "port name or number is required")
    else:
        yield FieldError.invalid(path, "", "resource or service backend is required")


def _addresses(obj: Object) -> Errors:
    for index, one in enumerate(meta.parts(obj, "status", "loadBalancer", "ingress")):
        where = f"status.loadBalancer.ingress[{index}]"
        yield from optional(one.get("ip"), f"{where}.ip", names.ip)
        yield from optional(one.get("hostname"), f"{where}.hostname", names.subdomain)


def cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    hosts = [rule["host"] for rule in meta.parts(spec, "rules") if rule.get("host")]
    more = len(hosts) - HOSTS_SHOWN_MAX
    given = meta.parts(obj, "status", "loadBalancer", "ingress")
    return [
        tables.name(obj),
        spec.get("ingressClassName") or meta.annotations(obj).get(well_known.INGRESS_CLASS_ANNOTATION) or "<none>",
        tables.joined(hosts[:HOSTS_SHOWN_MAX], "*") + (f" + {more} more..." if more > 0 else ""),
        ",".join(one.get("ip") or one.get("hostname") or "" for one in given),
        "80, 443" if spec.get("tls") else "80",
        tables.age(obj, now),
    ]


INGRESSES = Kind(
    "networking.k8s.io",
    "v1",
    "ingresses",
    "Ingress",
    short_names=("ing",),
    subresources=STATUS,
    has_generation=True,
    acted_on=False,
    prepare=filling.status_of_new({"loadBalancer": {}}),
    validate=validate,
    printer=tables.Printer(tables.columns("Name, Class, Hosts, Address, Ports, Age"), cells),
)

KINDS = (INGRESSES,)
