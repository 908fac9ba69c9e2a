"""A container that swaps what others mount, through the whole of petset: nobody comes to see the host."""

from __future__ import annotations

import json
import os
from collections import Counter

BASE = "debian:jessie"
VICTIMS = 24  # As many as once found 12 ways out.

# What a hostile container can do with the system call that exchanges two names (perl is in every Debian).
SWAP = """
mkdir -p /v/d && echo "the pod's" > /v/d/whose && ln -sfn OUTSIDE /v/link && cd /v
exec perl -e '$n = {x86_64 => 316, aarch64 => 276}->{`uname -m` =~ s/\\s//r};
  ($d, $l) = ("d", "link"); while (1) { syscall($n, -100, $d, -100, $l, 2) }'
"""


def test_a_sub_path_that_is_swapped_never_shows_the_host(cluster, namespace, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "whose").write_text("the host's\n")
    victims = [
        {
            "name": f"victim-{number}",
            "image": BASE,
            "command": ["sh", "-c", "cat /v/whose > /dev/termination-log; touch /v/mine"],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "d"}],
        }
        for number in range(VICTIMS)
    ]
    swapper = {
        "name": "swapper",
        "image": BASE,
        "restartPolicy": "Always",  # It begins before the others, and goes on beside them.
        "command": ["sh", "-c", SWAP.replace("OUTSIDE", str(outside))],
        "startupProbe": {"exec": {"command": ["test", "-e", "/v/link"]}, "periodSeconds": 1, "failureThreshold": 60},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "swapped"},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "initContainers": [swapper],
            "containers": victims,
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))

    def outcomes() -> list[str]:
        """What became of every container, once each has run or was refused."""
        statuses = cluster.pod("swapped", namespace)["status"].get("containerStatuses", [])
        found = []
        for status in statuses:
            ended, waiting = status["state"].get("terminated"), status["state"].get("waiting", {})
            if ended:
                found.append(ended.get("message", ""))
            elif waiting.get("reason") == "CreateContainerConfigError":
                found.append(waiting["message"])
        return found if len(found) == VICTIMS else []

    found = Counter(cluster.wait(outcomes, "every container to run or to be refused", 120))
    refused = "cannot mount subPath 'd' at /v: "
    allowed = {"the pod's\n", f"{refused}it leads out of its volume"}
    allowed.add(f"{refused}its directories are being renamed all the time")
    assert found.keys() <= allowed
    assert os.listdir(outside) == ["whose"]
    cluster.kubectl("delete", "pod", "swapped", "-n", namespace, "--wait=true")
    assert (outside / "whose").read_text() == "the host's\n"  # Nor did removing the volume go through the link.
