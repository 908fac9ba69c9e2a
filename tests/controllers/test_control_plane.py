"""Controllers and scheduler over the real server: what users see happen, from create to gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from petset.base import tasks, well_known
from petset.client import client as api
from petset.controllers import garbage, namespaces
from petset.controllers import run as controllers
from petset.controllers.storage import provisioning
from petset.kinds import builtin
from petset.kinds.component_status import COMPONENTSTATUSES
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.endpoints import ENDPOINTS
from petset.kinds.event import EVENTS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.node import NODES
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.kinds.storage_class import STORAGECLASSES
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from tests.controllers import cluster

NGINX: tuple[Object, ...] = (
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "nginx", "labels": {"app": "nginx"}},
        "spec": {"ports": [{"port": 80, "name": "web"}], "clusterIP": "None", "selector": {"app": "nginx"}},
    },
    {
        "apiVersion": "apps/v1alpha1",
        "kind": "PetSet",
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "nginx",
            "replicas": 2,
            "template": {
                "metadata": {
                    "labels": {"app": "nginx"},
                    "annotations": {"pod.alpha.kubernetes.io/initialized": "true"},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "nginx",
                            "image": "gcr.io/google_containers/nginx-slim:0.8",
                            "ports": [{"containerPort": 80, "name": "web"}],
                            "volumeMounts": [{"name": "www", "mountPath": "/usr/share/nginx/html"}],
                        }
                    ],
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {
                        "name": "www",
                        "annotations": {"volume.alpha.kubernetes.io/storage-class": "anything"},
                    },
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            ],
        },
    },
)


def run(scene: Callable[[cluster.Cluster], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with cluster.running(**options) as it:
            await scene(it)

    asyncio.run(main())


def is_ready(it: cluster.Cluster, name: str) -> bool:
    pod = it.get(PODS, name)
    return pod is not None and meta.is_pod_ready(pod) and not meta.is_deleting(pod)


async def scale(it: cluster.Cluster, replicas: int, kind: Kind = PETSETS) -> None:
    await it.client.patch(kind, "web", "default", {"spec": {"replicas": replicas}})


def test_the_nginx_set_comes_up_in_order_with_volumes_and_endpoints() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        await it.rests()
        first, second = it.get(PODS, "web-0"), it.get(PODS, "web-1")
        assert first is not None and second is not None
        assert it.names(PERSISTENTVOLUMECLAIMS) == ["www-web-0", "www-web-1"]
        claim = it.get(PERSISTENTVOLUMECLAIMS, "www-web-0")
        assert claim is not None
        assert claim["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
        volume = it.get(PERSISTENTVOLUMES, claim["spec"]["volumeName"])
        assert volume is not None and volume["status"]["phase"] == "Bound"
        assert volume["metadata"]["annotations"]["kubernetes.io/createdby"] == "hostpath-dynamic-provisioner"
        assert it.directories is not None and volume["spec"]["hostPath"]["path"] in it.directories.made
        endpoints = it.get(ENDPOINTS, "nginx")
        assert endpoints is not None
        assert [a["hostname"] for a in endpoints["subsets"][0]["addresses"]] == ["web-0", "web-1"]
        slices = it.all(ENDPOINTSLICES)
        assert [e["hostname"] for e in slices[0]["endpoints"]] == ["web-0", "web-1"]
        status = it.get(PETSETS, "web")["status"]  # type: ignore[index]
        assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)
        said = [(event["source"]["component"], event["message"]) for event in it.events("SuccessfulCreate")]
        assert sorted(said) == [
            ("petset", f"{what}") for what in sorted(["pet: web-0", "pet: web-1", "pvc: www-web-0", "pvc: www-web-1"])
        ]
        assert not it.events("FailedScheduling"), "nobody complains of what was quickly mended"

    run(scene)


def test_a_deleted_pet_comes_back_with_its_claim_and_a_scaled_down_one_finds_its_own_again() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        before = it.get(PODS, "web-0")
        assert before is not None
        volume = it.get(PERSISTENTVOLUMECLAIMS, "www-web-0")["spec"]["volumeName"]  # type: ignore[index]
        await it.client.delete(PODS, "web-0", "default")
        await it.until(lambda: is_ready(it, "web-0") and meta.uid(it.get(PODS, "web-0")) != meta.uid(before))  # type: ignore[arg-type]
        await scale(it, 0)
        await it.until(lambda: not it.names(PODS))
        assert it.names(PERSISTENTVOLUMECLAIMS) == ["www-web-0", "www-web-1"]
        await scale(it, 1)
        await it.until(lambda: is_ready(it, "web-0"))
        assert it.get(PERSISTENTVOLUMECLAIMS, "www-web-0")["spec"]["volumeName"] == volume  # type: ignore[index]

    run(scene)


def test_without_the_provisioner_the_claim_complains_with_a_growing_count_and_the_pod_waits() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)

        def said() -> list[Object]:
            return it.events("ProvisioningFailed")

        await it.until(lambda: said() and said()[0]["count"] >= 4 and it.events("FailedScheduling"))
        (event,) = said()
        assert event["message"] == "No provisioner plugin found for the claim!"
        assert event["source"] == {"component": "persistentvolume-controller"}
        assert event["type"] == "Warning" and event["involvedObject"]["name"] == "www-web-0"
        (waits,) = it.events("FailedScheduling")
        why = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        not_helpful = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        assert waits["message"] == f"{why} {not_helpful}"
        assert it.names(PODS) == ["web-0"]
        assert it.get(PODS, "web-0")["status"]["phase"] == "Pending"  # type: ignore[index]

    run(scene, provisioner=False)


def test_the_provisioner_switched_on_later_provisions_the_same_claim() -> None:
    async def main() -> None:
        async with cluster.running(provisioner=False) as it:
            await it.create(*NGINX)
            await it.until(lambda: it.events("ProvisioningFailed"))
            claim = it.get(PERSISTENTVOLUMECLAIMS, "www-web-0")
        async with cluster.running(provisioner=True, store=it.store) as later:
            await later.until(lambda: later.get(PODS, "web-0")["spec"].get("nodeName"))  # type: ignore[index]
            same = later.get(PERSISTENTVOLUMECLAIMS, "www-web-0")
            assert same is not None and claim is not None and meta.uid(same) == meta.uid(claim)
            assert same["status"]["phase"] == "Bound"

    asyncio.run(main())


def test_a_set_recreated_after_an_orphaning_delete_adopts_its_pets() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        await it.rests()
        pods = {meta.name(pod): meta.uid(pod) for pod in it.all(PODS)}
        revisions = it.names(CONTROLLERREVISIONS)
        await it.client.delete(PETSETS, "web", "default", propagation="Orphan")
        await it.until(lambda: it.get(PETSETS, "web") is None)
        await it.rests()
        assert {meta.name(pod): meta.uid(pod) for pod in it.all(PODS)} == pods
        assert all(meta.controller_of(pod) is None for pod in it.all(PODS))
        await it.create(NGINX[1])

        def adopted() -> bool:
            set_ = it.get(PETSETS, "web")
            owned = [*it.all(PODS), *it.all(CONTROLLERREVISIONS)]
            return set_ is not None and all(meta.is_controlled_by(obj, set_) for obj in owned)

        await it.until(adopted)
        await it.rests()
        assert {meta.name(pod): meta.uid(pod) for pod in it.all(PODS)} == pods
        assert it.names(CONTROLLERREVISIONS) == revisions
        status = it.get(PETSETS, "web")["status"]  # type: ignore[index]
        assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)

    run(scene)


def test_deleting_a_set_takes_its_pets_but_not_its_claims() -> None:
    for propagation in ("Background", "Foreground"):

        async def scene(it: cluster.Cluster, propagation: str = propagation) -> None:
            await it.create(*NGINX)
            await it.until(lambda: is_ready(it, "web-1"))
            await it.client.delete(PETSETS, "web", "default", propagation=propagation)
            await it.until(lambda: not it.names(PODS) and it.get(PETSETS, "web") is None)
            await it.until(lambda: not it.names(CONTROLLERREVISIONS))
            await it.rests()
            assert len(it.names(PERSISTENTVOLUMECLAIMS)) == 2

        run(scene)


def test_a_provisioned_volume_and_its_directory_go_with_the_claim() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        assert it.directories is not None and len(it.directories.made) == 2
        await it.client.delete(PERSISTENTVOLUMECLAIMS, "www-web-0", "default")
        await it.rests()
        claim = it.get(PERSISTENTVOLUMECLAIMS, "www-web-0")
        assert claim is not None and meta.is_deleting(claim), "a pod uses it: it stays"
        await scale(it, 0)
        await it.until(lambda: it.names(PERSISTENTVOLUMECLAIMS) == ["www-web-1"])
        await it.until(lambda: len(it.names(PERSISTENTVOLUMES)) == 1)
        assert len(it.directories.made) == 1

    run(scene)


def test_a_retained_volume_is_released_and_stays() -> None:
    async def scene(it: cluster.Cluster) -> None:
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "disk"},
            "spec": {
                "capacity": {"storage": "2Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/disk"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "by-hand",
            },
        }
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "by-hand",
            },
        }

        def phase() -> str:
            disk = it.get(PERSISTENTVOLUMES, "disk")
            return meta.get(disk, "status", "phase", default="")

        await it.create(volume)
        await it.until(lambda: phase() == "Available")
        await it.create(claim)
        await it.until(lambda: phase() == "Bound")
        bound = it.get(PERSISTENTVOLUMECLAIMS, "data")
        await it.until(lambda: it.get(PERSISTENTVOLUMECLAIMS, "data")["status"]["phase"] == "Bound")  # type: ignore[index]
        assert bound is not None and bound["spec"]["volumeName"] == "disk"
        await it.client.delete(PERSISTENTVOLUMECLAIMS, "data", "default")
        await it.until(lambda: phase() == "Released")
        assert it.directories is not None and not it.directories.made

    run(scene)


def test_a_pet_that_is_not_ready_holds_the_next_one_until_it_is() -> None:
    async def scene(it: cluster.Cluster) -> None:
        it.ready = lambda pod: meta.name(pod) != "web-0"
        await it.create(*NGINX)
        await it.until(lambda: meta.get(it.get(PODS, "web-0"), "status", "podIP"))
        await it.rests()
        assert it.names(PODS) == ["web-0"]
        endpoints = it.get(ENDPOINTS, "nginx")
        assert endpoints is not None
        assert "addresses" not in endpoints["subsets"][0]
        assert len(endpoints["subsets"][0]["notReadyAddresses"]) == 1
        it.ready = lambda pod: True
        await it.touch("web-0")
        await it.until(lambda: is_ready(it, "web-1"))

    run(scene)


def test_a_rolling_update_goes_from_the_highest_down_and_can_be_rolled_back() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        gone: list[str] = []
        it.pods.on_change(lambda old, new: gone.append(meta.name(old)) if new is None and old else None)

        async def to_image(image: str) -> None:
            patch = {"spec": {"template": {"spec": {"containers": [{"name": "nginx", "image": image}]}}}}
            await it.client.patch(PETSETS, "web", "default", patch, kind="strategic")

            def updated() -> bool:
                pods = it.all(PODS)
                return [pod["spec"]["containers"][0]["image"] for pod in pods] == [image] * 2 and all(
                    is_ready(it, meta.name(pod)) for pod in pods
                )

            await it.until(updated)

        await to_image("nginx:2")
        assert gone == ["web-1", "web-0"]
        await it.until(lambda: len(it.names(CONTROLLERREVISIONS)) == 2)
        await to_image("gcr.io/google_containers/nginx-slim:0.8")
        await it.rests()
        numbers = sorted(revision["revision"] for revision in it.all(CONTROLLERREVISIONS))
        assert numbers == [2, 3], "the first one was given a new number"
        status = it.get(PETSETS, "web")["status"]  # type: ignore[index]
        assert status["currentRevision"] == status["updateRevision"]

    run(scene)


def test_a_namespace_is_emptied_and_goes() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "zoo"}})
        await it.until(lambda: it.get(CONFIGMAPS, "kube-root-ca.crt", "zoo"))
        assert it.get(SERVICEACCOUNTS, "default", "zoo") is not None
        for obj in NGINX:
            await it.client.create(meta.changed(obj, ("metadata", "namespace"), "zoo"))
        await it.until(lambda: it.get(PODS, "web-1", "zoo"))
        await it.client.delete(NAMESPACES, "zoo")
        await it.until(lambda: it.get(NAMESPACES, "zoo") is None)
        left = [key.plural for key in builtin.KINDS if key.namespaced and it.all(key, "zoo")]
        assert left == []

    run(scene)


def test_a_namespace_says_what_holds_it_back() -> None:
    def told(it: cluster.Cluster, type_: str) -> Any:
        return (meta.condition(it.get(NAMESPACES, "zoo") or {}, type_) or {}).get("status")

    async def scene(it: cluster.Cluster) -> None:
        await it.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "zoo"}})
        held = {"name": "held", "namespace": "zoo", "finalizers": ["example.com/hold"]}
        await it.client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
        await it.client.delete(NAMESPACES, "zoo")
        await it.until(lambda: told(it, "NamespaceFinalizersRemaining") == "True")
        assert told(it, "NamespaceContentRemaining") == "True"
        await it.rests()
        await it.client.patch(CONFIGMAPS, "held", "zoo", {"metadata": {"finalizers": None}})
        await it.until(lambda: it.get(NAMESPACES, "zoo") is None)

    run(scene)


def test_owners_in_a_circle_are_collected() -> None:
    def named(name: str, owner: Object | None = None) -> Object:
        metadata = {"name": name, "namespace": "default"}
        if owner is not None:
            metadata |= {"ownerReferences": [meta.owner_reference(owner)]}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    async def scene(it: cluster.Cluster) -> None:
        first = owner = await it.client.create(named("c-0"))
        for number in (1, 2):
            owner = await it.client.create(named(f"c-{number}", owner))
        references = {"metadata": {"ownerReferences": [meta.owner_reference(owner)]}}
        await it.client.patch(CONFIGMAPS, meta.name(first), "default", references)
        await it.client.delete(CONFIGMAPS, "c-0", "default", propagation="Foreground")
        await it.until(lambda: not any(name.startswith("c-") for name in it.names(CONFIGMAPS, "default")))

    run(scene)


def test_what_every_namespace_has_comes_back() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.until(lambda: it.get(CONFIGMAPS, "kube-root-ca.crt"))
        assert it.get(CONFIGMAPS, "kube-root-ca.crt")["data"] == {"ca.crt": "a certificate"}  # type: ignore[index]
        await it.client.delete(SERVICEACCOUNTS, "default", "default")
        await it.until(lambda: it.get(SERVICEACCOUNTS, "default"))
        await it.client.delete(CONFIGMAPS, "kube-root-ca.crt", "default")
        await it.until(lambda: it.get(CONFIGMAPS, "kube-root-ca.crt"))
        await it.client.patch(CONFIGMAPS, "kube-root-ca.crt", "default", {"data": {"ca.crt": "another"}})
        await it.until(lambda: it.get(CONFIGMAPS, "kube-root-ca.crt")["data"] == {"ca.crt": "a certificate"})  # type: ignore[index]

    run(scene)


def has_node(pod: Object) -> bool:
    return bool(meta.get(pod, "spec", "nodeName"))


def test_pods_of_a_node_that_no_longer_exists_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "NODE_GONE_SECONDS", 0.1)

    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        await it.client.delete(NODES, cluster.NODE)
        # Its successor waits for a node. So does web-1's, when web-1 was the first to go.
        await it.until(lambda: it.names(PODS)[:1] == ["web-0"] and not any(map(has_node, it.all(PODS))))

    run(scene)


def test_nothing_is_written_when_nothing_happens() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.create(*NGINX)
        await it.until(lambda: is_ready(it, "web-1"))
        await it.rests()
        revision, failures = it.store.revision, tasks.best_effort_failures()
        await asyncio.sleep(1)
        assert it.store.revision == revision
        assert tasks.best_effort_failures() == failures

    run(scene)


BY_FIELD = {"metadata": {"name": "www"}, "spec": {"storageClassName": "late"}}
BY_ANNOTATION = {
    "metadata": {"name": "www", "annotations": {well_known.STORAGE_CLASS_BETA_ANNOTATION: "late"}},
    "spec": {},
}


@pytest.mark.parametrize("given", [BY_FIELD, BY_ANNOTATION], ids=["field", "annotation"])
def test_a_class_that_binds_late_waits_for_the_pod(given: Object) -> None:
    """Admission, the volumes' controller and the scheduler read the same class, whichever way it is written."""

    async def scene(it: cluster.Cluster) -> None:
        late = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "late"},
            "provisioner": "kubernetes.io/host-path",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        (template,) = NGINX[1]["spec"]["volumeClaimTemplates"]
        template = {**given, "spec": {**template["spec"], **given["spec"]}}
        await it.create(late, NGINX[0], meta.changed(NGINX[1], ("spec", "volumeClaimTemplates"), [template]))
        await it.until(lambda: is_ready(it, "web-1"))
        claim = it.get(PERSISTENTVOLUMECLAIMS, "www-web-1")
        assert claim is not None
        assert claim["metadata"]["annotations"][well_known.SELECTED_NODE_ANNOTATION] == cluster.NODE

    run(scene)


def test_the_default_class_is_there_when_the_provisioner_is_on() -> None:
    async def scene(it: cluster.Cluster) -> None:
        await it.until(lambda: it.get(STORAGECLASSES, "standard"))
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await it.create(claim)
        await it.until(lambda: it.get(PERSISTENTVOLUMECLAIMS, "data")["status"]["phase"] == "Bound")  # type: ignore[index]
        assert it.get(PERSISTENTVOLUMECLAIMS, "data")["spec"]["storageClassName"] == "standard"  # type: ignore[index]

    run(scene)


def test_a_client_without_a_server_is_told_so() -> None:
    async def refuse(request: Any) -> Any:
        raise ConnectionError("refused")

    async def main() -> None:
        client = api.Client(api.InProcess(refuse, cluster.ADMIN))
        try:
            await client.get(PODS, "web-0", "default")
        except ConnectionError as error:
            assert str(error) == "refused"
        else:
            raise AssertionError("it answered")

    asyncio.run(main())


CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data", "namespace": "default"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def test_a_claim_that_may_grow_grows_with_its_volume() -> None:
    async def scene(it: cluster.Cluster) -> None:
        class_ = {**provisioning.standard_class(), "metadata": {"name": "elastic"}}
        await it.client.create(class_)
        await it.client.create(meta.changed(CLAIM, ("spec", "storageClassName"), "elastic"))

        def capacity() -> object:
            return meta.get(it.get(PERSISTENTVOLUMECLAIMS, "data"), "status", "capacity", "storage")

        await it.until(lambda: capacity() == "1Gi")
        larger = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        await it.client.patch(PERSISTENTVOLUMECLAIMS, "data", "default", larger)
        await it.until(lambda: capacity() == "3Gi")
        (volume,) = it.all(PERSISTENTVOLUMES)
        assert volume["spec"]["capacity"] == {"storage": "3Gi"}

    run(scene)


@pytest.mark.parametrize(("free", "warned"), [(1 << 30, False), ((1 << 30) - 1, True)])
def test_a_claim_beyond_the_free_space_is_bound_with_a_warning(free: int, warned: bool) -> None:
    async def scene(it: cluster.Cluster) -> None:
        assert it.directories is not None
        it.directories.free = free
        await it.client.create(CLAIM)
        await it.until(lambda: meta.get(it.get(PERSISTENTVOLUMECLAIMS, "data"), "status", "phase") == "Bound")
        said = [event["message"] for event in it.all(EVENTS) if event["reason"] == "LittleSpace"]
        text = "The claim asks for 1Gi, but only 1.0Gi are free on the disk of its volume: free some space there"
        assert said == ([text] if warned else [])

    run(scene)


def test_what_is_made_when_asked_for_is_followed_and_removed_by_nobody() -> None:
    """It can be neither watched nor deleted: whoever tried would try for ever."""
    made = [kind for kind in builtin.KINDS if kind.steps_back or kind is COMPONENTSTATUSES]
    assert len(made) == 3
    rows = controllers.table(provisioning.Settings("/", provisions=True), "", 0.0, signs=True)
    for kind in made:
        assert not namespaces.is_emptied(kind)
        assert not any(row.every is not None and row.every[0](kind) for row in rows)
