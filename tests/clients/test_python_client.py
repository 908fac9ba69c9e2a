"""The official Python client against a simulated cluster (petset's own fixtures): what its users do every day."""

from __future__ import annotations

import pytest

kubernetes = pytest.importorskip("kubernetes")


@pytest.fixture(scope="module")
def api_client(petset_cluster):
    return kubernetes.config.new_client_from_config(str(petset_cluster.kubeconfig))


@pytest.fixture
def space(petset_namespace):
    return petset_namespace.name


def test_create_read_list_patch_watch_and_delete(api_client, space):
    core = kubernetes.client.CoreV1Api(api_client)
    since = core.list_namespaced_config_map(space).metadata.resource_version
    body = kubernetes.client.V1ConfigMap(metadata={"name": "a", "labels": {"x": "y"}}, data={"k": "v"})
    made = core.create_namespaced_config_map(space, body)
    assert made.metadata.uid and made.metadata.creation_timestamp
    assert core.read_namespaced_config_map("a", space).data == {"k": "v"}
    core.patch_namespaced_config_map("a", space, {"data": {"k": "w"}})
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.replace_namespaced_config_map("a", space, made)
    assert refused.value.status == 409
    core.delete_namespaced_config_map("a", space)
    watch = kubernetes.watch.Watch()
    seen = []
    options = {"resource_version": since, "label_selector": "x=y", "timeout_seconds": 10}
    for event in watch.stream(core.list_namespaced_config_map, space, **options):
        seen.append((event["type"], event["object"].data))
        if event["type"] == "DELETED":
            watch.stop()
    assert seen == [("ADDED", {"k": "v"}), ("MODIFIED", {"k": "w"}), ("DELETED", {"k": "w"})]


def test_a_stateful_set_and_its_scale(api_client, space, petset_namespace):
    apps = kubernetes.client.AppsV1Api(api_client)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = apps.create_namespaced_stateful_set(space, {"metadata": {"name": "x"}, "spec": spec})
    assert made.spec.replicas == 1 and made.spec.update_strategy.type == "RollingUpdate"
    scale = apps.read_namespaced_stateful_set_scale("x", space)
    scale.spec.replicas, scale.metadata.resource_version = 3, None  # Its controller has written its status since.
    assert apps.replace_namespaced_stateful_set_scale("x", space, scale).spec.replicas == 3
    petset_namespace.wait_for("sts/x", lambda found: found["status"]["readyReplicas"] == 3)


def test_petsets_as_custom_objects(api_client, space):
    custom = kubernetes.client.CustomObjectsApi(api_client)
    where = ("apps", "v1alpha1", space, "petsets")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {
        "apiVersion": "apps/v1alpha1",
        "kind": "PetSet",
        "metadata": {"name": "x"},
        "spec": {"serviceName": "s", "template": template},
    }
    made = custom.create_namespaced_custom_object(*where, body)
    assert made["spec"]["selector"] == {"matchLabels": {"a": "b"}}
    assert custom.patch_namespaced_custom_object(*where, "x", {"spec": {"replicas": 4}})["spec"]["replicas"] == 4
    assert [item["metadata"]["name"] for item in custom.list_namespaced_custom_object(*where)["items"]] == ["x"]


def test_pages(api_client, space):
    core = kubernetes.client.CoreV1Api(api_client)
    for index in range(5):
        core.create_namespaced_config_map(space, {"metadata": {"name": f"c{index}", "labels": {"in": "pages"}}})
    names, token = [], ""
    while True:
        more = {"_continue": token} if token else {}
        page = core.list_namespaced_config_map(space, limit=2, label_selector="in=pages", **more)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"c{index}" for index in range(5)]


def test_server_side_apply(api_client, space):
    dynamic = kubernetes.dynamic.DynamicClient(api_client)
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": "v"}}
    made = dynamic.server_side_apply(maps, body, namespace=space, field_manager="python")
    (entry,) = made.metadata.managedFields
    assert (entry.manager, entry.operation) == ("python", "Apply")
    with pytest.raises(kubernetes.dynamic.exceptions.ConflictError):
        dynamic.server_side_apply(maps, {**body, "data": {"k": "w"}}, namespace=space, field_manager="other")
    forced = {"field_manager": "other", "force_conflicts": True}
    changed = dynamic.server_side_apply(maps, {**body, "data": {"k": "w"}}, namespace=space, **forced)
    assert changed.data.k == "w"
