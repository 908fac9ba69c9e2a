"""kubectl 1.20 as Debian packages it checks and explains objects by OpenAPI v2 in protobuf; newer ones by both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from petset.kinds import builtin
from tests import kubectl as kubectls

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = """
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {x: "1"}
- apiVersion: apps/v1alpha1
  kind: PetSet
  metadata: {name: p}
  spec:
    serviceName: s
    template:
      metadata: {labels: {app: p}}
      spec:
        containers:
        - {name: c, image: i, ports: [{containerPort: 80}], resources: {limits: {cpu: 1}}}
"""


@pytest.fixture(scope="module")
def older(served) -> kubectls.Kubectl:
    path = kubectls.older(ROOT / ".venv" / "older-kubectl")
    if not path:
        pytest.skip(f"the Debian package {kubectls.OLDER} cannot be fetched here")
    kubectl = kubectls.Kubectl(served.directory / "kubeconfig", served.directory / "cache-older", path)
    home = served.directory / "home-older"
    home.mkdir(exist_ok=True)
    kubectl.environment = {**kubectl.environment, "HOME": str(home), "EDITOR": "sed -i s/x:.*/x:\\ edited/"}
    minor = json.loads(kubectl("version", "--client", "-o", "json"))["clientVersion"]["minor"]
    if int(minor.rstrip("+")) > 26:
        pytest.skip(f"the Debian package {kubectls.OLDER} has kubectl 1.{minor} here, which no longer asks for v2")
    return kubectl


def test_it_creates_compares_applies_edits_and_deletes(older, space):
    assert older("create", "-n", space, "-f", "-", stdin=MANIFEST).splitlines() == [
        "configmap/a created",
        "petset.apps/p created",
    ]
    changed = MANIFEST.replace('"1"', '"2"')
    compared = older.run("diff", "-n", space, "-f", "-", stdin=changed)
    assert compared.returncode == 1 and '+  x: "2"' in compared.stdout, compared.stderr
    assert "configmap/a configured" in older("apply", "-n", space, "-f", "-", stdin=changed)
    assert "configmap/a unchanged" in older("apply", "-n", space, "-f", "-", stdin=changed)
    assert "edited" in older("edit", "configmap", "a", "-n", space)
    assert older("get", "cm", "a", "-n", space, "-o", "jsonpath={.data.x}") == "edited"
    shown = older("get", "all", "-n", space)
    assert "petset.apps/p" in shown
    assert older("delete", "-n", space, "-f", "-", stdin=MANIFEST).count("deleted") == 2


def test_it_checks_fields_itself(older, space):
    wrong = MANIFEST.replace("image: i,", "imag: i,")
    refused = older.run("create", "-n", space, "-f", "-", stdin=wrong)
    assert refused.returncode == 1
    assert 'unknown field "imag" in io.k8s.api.core.v1.Container' in refused.stderr
    assert "ValidationError(PetSet.spec.template.spec.containers[0])" in refused.stderr


def test_it_explains_and_lists_kinds(older):
    assert "storage of its own" in " ".join(older("explain", "petset").split())
    assert "containerPort\t<integer>" in older("explain", "pods.spec", "--recursive")
    resources = older("api-resources", "-o", "wide")
    assert "petsets" in resources and "StatefulSet" in resources
    assert "apps/v1alpha1" in older("api-versions").split()


def test_every_kind_is_explained_by_both_versions(served):
    kubectl = served.admin
    for kind in builtin.KINDS:
        newer = kubectl("explain", kind.plural, f"--api-version={kind.api_version}", "--recursive")
        assert f"KIND:       {kind.kind}\n" in newer and "DESCRIPTION:" in newer and "FIELDS:" in newer, kind
    for field, type_ in (
        ("petset.spec.template.spec.containers.ports.protocol", "<string>"),
        ("pod.spec.containers.resources.limits", "<map[string]Quantity>"),
        ("service.spec.ports.targetPort", "<IntOrString>"),
        ("event.firstTimestamp", "<string>"),
        ("controllerrevision.data", "<"),
    ):
        assert type_ in kubectl("explain", field).partition("DESCRIPTION")[0], field
    older = kubectl("explain", "sts", "--recursive", "--output", "plaintext-openapiv2")
    assert "volumeClaimTemplates\t<[]Object>" in older
    unknown = kubectl.run("explain", "pod.spec.nothing")
    assert unknown.returncode == 1 and 'field "nothing" does not exist' in unknown.stderr
