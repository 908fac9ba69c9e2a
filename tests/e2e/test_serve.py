"""PetSets beside a cluster that has none: replicas of `petset serve`, with kubectl speaking to the cluster alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.extension import NAMESPACE, Balancer, Replica, install, leader, without_petsets
from tests.e2e.kubernetes import Kubernetes

POST = ROOT / "tests" / "e2e" / "manifests" / "nginx.yaml"
LOST_SECONDS_MAX = 90  # For 15 s that are promised, on a busy machine.

Make = Callable[..., Replica]


@pytest.fixture(scope="module")
def there(make_cluster) -> Iterator[Cluster | Kubernetes]:
    with without_petsets(make_cluster) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def make(there: Cluster) -> Iterator[Make]:
    directory = Path(tempfile.mkdtemp(prefix="petset-serve-", dir="/tmp"))
    made: list[Replica] = []
    there.kubectl("create", "namespace", NAMESPACE)

    def make(name: str, *flags: str) -> Replica:
        made.append(Replica(directory, there, name, *flags))
        return made[-1].start()

    yield make
    for replica in made:
        replica.kill()
    logs = [replica.log for replica in made]
    shutil.rmtree(directory)
    assert not [log for log in logs if "Traceback" in log]


@pytest.fixture(scope="module")
def two(there: Cluster, make: Make) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas over what the cluster keeps, which hands PetSets on to them."""
    replicas = make("one"), make("two")
    balancer = Balancer(*replicas)
    install(there, replicas[0], balancer.port)
    yield replicas
    balancer.close()


def pods(cluster: Cluster, namespace: str = "default") -> list[str]:
    return cluster.kubectl("get", "pods", "-n", namespace, "-o", "name").split()


def has_pods(cluster: Cluster, *names: str, namespace: str = "default") -> None:
    cluster.wait(lambda: pods(cluster, namespace) == [f"pod/{name}" for name in names], f"the pods {names}")


@pytest.fixture
def space(there: Cluster, two: tuple[Replica, Replica], request) -> str:
    """A namespace with a set of two pets."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    there.kubectl("create", "namespace", name)
    there.kubectl("create", "-n", name, "-f", str(POST))
    has_pods(there, "web-0", "web-1", namespace=name)
    return name


def test_the_set_of_2016_comes_to_its_pets(there: Cluster, two: tuple[Replica, Replica]) -> None:
    kubectl = there.kubectl
    assert "petset.apps/web created" in kubectl("create", "-f", str(POST))
    has_pods(there, "web-0", "web-1")
    kubectl("wait", "pod/web-0", "pod/web-1", "--for=condition=Ready", "--timeout=60s")
    assert "FIELDS:" in kubectl("explain", "petset.spec") and "serviceName" in kubectl("explain", "petset.spec")
    assert "petsets" in kubectl("api-resources", "--api-group=apps")
    assert kubectl("get", "petsets").split("\n")[0].split() == ["NAME", "DESIRED", "CURRENT", "AGE"]
    kubectl("scale", "petset", "web", "--replicas=3")
    has_pods(there, "web-0", "web-1", "web-2")
    kubectl("wait", "petset/web", "--for=jsonpath={.status.replicas}=3", "--timeout=60s")
    kubectl("patch", "petset", "web", "--type=merge", "-p", '{"metadata": {"annotations": {"a": "b"}}}')
    kubectl("label", "petset", "web", "c=d", "--dry-run=server")
    applied = {
        "apiVersion": "apps/v1alpha1",
        "kind": "PetSet",
        "metadata": {"name": "web", "labels": {"applied": "yes"}},
    }
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(applied))
    found = kubectl.json("get", "petset", "web", "--show-managed-fields")["metadata"]
    assert found["annotations"]["a"] == "b" and found["labels"]["applied"] == "yes" and "c" not in found["labels"]
    assert "kubectl" in [one["manager"] for one in found["managedFields"]]
    refused = kubectl.run("patch", "petset", "web", "--type=merge", "-p", '{"spec": {"replicas": -1}}')
    assert refused.returncode and 'The PetSet "web" is invalid: spec.replicas: Invalid value: -1' in refused.stderr
    kubectl("delete", "petset", "web", "--cascade=background")
    has_pods(there)
    assert kubectl("get", "pvc", "-o", "name").split() == [f"persistentvolumeclaim/www-web-{i}" for i in range(3)]


def test_what_users_may_is_the_clusters_to_say(there: Cluster, two: tuple[Replica, Replica]) -> None:
    kubectl = there.kubectl
    kubectl("create", "role", "looker", "--verb=get,list", "--resource=petsets.apps")
    kubectl("create", "rolebinding", "looker", "--role=looker", "--user=jane")
    assert kubectl("get", "petsets", "--as=jane", "-o", "name") == ""
    refused = kubectl.run("create", "--as=jane", "-f", str(POST))
    assert 'petsets.apps is forbidden: User "jane" cannot create resource "petsets"' in refused.stderr
    assert "no" in kubectl.run("auth", "can-i", "delete", "petsets", "--as=jane").stdout


def test_orphans_stay_without_their_owner(there: Cluster, space: str) -> None:
    there.kubectl("delete", "petset", "web", "-n", space, "--cascade=orphan")
    assert pods(there, space) == ["pod/web-0", "pod/web-1"]
    owners = there.kubectl("get", "pods", "-n", space, "-o", "jsonpath={.items[*].metadata.ownerReferences}")
    assert owners == ""


def test_in_the_foreground_the_owner_goes_last(there: Cluster, space: str) -> None:
    held = '{"metadata": {"finalizers": ["example.com/held"]}}'
    there.kubectl("patch", "pod", "web-0", "-n", space, "--type=merge", "-p", held)
    there.kubectl("delete", "petset", "web", "-n", space, "--cascade=foreground", "--wait=false")
    has_pods(there, "web-0", namespace=space)
    left = there.kubectl.json("get", "petset", "web", "-n", space)["metadata"]
    assert left["finalizers"] == ["foregroundDeletion"] and left["deletionTimestamp"]
    there.kubectl("patch", "pod", "web-0", "-n", space, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    there.kubectl("wait", "--for=delete", "petset/web", "-n", space, "--timeout=60s")


def test_a_namespace_goes_while_one_replica_is_dead(there: Cluster, space: str, two: tuple[Replica, Replica]) -> None:
    """Nobody has noticed: half of the requests for PetSets come to nothing."""
    two[1].kill()
    there.kubectl("delete", "namespace", space, "--timeout=180s", timeout=200)
    assert there.kubectl("get", "storedpetsets", "-n", NAMESPACE, "-o", "name") == ""
    two[1].start()


def test_a_namespace_waits_for_the_replicas_and_says_why(
    there: Cluster, space: str, two: tuple[Replica, Replica]
) -> None:
    for replica in two:
        replica.kill()
    there.kubectl("annotate", "apiservice", "v1alpha1.apps", f"noticed={space}")
    there.kubectl("wait", "--for=condition=Available=false", "apiservice/v1alpha1.apps", "--timeout=120s", timeout=130)
    there.kubectl("delete", "namespace", space, "--wait=false")
    there.kubectl(
        *("wait", f"namespace/{space}", "--for=condition=NamespaceDeletionDiscoveryFailure", "--timeout=60s"),
    )
    said = there.kubectl("get", "namespace", space, "-o", "jsonpath={.status.conditions[*].message}")
    assert "apps/v1alpha1" in said
    for replica in two:
        replica.start()
    there.kubectl("wait", "--for=delete", f"namespace/{space}", "--timeout=180s", timeout=200)
    assert there.kubectl("get", "storedpetsets", "-n", NAMESPACE, "-o", "name") == ""


def test_a_killed_leader_is_replaced(there: Cluster, space: str, two: tuple[Replica, Replica]) -> None:
    first = leader(there, *two, seconds=LOST_SECONDS_MAX)
    first.kill()
    leader(there, *(one for one in two if one is not first), seconds=LOST_SECONDS_MAX)
    there.wait(
        lambda: there.kubectl.run("scale", "petset", "web", "-n", space, "--replicas=1").returncode == 0, "a size"
    )
    has_pods(there, "web-0", namespace=space)
    first.start()


def test_one_that_stops_gives_its_lease_back(there: Cluster, two: tuple[Replica, Replica]) -> None:
    first = leader(there, *two, seconds=LOST_SECONDS_MAX)
    assert first.stop() == 0
    leader(there, *(one for one in two if one is not first))
    first.start()
