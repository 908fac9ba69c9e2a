"""The chart of petset itself (deploy/helm), rendered by helm: what it makes is what deploy/kubernetes makes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import kubectl as kubectls
from tests.suites.program_suites import PROGRAM

pytestmark = pytest.mark.suites
DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
CHART = DEPLOY / "helm" / "petset"
NAMESPACE = "petset-system"
CERT_MANAGER = ("--api-versions", "cert-manager.io/v1")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def rendered(*arguments: str, namespace: str = NAMESPACE) -> dict[tuple[str, str], Any]:
    said = run(
        *(os.environ[PROGRAM], "template", "petset", str(CHART), "-n", namespace, "--kube-version", "1.37.0"),
        *arguments,
    )
    assert said.returncode == 0, said.stderr
    return by_name(said.stdout)


def kustomized(folder: Path) -> dict[tuple[str, str], Any]:
    said = run(kubectls.find(), "kustomize", str(folder))
    assert said.returncode == 0, said.stderr
    return by_name(said.stdout)


def by_name(text: str) -> dict[tuple[str, str], Any]:
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in yaml.safe_load_all(text) if obj}


def plain(obj: Any) -> Any:
    """Without labels, which each tool has its own of."""
    if isinstance(obj, list):
        return [plain(one) for one in obj]
    if not isinstance(obj, dict):
        return obj
    left_out = ("labels", "matchLabels", "imagePullPolicy")
    found = {key: plain(value) for key, value in obj.items() if key not in left_out}
    return {**found, "selector": {}} if obj.get("kind") == "Service" or "targetPort" in str(obj.get("ports")) else found


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [("kubernetes", ()), ("kubernetes/cert-manager", CERT_MANAGER)],
    ids=["own", "cert-manager"],
)
def test_it_makes_what_kustomize_makes(folder: str, arguments: tuple[str, ...]) -> None:
    chart, plain_ones = rendered(*arguments), kustomized(DEPLOY / folder)
    # A namespace is helm's user's to make, and definitions are in the chart's crds.
    missing = {key for key in plain_ones if key not in chart}
    assert missing == {("Namespace", NAMESPACE), ("CustomResourceDefinition", "storedpetsets.petset.dev")}
    assert set(chart) <= set(plain_ones)
    for key, obj in chart.items():
        assert plain(obj) == plain(plain_ones[key]), key


def test_its_definition_is_the_same() -> None:
    own = (CHART / "crds" / "storedpetsets.yaml").read_text()
    assert own == (DEPLOY / "kubernetes" / "base" / "storedpetsets.yaml").read_text()


def test_labels_select_its_own_pods() -> None:
    made = rendered()
    labels = made["Deployment", "petset"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        made["Deployment", "petset"]["spec"]["selector"]["matchLabels"],
        made["Service", "petset"]["spec"]["selector"],
        made["PodDisruptionBudget", "petset"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy", "petset"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector and selector.items() <= labels.items()


def test_another_namespace_is_meant_everywhere() -> None:
    assert NAMESPACE not in str(rendered(namespace="elsewhere"))


def test_what_is_said_wrong_is_refused() -> None:
    for wrong in ("certificates=none", "replicas=0", "imageMap={x}", "nonsense=1"):
        said = run(os.environ[PROGRAM], "template", "petset", str(CHART), "--kube-version", "1.37.0", "--set", wrong)
        assert said.returncode != 0, wrong


def test_maps_of_images_are_handed_on() -> None:
    container = rendered("--set", "imageMap={a/=b/}")["Deployment", "petset"]["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert "--image-map=a/=b/" in container["args"]
