"""kubectl and admission policies: a denied request's message, a warning, params, and what a mutation makes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.admission import test_mutating_policies as mutating
from tests.server.admission import test_policies as validating
from tests.server.custom.conftest import GROUP, crontab, definition, version


@pytest.fixture
def applied(served: Any, space: str) -> Any:
    """Applies policies and bindings, which are for the test's own namespace, and deletes them in the end."""
    made: dict[tuple[str, str], None] = {}

    def apply(*objects: dict[str, Any]) -> None:
        for obj in objects:
            if constraints := obj["spec"].get("matchConstraints"):
                constraints["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": space}}
            served.admin("apply", "-f", "-", stdin=json.dumps(obj))
            made[obj["kind"], obj["metadata"]["name"]] = None

    yield apply
    for kind, name in made:
        served.admin("delete", kind, name)


def test_kubectl_shows_why_a_policy_denies_and_of_what_it_warns(served: Any, space: str, applied: Any) -> None:
    kubectl = served.admin
    said = {"expression": "object.metadata.name.startsWith('ok')", "messageExpression": "'not ' + object.metadata.name"}
    applied(validating.policy("named", said), validating.binding("named"))
    refused = kubectl.run("create", "configmap", "bad", "-n", space)
    why = "ValidatingAdmissionPolicy 'named' with binding 'named-everywhere' denied request: not bad"
    assert refused.returncode == 1 and why in refused.stderr
    assert "created" in kubectl("create", "configmap", "ok", "-n", space)
    applied(validating.binding("named", validationActions=["Warn"]))
    warned = kubectl.run("create", "configmap", "bad", "-n", space)
    assert (
        warned.returncode == 0 and "Warning: Validation failed for ValidatingAdmissionPolicy 'named'" in warned.stderr
    )
    lines = kubectl("get", "validatingadmissionpolicies", "named").splitlines()
    assert lines[0].split() == ["NAME", "VALIDATIONS", "PARAMKIND", "AGE"] and "<unset>" in lines[1]
    lines = kubectl("get", "validatingadmissionpolicybindings", "named-everywhere").splitlines()
    assert lines[0].split() == ["NAME", "POLICYNAME", "PARAMREF", "AGE"]
    assert "expression" in kubectl("explain", "validatingadmissionpolicy.spec.validations")


def test_params_from_a_config_map_and_from_a_kind_of_ones_own(served: Any, space: str, applied: Any) -> None:
    kubectl = served.admin
    reference = {"name": "limits", "namespace": space, "parameterNotFoundAction": "Deny"}
    few = validating.policy(
        "few", "object.data.size() <= int(params.data.most)", paramKind={"apiVersion": "v1", "kind": "ConfigMap"}
    )
    few["spec"]["matchConditions"] = [{"name": "others", "expression": "object.metadata.name != 'limits'"}]
    kubectl("create", "configmap", "limits", "-n", space, "--from-literal=most=1")
    applied(few, validating.binding("few", paramRef=reference))
    assert "created" in kubectl("create", "configmap", "a", "-n", space, "--from-literal=k=1")
    refused = kubectl.run("create", "configmap", "b", "-n", space, "--from-literal=k=1", "--from-literal=l=1")
    assert "failed expression: object.data.size() <= int(params.data.most)" in refused.stderr

    crd = definition(version(), plural="limits", kind="Limit")
    kubectl("apply", "-f", "-", stdin=json.dumps(crd))
    kubectl("wait", "--for=condition=Established", f"crd/{crd['metadata']['name']}", "--timeout=30s")
    kind = {"apiVersion": f"{GROUP}/v1", "kind": "Limit"}
    kubectl("apply", "-n", space, "-f", "-", stdin=json.dumps({**crontab("limits", replicas=2), **kind}))
    own = validating.policy("own", "object.data.size() != params.spec.replicas", paramKind=kind)
    applied(own, validating.binding("own", paramRef=reference), validating.binding("few", policyName="nobody"))
    refused = kubectl.run("create", "configmap", "b", "-n", space, "--from-literal=k=1", "--from-literal=l=1")
    assert "failed expression: object.data.size() != params.spec.replicas" in refused.stderr
    kubectl("delete", "crd", crd["metadata"]["name"], "--timeout=30s")


def test_kubectl_sees_what_a_mutation_made(served: Any, space: str, applied: Any) -> None:
    kubectl = served.admin
    applied(mutating.policy("label", mutating.applied(mutating.LABELLED)), mutating.binding("label"))
    kubectl("create", "configmap", "a", "-n", space)
    assert kubectl("get", "configmap", "a", "-n", space, "-o", "jsonpath={.metadata.labels.by}") == "policy"
    lines = kubectl("get", "mutatingadmissionpolicies", "label").splitlines()
    assert lines[0].split() == ["NAME", "MUTATIONS", "PARAMKIND", "AGE"]
