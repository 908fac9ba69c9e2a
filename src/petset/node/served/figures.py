"""What a node tells of its pods: metrics and the summary, as a kubelet tells them. Pure.

Names, labels and shapes are those that a kubelet's /metrics/cadvisor, /metrics/resource and /stats/summary have
("Metrics Reference", "Node metrics data"), so that whoever reads a kubelet reads a node here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import tasks, telemetry
from petset.base.metrics import Labels, Metric
from petset.node.runtime import Container, Sandbox, Usage, Usages
from petset.node.volumes import space
from petset.objects import meta
from petset.objects.meta import Object

NANOSECONDS = 10**9
Series = dict[str, list[tuple[Labels, "float | telemetry.Histogram"]]]


@dataclass(frozen=True, slots=True)
class Running:
    """A pod that is there, and its running containers with what they use."""

    uid: str
    sandbox: Sandbox
    containers: Sequence[tuple[Container, Usage]]

    @property
    def all_of_it(self) -> Usage:
        return sum((usage for _, usage in self.containers), Usage())


def running(observed: Mapping[str, tuple[Sandbox | None, Sequence[Container]]], usages: Usages) -> list[Running]:
    """The pods that are alive, by their names."""
    found = [
        Running(
            uid,
            sandbox,
            [
                (one, usages.containers[uid, one.name])
                for one in containers
                if one.state == "running" and (uid, one.name) in usages.containers
            ],
        )
        for uid, (sandbox, containers) in observed.items()
        if sandbox is not None and sandbox.alive
    ]
    return sorted(found, key=lambda pod: (pod.sandbox.namespace, pod.sandbox.pod_name))


def _table(kind: str, labels: Labels, *rows: tuple[str, str]) -> dict[str, Metric]:
    made = [Metric(name, "counter" if kind == "counter" else "gauge", text, labels) for name, text in rows]
    return {metric.name: metric for metric in made}


OF_CONTAINER: Labels = ("container", "id", "image", "name", "namespace", "pod")
CADVISOR = {
    **_table(
        "counter",
        (*OF_CONTAINER, "cpu"),
        ("container_cpu_usage_seconds_total", "CPU time used, in seconds."),
    ),
    **_table(
        "gauge",
        OF_CONTAINER,
        ("container_memory_working_set_bytes", "Memory in use that cannot be taken away at once."),
        ("container_memory_usage_bytes", "Memory in use, caches too."),
        ("container_memory_rss", "Memory that is no file's."),
        ("container_memory_cache", "Memory that is files'."),
        ("container_processes", "Processes."),
        ("container_start_time_seconds", "When it started, since 1970."),
        ("container_last_seen", "When it was looked at, since 1970."),
    ),
}
RESOURCE = {
    **_table("counter", (), ("node_cpu_usage_seconds_total", "CPU time used by the node.")),
    **_table("gauge", (), ("node_memory_working_set_bytes", "Memory in use on the node.")),
    **_table(
        "counter",
        ("container", "namespace", "pod"),
        ("container_cpu_usage_seconds_total", "CPU time used by the container."),
    ),
    **_table(
        "gauge",
        ("container", "namespace", "pod"),
        ("container_memory_working_set_bytes", "Memory in use by the container."),
        ("container_start_time_seconds", "When it started, since 1970."),
    ),
    **_table("counter", ("namespace", "pod"), ("pod_cpu_usage_seconds_total", "CPU time used by the pod.")),
    **_table("gauge", ("namespace", "pod"), ("pod_memory_working_set_bytes", "Memory in use by the pod.")),
    **_table("gauge", (), ("resource_scrape_error", "1 if something could not be read, else 0.")),
}
VOLUMES = _table(
    "gauge",
    ("namespace", "persistentvolumeclaim"),
    ("kubelet_volume_stats_capacity_bytes", "Bytes that the claim's volume may hold."),
    ("kubelet_volume_stats_available_bytes", "Bytes that it has room for."),
    ("kubelet_volume_stats_used_bytes", "Bytes that it holds."),
    ("kubelet_volume_stats_inodes", "Files that the volume's file system may hold."),
    ("kubelet_volume_stats_inodes_free", "Files that the volume's file system has room for."),
    ("kubelet_volume_stats_inodes_used", "Files that the volume holds."),
)
KUBELET = {
    **VOLUMES,
    **_table("gauge", ("node",), ("kubelet_node_name", "The node's name; always 1.")),
    **_table("gauge", (), ("kubelet_running_pods", "Pods that have a sandbox.")),
    **_table("gauge", ("container_state",), ("kubelet_running_containers", "Containers, by state.")),
}


def cadvisor(pods: Sequence[Running], now: float) -> telemetry.Taken:
    series: Series = {name: [] for name in CADVISOR}
    for pod in pods:
        space, name = pod.sandbox.namespace, pod.sandbox.pod_name
        for one, used in pod.containers:
            labels = (one.name, f"/pod{pod.uid}/{one.id}", one.image, one.id, space, name)
            series["container_cpu_usage_seconds_total"].append(((*labels, "total"), used.cpu_seconds))
            for metric, value in (
                ("container_memory_working_set_bytes", used.working_set_bytes),
                ("container_memory_usage_bytes", used.memory_bytes),
                ("container_memory_rss", used.rss_bytes),
                ("container_memory_cache", used.cache_bytes),
                ("container_processes", used.processes),
                ("container_start_time_seconds", one.started_at),
                ("container_last_seen", now),
            ):
                series[metric].append((labels, value))
    return telemetry.Taken(series, CADVISOR)


def resource(node: Usage, pods: Sequence[Running]) -> telemetry.Taken:
    series: Series = {name: [] for name in RESOURCE}
    series["node_cpu_usage_seconds_total"].append(((), node.cpu_seconds))
    series["node_memory_working_set_bytes"].append(((), node.working_set_bytes))
    series["resource_scrape_error"].append(((), 0))
    for pod in pods:
        of = (pod.sandbox.namespace, pod.sandbox.pod_name)
        for one, used in pod.containers:
            series["container_cpu_usage_seconds_total"].append(((one.name, *of), used.cpu_seconds))
            series["container_memory_working_set_bytes"].append(((one.name, *of), used.working_set_bytes))
            series["container_start_time_seconds"].append(((one.name, *of), one.started_at))
        series["pod_cpu_usage_seconds_total"].append((of, pod.all_of_it.cpu_seconds))
        series["pod_memory_working_set_bytes"].append((of, pod.all_of_it.working_set_bytes))
    return telemetry.Taken(series, RESOURCE)


Volumes = Callable[[str], Sequence[tuple[str, Object, space.Figures]]]  # Of a pod's uid: name, claim, figures.


def _none(uid: str) -> Sequence[tuple[str, Object, space.Figures]]:
    return ()


def kubelet(
    node: str, observed: Mapping[str, tuple[Sandbox | None, Sequence[Container]]], volumes: Volumes = _none
) -> telemetry.Taken:
    states: dict[str, int] = {}
    for _, containers in observed.values():
        for one in containers:
            states[one.state] = states.get(one.state, 0) + 1
    series: Series = {
        "kubelet_node_name": [((node,), 1)],
        "kubelet_running_pods": [((), sum(box is not None and box.alive for box, _ in observed.values()))],
        "kubelet_running_containers": [((state,), number) for state, number in sorted(states.items())],
    }
    of_claims: dict[Labels, dict[str, int]] = {}
    for uid in observed:
        for _, claim, found in volumes(uid):
            of_claims[meta.namespace(claim), meta.name(claim)] = _of_volume(found)
    for metric, key in zip(VOLUMES, _FIGURES, strict=True):
        series[metric] = [(labels, found[key]) for labels, found in sorted(of_claims.items())]
    return telemetry.Taken(series, KUBELET, of_process=True)


_FIGURES = ("capacityBytes", "availableBytes", "usedBytes", "inodes", "inodesFree", "inodesUsed")


def _of_volume(found: space.Figures) -> dict[str, int]:
    """As a summary has them."""
    return {
        "capacityBytes": found.capacity_bytes,
        "availableBytes": found.available_bytes,
        "usedBytes": found.used_bytes,
        "inodes": found.inodes,
        "inodesFree": found.inodes_free,
        "inodesUsed": found.inodes_used,
    }


@dataclass(frozen=True, slots=True)
class Rates:
    """CPU time of each container, and of the node at ("", ""), at an earlier look."""

    at: float
    cpu_seconds: Mapping[tuple[str, str], float]


RATE_SECONDS_MIN = 0.5  # Between two looks that say how busy something is.


def rates(usages: Usages, now: float) -> Rates:
    return Rates(
        now, {("", ""): usages.node.cpu_seconds, **{key: used.cpu_seconds for key, used in usages.containers.items()}}
    )


def summary(
    node: str,
    usages: Usages,
    pods: Sequence[Running],
    now: float,
    before: Rates | None,
    volumes: Volumes = _none,
) -> dict[str, Any]:
    """A kubelet's Summary; how many cores are used is only told of what there is an earlier look at."""

    def busy(key: tuple[str, str], used: Usage) -> float | None:
        if before is None or key not in before.cpu_seconds or now - before.at < RATE_SECONDS_MIN:
            return None
        return max(0.0, used.cpu_seconds - before.cpu_seconds[key]) / (now - before.at)

    shown: list[dict[str, Any]] = []
    for pod in pods:
        cores = [busy((pod.uid, one.name), used) for one, used in pod.containers]
        known = [each for each in cores if each is not None]
        whole = sum(known) if len(known) == len(cores) else None
        shown.append(
            {
                "podRef": {"name": pod.sandbox.pod_name, "namespace": pod.sandbox.namespace, "uid": pod.uid},
                "startTime": tasks.rfc3339(pod.sandbox.created_at),
                "containers": [
                    {
                        "name": one.name,
                        "startTime": tasks.rfc3339_micro(one.started_at),
                        **_used(used, now, each),
                    }
                    for (one, used), each in zip(pod.containers, cores, strict=True)
                ],
                **_used(pod.all_of_it, now, whole),
                **_volumes(volumes(pod.uid)),
            }
        )
    used = _used(usages.node, now, busy(("", ""), usages.node))
    used["memory"]["availableBytes"] = max(0, usages.memory_bytes_total - usages.node.working_set_bytes)
    return {"node": {"nodeName": node, **used}, "pods": shown}


def _volumes(found: Sequence[tuple[str, Object, space.Figures]]) -> dict[str, Any]:
    told = [
        {
            "name": name,
            "pvcRef": {"name": meta.name(claim), "namespace": meta.namespace(claim)},
            "time": tasks.rfc3339(figures.at),
            **_of_volume(figures),
        }
        for name, claim, figures in found
    ]
    return {"volume": told} if told else {}


def _used(used: Usage, now: float, cores: float | None) -> dict[str, dict[str, Any]]:
    time = tasks.rfc3339_micro(now)  # Rates are told from two of them.
    rate = {} if cores is None else {"usageNanoCores": round(cores * NANOSECONDS)}
    return {
        "cpu": {"time": time, **rate, "usageCoreNanoSeconds": round(used.cpu_seconds * NANOSECONDS)},
        "memory": {
            "time": time,
            "usageBytes": used.memory_bytes,
            "workingSetBytes": used.working_set_bytes,
            "rssBytes": used.rss_bytes,
        },
    }


def pods_that_run(pods: Sequence[Running]) -> dict[str, Any]:
    """A PodList of what the runtime has, whatever the API says."""
    items = [
        {
            "metadata": {"name": pod.sandbox.pod_name, "namespace": pod.sandbox.namespace, "uid": pod.uid},
            "spec": {"containers": [{"name": one.name, "image": one.image} for one, _ in pod.containers]},
            "status": {},
        }
        for pod in pods
    ]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
