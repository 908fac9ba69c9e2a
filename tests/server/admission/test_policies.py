"""Validating admission policies over the real API: whom they are about, what they deny, and what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from petset.base import well_known
from petset.server import routes, weight
from petset.server.admission import consulted, evaluation
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap

GROUP = "admissionregistration.k8s.io/v1"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
OF_CONFIGMAPS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}


def policy(name: str, *validations: Any, **spec: Any) -> dict[str, Any]:
    given = [{"expression": one} if isinstance(one, str) else one for one in validations]
    match = {"resourceRules": [OF_CONFIGMAPS], **spec.pop("match", {})}
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": match, "validations": given, **spec},
    }


def binding(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"{name}-everywhere"},
        "spec": {"policyName": name, "validationActions": ["Deny"], **spec},
    }


def apply(server: Server, *objects: Any) -> None:
    for obj in objects:
        server.create(obj, "")


def bound(server: Server, name: str, *validations: Any, **spec: Any) -> None:
    of_binding = spec.pop("binding", {})
    apply(server, policy(name, *validations, **spec), binding(name, **of_binding))


# -- what a policy says


def test_a_policy_denies_in_upstreams_words(server: Server) -> None:
    bound(server, "few", "object.data.size() < 2")
    server.create(configmap("a", one="1"))
    refused = server("POST", CONFIGMAPS, configmap("b", one="1", two="2"))
    why = "ValidatingAdmissionPolicy 'few' with binding 'few-everywhere' denied request: "
    assert refused.code == 422 and refused.body["reason"] == "Invalid"
    assert refused.message == f'configmaps "b" is forbidden: {why}failed expression: object.data.size() < 2'
    details = refused.body["details"]
    assert (details["name"], details["kind"]) == ("b", "configmaps")
    assert details["causes"][0]["message"].startswith(why)
    assert server("PUT", f"{CONFIGMAPS}/a", configmap("a", one="1", two="2")).code == 422
    assert server("GET", f"{CONFIGMAPS}/b").code == 404


def test_neither_a_policy_nor_a_binding_alone_does_anything(server: Server) -> None:
    apply(server, policy("never", "false"), binding("other"))
    server.create(configmap("a"))
    apply(server, binding("never"))
    assert server("POST", CONFIGMAPS, configmap("b")).code == 422
    server.ok("DELETE", f"{POLICIES}/never")
    server.create(configmap("b"))


@pytest.mark.parametrize(
    ("validation", "code", "says"),
    [
        ({"message": "no"}, 422, "no"),
        ({"messageExpression": "'no ' + object.metadata.name"}, 422, "no a"),
        ({"messageExpression": "string(object.nothing)", "message": "no"}, 422, "no"),
        ({"messageExpression": "'a\\nb'"}, 422, "failed expression: false"),
        ({"reason": "Forbidden"}, 403, "failed expression: false"),
        ({"reason": "Unauthorized"}, 401, "failed expression: false"),
        ({"reason": "RequestEntityTooLarge"}, 413, "failed expression: false"),
        ({"expression": "object.no == 1"}, 422, "expression 'object.no == 1' resulted in error: no such key: no"),
    ],
)
def test_messages_and_reasons(server: Server, validation: dict[str, Any], code: int, says: str) -> None:
    bound(server, "no", {"expression": "false", **validation})
    refused = server("POST", CONFIGMAPS, configmap("a"))
    assert refused.code == code and refused.message.endswith(f"denied request: {says}"), refused


def test_what_cannot_be_told_is_denied_or_ignored(server: Server) -> None:
    bound(server, "unclear", "object.nothing == 1", failurePolicy="Ignore")
    server.create(configmap("a"))
    bound(server, "clear", "object.metadata.name != 'b'", failurePolicy="Ignore")
    assert server("POST", CONFIGMAPS, configmap("b")).code == 422


def test_actions_warn_and_audit(server: Server) -> None:
    bound(server, "warned", "false", binding={"validationActions": ["Warn", "Audit"]})
    made = server("POST", CONFIGMAPS, configmap("a"))
    assert made.code == 201
    said = (
        "Validation failed for ValidatingAdmissionPolicy 'warned' with binding 'warned-everywhere': failed expression"
    )
    assert said in made.headers["warning"]


def test_annotations_for_the_audit_log(server: Server, monkeypatch: Any) -> None:
    calls: list[Any] = []
    made = routes.Call.__init__
    monkeypatch.setattr(routes.Call, "__init__", lambda self, *given: (made(self, *given), calls.append(self))[0])
    annotation = {"key": "who", "valueExpression": "'by ' + request.userInfo.username"}
    quiet = {"key": "quiet", "valueExpression": "object.data.size() > 5 ? 'many' : ''"}
    bound(
        server,
        "noted",
        "object.data.size() > 1",
        auditAnnotations=[annotation, quiet],
        binding={"validationActions": ["Audit"]},
    )
    server.create(configmap("a", x="1"))
    found = calls[-1].audit_annotations
    assert found["noted/who"] == "by petset-admin" and "noted/quiet" not in found
    (failure,) = json.loads(found[well_known.VALIDATION_FAILURE_AUDIT_ANNOTATION])
    assert failure == {
        "message": "failed expression: object.data.size() > 1",
        "policy": "noted",
        "binding": "noted-everywhere",
        "expressionIndex": 0,
        "validationActions": ["Audit"],
    }


def test_the_first_denial_by_name_is_told(server: Server) -> None:
    for name in ("zebra", "ant"):
        bound(server, name, "false")
    refused = server("POST", CONFIGMAPS, configmap("a"))
    assert "'ant' with binding 'ant-everywhere'" in refused.message


# -- what expressions see


@pytest.mark.parametrize(
    "expression",
    [
        "object.metadata.name == 'a' && oldObject == null",
        "request.operation == 'CREATE' && request.resource.resource == 'configmaps'",
        "request.kind.kind == 'ConfigMap' && request.requestKind.version == 'v1'",
        "request.userInfo.username == 'petset-admin' && 'system:masters' in request.userInfo.groups",
        "request.namespace == 'default' && request.name == 'a' && !request.dryRun",
        "request.options.fieldManager == 'unknown' && !has(request.subResource)",
        "namespaceObject.metadata.name == 'default' && namespaceObject.status.phase == 'Active'",
        "variables.twice == 4 && variables.name == 'a'",
        "true || variables.broken == 1",
        "object.data.x == '1' ? true : variables.broken == 1",
        "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
        "authorizer.requestResource.check('approve').allowed() && authorizer.path('/metrics').check('get').allowed()",
        "!authorizer.serviceAccount('default', 'default').group('').resource('pods').check('get').allowed()",
        "authorizer.serviceAccount('default', 'default').path('/version').check('get').allowed()",
        "!authorizer.requestResource.check('x').errored() && authorizer.requestResource.check('x').error() == ''",
        "!authorizer.group('').resource('pods').fieldSelector('a>').check('get').errored()",  # Nobody here reads it.
        "authorizer.serviceAccount('default', 'd').path('/version').check('get').reason().contains('ClusterRole')",
    ],
)
def test_what_an_expression_sees(server: Server, expression: str) -> None:
    variables = [
        {"name": "one", "expression": "2"},
        {"name": "twice", "expression": "variables.one * 2"},
        {"name": "name", "expression": "object.metadata.name"},
        {"name": "broken", "expression": "object.nothing"},
    ]
    bound(server, "sees", expression, variables=variables)
    made = server("POST", CONFIGMAPS, configmap("a", x="1"))
    assert made.code == 201, made.message


def test_a_variable_that_fails_says_so(server: Server) -> None:
    variables = [{"name": "broken", "expression": "object.nothing"}]
    bound(server, "broken", "variables.broken == 1", variables=variables)
    refused = server("POST", CONFIGMAPS, configmap("a"))
    said = 'composited variable "broken" fails to evaluate: no such key: nothing'
    assert refused.message.endswith(f"expression 'variables.broken == 1' resulted in error: {said}")


def test_updates_and_removals(server: Server) -> None:
    server.create(configmap("a", x="1"))
    bound(
        server, "held", "request.operation != 'DELETE' || oldObject.data.x == '2'", "object == null || has(object.data)"
    )
    assert "failed expression: request.operation" in server("DELETE", f"{CONFIGMAPS}/a").message
    server.ok("PUT", f"{CONFIGMAPS}/a", configmap("a", x="2"))
    bound(server, "grows", "oldObject == null || object == null || object.data.x >= oldObject.data.x")
    assert server("PUT", f"{CONFIGMAPS}/a", configmap("a", x="1")).code == 422
    server.ok("DELETE", f"{CONFIGMAPS}/a")


def test_a_policy_cannot_lock_out_from_policies(server: Server) -> None:
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}
    bound(server, "no", "false", match={"resourceRules": [everything]})
    assert server("POST", CONFIGMAPS, configmap("a")).code == 422
    server.ok("DELETE", f"{POLICIES}/no")
    server.create(configmap("a"))


# -- which requests


@pytest.mark.parametrize(
    ("match", "is_asked"),
    [
        ({}, True),
        ({"resourceRules": [{**OF_CONFIGMAPS, "operations": ["UPDATE"]}]}, False),
        ({"resourceRules": [{**OF_CONFIGMAPS, "resourceNames": ["a"]}]}, True),
        ({"resourceRules": [{**OF_CONFIGMAPS, "resourceNames": ["b"]}]}, False),
        ({"excludeResourceRules": [OF_CONFIGMAPS]}, False),
        ({"excludeResourceRules": [{**OF_CONFIGMAPS, "resourceNames": ["a"]}]}, False),
        ({"excludeResourceRules": [{**OF_CONFIGMAPS, "resourceNames": ["b"]}]}, True),
        ({"objectSelector": {"matchLabels": {"app": "x"}}}, True),
        ({"objectSelector": {"matchLabels": {"app": "y"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False),
    ],
)
@pytest.mark.parametrize("whose", ["policy", "binding"])
def test_matching(server: Server, match: dict[str, Any], is_asked: bool, whose: str) -> None:
    given = {"match": match} if whose == "policy" else {"binding": {"matchResources": match}}
    bound(server, "no", "false", **given)
    made = server("POST", CONFIGMAPS, configmap("a", {"app": "x"}))
    assert made.code == (422 if is_asked else 201)


def test_match_conditions(server: Server) -> None:
    def conditions(*texts: str) -> list[dict[str, str]]:
        return [{"name": f"c{at}", "expression": text} for at, text in enumerate(texts)]

    bound(server, "left-out", "false", matchConditions=conditions("true", "object.nothing == 1", "false"))
    server.create(configmap("a"))
    allowed = "authorizer.requestResource.check('delete').allowed()"
    bound(server, "asked", "false", matchConditions=conditions(allowed, "namespaceObject != null"))
    refused = server("POST", CONFIGMAPS, configmap("b"))
    assert "'asked' with binding" in refused.message
    server.ok("DELETE", f"{POLICIES}/asked")
    bound(server, "unclear", "true", matchConditions=conditions("object.nothing == 1"))
    refused = server("POST", CONFIGMAPS, configmap("b"))
    assert "match condition c0 resulted in error: no such key: nothing" in refused.message


# -- params


def with_params(server: Server, **reference: Any) -> None:
    param = {"parameterNotFoundAction": "Deny", **reference}
    bound(
        server,
        "few",
        "params == null || object.data.size() <= int(params.data.most)",
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        match={"objectSelector": {"matchLabels": {"checked": "yes"}}},
        binding={"paramRef": param},
    )


def checked(name: str, count: int) -> dict[str, Any]:
    return configmap(name, {"checked": "yes"}, **{f"k{i}": "" for i in range(count)})


def test_params_by_name(server: Server) -> None:
    with_params(server, name="limits", namespace="default")
    refused = server("POST", CONFIGMAPS, checked("a", 1))
    said = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert refused.message.endswith(said)
    server.create(configmap("limits", most="2"))
    server.create(checked("a", 2))
    assert server("POST", CONFIGMAPS, checked("b", 3)).code == 422


def test_params_of_the_objects_own_namespace_and_none(server: Server) -> None:
    with_params(server, name="limits", parameterNotFoundAction="Allow")
    server.create(checked("a", 5))
    server.create(configmap("limits", most="2"))
    assert server("POST", CONFIGMAPS, checked("b", 3)).code == 422
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}, "")
    server.create(checked("b", 3), "other")


def test_params_by_labels_all_count(server: Server) -> None:
    with_params(server, selector={"matchLabels": {"is": "limit"}})
    server.create(configmap("loose", {"is": "limit"}, most="5"))
    server.create(checked("a", 3))
    server.create(configmap("tight", {"is": "limit"}, most="2"))
    assert server("POST", CONFIGMAPS, checked("b", 3)).code == 422


def test_a_kind_of_params_that_is_not_there(server: Server) -> None:
    reference = {"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}}
    kind = {"apiVersion": "example.com/v1", "kind": "Limit"}
    bound(server, "unknown", "true", paramKind=kind, binding=reference)
    refused = server("POST", CONFIGMAPS, configmap("a"))
    assert "failed to configure binding: paramKind kind `example.com/v1, Kind=Limit` not known" in refused.message


# -- what is stored


def test_defaults_status_and_generation(server: Server) -> None:
    made = server.create(policy("p", "true"), "")
    spec, status = made["spec"], made["status"]
    assert spec["failurePolicy"] == "Fail"
    constraints = spec["matchConstraints"]
    assert constraints["matchPolicy"] == "Equivalent" and constraints["resourceRules"][0]["scope"] == "*"
    assert constraints["namespaceSelector"] == constraints["objectSelector"] == {}
    assert status == {} and made["metadata"]["generation"] == 1  # A controller says more, a moment later.
    changed = server.ok("PUT", f"{POLICIES}/p", {**made, "spec": {**spec, "failurePolicy": "Ignore"}})
    assert changed["status"] == {} and changed["metadata"]["generation"] == 2
    server.create(binding("p", matchResources={}), "")
    found = server.get("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/p-everywhere")
    assert found["spec"]["matchResources"]["matchPolicy"] == "Equivalent"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"validations": []}, "spec.validations"),
        ({"validations": [{"expression": "object."}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "1"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "params.x"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "variables.x"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "variables == 1"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "true", "messageExpression": "1"}]}, "spec.validations[0].messageExpression"),
        ({"validations": [{"expression": "true", "message": "a\nb"}]}, "spec.validations[0].message"),
        ({"validations": [{"expression": "true", "reason": "Gone"}]}, "spec.validations[0].reason"),
        ({"variables": [{"name": "in", "expression": "1"}]}, "spec.variables[0].name"),
        ({"variables": [{"name": "a", "expression": "variables.a"}]}, "spec.variables[0].expression"),
        ({"auditAnnotations": [{"key": "a b", "valueExpression": "''"}]}, "spec.auditAnnotations[0].key"),
        ({"auditAnnotations": [{"key": "a", "valueExpression": "1"}]}, "spec.auditAnnotations[0].valueExpression"),
        ({"matchConditions": [{"name": "a", "expression": "1"}]}, "spec.matchConditions[0].expression"),
        ({"matchConditions": [{"name": "a", "expression": "variables.x"}]}, "spec.matchConditions[0].expression"),
        ({"validations": [{"expression": "object.spec.paused"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "request.nam == ''"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "request.dryRun == 'x'"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "namespaceObject.kind == ''"}]}, "spec.validations[0].expression"),
        ({"validations": [{"expression": "authorizer.group('').check('get').allowed()"}]},
         "spec.validations[0].expression"),
        ({"variables": [{"name": "a", "expression": "request.name"}],
          "validations": [{"expression": "variables.a > 1"}]}, "spec.validations[0].expression"),
        ({"matchConditions": [{"name": "a", "expression": "request.userInfo.name == ''"}]},
         "spec.matchConditions[0].expression"),
        ({"failurePolicy": "Maybe"}, "spec.failurePolicy"),
        ({"paramKind": {"apiVersion": "a/b/c", "kind": "K"}}, "spec.paramKind.apiVersion"),
        ({"paramKind": {"apiVersion": "v1", "kind": ""}}, "spec.paramKind.kind"),
        ({"matchConstraints": {"resourceRules": []}}, "spec.matchConstraints.resourceRules"),
        (
            {"matchConstraints": {"resourceRules": [{**OF_CONFIGMAPS, "resourceNames": ["a/b"]}]}},
            "spec.matchConstraints.resourceRules[0].resourceNames[0]",
        ),
        (
            {"matchConstraints": {"resourceRules": [{**OF_CONFIGMAPS, "operations": ["READ"]}]}},
            "spec.matchConstraints.resourceRules[0].operations[0]",
        ),
    ],
)  # fmt: skip
def test_what_a_policy_may_not_be(server: Server, change: dict[str, Any], field: str) -> None:
    given = policy("p", "true")
    given["spec"] |= change
    refused = server("POST", POLICIES, given)
    assert refused.code == 422 and refused.body["details"]["causes"][0]["field"] == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"policyName": ""}, "spec.policyName"),
        ({"validationActions": []}, "spec.validationActions"),
        ({"validationActions": ["Deny", "Warn"]}, "spec.validationActions"),
        ({"validationActions": ["Shout"]}, "spec.validationActions[0]"),
        ({"paramRef": {"parameterNotFoundAction": "Deny"}}, "spec.paramRef"),
        ({"paramRef": {"name": "a"}}, "spec.paramRef.parameterNotFoundAction"),
        ({"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}}, "spec.paramRef.name"),
        ({"matchResources": {"matchPolicy": "Roughly"}}, "spec.matchResources.matchPolicy"),
    ],
)
def test_what_a_binding_may_not_be(server: Server, change: dict[str, Any], field: str) -> None:
    refused = server("POST", f"{POLICIES.removesuffix('ies')}ybindings", binding("p", **change))
    assert refused.code == 422 and refused.body["details"]["causes"][0]["field"] == field


def test_nobody_but_who_may_writes_policies(server: Server) -> None:
    jane = http.User("jane", ("developers",))
    assert server("POST", POLICIES, policy("p", "true"), user=jane).code == 403
    assert server("POST", POLICIES, policy("p", "true"), user=ADMIN).code == 201


@pytest.mark.parametrize(
    ("expressions", "is_beside"),
    [
        (["object.data.x == '1'"], False),
        (["object.data.all(k, k != 'y')"], True),
        (["object.data.x.matches('^1$')"], True),
        ([f"object.data.x != '{i + 2}'" for i in range(30)], True),
    ],
)
def test_what_may_take_long_is_evaluated_beside_the_loop(
    server: Server, monkeypatch: Any, expressions: list[str], is_beside: bool
) -> None:
    bound(server, "p", *expressions)
    taken: list[Any] = []
    made = weight.Work.in_turn

    async def in_turn(self: weight.Work, work: Any, *given: Any) -> Any:
        taken.append(work)
        return await made(self, work, *given)

    monkeypatch.setattr(weight.Work, "in_turn", in_turn)
    server.create(configmap("a", x="1"))
    assert bool(taken) is is_beside


def test_a_write_that_no_policy_is_for_evaluates_nothing(server: Server, monkeypatch: Any) -> None:
    bound(server, "p", "false", match={"resourceRules": [{**OF_CONFIGMAPS, "resources": ["secrets"]}]})

    def fail(*about: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(evaluation, "Scope", fail)
    monkeypatch.setattr(consulted, "Asking", fail)
    server.create(configmap("a"))


def test_a_request_has_a_budget(server: Server, monkeypatch: Any) -> None:
    monkeypatch.setattr(evaluation, "EVALUATIONS_MAX", 3)
    bound(server, "p", *["object.metadata.name != ''"] * 5)
    assert "running out of cost budget" in server("POST", CONFIGMAPS, configmap("a")).message


# -- what it costs who is not concerned


def test_a_write_that_no_policy_is_about_asks_the_table_once_and_evaluates_nothing(server, monkeypatch) -> None:
    """However many policies and bindings there are: they are gone through once for a resource and an operation."""
    for number in range(20):
        bound(server, f"other{number}", "false", match={"resourceRules": [{**OF_CONFIGMAPS, "resources": ["secrets"]}]})
    looked: list[str] = []
    for name in ("validating", "mutating"):
        real = getattr(consulted.Policies, name)

        def counting(*args: Any, name: str = name, real: Any = real) -> Any:
            looked.append(f"{name} {args[1].operation}")
            return real(*args)

        monkeypatch.setattr(consulted.Policies, name, counting)
    monkeypatch.setattr(consulted, "Asking", lambda *args: pytest.fail("somebody is asked"))
    for number in range(30):
        server.create(configmap(f"m{number}"))
    for number in range(30):
        server.ok("DELETE", f"{CONFIGMAPS}/m{number}")
    assert looked == ["mutating CREATE", "validating CREATE", "mutating DELETE", "validating DELETE"]
    monkeypatch.undo()
    assert server("POST", CONFIGMAPS.replace("configmaps", "secrets"), {"metadata": {"name": "s"}}).code == 422
