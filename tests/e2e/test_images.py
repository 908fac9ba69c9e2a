"""Images from a registry on loopback, from an archive, and from a recipe, each run as a pod."""

from __future__ import annotations

import json
import subprocess

from tests.images_fixture import image_store, recipe_image  # noqa: F401
from tests.registry import Registry


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
