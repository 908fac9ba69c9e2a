"""Whom a request concerns, what a policy decides and what a mutation makes: the cases of tests/cases/policies."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from petset.kinds import builtin
from petset.kinds.admission.mutating import MUTATINGADMISSIONPOLICIES
from petset.kinds.admission.validating import VALIDATINGADMISSIONPOLICIES
from petset.kinds.pod import PODS
from petset.objects.expressions import authorizer
from petset.server.admission import evaluation, matching
from petset.server.admission.matching import Asked
from petset.server.admission.policies import mutating, policy, validating

CASES = pathlib.Path(__file__).parent.parent.parent / "cases" / "policies"
RULES = {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}]}


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["case"]) for case in yaml.safe_load_all((CASES / name).read_text())]


def values(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": given.get("object", {}),
        "oldObject": None,
        "request": {"userInfo": {"username": "jane"}},
        "namespaceObject": None,
        "params": given.get("params"),
        "authorizer": authorizer.value("", "pods", "", "default", "p"),
    }


def stored(kind: Any, given: dict[str, Any], **spec: Any) -> Any:
    own = {key: given[key] for key in ("matchConditions", "variables", "failurePolicy") if key in given}
    params = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}} if "params" in given else {}
    return kind.default({"metadata": {"name": "p"}, "spec": {"matchConstraints": RULES, **own, **params, **spec}})


@pytest.mark.parametrize("case", cases("decisions.yaml"))
def test_a_decision(case: dict[str, Any]) -> None:
    given, then = case["given"], case["then"]
    about = {key: given[key] for key in ("validations", "auditAnnotations") if key in given}
    for one in about.get("validations", ()):
        one["expression"] = str(one["expression"]) if not isinstance(one["expression"], bool) else "true"
    obj = stored(VALIDATINGADMISSIONPOLICIES, given, **about)
    assert not list(VALIDATINGADMISSIONPOLICIES.validate(obj))
    budget, decisions = evaluation.Budget(), authorizer.Decisions()
    for verb, allowed in given.get("decided", {}).items():
        decisions.known[authorizer.Question("", verb, resource="pods")] = authorizer.Decision(allowed)
    with decisions.asked():
        found = validating.judged(policy.validating_of(obj), values(given), budget)
    asked = [
        {k: v for k in question.__slots__ if (v := getattr(question, k)) or k == "account"}
        for question in decisions.open
    ]
    assert asked == then.get("open", [])
    if "denied_for" in then:
        assert len(found.denials) == len(then["denied_for"])
        assert all(why in one.message for why, one in zip(then["denied_for"], found.denials))
    elif not asked:
        denials = [{"message": one.message, "reason": one.reason, "place": one.place} for one in found.denials]
        assert denials == then.get("denials", [])
    assert dict(found.annotations) == then.get("annotations", {})
    assert [one.message for one in found.broken] == then.get("broken", [])
    if "evaluations" in then:
        assert evaluation.EVALUATIONS_MAX - budget.left == then["evaluations"]


@pytest.mark.parametrize("case", cases("mutations.yaml"))
def test_a_mutation(case: dict[str, Any]) -> None:
    given = case["given"]
    if "apply" in given:
        mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": given["apply"]}}
    else:
        mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": given["patch"]}}
    obj = stored(MUTATINGADMISSIONPOLICIES, given, mutations=[mutation], reinvocationPolicy="Never")
    assert not list(MUTATINGADMISSIONPOLICIES.validate(obj))
    own = policy.mutating_of(obj)
    about = {"apiVersion": "v1", "kind": "Pod"}
    pod = {**about, **given["object"]}

    def made() -> Any:
        seen = values({**given, "object": pod})
        return mutating.mutated(own, own.mutations[0], PODS, pod, seen, evaluation.Budget())

    if "wrong" in case:
        with pytest.raises(mutating.Failed) as told:
            made()
        assert case["wrong"] in str(told.value)
    else:
        assert made() == {**about, **case["then"]}
    assert pod == {**about, **given["object"]}


def rule(text: str) -> dict[str, Any]:
    resources, operations, *names = text.split()
    named = {"resourceNames": names[0].split(",")} if names else {}
    about = {"resources": [resources], "operations": [operations], **named}
    return {"apiGroups": ["*"] if resources == "*" else [""], "apiVersions": ["v1"], **about}


@pytest.mark.parametrize("case", cases("matching.yaml"))
def test_a_match(case: dict[str, Any]) -> None:
    given = case["given"]
    resource, operation = given["asked"].split()
    whole, _, subresource = resource.partition("/")
    plural, _, group = whole.partition(".")
    kind = builtin.KINDS.at(group, "v1", plural)
    assert kind is not None
    others = [one for one in builtin.KINDS if one.key() == kind.key() and one is not kind]
    match = matching.resources_of(
        {
            "resourceRules": [rule(text) for text in given["rules"]],
            "excludeResourceRules": [rule(text) for text in given.get("excluded", ())],
            **{key: given[key] for key in ("matchPolicy", "objectSelector", "namespaceSelector") if key in given},
        }
    )
    concern = matching.concern(match, Asked(kind, operation, subresource), others)
    told = concern.kind(given.get("name", "x")) if concern is not None else None
    obj = {"metadata": {"name": "x", "labels": given.get("labels", {})}}
    is_selected = match.is_selected(given.get("space", {}), obj, None)
    found = told.api_version if told is not None and is_selected else None
    assert found == case.get("then")
