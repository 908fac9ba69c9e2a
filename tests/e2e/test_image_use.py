"""Who runs on which image is known of real pods, by the digest that the list of images has; that keeps their images."""

from __future__ import annotations

import asyncio
import json

from petset.base import state
from petset.cli import image as command
from petset.node.images import images
from tests.e2e.cluster import IMAGES

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}}


def test_a_pod_is_found_by_its_image(make_cluster):
    cluster = make_cluster()
    cluster.up()
    cluster.petset("image", "build", "debian")
    cluster.petset("image", "tag", "petset.local/debian", "image-of-a-test:1")
    try:
        container = {"name": "main", "image": "image-of-a-test:1", "command": ["sleep", "1000"]}
        spec = {"containers": [{**container, "imagePullPolicy": "Never"}], "terminationGracePeriodSeconds": 1}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps({**POD, "spec": spec}))
        cluster.wait_ready("user")
        [digest] = {
            image["digest"]
            for image in json.loads(cluster.petset("image", "ls", "-o", "json").stdout)
            if "docker.io/library/image-of-a-test:1" in image["names"]
        }
        store = images.Images(str(IMAGES))
        users = asyncio.run(command._users(store, state.State(cluster.state)))
        assert users[digest][0] == "pod default/user"
        assert digest in store.mounted()
    finally:
        cluster.petset("image", "rm", "image-of-a-test:1")
