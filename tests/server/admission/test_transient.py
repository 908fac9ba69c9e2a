"""What policies and webhooks are told of what is not stored itself: scale, binding, eviction, tokens, connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.admission import test_mutating_policies as mutating
from tests.server.admission import test_policies as validating
from tests.server.admission.webhook_server import WebhookServer, configuration, patched
from tests.server.conftest import Server, collection, petset, pod

EVERYTHING = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"]}
PODS = "/api/v1/namespaces/default/pods"
SCALE = "/apis/apps/v1alpha1/namespaces/default/petsets/web/scale"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


@pytest.fixture
def hooks(server: Server, tmp_path: Path) -> Iterator[WebhookServer]:
    asyncio.set_event_loop(server.loop)
    made = WebhookServer(server.loop, tmp_path)
    yield made
    made.close()
    asyncio.set_event_loop(None)


def refuse(server: Server, resource: str, *expressions: str) -> None:
    """A policy on one subresource whose message says which of the expressions do not hold."""
    rules = {"match": {"resourceRules": [{**EVERYTHING, "resources": [resource]}]}}
    shown = [{"expression": text, "message": text} for text in expressions]
    validating.bound(server, "p", *shown, {"expression": "false", "message": "seen"}, **rules)


def test_a_scale_is_told_as_a_scale(server: Server) -> None:
    server.create(petset("web", 2))
    refuse(
        server,
        "petsets/scale",
        "object.kind == 'Scale' && object.spec.replicas == 3 && oldObject.spec.replicas == 2",
        "request.kind.kind == 'Scale' && request.resource.resource == 'petsets' && request.subResource == 'scale'",
        "request.operation == 'UPDATE' && request.name == 'web'",
    )
    body = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    refused = server("PUT", SCALE, body)
    assert refused.code == 422 and refused.message.endswith("denied request: seen"), refused.message
    patch = {"spec": {"replicas": 3}}
    refused = server("PATCH", SCALE, patch, kind="application/merge-patch+json")
    assert refused.message.endswith("denied request: seen"), refused.message
    assert server.get(SCALE)["spec"]["replicas"] == 2


def test_a_mutation_of_a_scale_scales(server: Server) -> None:
    server.create(petset("web", 2))
    match = {"resourceRules": [{**EVERYTHING, "resources": ["petsets/scale"]}]}
    text = "Object{spec: Object.spec{replicas: object.spec.replicas > 5 ? 5 : object.spec.replicas}}"
    mutating.bound(server, "few", mutating.applied(text), match=match)
    body = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"}, "spec": {"replicas": 9}}
    assert server.ok("PUT", SCALE, body)["spec"]["replicas"] == 5
    assert server.get("/apis/apps/v1alpha1/namespaces/default/petsets/web")["spec"]["replicas"] == 5


def test_a_binding_and_an_eviction(server: Server) -> None:
    server.create(pod("p"))
    refuse(
        server,
        "pods/*",
        "request.operation == 'CREATE'",
        "request.subResource != 'binding' || (object.kind == 'Binding' && object.target.name == 'n1')",
        "request.subResource != 'eviction' || object.kind == 'Eviction' && object.metadata.name == 'p'",
    )
    bound = server("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}, "metadata": {"name": "p"}})
    assert bound.code == 422 and bound.message.endswith("denied request: seen"), bound.message
    evicted = server("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert evicted.code == 422 and evicted.message.endswith("denied request: seen"), evicted.message
    assert "nodeName" not in server.get(f"{PODS}/p")["spec"]


def test_the_finalizers_of_a_namespace(server: Server) -> None:
    made = server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}}, "")
    refuse(server, "namespaces/finalize", "request.operation == 'UPDATE' && object.metadata.name == 'gone'")
    refused = server("PUT", "/api/v1/namespaces/gone/finalize", {**made, "spec": {}})
    assert refused.code == 422 and refused.message.endswith("denied request: seen"), refused.message


def test_a_request_for_a_token(server: Server) -> None:
    server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
    refuse(
        server,
        "serviceaccounts/token",
        "object.kind == 'TokenRequest' && object.spec.expirationSeconds == 600 && request.operation == 'CREATE'",
        "request.kind.group == 'authentication.k8s.io' && request.name == 'robot'",
    )
    refused = server("POST", f"{ACCOUNTS}/robot/token", {"spec": {"expirationSeconds": 600}})
    assert refused.code == 422 and refused.message.endswith("denied request: seen"), refused.message


@pytest.mark.parametrize(
    ("subresource", "query", "expression"),
    [
        ("exec", "command=ls&command=-l&stdout=true", "object.command == ['ls', '-l'] && object.stdout"),
        ("attach", "stdout=true", "object.kind == 'PodAttachOptions' && object.container == 'c'"),
        ("portforward", "ports=80", "object.ports == [80] && oldObject == null"),
        ("proxy/a/b", "", "object.kind == 'PodProxyOptions' && object.path.endsWith('a/b')"),
    ],
)
def test_connections(server: Server, subresource: str, query: str, expression: str) -> None:
    server.create(pod("p"))
    server.ok("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}, "metadata": {"name": "p"}})
    refuse(server, f"pods/{subresource.partition('/')[0]}", expression, "request.operation == 'CONNECT'")
    refused = server("GET", f"{PODS}/p/{subresource}?{query}")
    assert refused.code == 422 and refused.message.endswith("denied request: seen"), refused.message


REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
}


def test_policies_are_not_asked_about_reviews_and_webhooks_are(server: Server, hooks: WebhookServer) -> None:
    refuse(server, "*/*")
    where = collection("authorization.k8s.io/v1", "SelfSubjectAccessReview", "")
    assert server.ok("POST", where, REVIEW)["status"]["allowed"]
    asked: list[Any] = []

    def says(review: Any) -> Any:
        asked.append(review)
        return patched({"op": "replace", "path": "/spec/resourceAttributes/verb", "value": "list"})

    hooks.says["/review"] = says
    rule = {**EVERYTHING, "resources": ["selfsubjectaccessreviews"]}
    server.create(configuration("Mutating", hooks.hook("review", rules=[rule])), "")
    answer = server.ok("POST", where, REVIEW)
    assert answer["spec"]["resourceAttributes"]["verb"] == "list" and asked[0]["kind"]["kind"] == REVIEW["kind"]


def test_webhooks_see_a_scale_and_a_connection(server: Server, hooks: WebhookServer) -> None:
    server.create(petset("web", 2))
    server.create(pod("p"))
    server.ok("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}, "metadata": {"name": "p"}})
    asked: list[Any] = []

    def says(review: Any) -> Any:
        asked.append(review)
        return {"allowed": False, "status": {"code": 403, "message": "no"}}

    hooks.says["/no"] = says
    rule = {**EVERYTHING, "resources": ["petsets/scale", "pods/exec"]}
    server.create(configuration("Validating", hooks.hook("no", rules=[rule])), "")
    body = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    assert server("PUT", SCALE, body).code == 403
    assert server("GET", f"{PODS}/p/exec?command=ls&stdout=true").code == 403
    scale, connection = asked
    assert scale["object"]["kind"] == "Scale" and scale["oldObject"]["spec"]["replicas"] == 2
    assert scale["requestKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert connection["operation"] == "CONNECT" and connection["object"]["command"] == ["ls"]
    assert connection["options"] is None and connection["name"] == "p"
