"""petset.Cluster: a cluster while a `with` lasts, and what can be done with it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

import petset
from petset.testing import failures
from tests import kubectl as kubectls
from tests.test_idle import ENVIRONMENT
from tests.testing.conftest import petset_of

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "toys.shop.example.com"},
    "spec": {
        "group": "shop.example.com",
        "scope": "Namespaced",
        "names": {"plural": "toys", "singular": "toy", "kind": "Toy", "shortNames": ["ty"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def test_a_set_is_applied_waited_for_scaled_and_deleted(space):
    [applied] = space.apply(petset_of("web", volumeClaimTemplates=[claim()]))
    assert applied["metadata"]["namespace"] == space.name
    ready = space.wait_for("sts/web")
    assert ready["status"]["readyReplicas"] == 2
    space.scale("sts/web", 3)
    space.wait_for("sts/web", lambda obj: obj["status"]["readyReplicas"] == 3)
    assert space.list("pods", labels={"app": "web"}).names == ["web-0", "web-1", "web-2"]
    assert all(claim["status"]["phase"] == "Bound" for claim in space.list("pvc"))
    assert "Scheduled" in [event["reason"] for event in space.events("pod/web-0")]
    assert space.logs("web-0")
    space.delete("sts/web", wait=True)
    with pytest.raises(petset.NotFound):
        space.get("sts/web")


def claim():
    return {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def test_objects_belong_to_who_got_them(space):
    space.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
    for found in (space.get("configmap/a"), space.list("cm")[-1]):
        found["data"]["k"] = "other"
    assert space.get("cm", "a")["data"] == {"k": "v"}


def test_apply_is_server_side(space):
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    space.apply(obj)
    theirs = {**obj, "data": {"k": "theirs"}}
    with pytest.raises(petset.Conflict, match="conflict"):
        space.apply(theirs, manager="somebody")
    space.apply(theirs, manager="somebody", force=True)
    assert space.get("cm/a")["data"] == {"k": "theirs"}
    assert space.patch("cm/a", {"data": {"more": "1"}})["data"] == {"k": "theirs", "more": "1"}
    assert space.patch("cm/a", [{"op": "remove", "path": "/data/more"}], kind="json")["data"] == {"k": "theirs"}


def test_what_the_api_refuses_is_of_the_class_of_its_reason(space):
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    space.create(obj)
    with pytest.raises(petset.AlreadyExists):
        space.create(obj)
    with pytest.raises(petset.Invalid, match=r"metadata\.name"):
        space.create({**obj, "metadata": {"name": "A"}})
    with pytest.raises(petset.ApiError, match="unknown field"):
        space.create({**obj, "metadata": {"name": "b"}, "dta": {}})
    with pytest.raises(petset.NotFound, match="none of that name"):
        space.list("toys")
    space.delete("cm/a")
    space.delete("cm/a", missing_ok=True)
    with pytest.raises(ValueError, match="no name is given"):
        space.get("cm")


def test_kinds_of_ones_own_are_known_from_their_definition_on(one, space):
    one.apply(CRD)
    space.apply(
        {"apiVersion": "shop.example.com/v1", "kind": "Toy", "metadata": {"name": "bear"}, "spec": {"soft": True}}
    )
    assert space.get("toys.shop.example.com/bear")["spec"] == {"soft": True}
    assert space.list("ty").names == ["bear"]
    one.delete("crd/toys.shop.example.com", wait=True)


def test_what_does_not_come_is_told_with_how_it_was(space):
    pod = petset_of("web")["spec"]["template"]["spec"] | {"nodeSelector": {"disk": "fast"}}
    space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "here"}, "spec": pod})
    space.wait_for("pod/here", "condition=PodScheduled=False")
    with pytest.raises(petset.WaitTimeout) as told:
        space.wait_for("pod/here", timeout=0.2)
    said = str(told.value)
    assert said.startswith(
        f"cannot wait for pods/here in {space.name} any longer: after 0.2 s ready is not so: phase Pending"
    )
    assert "PodScheduled is False (Unschedulable" in said and "FailedScheduling" in said
    assert told.value.last["metadata"]["name"] == "here"
    with pytest.raises(petset.WaitTimeout, match="there is none"):
        space.wait_for("pod/nobody", timeout=0.1)


def test_a_predicate_may_ask_the_cluster(space):
    space.apply(petset_of("web"))
    space.wait_for("sts/web", lambda obj: len(space.list("pods")) == 2)
    space.wait_until(lambda: len(space.list("pods")) == 2 and space.get("pod/web-1"))
    with pytest.raises(petset.WaitTimeout):
        space.wait_until(lambda: False, timeout=0.1)


def test_a_simulated_container_runs_no_command(space):
    space.apply(petset_of("web", 1))
    space.wait_for("sts/web")
    with pytest.raises(petset.ApiError, match="this container is simulated"):
        space.exec("web-0", ["hostname"])


def test_nodes_fall_silent_and_come_back(one):
    one.stop_node("node-1")
    one.start_node("node-1")
    one.partition_node("node-1")
    one.start_node("node-1")
    one.wait_for("node/node-1", "Ready")
    with pytest.raises(petset.ClusterError, match="there are node-0, node-1"):
        one.stop_node("node-7")


def test_any_client_reaches_it_by_its_kubeconfig(one, space):
    assert kubectls.find()
    space.kubectl("create", "configmap", "made", "--from-literal=k=v")
    assert space.get("cm/made")["data"] == {"k": "v"}
    said = one.kubectl("apply", "-f", "-", stdin=petset_of("web"), namespace=space.name)
    assert said == "statefulset.apps/web created\n"
    with pytest.raises(petset.CommandFailed, match="not found") as told:
        space.kubectl("get", "pod", "nobody")
    assert told.value.exit_code == 1


def test_it_shows_itself(one, space):
    space.apply(petset_of("web", volumeClaimTemplates=[claim()]))
    space.wait_for("sts/web")
    assert f"StatefulSet {space}/web: 2 of 2 ready" in repr(one) and "2 of 2 nodes ready" in repr(one)
    text = repr(space)
    assert "web-1   yes     Running   node-" in text and "data-web-1 (Bound)" in text
    assert "<td" in space._repr_html_() and "<b>StatefulSet" in one._repr_html_()
    assert repr(space.list("pods")).splitlines()[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert "<table>" in space.list("pods")._repr_html_()
    assert repr(space.list("jobs")) == "no jobs"


def test_html_says_what_is_said_and_does_nothing(space):
    space.apply(petset_of("web", 1))
    space.patch("sts/web", {"metadata": {"annotations": {"a": "<script>"}}})
    pods = space.list("sts")
    pods[0]["metadata"]["name"] = "<script>"
    assert "<script>" not in pods._repr_html_() and "&lt;script&gt;" in pods._repr_html_()


def test_a_cluster_that_does_not_run_says_so(one):
    threads = threading.active_count()
    cluster = petset.Cluster()
    assert repr(cluster) == "<petset.Cluster, not running>"
    with pytest.raises(petset.ClusterError, match="not running"):
        cluster.list("pods")
    with cluster:
        namespace = cluster.make_namespace("here")
    with pytest.raises(petset.ClusterError, match="not running"):
        namespace.list("pods")
    assert threading.active_count() == threads
    with pytest.raises(petset.ClusterError, match="it may have 1 to 1000"):
        petset.Cluster(nodes=0)


def test_a_directory_that_is_given_keeps_what_was_there(tmp_path):
    with petset.Cluster(state=tmp_path / "kept") as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
        with (
            pytest.raises(petset.ClusterError, match="is running in it already"),
            petset.Cluster(state=tmp_path / "kept"),
        ):
            pass
    with petset.Cluster(state=tmp_path / "kept") as cluster:
        assert cluster.get("cm/a")["data"] == {"k": "v"}


def test_two_clusters_know_nothing_of_each_other(one):
    with petset.Cluster() as other:
        other.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-here"}})
        with pytest.raises(petset.NotFound):
            one.get("namespace/only-here")
        assert other.list("nodes").names == ["node-0"]


def test_importing_petset_is_cheap():
    code = "import petset, sys, json; print(json.dumps([m for m in sys.modules if m.startswith('petset')]))"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["petset"]
    assert petset.NotFound is failures.NotFound and petset.ApiError in petset.NotFound.__mro__
    with pytest.raises(AttributeError):
        petset.Nothing  # noqa: B018
