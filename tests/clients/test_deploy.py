"""deploy/kubernetes by real kubectl: what it makes is taken by a server as it stands, and is what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import petset
from petset.kinds import stored_pet_set
from petset.serving import pair
from tests import kubectl as kubectls
from tests.clients.conftest import Served, serving

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "kubernetes"
BASE = DEPLOY / "base"
CHART = ROOT / "deploy" / "helm" / "petset"
NAMESPACE = "petset-system"


def made(folder: Path = DEPLOY) -> list[Any]:
    done = subprocess.run([kubectls.find(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def one(kind: str, objects: list[Any], name: str = "") -> Any:
    found = [obj for obj in objects if obj["kind"] == kind and (not name or obj["metadata"]["name"] == name)]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("deploy")) as it:
        yield it


def test_a_server_takes_it_in_a_dry_run_and_for_real(cluster: Served) -> None:
    kubectl = cluster.admin
    kubectl("apply", "-f", str(BASE / "namespace.yaml"))  # A dry run makes none for the others to be in.
    said = kubectl("apply", "-k", str(DEPLOY), "--dry-run=server")
    assert len(said.splitlines()) == len(made())
    said = kubectl("apply", "-k", str(DEPLOY))
    assert "Warning" not in said
    again = kubectl("apply", "-k", str(DEPLOY))
    assert all(line.endswith((" unchanged", " configured")) for line in again.splitlines())
    kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/storedpetsets.petset.dev")
    assert kubectl("get", "storedpetsets", "-n", NAMESPACE) == ""


def test_its_pods_are_what_the_namespace_demands(cluster: Served) -> None:
    """A namespace that enforces `restricted` takes the pod of the template."""
    kubectl = cluster.admin
    kubectl("apply", "-f", str(BASE / "namespace.yaml"), "-f", str(BASE / "rights.yaml"))
    labels = one("Namespace", made())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    template = one("Deployment", made())["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "petset", "namespace": NAMESPACE}}
    assert "created" in kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    pod["spec"]["containers"][0]["securityContext"].pop("capabilities")
    refused = kubectl.run("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    assert "violates PodSecurity" in refused.stderr


def test_what_keeps_petsets_is_as_the_code_has_it() -> None:
    assert yaml.safe_load((BASE / "storedpetsets.yaml").read_text()) == stored_pet_set.definition()


def test_the_image_is_of_this_version() -> None:
    image = one("Deployment", made())["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"petset.dev/petset:{petset.__version__}"


def test_two_replicas_stand_apart_and_one_may_be_missing() -> None:
    objects = made()
    spec = one("Deployment", objects)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["replicas"] == 2 and spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one("PodDisruptionBudget", objects)["spec"]["maxUnavailable"] == 1
    apart = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    for selector in (
        spec["selector"]["matchLabels"],
        one("PodDisruptionBudget", objects)["spec"]["selector"]["matchLabels"],
        one("Service", objects)["spec"]["selector"],
        one("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"],
        *(term["podAffinityTerm"]["labelSelector"]["matchLabels"] for term in apart),
    ):
        assert selector.items() <= labels.items()


def test_each_rule_says_what_it_is_for() -> None:
    """A comment stands before each rule of ours, or before the next of the same reason."""
    lines = (BASE / "rights.yaml").read_text().splitlines()
    inside = False
    for number, line in enumerate(lines):
        inside = line == "rules:" or (inside and line.startswith("  "))
        if inside and line.startswith("  - apiGroups: ") and "aggregate-to" not in "".join(lines[number - 12 : number]):
            reasoned = lines[number - 1].startswith("  # ") or lines[number - 1].startswith("    verbs: ")
            assert reasoned, f"line {number + 1}: {line}"


def test_the_charts_rights_are_the_same_with_the_same_reasons() -> None:
    """Line by line, but for the chart's labels and conditions; what helm makes of it tests/suites/helm compares."""

    def lines(path: Path) -> list[str]:
        text = path.read_text().replace("{{ .Release.Namespace }}", NAMESPACE)
        return [line for line in text.splitlines() if "{{-" not in line and line != "  labels:"]

    assert lines(CHART / "templates" / "rights.yaml") == lines(BASE / "rights.yaml")
    assert (CHART / "crds" / "storedpetsets.yaml").read_text() == (BASE / "storedpetsets.yaml").read_text()


def test_rights_are_by_name_where_they_can_be() -> None:
    objects = made()
    secrets = [rule for rule in one("Role", objects)["rules"] if rule["resources"] == ["secrets"]]
    assert [rule.get("resourceNames") or rule["verbs"] for rule in secrets] == [["create"], ["petset-serving"]]
    for role in (one("ClusterRole", objects, "petset"), one("Role", objects)):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_with_cert_manager_it_has_no_rights_to_secrets_and_keeps_no_pair() -> None:
    objects = made(DEPLOY / "cert-manager")
    own, plain = one("Role", objects), one("Role", made())
    assert own["rules"] == [rule for rule in plain["rules"] if rule["resources"] != ["secrets"]]
    kept = [rule for rule in one("ClusterRole", made(), "petset")["rules"] if rule["resources"] != ["apiservices"]]
    assert one("ClusterRole", objects, "petset")["rules"] == kept
    certificate = one("Certificate", objects, "petset-serving")
    assert f"petset.{NAMESPACE}.svc" in certificate["spec"]["dnsNames"]
    assert set(certificate["spec"]["dnsNames"]) < set(pair.hosts_of("petset", NAMESPACE))
    pod = one("Deployment", objects)["spec"]["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    assert not [argument for argument in arguments if re.match("--(serving-secret|cert-dir)", argument)]
    assert pod["volumes"][0]["secret"]["secretName"] == certificate["spec"]["secretName"]
    annotations = one("APIService", objects)["metadata"]["annotations"]
    assert annotations == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/petset-serving"}
