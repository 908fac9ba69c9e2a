"""The post's own trouble: no provisioner, a claim that stays pending, and the way out of it."""

from __future__ import annotations

from pathlib import Path

NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")
MESSAGE = "No provisioner plugin found for the claim!"


def failures(cluster) -> list[dict]:
    events = cluster.kubectl.json("get", "events", "--field-selector", "involvedObject.name=www-web-0")["items"]
    return [event for event in events if event["reason"] == "ProvisioningFailed"]


def test_a_claim_waits_for_a_provisioner_and_gets_it_after_a_restart(make_cluster):
    cluster = make_cluster()
    cluster.up("--enable-hostpath-provisioner=false")
    cluster.kubectl("create", "-f", NGINX)
    cluster.wait(lambda: failures(cluster) and failures(cluster)[0]["count"] >= 3, "the count to grow", 60)
    assert len(failures(cluster)) == 1
    event = failures(cluster)[0]
    assert (event["type"], event["message"]) == ("Warning", MESSAGE)
    assert event["source"]["component"] == "persistentvolume-controller"
    assert cluster.kubectl.json("get", "pvc", "www-web-0")["status"]["phase"] == "Pending"
    described = cluster.kubectl("describe", "pvc", "www-web-0")
    assert "Status:        Pending" in described and MESSAGE in described and "persistentvolume-controller" in described
    pod = cluster.pod("web-0")
    assert pod["status"]["phase"] == "Pending" and "nodeName" not in pod["spec"]
    assert cluster.kubectl.run("get", "pod", "web-1").returncode != 0

    cluster.down()
    cluster.up("--enable-hostpath-provisioner=true")
    cluster.wait_ready("web-0", "web-1")
    assert cluster.pod("web-0")["metadata"]["uid"] == pod["metadata"]["uid"]
    assert cluster.kubectl.json("get", "pvc", "www-web-0")["status"]["phase"] == "Bound"
