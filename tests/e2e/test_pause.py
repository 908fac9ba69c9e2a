"""The debugging aid of 2016: `initialized: "false"` on a pet pauses its set until it is edited to "true"."""

from __future__ import annotations

import json

INITIALIZED = "pod.alpha.kubernetes.io/initialized"


def test_a_paused_pet_holds_its_set(cluster, namespace):
    petset = {
        "apiVersion": "apps/v1alpha1",
        "kind": "PetSet",
        "metadata": {"name": "slow"},
        "spec": {
            "serviceName": "slow",
            "replicas": 2,
            "template": {
                "metadata": {"labels": {"app": "slow"}, "annotations": {INITIALIZED: "false"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "main", "image": "debian:jessie", "command": ["sleep", "infinity"]}],
                },
            },
        },
    }
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(petset))
    cluster.wait_ready("slow-0", namespace=namespace)
    # Something later than slow-0's readiness has been reconciled: the set's status has seen it.
    cluster.wait(
        lambda: cluster.kubectl.json("get", "petset", "slow", "-n", namespace)["status"]["replicas"] == 1, "the status"
    )
    assert cluster.kubectl.run("get", "pod", "slow-1", "-n", namespace).returncode != 0
    cluster.kubectl("annotate", "pod", "slow-0", "-n", namespace, "--overwrite", f"{INITIALIZED}=true")
    cluster.wait_ready("slow-1", namespace=namespace)
