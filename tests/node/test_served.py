"""What a node tells of its containers: read from groups of both versions, shown as a kubelet shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser

from petset.node.containers import cgroups
from petset.node.runtime import Container, Sandbox, Usage, Usages
from petset.node.served import figures
from petset.node.volumes import space

GROUP = "/petset_x/podu/c"
V1 = {
    "cpuacct/cpuacct.usage": "2500000000\n",
    "memory/memory.usage_in_bytes": "9000\n",
    "memory/memory.stat": "cache 1\ninactive_file 7\ntotal_cache 5000\ntotal_rss 3000\ntotal_inactive_file 2000\n",
    "pids/pids.current": "3\n",
}
V2 = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n",
    "memory.current": "9000\n",
    "memory.stat": "anon 3000\nfile 5000\ninactive_file 2000\n",
    "pids.current": "3\n",
}
SEEN = Usage(2.5, 9000, 7000, 3000, 5000, 3)


def of_version(version: str, root: Path) -> cgroups.Cgroups:
    files = V2 if version == "v2" else V1
    for name, content in files.items():
        hierarchy, _, file = name.rpartition("/")
        place = root / hierarchy / GROUP.strip("/") / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    if version == "v2":
        return cgroups.Cgroups("v2", {"unified": str(root)})
    return cgroups.Cgroups(version, {name: str(root / name) for name in ("cpuacct", "memory", "pids")})


@pytest.mark.parametrize("version", ["v1", "hybrid", "v2"])
def test_a_group_is_read(version: str, tmp_path: Path) -> None:
    assert cgroups.used(of_version(version, tmp_path), GROUP) == SEEN


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("content", ["", "max\n", "nonsense here\n", "usage_usec x\n\n"])
def test_a_group_that_is_gone_or_says_nothing_is_nothing(version: str, content: str, tmp_path: Path) -> None:
    groups = of_version(version, tmp_path)
    assert cgroups.used(groups, "/absent") == Usage()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.write_text(content)
    assert cgroups.used(groups, GROUP) == Usage()
    assert cgroups.used(cgroups.Cgroups("none", {}), GROUP) == Usage()


def test_the_machine_is_read(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 50 50 900 10 0 0 0 0 0\ncpu0 1 1 1 1\n")
    lines = {"MemTotal": 1000, "MemAvailable": 400, "Cached": 300, "AnonPages": 200}
    (tmp_path / "meminfo").write_text("".join(f"{name}:   {number} kB\n" for name, number in lines.items()))
    used, total = cgroups.of_machine(str(tmp_path))
    assert (used.cpu_seconds, used.working_set_bytes, total) == (2.0, 600 * 1024, 1000 * 1024)
    assert cgroups.of_machine(str(tmp_path / "absent")) == (Usage(), 0)


def container(name: str, state: str = "running") -> Container:
    return Container("u", name, 0, f"id-{name}", state, "image:1", "sha256:0", started_at=1e9)  # type: ignore[arg-type]


OBSERVED = {
    "u": (
        Sandbox("u", "web-0", "default", "10.0.0.2", 1e9),
        [container("c"), container("d"), container("e", "exited")],
    ),
    "gone": (Sandbox("gone", "old", "default", "", 1e9, alive=False), [container("c", "exited")]),
    "left": (None, [container("c", "exited")]),
}
USAGES = Usages(Usage(100.0, working_set_bytes=5000), 20_000, {("u", "c"): SEEN, ("u", "d"): Usage(1.0, 10, 10)}, 0.0)
PODS = figures.running(OBSERVED, USAGES)


def samples(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parser.text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_cadvisors_metrics() -> None:
    found = samples(figures.cadvisor(PODS, 2e9).render()[1])
    one = ("c", "/podu/id-c", "image:1", "id-c", "default", "web-0")
    assert found["container_cpu_usage_seconds_total"][(one[0], "total", *one[1:])] == 2.5
    assert found["container_memory_working_set_bytes"][one] == 7000
    assert found["container_memory_rss"][one] == 3000 and found["container_last_seen"][one] == 2e9
    assert len(found["container_processes"]) == 2, "what has ended uses nothing"


def test_the_resource_metrics() -> None:
    found = samples(figures.resource(USAGES.node, PODS).render()[1])
    assert found["node_cpu_usage_seconds_total"] == {(): 100.0}
    assert found["pod_cpu_usage_seconds_total"] == {("default", "web-0"): 3.5}
    assert found["container_memory_working_set_bytes"] == {
        ("c", "default", "web-0"): 7000,
        ("d", "default", "web-0"): 10,
    }
    assert found["resource_scrape_error"] == {(): 0}


def test_a_kubelets_own_metrics() -> None:
    found = samples(figures.kubelet("n1", OBSERVED).render()[1])
    assert found["kubelet_node_name"] == {("n1",): 1} and found["kubelet_running_pods"] == {(): 1}
    assert found["kubelet_running_containers"] == {("exited",): 3, ("running",): 2}
    assert found["process_open_fds"]


def test_a_summary_tells_rates_only_of_what_was_seen_before() -> None:
    first = figures.summary("n1", USAGES, PODS, 1000.0, None)
    assert first["node"]["nodeName"] == "n1" and first["node"]["memory"]["availableBytes"] == 15_000
    (pod,) = first["pods"]
    assert pod["podRef"] == {"name": "web-0", "namespace": "default", "uid": "u"}
    assert [one["name"] for one in pod["containers"]] == ["c", "d"]
    assert pod["containers"][0]["cpu"] == {"time": "1970-01-01T00:16:40.000000Z", "usageCoreNanoSeconds": 2_500_000_000}
    assert pod["memory"]["workingSetBytes"] == 7010
    before = figures.Rates(990.0, {("", ""): 80.0, ("u", "c"): 0.5})
    second = figures.summary("n1", USAGES, PODS, 1000.0, before)
    assert second["node"]["cpu"]["usageNanoCores"] == 2_000_000_000
    (pod,) = second["pods"]
    assert pod["containers"][0]["cpu"]["usageNanoCores"] == 200_000_000
    assert "usageNanoCores" not in pod["containers"][1]["cpu"] and "usageNanoCores" not in pod["cpu"]
    too_soon = figures.summary("n1", USAGES, PODS, 990.1, before)
    assert "usageNanoCores" not in too_soon["node"]["cpu"]
    assert json.dumps(second)


def volumes_of(uid: str) -> Sequence[tuple[str, Any, space.Figures]]:
    claim = {"metadata": {"name": "data-web-0", "namespace": "default"}}
    return [("data", claim, space.Figures(1000.0, 10, 100, 90, 3, 50, 40))] if uid == "u" else []


def test_a_pods_claims_are_told_with_what_they_hold() -> None:
    (pod,) = figures.summary("n1", USAGES, PODS, 1000.0, None, volumes_of)["pods"]
    assert pod["volume"] == [
        {
            "name": "data",
            "pvcRef": {"name": "data-web-0", "namespace": "default"},
            "time": "1970-01-01T00:16:40Z",
            **{"capacityBytes": 100, "availableBytes": 90, "usedBytes": 10},
            **{"inodes": 50, "inodesFree": 40, "inodesUsed": 3},
        }
    ]
    assert "volume" not in figures.summary("n1", USAGES, PODS, 1000.0, None)["pods"][0]
    found = samples(figures.kubelet("n1", OBSERVED, volumes_of).render()[1])
    assert {
        name: found[f"kubelet_volume_stats_{name}"] for name in ("used_bytes", "capacity_bytes", "inodes_used")
    } == {
        "used_bytes": {("default", "data-web-0"): 10},
        "capacity_bytes": {("default", "data-web-0"): 100},
        "inodes_used": {("default", "data-web-0"): 3},
    }


def test_the_pods_that_run() -> None:
    listed = figures.pods_that_run(PODS)
    assert [one["metadata"]["name"] for one in listed["items"]] == ["web-0"]
