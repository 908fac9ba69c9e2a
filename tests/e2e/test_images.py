"""Images from a registry on loopback, from an archive, and from a recipe, each run as a pod."""

from __future__ import annotations

import json
import subprocess

from tests.images_fixture import image_store, recipe_image  # noqa: F401
from tests.registry import USER_PET_PASSWORD_SECRET, Registry, pull_secret


def pod(name: str, image: str) -> str:
    container = {"name": "main", "image": image, "command": ["sleep", "infinity"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def run(cluster, namespace: str, name: str, image: str) -> str:
    """Create the pod, wait for it, and return the message of its Pulled event."""
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=pod(name, image))
    cluster.wait_ready(name, namespace=namespace)
    events = cluster.kubectl.json("get", "events", "-n", namespace, "--field-selector", f"involvedObject.name={name}")
    return next(event["message"] for event in events["items"] if event["reason"] == "Pulled")


def source(store) -> str:
    """The bare image, as skopeo names it in the store's own layout."""
    recipe_image(store, "debian")
    return f"oci:{store.directory}/layout:petset.local/debian:latest"


def test_an_image_from_a_registry(cluster, namespace, image_store, tmp_path):  # noqa: F811
    registry = Registry(tmp_path)
    try:
        name = registry.push(source(image_store), "bare:1")
        assert "Successfully pulled image" in run(cluster, namespace, "pulled", name)
        assert "already present on machine" in run(cluster, namespace, "present", name)
    finally:
        registry.stop()


def test_an_image_from_a_private_registry(cluster, namespace, image_store, tmp_path):  # noqa: F811
    registry = Registry(tmp_path, password=USER_PET_PASSWORD_SECRET)
    try:
        name = registry.push(source(image_store), "bare:1", "--dest-creds=pet:secret")

        def create(obj) -> None:
            cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(obj))

        def refused(pod_name: str, *secrets: str) -> list[str]:
            """The events of a pod whose image the registry does not give."""
            obj = json.loads(pod(pod_name, name))
            obj["spec"]["imagePullSecrets"] = [{"name": secret} for secret in secrets]
            create(obj)

            def said() -> list[str]:
                about = ("--field-selector", f"involvedObject.name={pod_name}")
                events = cluster.kubectl.json("get", "events", "-n", namespace, *about)["items"]
                found = [f"{one['reason']}: {one['message']}" for one in events]
                return found if "Failed: Error: ErrImagePull" in found else []

            return cluster.wait(said, "the registry to refuse it")

        answer = f'Failed to pull image "{name}": cannot pull image "{name}": {registry.host}: the registry refuses it'
        create(pull_secret("wrong", {registry.host: {"username": "pet", "password": "wrong"}}))
        create(pull_secret("right", {registry.host: {"username": "pet", "password": "secret"}}))
        assert any(answer in one and "unauthorized" in one for one in refused("without"))
        said = refused("with-the-wrong-one", "wrong", "absent")
        assert any(answer in one for one in said)
        assert any(one.startswith("FailedToRetrieve") and "there is no secret absent" in one for one in said)

        obj = json.loads(pod("with-both", name))
        obj["spec"]["imagePullSecrets"] = [{"name": "wrong"}, {"name": "right"}]
        create(obj)
        cluster.wait_ready("with-both", namespace=namespace)
        name = registry.push(source(image_store), "bare:2", "--dest-creds=pet:secret")
        patch = json.dumps({"imagePullSecrets": [{"name": "right"}]})
        cluster.kubectl("patch", "serviceaccount", "default", "-n", namespace, "-p", patch)
        assert "Successfully pulled image" in run(cluster, namespace, "by-its-account", name)
    finally:
        registry.stop()


def test_an_image_from_an_archive(cluster, namespace, image_store, tmp_path):  # noqa: F811
    archive, name = tmp_path / "bare.tar", "example.org/loaded:1"
    copy = ["skopeo", "copy", "-q", "--insecure-policy", source(image_store), f"docker-archive:{archive}:{name}"]
    subprocess.run(copy, check=True)
    assert name in cluster.petset("image", "load", str(archive)).stdout
    assert name in cluster.petset("image", "ls").stdout
    assert "already present on machine" in run(cluster, namespace, "loaded", name)


def test_an_image_from_a_recipe(cluster, namespace):
    assert "debian" in cluster.petset("image", "build", "debian").stdout
    assert "built on this machine" in run(cluster, namespace, "built", "petset.local/debian")


def test_stand_ins_can_be_switched_off(make_cluster):
    other = make_cluster()
    other.up("--stand-ins=off")
    other.kubectl("create", "-f", "-", stdin=pod("real", "gcr.io/google_containers/nginx-slim:0.8"))
    state = other.wait(
        lambda: other.pod("real")["status"]["containerStatuses"][0]["state"].get("waiting"), "the failure"
    )
    other.wait(
        lambda: (
            other.pod("real")["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] != "ContainerCreating"
        ),
        "a pull that was tried",
        120,
    )
    assert state is not None and not other.is_ready("real")
