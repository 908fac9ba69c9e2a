"""PetSets beside a cluster that has none: `petset serve`, with kubectl speaking to the cluster alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import kubernetes
from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.extension import Replica, objects
from tests.e2e.kubernetes import Kubernetes

POST = ROOT / "tests" / "e2e" / "manifests" / "nginx.yaml"


@pytest.fixture(scope="module")
def there(make_cluster) -> Iterator[Cluster | Kubernetes]:
    """The cluster, without PetSets: a petset, or, where there is one, a real Kubernetes."""
    if (programs := kubernetes.directory()) is not None:
        with tempfile.TemporaryDirectory(prefix="kubernetes-", dir="/tmp") as folder:
            with kubernetes.running(Path(folder), programs) as real:
                yield real
        return
    cluster = make_cluster()
    cluster.up("--simulate", "--runtime-config=apps/v1alpha1=false")
    yield cluster


@pytest.fixture(scope="module")
def served(there: Cluster) -> Iterator[Replica]:
    """One replica, which the cluster hands PetSets on to."""
    directory = Path(tempfile.mkdtemp(prefix="petset-serve-", dir="/tmp"))
    replica = Replica(directory / "store", there).start()
    try:
        there.kubectl(
            "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(replica)})
        )
        there.kubectl("wait", "--for=condition=Available", "apiservice/v1alpha1.apps", "--timeout=60s")
        yield replica
        assert replica.stop() == 0, replica.log
        assert "Traceback" not in replica.log
    finally:
        replica.kill()
        shutil.rmtree(directory)


def test_the_set_of_2016_is_created_by_the_cluster_and_kept_here(there: Cluster, served: Replica) -> None:
    kubectl = there.kubectl
    assert "petset.apps/web created" in kubectl("create", "-f", str(POST))
    assert kubectl("get", "petset", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert "FIELDS:" in kubectl("explain", "petset.spec") and "replicas" in kubectl("explain", "petset.spec")
    assert "petsets" in kubectl("api-resources", "--api-group=apps")
    assert kubectl("get", "petsets").split("\n")[0].split() == ["NAME", "DESIRED", "CURRENT", "AGE"]
    kubectl("scale", "petset", "web", "--replicas=3")
    assert kubectl("get", "petset", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    kubectl("delete", "petset", "web", "--cascade=orphan")
    assert kubectl("get", "petsets", "-o", "name") == ""
