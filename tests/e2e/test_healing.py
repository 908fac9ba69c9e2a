"""What a careless `kubectl delete` takes away comes back, or is refused: services, namespaces, the node."""

from __future__ import annotations

import json

from tests.e2e.cluster import Cluster

SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "debian:jessie", "command": ["sleep", "1000000"]}],
    },
}
ALL = ("service/kubernetes", "endpoints/kubernetes", "endpointslice/kubernetes")


def uid(cluster: Cluster, *what: str) -> str:
    return cluster.kubectl.json("get", *what)["metadata"]["uid"]


def test_deleting_everything_leaves_a_cluster_that_works(cluster):
    before = {what: uid(cluster, what) for what in ALL}
    spec = cluster.kubectl.json("get", "service/kubernetes")["spec"]
    cluster.kubectl("delete", "all,endpoints,endpointslices,configmaps,serviceaccounts", "--all", "-n", "default")
    cluster.kubectl("delete", "all,endpoints,configmaps,serviceaccounts", "--all", "-n", "kube-system")
    for what in ALL:
        cluster.wait(lambda what=what: uid(cluster, what) != before[what], f"{what} to come back", 30)
    assert cluster.kubectl.json("get", "service/kubernetes")["spec"] == spec
    for namespace in ("default", "kube-system"):
        for what in ("serviceaccount/default", "configmap/kube-root-ca.crt"):
            cluster.wait(lambda what=what, at=namespace: uid(cluster, what, "-n", at), f"{what} in {namespace}", 30)
    cluster.wait(lambda: uid(cluster, "service/kube-dns", "-n", "kube-system"), "Service kube-dns", 30)


def test_the_namespaces_of_the_cluster_refuse_and_the_node_stays_ready(cluster):
    done = cluster.kubectl.run("delete", "namespaces", "--all", "--wait=false")
    assert done.returncode == 1
    for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
        assert f'namespaces "{name}" is forbidden: this namespace may not be deleted' in done.stderr, done.stderr
        assert cluster.kubectl.json("get", "namespace", name)["status"]["phase"] == "Active"


def test_a_deleted_node_comes_back_with_its_pods_running(cluster):
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(SLEEPER))
    cluster.wait_ready("sleeper")
    before, pod = cluster.kubectl.json("get", "nodes")["items"][0], cluster.pod("sleeper")
    name = before["metadata"]["name"]
    cluster.kubectl("delete", "node", name)

    def is_back() -> bool:
        node = cluster.kubectl.json("get", "node", name)
        ready = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}.get("Ready") == "True"
        return ready and node["metadata"]["uid"] != before["metadata"]["uid"]

    cluster.wait(is_back, "the node to register again", 30)
    cluster.wait(lambda: uid(cluster, "lease", name, "-n", "kube-node-lease"), "its lease", 30)
    now = cluster.pod("sleeper")
    assert now["metadata"]["uid"] == pod["metadata"]["uid"] and cluster.is_ready("sleeper")
    assert now["status"]["containerStatuses"] == pod["status"]["containerStatuses"], "it never stopped"
    assert cluster.exec("sleeper", "echo", "here").strip() == "here"


def test_a_container_without_a_profile_is_confined_when_the_instance_says_so(make_cluster):
    one = make_cluster()
    one.up("--seccomp-default")
    one.kubectl("create", "-f", "-", stdin=json.dumps(SLEEPER))
    one.wait_ready("sleeper")
    assert "Seccomp:\t2" in one.exec("sleeper", "cat", "/proc/1/status")
