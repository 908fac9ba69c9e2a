"""meta.k8s.io/v1 Tables: the columns and cells that `kubectl get`, with -o wide too, prints for every kind.

`table` looks a resource up in `_PRINTERS`: its columns (those of priority 1 are the wide ones) and a function from an
object and the time to its cells. Kinds without a row there get NAME and AGE. A cell is text or a number; what is not
known is "<none>", "<unset>" or "<unknown>", as kubectl's users expect. Pods have a module of their own, tables_pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from petset.base import well_known
from petset.kinds import storage_class, tables_pod
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

ADDRESSES_SHOWN_MAX = 3
Cells = Callable[[Object, float], list[Any]]


@dataclass(frozen=True, slots=True)
class Printer:
    columns: tuple[Mapping[str, Any], ...]
    cells: Cells


def table(
    resource: Kind,
    objects: Sequence[Object],
    now: float,
    include: str = "Metadata",
    with_columns: bool = True,
    metadata: Object | None = None,
) -> dict[str, Any]:
    """The Table of the objects.

    `now` is seconds since 1970; `include` is what each row carries: Metadata, Object or None; `metadata` is the
    list's (resourceVersion, continue); a watch sends columns with its first event only.
    """
    return {**head(resource, with_columns, metadata), "rows": rows(resource, objects, now, include)}


def head(resource: Kind, with_columns: bool = True, metadata: Object | None = None) -> dict[str, Any]:
    """A Table but for its rows."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata or {}),
        "columnDefinitions": list(printer_of(resource).columns) if with_columns else [],
    }


def rows(resource: Kind, objects: Sequence[Object], now: float, include: str = "Metadata") -> list[dict[str, Any]]:
    """A row an object."""
    printer = printer_of(resource)
    return [{"cells": printer.cells(obj, now), **_row_object(obj, include)} for obj in objects]


def _row_object(obj: Object, include: str) -> dict[str, Any]:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    return {
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj.get("metadata") or {},
        }
    }


def printer_of(resource: Kind) -> Printer:
    return _PRINTERS.get((resource.group, resource.plural), _NAME_AND_AGE)


# -- pieces of cells ----------------------------------------------------------------------------------------------


def human_duration(seconds: float) -> str:
    """5s, 3m20s, 2h, 4d3h, 2y: two units where the first is small, as kubectl writes ages."""
    whole = int(seconds)
    if seconds <= -2:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"


def seconds_of(text: str | None) -> float | None:
    """Seconds since 1970 of an RFC 3339 time, or None."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None
    except ValueError:
        return None


def since(text: str | None, now: float) -> str:
    moment = seconds_of(text)
    return "<unknown>" if moment is None else human_duration(now - moment)


def age(obj: Object, now: float) -> str:
    return since(meta.get(obj, "metadata", "creationTimestamp"), now)


def name(obj: Object) -> str:
    return meta.get(obj, "metadata", "name", default="")


def joined(values: Iterable[Any], none: str = "<none>") -> str:
    return ",".join(str(value) for value in values) or none


def format_labels(labels: Mapping[str, str] | None) -> str:
    return joined(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def _shortened(items: Sequence[str], none: str) -> str:
    shown = ",".join(items[:ADDRESSES_SHOWN_MAX]) or none
    more = len(items) - ADDRESSES_SHOWN_MAX
    return f"{shown} + {more} more..." if more > 0 else shown


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def format_access_modes(modes: Iterable[str] | None) -> str:
    return joined((short for mode, short in _MODES.items() if mode in (modes or ())), "")


def _containers_and_images(obj: Object) -> list[str]:
    containers = meta.get(obj, "spec", "template", "spec", "containers", default=())
    return [joined(c.get("name", "") for c in containers), joined(c.get("image", "") for c in containers)]


# -- cells of each kind -------------------------------------------------------------------------------------------


def _pod(obj: Object, now: float) -> list[Any]:
    counted, status = tables_pod.summary(obj), obj.get("status") or {}
    restarts: str | int = counted.restarts
    if counted.restarts and counted.last_restart:
        restarts = f"{counted.restarts} ({since(counted.last_restart, now)} ago)"
    addresses = status.get("podIPs") or [{"ip": status.get("podIP") or ""}]
    return [
        name(obj),
        f"{counted.ready}/{counted.total}",
        counted.status,
        str(restarts),
        age(obj, now),
        addresses[0].get("ip") or "<none>",
        meta.get(obj, "spec", "nodeName", default="") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        tables_pod.readiness_gates(obj),
    ]


def _stateful_set(obj: Object, now: float) -> list[Any]:
    ready = meta.get(obj, "status", "readyReplicas", default=0)
    desired = meta.get(obj, "spec", "replicas", default=0)
    return [name(obj), f"{ready}/{desired}", age(obj, now), *_containers_and_images(obj)]


def _pet_set(obj: Object, now: float) -> list[Any]:
    desired, current = meta.get(obj, "spec", "replicas", default=0), meta.get(obj, "status", "replicas", default=0)
    return [name(obj), desired, current, age(obj, now), *_containers_and_images(obj)]


def _service(obj: Object, now: float) -> list[Any]:
    spec = obj.get("spec") or {}
    kind = spec.get("type") or "ClusterIP"
    cluster_ip = joined((spec.get("clusterIPs") or [spec.get("clusterIP") or ""])[:1])
    ports = [
        f"{port.get('port')}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or ()
    ]
    external = list(spec.get("externalIPs") or ())
    if kind == "LoadBalancer":
        given = [
            entry.get("ip") or entry.get("hostname") or ""
            for entry in meta.get(obj, "status", "loadBalancer", "ingress", default=())
        ]
        shown = joined([*given, *external], "<pending>")
    else:
        shown = spec.get("externalName") or "<none>" if kind == "ExternalName" else joined(external)
    return [name(obj), kind, cluster_ip, shown, joined(ports), age(obj, now), format_labels(spec.get("selector"))]


def _endpoints(obj: Object, now: float) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        ports = subset.get("ports") or ()
        for address in subset.get("addresses") or ():
            ip = address.get("ip", "")
            found += [f"{ip}:{port.get('port')}" for port in ports] or [ip]
    return [name(obj), _shortened(found, "<none>"), age(obj, now)]


def _endpoint_slice(obj: Object, now: float) -> list[Any]:
    ports = [str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or ()]
    addresses = [ip for endpoint in obj.get("endpoints") or () for ip in endpoint.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        _shortened(ports, "<unset>"),
        _shortened(addresses, "<unset>"),
        age(obj, now),
    ]


def _class_name(obj: Object) -> str:
    return storage_class.of(obj) or ""


def _claim(obj: Object, now: float) -> list[Any]:
    status, volume = obj.get("status") or {}, meta.get(obj, "spec", "volumeName", default="")
    return [
        name(obj),
        "Terminating" if meta.is_deleting(obj) else status.get("phase", ""),
        volume,
        meta.get(status, "capacity", "storage", default="") if volume else "",
        format_access_modes(status.get("accessModes")) if volume else "",
        _class_name(obj),
        meta.get(obj, "spec", "volumeAttributesClassName", default="<unset>"),
        age(obj, now),
        meta.get(obj, "spec", "volumeMode", default="<unset>"),
    ]


def _volume(obj: Object, now: float) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        name(obj),
        meta.get(spec, "capacity", "storage", default=""),
        format_access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if meta.is_deleting(obj) else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_name(obj),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _storage_class(obj: Object, now: float) -> list[Any]:
    return [
        name(obj) + (" (default)" if storage_class.is_default(obj) else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _config_map(obj: Object, now: float) -> list[Any]:
    return [name(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age(obj, now)]


def _secret(obj: Object, now: float) -> list[Any]:
    return [name(obj), obj.get("type", ""), len(obj.get("data") or {}), age(obj, now)]


def _service_account(obj: Object, now: float) -> list[Any]:
    return [name(obj), len(obj.get("secrets") or ()), age(obj, now)]


def _namespace(obj: Object, now: float) -> list[Any]:
    return [name(obj), meta.get(obj, "status", "phase", default=""), age(obj, now)]


def _node(obj: Object, now: float) -> list[Any]:
    ready = meta.condition(obj, "Ready")
    status = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if meta.get(obj, "spec", "unschedulable"):
        status += ",SchedulingDisabled"
    prefix, roles = "node-role.kubernetes.io/", []
    for key, value in sorted(meta.labels(obj).items()):
        if key.startswith(prefix) and len(key) > len(prefix):
            roles.append(key[len(prefix) :])
        elif key == well_known.ROLE_LABEL and value:
            roles.append(value)
    addresses = meta.get(obj, "status", "addresses", default=())
    info = meta.get(obj, "status", "nodeInfo", default={})

    def address(kind: str) -> str:
        return next((entry.get("address", "") for entry in addresses if entry.get("type") == kind), "<none>")

    return [
        name(obj),
        status,
        joined(roles),
        age(obj, now),
        info.get("kubeletVersion", ""),
        address("InternalIP"),
        address("ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _event(obj: Object, now: float) -> list[Any]:
    about, source, series = obj.get("involvedObject") or {}, obj.get("source") or {}, obj.get("series")
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count") or count
    kind = about.get("kind", "").lower()
    host = source.get("host") or obj.get("reportingInstance") or ""
    component = source.get("component") or obj.get("reportingComponent") or ""
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        f"{component}, {host}" if source.get("host") else component,
        obj.get("message", "").strip(),
        first,
        count,
        name(obj),
    ]


def _lease(obj: Object, now: float) -> list[Any]:
    return [name(obj), meta.get(obj, "spec", "holderIdentity", default=""), age(obj, now)]


def _controller_revision(obj: Object, now: float) -> list[Any]:
    owner = meta.controller_of(obj)
    group = owner["apiVersion"].rpartition("/")[0] if owner else ""
    shown = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}" if owner else "<none>"
    return [name(obj), shown, obj.get("revision", 0), age(obj, now)]


def _role(obj: Object, now: float) -> list[Any]:
    return [name(obj), meta.get(obj, "metadata", "creationTimestamp", default="<unknown>")]


def _binding(obj: Object, now: float) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()

    def named(kind: str) -> str:
        return ", ".join(
            f"{subject.get('namespace', '')}/{subject.get('name', '')}"
            if kind == "ServiceAccount"
            else subject.get("name", "")
            for subject in subjects
            if subject.get("kind") == kind
        )

    shown = f"{role.get('kind', '')}/{role.get('name', '')}"
    return [name(obj), shown, age(obj, now), named("User"), named("Group"), named("ServiceAccount")]


def _name_and_age(obj: Object, now: float) -> list[Any]:
    return [name(obj), age(obj, now)]


# -- the table of tables ------------------------------------------------------------------------------------------


def columns(narrow: str, numbers: str = "") -> tuple[Mapping[str, Any], ...]:
    """Column definitions from a comma-separated list: + marks the wide ones, `numbers` names the numeric ones."""
    numeric = dict.fromkeys(text.strip() for text in numbers.split(","))
    found = []
    for text in narrow.split(","):
        title = text.strip().lstrip("+")
        found.append(
            {
                "name": title,
                "type": "integer" if title in numeric else "string",
                "format": "name" if title == "Name" else "",
                "description": f"{title} of the object",
                "priority": 1 if text.strip().startswith("+") else 0,
            }
        )
    return tuple(found)


_NAME_AND_AGE = Printer(columns("Name, Age"), _name_and_age)
_BINDING = Printer(columns("Name, Role, Age, +Users, +Groups, +ServiceAccounts"), _binding)
_ROLE = Printer(columns("Name, Created At"), _role)

_PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "pods"): Printer(
        columns("Name, Ready, Status, Restarts, Age, +IP, +Node, +Nominated Node, +Readiness Gates"), _pod
    ),
    ("", "services"): Printer(
        columns("Name, Type, Cluster-IP, External-IP, Port(s), Age, +Selector"),
        _service,
    ),
    ("", "endpoints"): Printer(columns("Name, Endpoints, Age"), _endpoints),
    ("", "persistentvolumeclaims"): Printer(
        columns("Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, +VolumeMode"),
        _claim,
    ),
    ("", "persistentvolumes"): Printer(
        columns(
            "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, "
            "Reason, Age, +VolumeMode"
        ),
        _volume,
    ),
    ("", "configmaps"): Printer(columns("Name, Data, Age", "Data"), _config_map),
    ("", "secrets"): Printer(columns("Name, Type, Data, Age", "Data"), _secret),
    ("", "serviceaccounts"): Printer(columns("Name, Secrets, Age", "Secrets"), _service_account),
    ("", "namespaces"): Printer(columns("Name, Status, Age"), _namespace),
    ("", "nodes"): Printer(
        columns(
            "Name, Status, Roles, Age, Version, +Internal-IP, +External-IP, +OS-Image, +Kernel-Version, "
            "+Container-Runtime"
        ),
        _node,
    ),
    ("", "events"): Printer(
        columns("Last Seen, Type, Reason, Object, +Subobject, +Source, Message, +First Seen, +Count, +Name", "Count"),
        _event,
    ),
    ("apps", "statefulsets"): Printer(columns("Name, Ready, Age, +Containers, +Images"), _stateful_set),
    ("apps", "petsets"): Printer(
        columns("Name, Desired, Current, Age, +Containers, +Images", "Desired, Current"), _pet_set
    ),
    ("apps", "controllerrevisions"): Printer(
        columns("Name, Controller, Revision, Age", "Revision"), _controller_revision
    ),
    ("discovery.k8s.io", "endpointslices"): Printer(
        columns("Name, AddressType, Ports, Endpoints, Age"), _endpoint_slice
    ),
    ("storage.k8s.io", "storageclasses"): Printer(
        columns("Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age"), _storage_class
    ),
    ("coordination.k8s.io", "leases"): Printer(columns("Name, Holder, Age"), _lease),
    ("rbac.authorization.k8s.io", "roles"): _ROLE,
    ("rbac.authorization.k8s.io", "clusterroles"): _ROLE,
    ("rbac.authorization.k8s.io", "rolebindings"): _BINDING,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _BINDING,
}
