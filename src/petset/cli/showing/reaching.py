"""How what runs is reached: names and addresses of pets and Services, and the ports that the machine publishes."""

from __future__ import annotations

from collections.abc import Sequence

from petset.cli.showing import pets
from petset.client.client import Client
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object


async def lines(client: Client, applied: Sequence[Object]) -> list[str]:
    """A line a Service that was applied, and one a pod that publishes ports of its node."""
    services = [
        await client.get(SERVICES, meta.name(one), meta.namespace(one)) for one in applied if one["kind"] == "Service"
    ]
    nodes, _ = await client.list(NODES)
    spaces = dict.fromkeys(meta.namespace(one) for one in applied if meta.namespace(one))
    pods = [pod for space in spaces for pod in (await client.list(PODS, space))[0]]
    node = next((address for one in nodes if (address := _address(one))), "")
    return [line for one in services for line in of_service(one, node)] + [line for pod in pods for line in of_pod(pod)]


def of_service(service: Object, node: str) -> list[str]:
    """Pure: its name in DNS, its address and ports, and where it is reached from outside."""
    name, spec = f"{meta.name(service)}.{meta.namespace(service)}.{pets.SUFFIX}", meta.part(service, "spec")
    ports = meta.parts(spec, "ports")
    told = ", ".join(str(port["port"]) for port in ports)
    address = spec.get("clusterIP", "")
    inside = f"its pets as <pet>.{name}" if address == "None" else f"{address}, port {told}" if address else ""
    found = [f"{name}: {inside}"] if inside else []
    found += [f"{name}: {node}:{port['nodePort']} from outside" for port in ports if port.get("nodePort")]
    for one in meta.parts(service, "status", "loadBalancer", "ingress"):
        found.append(f"{name}: {one.get('ip') or one.get('hostname')}, port {told}, from outside")
    return found


def of_pod(pod: Object) -> list[str]:
    address = meta.get(pod, "status", "hostIP", default="")
    return [
        f"{meta.name(pod)}: {port.get('hostIP') or address}:{port['hostPort']} from outside"
        for container in meta.parts(pod, "spec", "containers")
        for port in meta.parts(container, "ports")
        if port.get("hostPort")
    ]


def _address(node: Object) -> str:
    for one in meta.parts(node, "status", "addresses"):
        if one.get("type") == "InternalIP":
            return one.get("address", "")
    return ""
