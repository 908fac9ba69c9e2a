"""Mutating admission policies over the real API: apply configurations, JSON patches, order, and what fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.admission.test_policies import CONFIGMAPS, GROUP, OF_CONFIGMAPS
from tests.server.conftest import Server, configmap, pod

POLICIES = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"
PODS = "/api/v1/namespaces/default/pods"
OF_PODS = {**OF_CONFIGMAPS, "resources": ["pods"]}


def applied(text: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}


def patched(text: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}


def policy(name: str, *mutations: Any, **spec: Any) -> dict[str, Any]:
    match = {"resourceRules": [OF_CONFIGMAPS], **spec.pop("match", {})}
    return {
        "apiVersion": GROUP,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": match, "mutations": list(mutations), "reinvocationPolicy": "Never", **spec},
    }


def binding(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": f"{name}-everywhere"},
        "spec": {"policyName": name, **spec},
    }


def bound(server: Server, name: str, *mutations: Any, **spec: Any) -> None:
    of_binding = spec.pop("binding", {})
    server.create(policy(name, *mutations, **spec), "")
    server.create(binding(name, **of_binding), "")


LABELLED = "Object{metadata: Object.metadata{labels: {'by': 'policy'}}}"


def test_an_apply_configuration_is_merged(server: Server) -> None:
    bound(server, "label", applied(LABELLED))
    made = server.create(configmap("a", {"app": "x"}, k="v"))
    assert made["metadata"]["labels"] == {"app": "x", "by": "policy"} and made["data"] == {"k": "v"}
    changed = server.ok("PUT", f"{CONFIGMAPS}/a", configmap("a", k="w"))
    assert changed["metadata"]["labels"] == {"by": "policy"}


def test_lists_are_merged_by_their_keys(server: Server) -> None:
    text = """Object{
      spec: Object.spec{
        initContainers: [Object.spec.initContainers{name: "sidecar", image: "proxy", restartPolicy: "Always"}],
        containers: object.spec.containers.map(c, Object.spec.containers{
          name: c.name,
          env: [Object.spec.containers.env{name: "WHO", value: c.name}]
        })
      }
    }"""
    bound(server, "sidecar", applied(text), match={"resourceRules": [OF_PODS]})
    spec = server.create(pod("p"))["spec"]
    (sidecar,), (own,) = spec["initContainers"], spec["containers"]
    assert (sidecar["name"], sidecar["image"], sidecar["restartPolicy"]) == ("sidecar", "proxy", "Always")
    assert sidecar["imagePullPolicy"]  # What was added has its defaults.
    assert own["image"] == "i" and own["env"] == [{"name": "WHO", "value": "c"}]


def test_a_json_patch(server: Server) -> None:
    text = """[
      JSONPatch{op: "test", path: "/data/color", value: "red"},
      JSONPatch{op: "replace", path: "/data/color", value: "green"},
      JSONPatch{op: "add", path: "/metadata/annotations", value: {}},
      JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("example.com/by"), value: "policy"}
    ]"""
    bound(server, "paint", patched(text))
    made = server.create(configmap("a", color="red"))
    assert made["data"] == {"color": "green"} and made["metadata"]["annotations"] == {"example.com/by": "policy"}
    other = server.create(configmap("b", color="blue"))  # Its test fails: it stays as it is.
    assert other["data"] == {"color": "blue"}


def test_mutations_follow_one_another_and_policies_go_by_name(server: Server) -> None:
    def appended(letter: str) -> dict[str, Any]:
        return applied(f"Object{{data: {{'order': object.data.order + '{letter}'}}}}")

    bound(server, "b", appended("c"))
    bound(server, "a", appended("a"), appended("b"))
    assert server.create(configmap("x", order=""))["data"]["order"] == "abc"


@pytest.mark.parametrize(("again", "order"), [("Never", "ab"), ("IfNeeded", "aba")])
def test_who_wants_to_is_asked_again(server: Server, again: str, order: str) -> None:
    def appended(letter: str) -> dict[str, Any]:
        return applied(f"Object{{data: {{'order': object.data.order + '{letter}'}}}}")

    bound(server, "a", appended("a"), reinvocationPolicy=again)
    bound(server, "b", appended("b"))
    assert server.create(configmap("x", order=""))["data"]["order"] == order


def test_params_variables_and_conditions(server: Server) -> None:
    server.create(configmap("team", color="blue"))
    bound(
        server,
        "team",
        applied("Object{metadata: Object.metadata{labels: {'team': variables.team}}}"),
        variables=[{"name": "team", "expression": "params.data.color"}],
        matchConditions=[{"name": "new", "expression": "request.operation == 'CREATE'"}],
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": {"name": "team", "parameterNotFoundAction": "Deny"}},
    )
    assert server.create(configmap("a"))["metadata"]["labels"] == {"team": "blue"}
    assert "labels" not in server.ok("PUT", f"{CONFIGMAPS}/a", configmap("a", x="1"))["metadata"]
    server.ok("DELETE", f"{CONFIGMAPS}/team")
    refused = server("POST", CONFIGMAPS, configmap("b"))
    assert refused.code == 403 and "failed to configure binding: no params found" in refused.message


@pytest.mark.parametrize(
    ("mutation", "why"),
    [
        (applied("Object{spec: Object.spec{x: 1}}"), 'unknown field "spec"'),
        (applied("Object{metadata: Object.data{labels: {'a': 'b'}}}"), 'unexpected type name "Object.data"'),
        (applied("{'data': {'a': 'b'}}"), "must evaluate to Object"),
        (applied("Object{data: {'a': object.nothing}}"), "resulted in error: no such key: nothing"),
        (applied("Object{metadata: Object.metadata{ownerReferences: [{'name': 'x'}]}}"), "error"),
        (patched("[{'op': 'remove', 'path': '/data'}]"), "must evaluate to a list of JSONPatch"),
        (patched("[JSONPatch{op: 'remove', path: '/nothing'}]"), 'there is no "nothing"'),
        (patched("[JSONPatch{op: 'add', path: '/data', value: 7}]"), "data"),
    ],
)
def test_what_a_mutation_may_not_make(server: Server, mutation: dict[str, Any], why: str) -> None:
    bound(server, "wrong", mutation)
    refused = server("POST", CONFIGMAPS, configmap("a", k="v"))
    assert refused.code == 403 and refused.body["reason"] == "Invalid"
    assert refused.message.startswith("policy 'wrong' with binding 'wrong-everywhere' denied request: ")
    assert why in refused.message
    server.ok("DELETE", f"{POLICIES}/wrong")
    server.create(
        {**policy("wrong", mutation), "spec": {**policy("wrong", mutation)["spec"], "failurePolicy": "Ignore"}}, ""
    )
    assert server.create(configmap("a", k="v"))["data"] == {"k": "v"}


def test_what_is_owned_as_a_whole_is_not_mutated_by_an_apply_configuration(server: Server) -> None:
    text = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', args: ['x']}]}}"
    bound(server, "args", applied(text), match={"resourceRules": [OF_PODS]})
    refused = server("POST", PODS, pod("p"))
    assert "may not mutate atomic arrays, maps or structs: spec.containers[0].args" in refused.message


def test_what_comes_out_is_checked_again(server: Server) -> None:
    bound(server, "bad", patched("[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a': '-'}}]"))
    refused = server("POST", CONFIGMAPS, configmap("a"))
    assert refused.code == 422 and "metadata.labels" in refused.message
    bound(server, "renames", patched("[JSONPatch{op: 'replace', path: '/metadata/name', value: 'z'}]"))
    server.ok("DELETE", f"{POLICIES}/bad")
    assert server.create(configmap("a"))["metadata"]["name"] == "a"  # Nobody changes that.


def test_removals_are_no_mutations(server: Server) -> None:
    server.create(configmap("a"))
    bound(server, "wrong", applied("Object{data: {'a': object.nothing}}"))
    server.ok("DELETE", f"{CONFIGMAPS}/a")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mutations": []}, "spec.mutations"),
        ({"mutations": [{"patchType": "Merge"}]}, "spec.mutations[0].patchType"),
        ({"mutations": [{"patchType": "JSONPatch"}]}, "spec.mutations[0].jsonPatch"),
        ({"mutations": [applied(" ")]}, "spec.mutations[0].applyConfiguration.expression"),
        ({"mutations": [applied("'a'")]}, "spec.mutations[0].applyConfiguration.expression"),
        ({"mutations": [applied("Object{")]}, "spec.mutations[0].applyConfiguration.expression"),
        ({"mutations": [applied("Object")]}, "spec.mutations[0].applyConfiguration.expression"),
        ({"mutations": [patched("Object{}")]}, "spec.mutations[0].jsonPatch.expression"),
        ({"mutations": [patched("[JSONPatch{at: '/a'}]")]}, "spec.mutations[0].jsonPatch.expression"),
        ({"mutations": [{**patched("[]"), **applied("Object{}")}]}, "spec.mutations[0].jsonPatch"),
        ({"reinvocationPolicy": ""}, "spec.reinvocationPolicy"),
        (
            {"matchConstraints": {"resourceRules": [{**OF_PODS, "operations": ["DELETE"]}]}},
            "spec.matchConstraints.resourceRules[0].operations[0]",
        ),
    ],
)
def test_what_a_policy_may_not_be(server: Server, change: dict[str, Any], field: str) -> None:
    given = policy("p", applied("Object{}"))
    given["spec"] |= change
    refused = server("POST", POLICIES, given)
    assert refused.code == 422 and refused.body["details"]["causes"][0]["field"] == field
