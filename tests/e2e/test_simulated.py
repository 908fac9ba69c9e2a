"""`petset up --simulate`: the whole control plane for tests of operators and charts, and nothing on the machine."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.leftovers import leftovers

NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")


def test_pods_get_ready_without_containers(make_cluster):
    cluster = make_cluster()
    cluster.up("--simulate")
    cluster.kubectl("create", "-f", NGINX)
    cluster.wait_ready("web-0", "web-1")
    refused = cluster.kubectl.run("exec", "web-0", "--", "true")
    assert refused.returncode != 0 and "simulated" in refused.stderr
    cluster.down()
    assert leftovers(cluster.state) == []
    cluster.up("--simulate")
    cluster.wait_ready("web-0", "web-1")
