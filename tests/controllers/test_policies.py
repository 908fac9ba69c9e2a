"""What is said in the status of a ValidatingAdmissionPolicy: what its expressions name that its kinds have not."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from petset.client.views import Snapshot
from petset.controllers import policies
from petset.kinds import builtin
from petset.kinds.admission.validating import VALIDATINGADMISSIONPOLICIES
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kinds
from petset.server.custom import kinds as custom
from tests.controllers.cluster import running

BOAT = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"length": {"type": "integer"}}}},
}
NAMES = {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"}
BOATS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": NAMES,
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": BOAT}}],
    },
    "status": {"acceptedNames": NAMES},
}


def kinds() -> Kinds:
    found = builtin.KINDS
    for kind in custom.of(BOATS):
        found = found.with_kind(kind)
    return found


def rule(resources: str, groups: str = "apps", versions: str = "v1") -> Object:
    return {
        "operations": ["*"],
        "apiGroups": groups.split(","),
        "apiVersions": versions.split(),
        "resources": resources.split(),
    }


def policy(*expressions: str, rules: tuple[Object, ...] = (rule("deployments"),), **spec: Any) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p", "generation": 2},
        "spec": {
            "matchConstraints": {"resourceRules": list(rules)},
            "validations": [{"expression": text} for text in expressions],
            **spec,
        },
    }


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.replicas > 1 && object.metadata.labels.exists(k, k == 'a') && object.metadata.name != ''",
        "object.spec.template.spec.containers.all(c, c.image.startsWith('a') && c.ports.all(p, p.containerPort > 1))",
        "object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '10%'",
        "quantity(object.spec.template.spec.containers[0].resources.limits['cpu']).isLessThan(quantity('1'))",
        "oldObject == null || oldObject.spec.replicas <= object.spec.replicas",
        "has(object.spec.template.spec.securityContext.runAsUser) && object == oldObject",
        "object.metadata.ownerReferences.exists(o, o.controller) && object.metadata.creationTimestamp < '2030'",
    ],
)
def test_what_holds_of_a_built_in_kind(expression: str) -> None:
    assert not list(policies.warnings(policy(expression), kinds()))


def test_what_does_not_hold_is_told_by_expression_and_kind() -> None:
    several = (rule("deployments statefulsets deployments/status"), rule("boats", "example.com"))
    given = policy("object.spec.replicas > 1", "object.spec.length == 'x'", rules=several)
    given["spec"]["validations"][0]["messageExpression"] = "object.spec.length + 'm'"
    first, second, third = policies.warnings(given, kinds())
    assert first == {
        "fieldRef": "spec.validations[0].expression",
        "warning": "example.com/v1, Kind=Boat: ERROR: <input>:1:12: undefined field 'replicas'\n"
        " | object.spec.replicas > 1\n | ...........^\n",
    }
    assert second["fieldRef"] == "spec.validations[0].messageExpression"
    assert third["fieldRef"] == "spec.validations[1].expression"
    told = third["warning"].split("\n\n")
    assert [text.partition(":")[0] for text in told] == [
        "apps/v1, Kind=Deployment", "apps/v1, Kind=StatefulSet", "example.com/v1, Kind=Boat"]  # fmt: skip
    assert "undefined field 'length'" in told[0] and "'_==_' applied to '(int, string)'" in told[2]


def test_variables_and_params_have_types_too() -> None:
    param = {"apiVersion": "example.com/v1", "kind": "Boat"}
    variables = [
        {"name": "spec", "expression": "object.spec"},
        {"name": "many", "expression": "variables.spec.replicas"},
        {"name": "there", "expression": "object.spec.?paused"},
    ]
    fine = "variables.many <= params.spec.length && variables.there.orValue(false)"
    assert not list(policies.warnings(policy(fine, variables=variables, paramKind=param), kinds()))
    wrong = ("variables.spec.replica > 1", "variables.many == 'x'", "params.spec.width == 1", "variables.there == 1")
    found = list(policies.warnings(policy(*wrong, variables=variables, paramKind=param), kinds()))
    assert [one["fieldRef"] for one in found] == [f"spec.validations[{index}].expression" for index in range(4)]
    unknown = {"apiVersion": "example.com/v1", "kind": "Nothing"}
    assert not list(policies.warnings(policy("params.anything == 1", paramKind=unknown), kinds()))


@pytest.mark.parametrize(
    "rules, names",
    [
        ((rule("*"),), []),
        ((rule("deployments", versions="*"),), []),
        ((rule("pods", groups=","), rule("nothing")), ["Pod"]),
        ((rule("statefulsets deployments deployments/scale"),), ["Deployment", "StatefulSet"]),
    ],
)
def test_which_kinds_a_policy_is_held_against(rules: tuple[Object, ...], names: list[str]) -> None:
    assert [kind.kind for kind in policies.matched(policy("true", rules=rules)["spec"], kinds())] == names


def test_no_more_kinds_of_a_rule_are_looked_at_than_upstream_does() -> None:
    groups = ",".join(("apps", "batch", "", "autoscaling"))
    plurals = (
        "deployments statefulsets daemonsets replicasets jobs cronjobs pods services configmaps secrets endpoints nodes"
    )
    assert len(policies.matched(policy("true", rules=(rule(plurals, groups),))["spec"], kinds())) == 10


def test_a_policy_is_looked_at_once_a_generation() -> None:
    given = policy("true")
    (step,) = policies.reconcile("p", Snapshot([given]), 0)
    assert step == policies.CheckTypes(given, builtin.KINDS)
    assert not policies.reconcile("p", Snapshot([meta.changed(given, ("status",), {"observedGeneration": 2})]), 0)


def test_the_status_says_it_and_follows_the_spec() -> None:
    async def main() -> None:
        async with running() as it:
            it.client.kinds.replace(kinds())
            await it.create(policy("object.spec.nothing == 1"))

            def status() -> Object:
                found = it.get(dataclasses.replace(VALIDATINGADMISSIONPOLICIES), "p", "")
                return meta.part(found or {}, "status")

            await it.until(lambda: status().get("observedGeneration", 0) >= 1)
            assert [one["fieldRef"] for one in status()["typeChecking"]["expressionWarnings"]] == [
                "spec.validations[0].expression"
            ]
            fine = {**policy()["spec"], "validations": [{"expression": "object.spec.replicas == 1"}]}
            now = await it.client.get(VALIDATINGADMISSIONPOLICIES, "p", "")
            await it.client.update({**now, "spec": fine})
            await it.until(lambda: status()["typeChecking"] == {})
            assert status()["observedGeneration"] > 1

    asyncio.run(main())
