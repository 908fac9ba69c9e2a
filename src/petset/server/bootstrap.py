"""What a cluster begins with, and keeps: namespaces, roles and bindings, the services of the API and of DNS, a network.

`ensure` writes what is missing, before anybody is served; a new object goes the way of everything that is posted:
defaults, admission, validation. What is there already is left alone, except that the services follow the instance's
network plan and that the roles of this release get the rights, and their bindings the subjects, that they lack (not
those annotated `rbac.authorization.kubernetes.io/autoupdate: "false"`). `keep` makes the services again whenever they
are deleted or changed. Both mend by the server's own decision, also what no client may change: a service's address,
whose role a binding gives.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks, well_known
from petset.kinds import aggregation, builtin, priority_class, service
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.flowcontrol import every_cluster
from petset.kinds.namespace import OF_EVERY_CLUSTER
from petset.kinds.networking import addresses
from petset.kinds.networking.addresses import SERVICECIDRS
from petset.kinds.node import NODES
from petset.kinds.priority_class import PRIORITYCLASSES
from petset.kinds.rbac import CLUSTERROLES
from petset.kinds.service import SERVICES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server import rest, writes
from petset.server.access import controller_roles, coverage, rbac, roles
from petset.server.admission import admission
from petset.store import store as stores

BOOTSTRAPPING = {well_known.BOOTSTRAPPING_LABEL: "rbac-defaults"}
ROLES = (*roles.ROLES, *controller_roles.ROLES)
BINDINGS = (*roles.BINDINGS, *controller_roles.BINDINGS)


SERVICE_CIDR = "10.96.0.0/16"  # Where nobody says which.


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses that the cluster's own services have."""

    service_address: str  # Of Service kubernetes; its port is 443.
    dns_address: str  # Of Service kube-dns; ports 53.
    api_address: str  # Where the API listens for pods: the endpoint behind Service kubernetes.
    api_port: int
    service_cidr: str = SERVICE_CIDR  # What other Services get addresses of.


async def ensure(objects: rest.Rest, plan: Plan | None = None) -> None:
    """Write what is missing; without a plan no services (a cluster without nodes)."""
    await ensure_all(objects, _namespaces())
    first = [
        *_accounts(),
        *_priorities(),
        *every_cluster.OBJECTS.values(),
        *map(_role, ROLES),
        *map(_binding, BINDINGS),
    ]
    if plan is not None:
        await _move_services(objects, plan.service_cidr)
    network = _network(plan.service_cidr if plan is not None else SERVICE_CIDR)
    await ensure_all(objects, (*first, network, *(_services(plan) if plan else ())))
    for role in ROLES:
        if role.is_sum:  # As the controller will see it, but for those who ask before it runs.
            entries = objects.store.list(CLUSTERROLES.key())[1]
            rules = aggregation.sum_of(_role(role), [entry.object for entry in entries])
            await _ensure_one(objects, {**_role(role), "rules": rules})


async def ensure_all(objects: rest.Rest, wanted: Iterable[Object]) -> None:
    """Write what is missing of these, and mend the others as MENDED has it."""
    try:
        async with asyncio.TaskGroup() as group:  # At once: so many writes share a commit.
            for obj in wanted:
                tasks.spawn(group, _ensure_one(objects, obj), f"write {obj['kind']} {meta.name(obj)}")
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # They all say the same.


async def keep(objects: rest.Rest, plan: Plan) -> None:
    """Make the cluster's own services again whenever somebody deletes or changes them, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for obj in (_network(plan.service_cidr), *_services(plan)):
            tasks.spawn(group, _keep_one(objects, obj), f"keep {obj['kind']} {meta.name(obj)}")


async def _keep_one(objects: rest.Rest, obj: Object) -> None:
    async def mend() -> None:
        await tasks.retrying(f"keep {_key(obj)}", lambda: _ensure_one(objects, obj), stores.Unavailable)

    while True:
        try:
            with objects.store.watch(_key(obj), objects.store.revision) as changes:
                await mend()
                async for _ in changes:
                    await mend()
                return  # The store is closed.
        except stores.Expired:
            continue  # It fell behind: look again.


def _key(obj: Object) -> str:
    resource = builtin.KINDS.of(obj)
    assert resource is not None
    return resource.key(meta.namespace(obj), meta.name(obj))


async def move_node(objects: rest.Rest, name: str, pod_cidr: str) -> None:
    """Before a start: the node's podCIDR, which cannot change while it runs, is the one it will have. That is a new
    one when the instance was moved to another directory or machine, or when something else has taken its network.
    """
    node = await objects.find(NODES, "", name)
    if node is not None and meta.get(node.object, "spec", "podCIDR") not in (None, pod_cidr):
        moved = {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]}
        write = writes.by_server(writes.UPDATE, NODES, "", name, is_decided=True)
        await objects.change(write, lambda old: ({**old, "spec": {**old["spec"], **moved}}, ()))


async def _move_services(objects: rest.Rest, network: str) -> None:
    """Services keep their places in the network of services when that is another one than before a restart."""
    found = await objects.find(SERVICECIDRS, "", addresses.DEFAULT_NETWORK)
    before = addresses.networks_of(found.object) if found is not None else []
    after = ipaddress.IPv4Network(network)
    if not before or before[0] == after:
        return

    def moved(text: str) -> str:
        number = addresses.number_of(text)
        if number is None or ipaddress.IPv4Address(number) not in before[0]:
            return text
        return str(after[(number - int(before[0].network_address)) % after.num_addresses])

    for entry in objects.store.list(SERVICES.key())[1]:
        spec = meta.part(entry.object, "spec")
        if texts := service.cluster_ips(entry.object):
            given = [moved(text) for text in texts]
            new = {**spec, "clusterIP": given[0], "clusterIPs": given}
            place = SERVICES, meta.namespace(entry.object), meta.name(entry.object)
            write = writes.by_server(writes.UPDATE, *place, is_decided=True)
            await objects.change(write, functools.partial(_with_spec, new))


def _with_spec(spec: Object, old: Object) -> tuple[Object, tuple[()]]:
    return {**old, "spec": spec}, ()


async def _ensure_one(objects: rest.Rest, obj: Object) -> None:
    resource = builtin.KINDS.of(obj)
    assert resource is not None
    place = resource, meta.namespace(obj), meta.name(obj)
    wanted, mend = resource.default(obj), MENDED.get(resource.plural, _as_it_is)
    while True:
        present = await objects.find(*place)
        try:
            if present is None:
                await objects.create(writes.by_server(writes.CREATE, *place), obj)
            elif mend(present.object, wanted) != present.object:
                write = writes.by_server(writes.UPDATE, *place, is_decided=True)
                await objects.change(write, lambda old: (mend(old, wanted), ()))
            return
        except errors.ApiError as error:
            if error.reason != ("AlreadyExists" if present is None else "NotFound"):
                raise
            # Another writer was quicker; look again.


# How what is there already is brought up to date.

Mend = Callable[[Object, Object], Object]  # (present, wanted) -> new


def _as_it_is(present: Object, wanted: Object) -> Object:
    return present


def _following(*fields: str) -> Mend:
    return lambda present, wanted: {**present, **{field: wanted[field] for field in fields}}


def _is_left_alone(present: Object) -> bool:
    return meta.annotations(present).get(well_known.AUTOUPDATE_ANNOTATION) == "false"


def _with_marks(present: Object, wanted: Object) -> dict[str, Any]:
    """With the labels and annotations of this release, others kept."""
    new = dict(present)
    for field in ("labels", "annotations"):
        there = meta.get(present, "metadata", field, default={})
        new = meta.changed(new, ("metadata", field), {**there, **wanted["metadata"][field]})
    return new


def _role_mended(present: Object, wanted: Object) -> Object:
    if _is_left_alone(present):
        return present
    new = _with_marks(present, wanted)
    if aggregation.is_aggregated(wanted):
        return {**new, "aggregationRule": wanted["aggregationRule"], "rules": wanted.get("rules", present.get("rules"))}
    if present.get("rules") == wanted["rules"]:
        return new
    there: Sequence[Object] = present.get("rules") or ()
    held = [rbac.rule_of(rule) for rule in there]
    missing = [rule for rule in wanted["rules"] if rule not in there and not _is_covered(held, rule)]
    return {**new, "rules": [*there, *missing]} if missing else new


def _is_covered(held: Sequence[rbac.Rule], rule: Object) -> bool:
    try:
        return coverage.covers(held, [rbac.rule_of(rule)])
    except coverage.Unclear:
        return False  # Once too often does no harm.


def _binding_mended(present: Object, wanted: Object) -> Object:
    if _is_left_alone(present):
        return present
    there: Sequence[Object] = present.get("subjects") or ()
    missing = [subject for subject in wanted.get("subjects") or () if subject not in there]
    new = {**_with_marks(present, wanted), "roleRef": wanted["roleRef"]}
    return {**new, "subjects": [*there, *missing]} if missing else new


MENDED: Mapping[str, Mend] = {
    "clusterroles": _role_mended,
    "roles": _role_mended,
    "clusterrolebindings": _binding_mended,
    "rolebindings": _binding_mended,
    "flowschemas": every_cluster.revised,
    "prioritylevelconfigurations": every_cluster.revised,
    "services": _following("spec"),
    "servicecidrs": _following("spec"),
    "endpoints": _following("subsets"),
    "endpointslices": _following("endpoints", "ports"),
}

# The objects.


def _object(api_version: str, kind: str, name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    if labels := fields.pop("labels", None):
        metadata["labels"] = labels
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _namespaces() -> Iterable[Object]:
    for name in OF_EVERY_CLUSTER:
        yield _object(
            "v1",
            "Namespace",
            name,
            labels={well_known.NAMESPACE_NAME_LABEL: name},
            spec={"finalizers": [admission.NAMESPACE_FINALIZER]},
            status={"phase": "Active"},
        )


def _accounts() -> Iterable[Object]:
    for name in OF_EVERY_CLUSTER:
        yield _object("v1", "ServiceAccount", "default", name)


def _priorities() -> Iterable[Object]:
    for name, value in priority_class.OF_EVERY_CLUSTER.items():
        where = "to its node" if "node" in name else "to the cluster"
        yield _object(
            f"{PRIORITYCLASSES.group}/v1", "PriorityClass", name, value=value, description=f"Critical {where}."
        )


def _network(cidr: str) -> Object:
    return _object(SERVICECIDRS.api_version, SERVICECIDRS.kind, addresses.DEFAULT_NETWORK, spec={"cidrs": [cidr]})


def _services(plan: Plan) -> Iterable[Object]:
    family = "IPv6" if ":" in plan.service_address else "IPv4"

    def one(name: str, namespace: str, address: str, ports: list[Any], **fields: Any) -> Object:
        spec = {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": ports,
        }
        return _object("v1", "Service", name, namespace, spec=spec, status={"loadBalancer": {}}, **fields)

    https = {"name": "https", "protocol": "TCP", "port": 443, "targetPort": plan.api_port}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    yield one("kubernetes", "default", plan.service_address, [https], labels=labels)
    port = {"name": "https", "port": plan.api_port, "protocol": "TCP"}
    subsets = [{"addresses": [{"ip": plan.api_address}], "ports": [port]}]
    mirrored = {well_known.SKIP_MIRROR_LABEL: "true"}
    yield _object("v1", "Endpoints", "kubernetes", "default", labels=mirrored, subsets=subsets)
    yield _object(
        ENDPOINTSLICES.api_version,
        "EndpointSlice",
        "kubernetes",
        "default",
        labels={well_known.SERVICE_NAME_LABEL: "kubernetes"},
        addressType=family,
        endpoints=[{"addresses": [plan.api_address], "conditions": {"ready": True}}],
        ports=[port],
    )
    dns = [
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
    ]
    named = {"k8s-app": "kube-dns", well_known.CLUSTER_SERVICE_NAME_LABEL: "KubeDNS"}
    yield one("kube-dns", "kube-system", plan.dns_address, dns, labels=named)


def _of_access(kind: str, name: str, namespace: str, labels: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    obj = _object(f"{rbac.GROUP}/v1", kind, name, namespace, labels={**BOOTSTRAPPING, **labels}, **fields)
    return meta.changed(obj, ("metadata", "annotations"), {well_known.AUTOUPDATE_ANNOTATION: "true"})


def _role(role: roles.Role) -> dict[str, Any]:
    labels = {f"{well_known.AGGREGATE_TO_LABEL_PREFIX}{role.part_of}": "true"} if role.part_of else {}
    kind = "Role" if role.namespace else "ClusterRole"
    if role.is_sum:
        selector = {"matchLabels": {f"{well_known.AGGREGATE_TO_LABEL_PREFIX}{role.name}": "true"}}
        return _of_access(kind, role.name, "", labels, aggregationRule={"clusterRoleSelectors": [selector]})
    return _of_access(kind, role.name, role.namespace, labels, rules=list(role.rules))


def _binding(binding: roles.Binding) -> dict[str, Any]:
    prefix = "" if binding.namespace else "Cluster"
    reference = {"apiGroup": rbac.GROUP, "kind": f"{prefix}Role", "name": binding.role}
    fields = {"roleRef": reference, **({"subjects": list(binding.subjects)} if binding.subjects else {})}
    return _of_access(f"{prefix}RoleBinding", binding.name or binding.role, binding.namespace, {}, **fields)
