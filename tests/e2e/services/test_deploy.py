"""deploy/kubernetes as docs/how-to/deploy.md has it: installed in a cluster with real containers, used, taken away."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.extension import LEADER, NAMESPACE

pytestmark = pytest.mark.services
POST = ROOT / "tests" / "e2e" / "manifests" / "nginx.yaml"
IN = ("-n", NAMESPACE)
SERVICE = "v1alpha1.apps"
REPLICAS = ("get", "pods", *IN, "-l", "app.kubernetes.io/name=petset")


@pytest.fixture(scope="module")
def manifests() -> Iterator[Path]:
    """A copy whose image is named as it is here: where `kustomize edit set image` writes it."""
    folder = Path(tempfile.mkdtemp(prefix="petset-deploy-", dir="/tmp"))
    copy = Path(shutil.copytree(ROOT / "deploy" / "kubernetes", folder / "kubernetes"))
    base = copy / "base" / "kustomization.yaml"
    customized = yaml.safe_load(base.read_text())
    customized["images"] = [{"name": "petset.dev/petset", "newName": "petset.local/petset", "newTag": "latest"}]
    base.write_text(yaml.safe_dump(customized))
    yield copy
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(make_cluster) -> Cluster:
    cluster = make_cluster()
    cluster.up("--runtime-config=apps/v1alpha1=false")
    return cluster


def everything(cluster: Cluster) -> set[str]:
    """All objects but events, which end by themselves, by kind and name."""
    found: set[str] = set()
    for kind in cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split():
        if not kind.startswith("events"):
            for obj in json.loads(cluster.kubectl("get", kind, "-A", "-o", "json"))["items"]:
                found.add(f"{kind} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}")
    return found


@pytest.fixture(scope="module")
def before(cluster: Cluster) -> set[str]:
    return everything(cluster)


@pytest.fixture(scope="module")
def installed(cluster: Cluster, manifests: Path, before: set[str]) -> Cluster:
    kubectl = cluster.kubectl
    kubectl("apply", "-k", str(manifests))
    try:
        kubectl("rollout", "status", "deployment/petset", *IN, "--timeout=180s", timeout=200)
        kubectl("wait", "--for=condition=Available", f"apiservice/{SERVICE}", "--timeout=120s", timeout=130)
    except AssertionError as error:
        said = kubectl.run("logs", *IN, "-l", "app.kubernetes.io/name=petset", "--tail=40", "--prefix")
        raise AssertionError(f"{error}\n{said.stdout}{said.stderr}\n{cluster.situation()}") from None
    return cluster


def replicas(cluster: Cluster) -> list[str]:
    """Names of those that are ready and stay."""
    pods = cluster.kubectl.json(*REPLICAS)["items"]
    names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return [name for name in names if cluster.is_ready(name, NAMESPACE)]


def test_it_is_installed_and_pets_come(installed: Cluster) -> None:
    kubectl = installed.kubectl
    assert len(replicas(installed)) == 2
    bundle = kubectl("get", "apiservice", SERVICE, "-o", "jsonpath={.spec.caBundle}")
    assert bundle, "the APIService has not been told whom to believe"
    assert "petset.apps/web created" in kubectl("create", "-f", str(POST))
    installed.wait_ready("web-0", "web-1", seconds=180)
    shown = kubectl("get", "petsets", "--no-headers").split()
    assert shown[:3] == ["web", "2", "2"]
    stored = kubectl("get", "storedpetsets", *IN, "--no-headers").split()
    assert stored[1:4] == ["default", "web", "2"]


def test_it_goes_on_when_the_pod_that_acts_is_deleted(installed: Cluster) -> None:
    kubectl = installed.kubectl
    before = replicas(installed)
    leader = next(name for name in before if kubectl(*LEADER).startswith(name))
    other = next(name for name in before if name != leader)
    kubectl("delete", "pod", leader, *IN, "--wait=false")
    while leader in kubectl(*REPLICAS, "-o", "name"):  # It answers, or the other does: nobody is refused.
        assert kubectl("get", "petsets", "-o", "name").split() == ["petset.apps/web"]
    installed.wait(lambda: len(replicas(installed)) == 2, "another replica", 120)
    installed.wait(lambda: kubectl(*LEADER).startswith(tuple(replicas(installed))), "a leader")
    assert other in replicas(installed)
    kubectl("scale", "petset", "web", "--replicas=3")
    installed.wait_ready("web-2", seconds=120)


def test_it_is_taken_away_and_put_back_with_its_pets(installed: Cluster, manifests: Path) -> None:
    kubectl = installed.kubectl
    pets = kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}")
    kubectl("delete", "apiservice", SERVICE)
    kubectl("delete", *IN, "deployment,service,networkpolicy,poddisruptionbudget", "petset")
    kubectl("wait", "--for=delete", "pods", *IN, "--all", "--timeout=120s", timeout=130)
    assert "petsets" not in kubectl("api-resources", "--api-group=apps", "-o", "name")
    kubectl("create", "namespace", "passing")
    kubectl("delete", "namespace", "passing", "--timeout=60s")  # Which an APIService that nobody answers would hold up.
    assert kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}") == pets
    assert kubectl("get", "storedpetsets", *IN, "-o", "name")
    kubectl("apply", "-k", str(manifests))
    kubectl("wait", "--for=condition=Available", f"apiservice/{SERVICE}", "--timeout=180s", timeout=190)
    assert kubectl("get", "petsets", "-o", "name").split() == ["petset.apps/web"]
    kubectl("delete", "petset", "web", "--timeout=60s")
    installed.wait(lambda: kubectl("get", "pods", "-o", "name") == "", "the pets to be gone", 120)


def test_nothing_is_left_of_it(installed: Cluster, manifests: Path, before: set[str]) -> None:
    kubectl = installed.kubectl
    kubectl("delete", "service", "nginx")
    kubectl("delete", "pvc", "--all", "--timeout=60s")
    kubectl("delete", "apiservice", SERVICE)
    kubectl("delete", "-k", str(manifests), "--ignore-not-found", "--timeout=180s", timeout=200)

    def nothing_is_left() -> bool:
        assert sorted(everything(installed) - before) == []
        return True

    installed.wait(nothing_is_left, "all to be gone")
