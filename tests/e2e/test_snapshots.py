"""A volume's data now, then and elsewhere: written, kept in a snapshot, changed, restored and cloned, in containers."""

from __future__ import annotations

import yaml

WRITER = "while :; do i=$((i+1)); echo $i > /data/a; echo $i > /data/b; sync /data/b; done"


def claim(name: str, **spec) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}, **spec},
    }


def pod(name: str, claim_name: str, command: str = "sleep 3600") -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "image": "gcr.io/google_containers/nginx-slim:0.8",
                    "command": ["sh", "-c", command],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}],
        },
    }


def create(cluster, *objects: dict) -> None:
    cluster.kubectl("create", "-f", "-", stdin="---\n".join(yaml.safe_dump(one) for one in objects))


def test_a_snapshot_is_taken_of_a_running_pod_restored_and_cloned(cluster):
    snapshot = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": "then"},
        "spec": {"source": {"persistentVolumeClaimName": "data"}},
    }
    create(cluster, claim("data"), pod("writer", "data", WRITER))
    cluster.wait_ready("writer")
    cluster.wait(lambda: cluster.exec("writer", "cat", "/data/b").strip(), "the writer to write", 30)
    cluster.exec("writer", "sh", "-c", "echo before > /data/kept")
    create(cluster, snapshot)
    cluster.kubectl("wait", "vs/then", "--for=jsonpath={.status.readyToUse}=true", "--timeout=60s")
    cluster.exec("writer", "sh", "-c", "echo after > /data/kept")
    written = int(cluster.wait(lambda: cluster.exec("writer", "cat", "/data/b").strip(), "what it has written", 30))
    cluster.wait(lambda: int(cluster.exec("writer", "cat", "/data/b") or 0) > written, "it to go on writing", 30)

    header, row = cluster.kubectl("get", "volumesnapshot").splitlines()
    assert header.split() == [
        *("NAME", "READYTOUSE", "SOURCEPVC", "SOURCESNAPSHOTCONTENT"),
        *("RESTORESIZE", "SNAPSHOTCLASS", "SNAPSHOTCONTENT", "CREATIONTIME", "AGE"),
    ]
    assert row.split()[:5] == ["then", "true", "data", "64Mi", "standard"]

    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "then"}
    cloned = {"kind": "PersistentVolumeClaim", "name": "data"}
    create(cluster, claim("restored", dataSource=source), claim("cloned", dataSource=cloned))
    create(cluster, pod("reader", "restored"), pod("copier", "cloned"))
    cluster.wait_ready("reader", "copier")
    assert cluster.exec("reader", "cat", "/data/kept").strip() == "before"
    assert cluster.exec("copier", "cat", "/data/kept").strip() == "after"
    for name in ("reader", "copier"):  # What a crash leaves: b is never more than one behind a.
        first, second = (cluster.exec(name, "cat", f"/data/{file}").strip() for file in ("a", "b"))
        assert not first or not second or int(first) - int(second) in (0, 1)

    cluster.kubectl("delete", "vs/then", "pod/writer", "pod/reader", "pod/copier", "--now")
    cluster.kubectl("delete", "pvc", "data", "restored", "cloned")
    cluster.wait(lambda: not cluster.kubectl.json("get", "pv,vsc")["items"], "the volumes and the content to go", 30)


def test_a_set_is_reverted_to_what_its_pets_had(cluster):
    labels = {"app": "pair"}
    template = {"metadata": {"labels": labels}, "spec": pod("x", "x")["spec"]}
    template["spec"].pop("volumes")
    pair = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "pair"},
        "spec": {
            "serviceName": "pair",
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": template,
            "volumeClaimTemplates": [
                {key: value for key, value in claim("data").items() if key in ("metadata", "spec")}
            ],
        },
    }
    names = ("pair-0", "pair-1")

    def write(text: str) -> None:
        for name in names:
            cluster.exec(name, "sh", "-c", f"echo {text} of {name} > /data/kept")

    create(cluster, pair)
    cluster.wait_ready(*names)
    write("before")
    assert "then: 2 volumes of pair" in cluster.petset("snapshot", "take", "pair", "--name", "then").stdout
    write("after")
    said = cluster.petset("snapshot", "revert", "then", "--yes").stdout
    assert said == "pair: 2 volumes are as in then, and 2 pets come back\n"
    cluster.wait_ready(*names)
    assert [cluster.exec(name, "cat", "/data/kept").strip() for name in names] == [
        f"before of {name}" for name in names
    ]
