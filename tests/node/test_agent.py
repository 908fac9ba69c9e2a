"""The agent against the real server, over a simulated machine in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path

import pytest

from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.lease import LEASES
from petset.kinds.node import NODES
from petset.kinds.pod import PODS
from petset.node import agent, registration, simulated
from petset.node.pods import decide as pods
from petset.node.pods import status
from petset.node.simulated import Behaviour
from petset.objects import meta
from tests.node.node_fixture import (
    CAPACITY,
    NODE,
    NodeUnderTest,
    container,
    is_gone,
    is_ready,
    play,
    pod,
    state,
    waits_with,
)


def test_a_pod_runs_and_is_ready(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", initContainers=[container("install"), container("bootstrap")]))
        ready = await node.until("p", is_ready)
        status = ready["status"]
        assert status["phase"] == "Running"
        assert (status["podIP"], status["hostIP"], status["qosClass"]) == ("10.200.0.2", "10.200.0.1", "BestEffort")
        assert status["podIPs"] == [{"ip": "10.200.0.2"}]
        assert {one["type"]: one["status"] for one in status["conditions"]} == {
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "Ready": "True",
            "ContainersReady": "True",
            "PodScheduled": "True",
        }
        assert state(ready, "install")["state"]["terminated"]["reason"] == "Completed"
        assert state(ready, "c")["started"] is True
        assert node.machine.started == [("p", "install", 0), ("p", "bootstrap", 0), ("p", "c", 0)]
        assert [(one[1], one[2]) for one in await node.events("p")][-3:] == [
            ("Pulled", 'Container image "debian:jessie" already present on machine'),
            ("Created", "Created container: c"),
            ("Started", "Started container c"),
        ]

    play(story, tmp_path)


def test_the_node_is_registered_and_renews_its_lease(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        found = await node.admin.get(NODES, NODE)
        assert meta.is_condition_true(found, "Ready")
        assert found["spec"]["podCIDR"] == "10.200.0.0/24"
        assert found["metadata"]["labels"]["kubernetes.io/os"] == "linux"
        assert found["status"]["capacity"] == CAPACITY
        await asyncio.sleep(1)
        first = await node.admin.get(LEASES, NODE, "kube-node-lease")
        before = len(node.node_requests)
        await asyncio.sleep(60)
        later = await node.admin.get(LEASES, NODE, "kube-node-lease")
        assert later["spec"]["renewTime"] > first["spec"]["renewTime"]
        # An idle node does nothing else.
        assert set(node.node_requests[before:]) == {
            f"PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
        }

    play(story, tmp_path)


def test_a_lease_that_somebody_deletes_is_made_anew_at_once(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await asyncio.sleep(1)
        for _ in range(3):
            before = await node.admin.get(LEASES, NODE, "kube-node-lease")
            node.node_requests.clear()
            await node.admin.delete(LEASES, NODE, "kube-node-lease")
            await asyncio.sleep(registration.LEASE_RENEW_SECONDS / 10)
            after = await node.admin.get(LEASES, NODE, "kube-node-lease")
            assert meta.uid(after) != meta.uid(before)
            assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
            place = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
            assert node.node_requests == [f"GET {place}/{NODE}", f"POST {place}"]
        await asyncio.sleep(registration.LEASE_RENEW_SECONDS)
        later = await node.admin.get(LEASES, NODE, "kube-node-lease")
        assert meta.uid(later) == meta.uid(after) and later["spec"]["renewTime"] > after["spec"]["renewTime"]

    play(story, tmp_path)


def test_deletion_stops_within_the_grace_and_removes_the_pod(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        hook = {"preStop": {"exec": {"command": ["true"]}}}
        await node.create(pod("p", container("c", lifecycle=hook), terminationGracePeriodSeconds=10))
        await node.until("p", is_ready)
        began = node.loop.time()
        await node.delete("p")
        await node.until("p", is_gone)
        assert 3 <= node.loop.time() - began < 4
        assert node.attempts.hooks == [("p", "c")]
        assert node.machine.sandboxes == {} and node.machine.running() == []
        assert ("Normal", "Killing", "Stopping container c") in await node.events("p")

    play(story, tmp_path, lambda config: Behaviour(stop_seconds=3))


@pytest.mark.parametrize(
    ("hook_seconds", "behaviour", "least", "most"),
    [
        (4, Behaviour(stop_seconds=1), 5, 6),  # SIGTERM comes after the hook.
        (4, Behaviour(stop_seconds=10_000), 10, 12),  # Both count against the grace.
        (60, Behaviour(stop_seconds=10_000), 10, 14),  # The hook has all of the grace; a moment more for SIGTERM.
        (60, Behaviour(runs_seconds=6.0), 0, 7),  # The hook of a container that has ended is for nothing.
    ],
)
def test_a_stop_hook_that_sleeps(tmp_path: Path, hook_seconds: int, behaviour: Behaviour, least: float, most: float):
    async def story(node: NodeUnderTest) -> None:
        hook = {"preStop": {"sleep": {"seconds": hook_seconds}}}
        await node.create(
            pod("p", container("c", lifecycle=hook), terminationGracePeriodSeconds=10, restartPolicy="Never")
        )
        await node.until("p", is_ready)
        began = node.loop.time()
        await node.delete("p")
        await node.until("p", is_gone)
        assert least <= node.loop.time() - began < most

    play(story, tmp_path, lambda config: behaviour)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_the_grace_is_never_shorter_than_what_was_asked_for(tmp_path: Path, fraction: float):
    """Though the API tells the end of it in whole seconds."""

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", terminationGracePeriodSeconds=5))
        await node.until("p", is_ready)
        await asyncio.sleep(1 - node.loop.time() % 1 + fraction)
        began = node.loop.time()
        await node.delete("p")
        await node.until("p", is_gone)
        assert 5 <= node.loop.time() - began < 6.5

    play(story, tmp_path, lambda config: Behaviour(stop_seconds=10_000))


def test_a_shorter_second_deletion_shortens_the_grace(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", terminationGracePeriodSeconds=600))
        await node.until("p", is_ready)
        began = node.loop.time()
        await node.delete("p")
        await asyncio.sleep(2)
        assert node.machine.running() == [("default/p", "c")]
        await node.delete("p", grace=5)
        await node.until("p", is_gone)
        assert node.loop.time() - began < 10

    play(story, tmp_path, lambda config: Behaviour(stop_seconds=10_000))


def test_a_pod_forced_out_of_the_api_is_killed_before_its_successor_starts(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", terminationGracePeriodSeconds=600))
        first = await node.until("p", is_ready)
        await node.delete("p", grace=0)
        second = await node.create(pod("p"))
        while node.machine.running():
            assert meta.uid(second) not in node.machine.records
            await asyncio.sleep(0.01)
        ready = await node.until("p", is_ready)
        assert meta.uid(ready) == meta.uid(second) != meta.uid(first)
        assert list(node.machine.records) == [meta.uid(second)]

    play(story, tmp_path, lambda config: Behaviour(stop_seconds=10_000))


def test_a_grace_of_zero_kills_at_once_and_its_successor_starts_at_once(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        hook = {"preStop": {"exec": {"command": ["true"]}}}
        first = await node.create(pod("p", container("c", lifecycle=hook), terminationGracePeriodSeconds=0))
        await node.until("p", is_ready)
        began = node.loop.time()
        await node.delete("p")
        second = await node.create(pod("p", terminationGracePeriodSeconds=0))
        ready = await node.until("p", is_ready)
        assert node.loop.time() - began < pods.STOP_GRACE_SECONDS_MIN / 2
        assert meta.uid(ready) == meta.uid(second) != meta.uid(first)
        assert node.attempts.hooks == []  # There is no time for it.

    play(story, tmp_path, lambda config: Behaviour(stop_seconds=10_000))


def test_a_crashing_container_is_restarted_with_growing_delays(tmp_path: Path):
    starts: list[float] = []

    def script(config: object) -> Behaviour:
        starts.append(asyncio.get_running_loop().time())
        return Behaviour(start_seconds=0, runs_seconds=1, exit_code=3)

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p"))
        waiting = await node.until("p", waits_with("CrashLoopBackOff"))
        assert state(waiting, "c")["lastState"]["terminated"]["exitCode"] == 3
        await asyncio.sleep(700)
        delays = [round(later - earlier - 1) for earlier, later in itertools.pairwise(starts)]
        assert delays[:7] == [0, 10, 20, 40, 80, 160, 300]
        now = await node.pod("p")
        assert now and now["status"]["phase"] == "Running" and state(now, "c")["restartCount"] == len(starts) - 1
        assert len(node.machine.records[meta.uid(now)]) == 2
        assert any(one[1] == "BackOff" for one in await node.events("p"))

    play(story, tmp_path, script)


def test_a_deleted_node_registers_again_and_keeps_its_pods(tmp_path: Path):
    async def story(node: NodeUnderTest):
        await node.create(pod("p"))
        await node.until("p", is_ready)
        before = await node.admin.get(NODES, NODE)
        node.node_requests.clear()  # Before: it may hear of it while the deletion is still answered.
        await node.admin.delete(NODES, NODE)
        async with asyncio.timeout(5):
            while True:
                items, _ = await node.admin.list(NODES)
                if items and meta.is_condition_true(items[0], "Ready"):
                    break
                await asyncio.sleep(0.01)
        assert meta.uid(items[0]) != meta.uid(before)
        assert meta.labels(items[0]) == meta.labels(before) and items[0]["spec"] == before["spec"]
        asked = [request for request in node.node_requests if request.endswith("/api/v1/nodes")]
        assert asked == ["POST /api/v1/nodes"], "it heard of it, and registered once"
        await asyncio.sleep(registration.LEASE_RENEW_SECONDS)
        lease = await node.admin.get(LEASES, NODE, "kube-node-lease")
        assert [owner["uid"] for owner in lease["metadata"]["ownerReferences"]] == [meta.uid(items[0])]
        await node.create(pod("q"))
        await node.until("q", is_ready)
        assert node.machine.started == [("p", "c", 0), ("q", "c", 0)], "p never stopped"

    play(story, tmp_path)


def test_a_restarted_agent_adopts_what_runs(tmp_path: Path):
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 5}

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", container("c", readinessProbe=probe)))
        await node.create(pod("q"))
        first = await node.until("p", is_ready)
        await node.until("q", is_ready)
        await node.kill()
        await node.delete("q", grace=0)
        await node.boot()
        # Never unready in between, never restarted; what was deleted meanwhile is taken away.
        for _ in range(300):
            now = await node.pod("p")
            assert is_ready(now) and state(now, "c")["restartCount"] == 0
            assert state(now, "c")["containerID"] == state(first, "c")["containerID"]
            await asyncio.sleep(0.05)
        assert node.machine.running() == [("default/p", "c")]
        assert len(node.machine.sandboxes) == 1

    play(story, tmp_path)


def test_down_and_up_is_a_reboot(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        first = await node.create(pod("p", initContainers=[container("i")]))
        await node.until("p", is_ready)
        await node.kill()
        await agent.stop_all(node.admin, node.runtime, node_name=NODE, state_directory=tmp_path, attempts=node.attempts)
        assert node.machine.running() == []
        node.machine.reboot()
        await node.boot()
        now = await node.until("p", lambda pod: is_ready(pod) and state(pod, "c")["restartCount"] == 1)
        assert meta.uid(now) == meta.uid(first)
        assert state(now, "i")["restartCount"] == 1
        assert state(now, "c")["lastState"]["terminated"]["exitCode"] == 143
        assert node.machine.started == [("p", "i", 0), ("p", "c", 0), ("p", "i", 1), ("p", "c", 1)]

    play(story, tmp_path)


def test_images_that_cannot_be_had(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        node.machine.images_missing["debian:jessie"] = "no such host"
        await node.create(pod("p"))
        failed = await node.until("p", waits_with("ErrImagePull"))
        assert state(failed, "c")["state"]["waiting"]["message"] == "no such host"
        backing_off = await node.until("p", waits_with("ImagePullBackOff"))
        assert backing_off["status"]["phase"] == "Pending"
        node.machine.images_missing.clear()
        await node.until("p", is_ready)
        told = await node.events("p")
        assert ("Warning", "Failed", 'Failed to pull image "debian:jessie": no such host') in told
        assert ("Warning", "Failed", "Error: ImagePullBackOff") in told
        assert ("Normal", "BackOff", 'Back-off pulling image "debian:jessie"') in told

    play(story, tmp_path)


def test_liveness_restarts_and_readiness_only_hides(tmp_path: Path):
    def script(config: simulated.ContainerConfig) -> Behaviour:
        return Behaviour(lives_seconds=20 if config.name == "sick" else None, ready_after_seconds=1)

    probe = {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 2}

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", container("sick", livenessProbe={**probe, "initialDelaySeconds": 2})))
        await node.create(pod("q", container("sick", readinessProbe=probe)))
        await node.until("q", is_ready)
        await node.until("p", lambda pod: state(pod, "sick")["restartCount"] == 1)
        await node.until("q", lambda pod: not is_ready(pod))
        assert ("Normal", "Killing", "Container sick failed liveness probe, will be restarted") in await node.events(
            "p"
        )
        assert ("Warning", "Unhealthy", "Readiness probe failed: no longer alive") in await node.events("q")
        assert state(await node.pod("q"), "sick")["restartCount"] == 0

    play(story, tmp_path, script)


def test_an_early_probe_makes_a_quick_pet_ready_quickly(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        began = node.loop.time()
        await node.create(pod("p", container("c", readinessProbe={"exec": {"command": ["true"]}})))
        await node.until("p", is_ready)
        assert node.loop.time() - began < 1.0
        assert not any(one[1] == "Unhealthy" for one in (await node.events("p"))[1:])

    play(story, tmp_path, lambda config: Behaviour(ready_after_seconds=0.4))


def test_pods_that_end(tmp_path: Path):
    def script(config: simulated.ContainerConfig) -> Behaviour:
        return Behaviour(runs_seconds=1, exit_code=1 if config.name == "bad" else 0)

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("fine", container("good"), restartPolicy="Never"))
        await node.create(pod("broken", container("good"), container("bad"), restartPolicy="Never"))
        await node.create(pod("done", container("good"), restartPolicy="OnFailure"))
        await node.create(pod("init", initContainers=[container("bad")], restartPolicy="Never"))
        fine = await node.until("fine", lambda pod: pod["status"]["phase"] == "Succeeded")
        assert meta.condition(fine, "Ready")["reason"] == "PodCompleted"  # type: ignore[index]
        await node.until("broken", lambda pod: pod["status"]["phase"] == "Failed")
        await node.until("done", lambda pod: pod["status"]["phase"] == "Succeeded")
        failed = await node.until("init", lambda pod: pod["status"]["phase"] == "Failed")
        assert waits_with("PodInitializing")(failed)
        started = len(node.machine.started)
        await node.kill()
        node.machine.reboot()
        await node.boot()
        await asyncio.sleep(60)
        assert len(node.machine.started) == started

    play(story, tmp_path, script)


def test_a_pod_that_has_ended_gives_back_its_address_its_ports_and_its_volumes(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        ports = [{"containerPort": 80, "hostPort": 21018}]
        scratch = {"volumes": [{"name": "v", "emptyDir": {}}], "restartPolicy": "Never"}
        first = await node.create(pod("first", container("c", ports=ports), **scratch))
        place = tmp_path / "volumes" / meta.uid(first) / "v"
        await node.until("first", lambda pod: place.is_dir())
        ended = await node.until("first", lambda pod: pod["status"]["phase"] == "Succeeded")
        await node.until("first", lambda pod: not node.machine.sandboxes[meta.uid(first)].alive)
        assert not place.exists()
        await node.create(pod("second", container("c", ports=ports)))
        await node.until("second", is_ready)
        await node.kill()
        await node.boot()
        await asyncio.sleep(60)
        assert await node.pod("first") == ended  # Nothing is made anew, and nothing more is told.
        await node.delete("first")
        await node.until("first", is_gone)
        await node.until("second", lambda pod: meta.uid(first) not in node.machine.sandboxes)

    play(
        story, tmp_path, lambda config: Behaviour(runs_seconds=5 if config.pod["metadata"]["name"] == "first" else None)
    )


def test_active_deadline(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", activeDeadlineSeconds=20))
        await node.until("p", is_ready)
        failed = await node.until("p", lambda pod: pod["status"]["phase"] == "Failed")
        assert failed["status"]["reason"] == "DeadlineExceeded"
        assert node.machine.running() == []

    play(story, tmp_path)


def test_sidecars_start_before_and_stop_after(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        proxy = container("proxy", restartPolicy="Always")
        await node.create(pod("p", initContainers=[proxy, container("i")], restartPolicy="Always"))
        ready = await node.until("p", is_ready)
        assert [one[1] for one in node.machine.started] == ["proxy", "i", "c"]
        assert state(ready, "proxy")["ready"] is True
        await node.crash(ready, "proxy")
        await node.until("p", lambda pod: state(pod, "proxy")["restartCount"] == 1)
        await node.delete("p")
        await node.until("p", is_gone)
        order = [one[2] for one in await node.events("p") if one[1] == "Killing"]
        assert order == ["Stopping container c", "Stopping container proxy"]

    play(story, tmp_path)


def test_a_hook_after_the_start_holds_readiness_back(tmp_path: Path):
    hook = {"postStart": {"sleep": {"seconds": 5}}}

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", container("c", lifecycle=hook), container("d")))
        began = node.loop.time()
        await node.until("p", lambda pod: "running" in state(pod, "c").get("state", {}))
        assert [one[1] for one in node.machine.started] == ["c"]
        await node.until("p", is_ready)
        assert node.loop.time() - began >= 5

    play(story, tmp_path)


def test_a_sandbox_that_fails_and_a_container_that_cannot_start(tmp_path: Path):
    broken = [Behaviour(start_error=("RunContainerError", "no such file")), Behaviour()]

    async def story(node: NodeUnderTest) -> None:
        node.machine.sandbox_errors.append("no address is free")
        await node.create(pod("p"))
        waiting = await node.until("p", waits_with("RunContainerError"))
        assert state(waiting, "c")["state"]["waiting"]["message"] == "no such file"
        await node.until("p", is_ready)
        told = await node.events("p")
        assert ("Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: no address is free") in told
        assert ("Warning", "Failed", "Error: no such file") in told

    play(story, tmp_path, lambda config: broken.pop(0))


def test_what_is_missing_is_waited_for(tmp_path: Path):
    source = {"configMapKeyRef": {"name": "settings", "key": "level"}}
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "default"},
        "data": {"level": "3"},
    }
    volume = {"name": "s", "configMap": {"name": "settings"}}
    mount = {"name": "s", "mountPath": "/etc/settings"}

    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", container("c", env=[{"name": "LEVEL", "valueFrom": source}])))
        await node.create(pod("q", container("c", volumeMounts=[mount]), volumes=[volume]))
        await node.until("p", waits_with("CreateContainerConfigError"))
        await node.until("q", waits_with("ContainerCreating"))
        await node.admin.create(settings)
        await node.until("p", is_ready)
        ready = await node.until("q", is_ready)
        file = tmp_path / "volumes" / meta.uid(ready) / "s" / "level"
        assert file.read_text() == "3"
        reason = 'MountVolume.SetUp failed for volume "s" : configmap "settings" not found'
        assert ("Warning", "FailedMount", reason) in await node.events("q")
        await node.admin.patch(CONFIGMAPS, "settings", "default", {"data": {"level": "4"}})
        await asyncio.sleep(1)
        assert file.read_text() == "4"
        await node.delete("q", grace=1)
        await node.until("q", is_gone)
        assert not file.parent.exists()

    play(story, tmp_path)


def test_a_pods_own_token_is_mounted(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        ca = {"name": "kube-root-ca.crt", "namespace": "default"}
        await node.admin.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": ca, "data": {"ca.crt": "PEM"}})
        ready = await node.create(pod("p", automountServiceAccountToken=True))
        await node.until("p", is_ready)
        (volume,) = (tmp_path / "volumes" / meta.uid(ready)).iterdir()
        assert (volume / "ca.crt").read_text() == "PEM"
        assert (volume / "namespace").read_text() == "default"
        token = (volume / "token").read_text()
        assert token.count(".") == 2
        await asyncio.sleep(3000)
        assert (volume / "token").read_text() != token

    play(story, tmp_path)


def test_a_pet_starts_only_when_its_name_is_published(tmp_path: Path):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "redis", "namespace": "default"},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app": "redis"},
            "ports": [{"port": 6379}],
        },
    }
    published_there = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "redis-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "redis"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.200.0.2"], "conditions": {"ready": True}}],
        "ports": [{"port": 6379}],
    }  # fmt: skip

    async def story(node: NodeUnderTest) -> None:
        await node.admin.create(service)
        await asyncio.sleep(1)
        await node.create(pod("p", metadata={"labels": {"app": "redis"}}))
        await node.until("p", lambda pod: pod["status"].get("podIP"))
        await asyncio.sleep(1)
        assert node.machine.started == []
        published = node.loop.time()
        await node.admin.create(published_there)
        await node.until("p", is_ready)
        assert node.loop.time() - published < 0.2
        await node.create(pod("q", metadata={"labels": {"app": "redis"}}))
        began = node.loop.time()
        await node.until("q", is_ready)
        assert 3 <= node.loop.time() - began < 4
        assert any(one[1] == "NameNotPublished" for one in await node.events("q"))

    play(story, tmp_path)


def test_a_lost_status_write_is_made_again(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p"))
        await node.until("p", is_ready)
        labels = {"metadata": {"labels": {"x": "y"}}}
        await node.admin.patch(PODS, "p", "default", labels)
        ready = await node.pod("p")
        assert ready is not None
        # The agent may not have seen the label yet: its next write conflicts and is made again.
        await node.crash(ready, "c")
        now = await node.until("p", lambda pod: state(pod, "c")["restartCount"] == 1 and is_ready(pod))
        assert meta.labels(now) == {"x": "y"}

    play(story, tmp_path)


def test_another_image_restarts_the_container(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p"))
        await node.until("p", is_ready)
        image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "debian:stretch"}]
        await node.admin.patch(PODS, "p", "default", image, kind="json")
        await node.until("p", lambda pod: is_ready(pod) and state(pod, "c")["image"] == "debian:stretch")
        assert ("Normal", "Killing", "Container c definition changed, will be restarted") in await node.events("p")

    play(story, tmp_path)


def test_a_pod_whose_container_is_replaced_never_looks_unready(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p"))
        seen = [await node.until("p", is_ready)]
        image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "debian:stretch"}]
        await node.admin.patch(PODS, "p", "default", image, kind="json")
        since = seen[0]["metadata"]["resourceVersion"]
        async with asyncio.timeout(60), contextlib.aclosing(node.admin.watch(PODS, "default", since=since)) as events:
            async for _, seen_pod in events:
                seen.append(seen_pod)
                if state(seen_pod, "c")["restartCount"] == 1:
                    break
        assert [is_ready(one) for one in seen] == [True] * len(seen)
        assert state(seen[-1], "c")["lastState"]["terminated"]["containerID"] == state(seen[0], "c")["containerID"]

    play(story, tmp_path)


def test_a_replaced_container_that_cannot_start_is_told_at_once(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        node.machine.images_missing["debian:stretch"] = "no such host"
        await node.create(pod("p"))
        await node.until("p", is_ready)
        image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "debian:stretch"}]
        await node.admin.patch(PODS, "p", "default", image, kind="json")
        told = await node.until("p", waits_with("ErrImagePull"), seconds=status.REPLACING_SECONDS_MAX / 2)
        assert not is_ready(told)

    play(story, tmp_path)


def test_a_status_somebody_else_wrote_over_is_written_again(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p"))
        ready = await node.until("p", is_ready)
        await node.admin.patch(PODS, "p", "default", {"status": {"phase": "Unknown"}}, subresource="status")
        again = await node.until("p", lambda pod: pod["status"]["phase"] == "Running")
        assert again["status"] == ready["status"]

    play(story, tmp_path)


def test_a_pod_deleted_while_its_image_is_pulled_goes_at_once(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        node.machine.image_seconds = 3600
        await node.create(pod("p"))
        await node.until("p", lambda pod: pod["status"].get("podIP"))
        assert ("Normal", "Pulling", 'Pulling image "debian:jessie"') not in await node.events("p")
        await asyncio.sleep(1)
        assert ("Normal", "Pulling", 'Pulling image "debian:jessie"') in await node.events("p")
        await node.delete("p")
        await node.until("p", is_gone, seconds=1)
        assert node.machine.sandboxes == {}

    play(story, tmp_path)


def test_a_pod_that_cannot_be_understood_does_not_end_the_node(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        strange = pod("strange", activeDeadlineSeconds=5)
        key = PODS.key("default", "strange")
        await node.store.put(
            key, {**strange, "status": {"startTime": "yesterday"}, "metadata": {**strange["metadata"], "uid": "u"}}, 0
        )
        await node.create(pod("p"))
        await node.until("p", is_ready)

    play(story, tmp_path)


def test_a_finalizer_keeps_the_object_but_not_the_containers(tmp_path: Path):
    async def story(node: NodeUnderTest) -> None:
        await node.create(pod("p", metadata={"finalizers": ["example.com/hold"]}))
        await node.until("p", is_ready)
        await node.delete("p", grace=1)
        held = await node.until("p", lambda pod: not node.machine.sandboxes)
        await asyncio.sleep(30)
        assert held and await node.pod("p")
        asked = len(node.node_requests)
        await asyncio.sleep(30)
        assert not [one for one in node.node_requests[asked:] if "pods" in one]
        await node.admin.patch(PODS, "p", "default", {"metadata": {"finalizers": None}})
        await node.until("p", is_gone)
        await node.create(pod("p"))
        await node.until("p", is_ready)

    play(story, tmp_path)
