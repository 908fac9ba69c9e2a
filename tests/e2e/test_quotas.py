"""A claim whose disk has project quotas holds what it asked for: who writes more in the container is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import quota_disk
from tests.e2e.cluster import Cluster
from tests.e2e.leftovers import leftovers
from tests.e2e.test_containers import BASE, create

MI = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with quota_disk.mounted(tmp_path_factory.mktemp("quotas"), 256) as place:
        yield place


@pytest.fixture(scope="module")
def cluster(disk: Path, built_images: Path) -> Iterator[Cluster]:
    found = Cluster(disk / "state")
    found.up()
    yield found
    found.destroy()
    assert not leftovers(found.state)


def test_a_container_cannot_write_more_than_its_claim_asked_for(cluster: Cluster, namespace: str) -> None:
    def run(pod: str, *command: str) -> subprocess.CompletedProcess[str]:
        return cluster.kubectl.run("exec", pod, "-n", namespace, "--", *command)

    kinds: dict[str, dict[str, Any]] = {
        "root": {},
        "somebody": {"securityContext": {"runAsUser": 1234, "fsGroup": 1234}},
    }
    for name, more in kinds.items():
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}}}
        made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": asked}
        create(cluster, namespace, json.dumps(made))
        mounts = [{"name": "data", "mountPath": "/data"}]
        container = {"name": "main", "image": BASE, "command": ["sleep", "infinity"], "volumeMounts": mounts}
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
        spec = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes, **more}
        create(cluster, namespace, json.dumps({**made, "kind": "Pod", "spec": spec}))
    cluster.wait_ready(*kinds, namespace=namespace)

    for name in kinds:
        told = run(name, "df", "--block-size=1", "--output=size", "/data").stdout.split()[-1]
        assert int(told) == 8 * MI
        assert run(name, "dd", "if=/dev/zero", "of=/data/fits", "bs=1M", "count=6").returncode == 0
        refused = run(name, "dd", "if=/dev/zero", "of=/data/more", "bs=1M", "count=6")
        assert refused.returncode == 1
        assert "Disk quota exceeded" in refused.stderr or "No space left on device" in refused.stderr
    # What it grows to it may have.
    cluster.kubectl("patch", "storageclass", "standard", "-p", '{"allowVolumeExpansion": true}')
    grown = {"spec": {"resources": {"requests": {"storage": "32Mi"}}}}
    cluster.kubectl("patch", "pvc", "root", "-n", namespace, "-p", json.dumps(grown))

    def has_grown() -> bool:
        claim = cluster.kubectl.json("get", "pvc", "root", "-n", namespace)
        return claim["status"]["capacity"]["storage"] == "32Mi"

    cluster.wait(has_grown, "the claim to grow")
    assert run("root", "dd", "if=/dev/zero", "of=/data/more", "bs=1M", "count=12").returncode == 0
    assert run("root", "dd", "if=/dev/zero", "of=/data/most", "bs=1M", "count=20").returncode == 1
