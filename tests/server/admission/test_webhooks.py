"""Admission webhooks: who is asked, what is asked, what becomes of the answers; at last with a real HTTPS server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from petset.kinds import builtin
from petset.objects import meta
from petset.server.admission import consulted, evaluation, mutation
from petset.server.admission import matching as rules
from petset.server.admission.matching import Asked
from petset.server.admission.webhooks import matching, review
from petset.server.elsewhere import calling, service_targets
from petset.store import memory
from petset.wire import http
from tests.server.admission.webhook_server import WebhookServer, configuration, patched
from tests.server.conftest import Server, configmap

PODS = builtin.KINDS.named("v1", "Pod")
NAMESPACES = builtin.KINDS.named("v1", "Namespace")
OLD_EVENTS, EVENTS = builtin.KINDS.named("v1", "Event"), builtin.KINDS.named("events.k8s.io/v1", "Event")
assert PODS and NAMESPACES and OLD_EVENTS and EVENTS
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


# -- which webhooks a write concerns


def rule(text: str, scope: str = "*") -> rules.Rule:
    """`group/version resources operations`, each separated by commas."""
    where, resources, operations = text.split()
    group, _, version = where.partition("/")
    given = {"apiGroups": ["" if group == "core" else group], "apiVersions": [version], "scope": scope}
    return rules.rule_of({**given, "resources": resources.split(","), "operations": operations.split(",")})


RULES = [
    ("core/v1 pods CREATE", Asked(PODS, "CREATE"), True),
    ("core/v1 pods CREATE", Asked(PODS, "UPDATE"), False),
    ("core/v1 pods *", Asked(PODS, "DELETE"), True),
    ("core/v1 pods,secrets CREATE,UPDATE", Asked(PODS, "UPDATE"), True),
    ("core/v2 pods *", Asked(PODS, "CREATE"), False),
    ("*/* * *", Asked(PODS, "CREATE"), True),
    ("apps/v1 * *", Asked(PODS, "CREATE"), False),
    ("core/v1 pods *", Asked(PODS, "UPDATE", "status"), False),
    ("core/v1 pods/status *", Asked(PODS, "UPDATE", "status"), True),
    ("core/v1 pods/* *", Asked(PODS, "UPDATE", "status"), True),
    ("core/v1 pods/* *", Asked(PODS, "UPDATE"), True),
    ("core/v1 */status *", Asked(PODS, "UPDATE", "status"), True),
    ("core/v1 * *", Asked(PODS, "UPDATE", "status"), False),
    ("core/v1 */* *", Asked(PODS, "UPDATE", "status"), True),
]


@pytest.mark.parametrize(("text", "asked", "holds"), RULES, ids=[f"{text} {a.operation}" for text, a, _ in RULES])
def test_a_rule_holds(text: str, asked: Asked, holds: bool) -> None:
    assert rule(text).holds(asked) is holds


def test_the_scope_of_a_rule() -> None:
    assert rule("*/* * *", "Namespaced").holds(Asked(PODS, "CREATE"))
    assert not rule("*/* * *", "Namespaced").holds(Asked(NAMESPACES, "CREATE"))
    assert rule("*/* * *", "Cluster").holds(Asked(NAMESPACES, "CREATE"))
    assert not rule("*/* * *", "Cluster").holds(Asked(PODS, "CREATE"))


def webhook(**changes: Any) -> matching.Webhook:
    given = {
        "name": "a.b.example",
        "clientConfig": {"url": "https://nobody.example"},
        "admissionReviewVersions": ["v7", "v1"],
        "sideEffects": "None",
        "rules": [{"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["*"], "operations": ["*"]}],
        **changes,
    }
    kind = builtin.KINDS.named("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
    assert kind
    (made,) = matching.webhooks_of(kind.default(configuration("Mutating", given)))
    return made


def test_an_equivalent_version_is_told_in_the_version_of_the_rule() -> None:
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["events"], "operations": ["CREATE"]}]
    asked = Asked(EVENTS, "CREATE")
    (found,) = matching.concerned([webhook(rules=rules)], asked, [OLD_EVENTS])
    assert found.kind is OLD_EVENTS
    assert matching.concerned([webhook(rules=rules, matchPolicy="Exact")], asked, [OLD_EVENTS]) == []
    (found,) = matching.concerned([webhook(rules=rules)], Asked(OLD_EVENTS, "CREATE"), [EVENTS])
    assert found.kind is OLD_EVENTS


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "x", "labels": labels}}


def test_selectors_choose_by_the_namespace_and_by_the_old_or_the_new_object() -> None:
    of_spaces = webhook(namespaceSelector={"matchLabels": {"env": "prod"}})
    assert of_spaces.match.is_selected({"env": "prod"}, labelled(), None)
    assert not of_spaces.match.is_selected({"env": "test"}, labelled(), None)
    assert of_spaces.match.is_selected(None, labelled(), None)  # Of the whole cluster.
    of_objects = webhook(objectSelector={"matchLabels": {"app": "a"}})
    assert of_objects.match.is_selected({}, labelled(app="a"), labelled())
    assert of_objects.match.is_selected({}, labelled(), labelled(app="a"))
    assert of_objects.match.is_selected({}, None, labelled(app="a"))
    assert not of_objects.match.is_selected({}, labelled(app="b"), None)


def test_match_conditions_all_hold_or_one_leaves_the_webhook_out() -> None:
    def meets(policy: str, *expressions: str) -> bool:
        conditions = [{"name": f"c{at}", "expression": text} for at, text in enumerate(expressions)]
        made = webhook(matchConditions=conditions, failurePolicy=policy)
        values = {"object": labelled(app="a"), "oldObject": None, "request": {"operation": "CREATE"}}
        scope = evaluation.Scope(values, None, evaluation.Budget())
        return rules.holds(made.conditions, scope.evaluate, made.fails_open)

    assert meets("Fail", "object.metadata.labels.app == 'a'", "oldObject == null")
    assert not meets("Fail", "request.operation == 'DELETE'")
    wrong = "object.metadata.labels.other == 'a'"
    assert not meets("Fail", wrong, "false")
    assert not meets("Ignore", wrong)
    with pytest.raises(rules.Unclear):
        meets("Fail", wrong, "true")
    no_longer_known = "request.forgotten("
    assert not meets("Ignore", no_longer_known)
    assert not meets("Fail", no_longer_known, "false")
    with pytest.raises(rules.Unclear):
        meets("Fail", no_longer_known)


# -- the question and its answer


def answer(version: str = "admission.k8s.io/v1", **response: Any) -> bytes:
    return json.dumps({"apiVersion": version, "kind": "AdmissionReview", "response": response}).encode()


PATCH = base64.b64encode(b'[{"op":"add","path":"/data","value":{}}]').decode()
BAD_ANSWERS = [
    (b"no", "it is not JSON"),
    (b"[]", "it is not an object"),
    (b"{}", "webhook response was absent"),
    (answer(uid="other"), 'expected response.uid="u", got "other"'),
    (answer("admission.k8s.io/v2", uid="u"), "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"),
    (answer(uid="u", patch=PATCH), "webhook returned response.patch but not response.patchType"),
    (answer(uid="u", patchType="JSONPatch"), "webhook returned response.patchType but not response.patch"),
    (answer(uid="u", patch=PATCH, patchType="Merge"), 'webhook returned invalid response.patchType of "Merge"'),
    (answer(uid="u", patch="%", patchType="JSONPatch"), "received undecodable patch"),
    (answer(uid="u", patch=[1], patchType="JSONPatch"), "received undecodable patch"),
]


@pytest.mark.parametrize(("data", "why"), BAD_ANSWERS, ids=[why[:40] for _, why in BAD_ANSWERS])
def test_what_is_no_answer_says_why(data: bytes, why: str) -> None:
    with pytest.raises(review.BadAnswer) as told:
        review.read(webhook(), "u", data)
    assert why in str(told.value)


def test_an_answer_is_taken_apart() -> None:
    given = answer(uid="u", allowed=True, patch=PATCH, patchType="JSONPatch", warnings=["w"])
    found = review.read(webhook(), "u", given)
    assert found == review.Answer(True, {}, [{"op": "add", "path": "/data", "value": {}}], ["w"])
    assert not review.read(webhook(), "u", answer(uid="u", allowed="yes")).allowed
    older = webhook(admissionReviewVersions=["v1beta1"])
    assert review.read(older, "u", b'{"response": {"allowed": true}}').allowed


DENIALS = [
    ({}, 400, "", "without explanation"),
    ({"message": "no"}, 400, "", ": no"),
    ({"reason": "Because"}, 400, "Because", ": Because"),
    ({"code": 403, "reason": "Forbidden", "message": "not you"}, 403, "Forbidden", ": not you"),
    ({"code": 200, "message": "odd"}, 400, "", ": odd"),
]


@pytest.mark.parametrize(("status", "code", "reason", "end"), DENIALS)
def test_a_denial_is_the_webhooks_own_status(status: Any, code: int, reason: str, end: str) -> None:
    error = review.denial(webhook(), status)
    joint = "" if end.startswith(":") else " "
    said = f'admission webhook "a.b.example" denied the request{joint}{end}'
    assert (error.code, error.reason, error.message) == (code, reason, said)


def test_who_is_asked_again() -> None:
    rounds = mutation.Rounds()
    assert all(rounds.is_due(place) for place in range(3))
    rounds.asked(0)  # 0 wishes it, 1 changes the object, 2 wishes it and saw it changed.
    rounds.changed()
    rounds.asked(2)
    rounds.begin_again()
    assert [rounds.is_due(place) for place in range(3)] == [True, False, False]


# -- where a webhook is


def test_a_webhook_behind_a_service_is_at_one_of_its_ready_addresses() -> None:
    async def check() -> None:
        store = memory.MemoryStore()
        client = {"service": {"name": "hook", "namespace": "ops", "port": 443, "path": "/check"}}

        targets = service_targets.Targets(store)

        async def place() -> calling.Place:
            return await calling.place_of(targets, client)

        async def put(kind: str, **parts: Any) -> None:
            resource = builtin.KINDS.named("discovery.k8s.io/v1" if "Slice" in kind else "v1", kind)
            assert resource
            name, labels = parts.pop("name", "hook"), parts.pop("labels", {})
            obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "ops"}, **parts}
            obj["metadata"] |= {"labels": labels} if labels else {}
            key = resource.key("ops", name)
            entry = store.get(key)
            await store.put(key, obj, entry.revision if entry else 0)

        with pytest.raises(calling.NoAnswer, match='service "hook" not found'):
            await place()
        await put("Service", spec={"ports": [{"name": "https", "port": 443, "targetPort": 8443}]})
        with pytest.raises(calling.NoAnswer, match='no endpoints available for service "hook"'):
            await place()
        labels = {"kubernetes.io/service-name": "hook"}
        ports, ready = [{"name": "https", "port": 8443}], [{"addresses": ["10.0.0.7"]}]
        away = {"addresses": ["10.0.0.8"], "conditions": {"ready": False}}
        await put("EndpointSlice", name="hook-1", labels=labels, ports=ports, endpoints=[*ready, away])
        assert await place() == calling.Place("https://hook.ops.svc:443", "/check", ("10.0.0.7", 8443))
        await put("EndpointSlice", name="hook-1", labels=labels, ports=ports, endpoints=[away])
        many = [{"addresses": [f"10.1.{n // 250}.{n % 250 + 1}"]} for n in range(1200)]
        for number, first in enumerate(range(0, len(many), 100)):
            await put("EndpointSlice", name=f"hook-many-{number}", labels=labels, ports=ports,
                      endpoints=many[first : first + 100])  # fmt: skip
        subset = {"addresses": [{"ip": "10.0.0.9"}], "ports": ports}
        await put("Endpoints", subsets=[subset])
        found = {(await place()).address for _ in range(2000)}
        assert found <= {(one["addresses"][0], 8443) for one in many} and len(found) > 800, "Endpoints are not asked"
        other = {"kubernetes.io/service-name": "other"}
        for number in range(len(many) // 100):
            await put("EndpointSlice", name=f"hook-many-{number}", labels=other, ports=ports, endpoints=many[:1])
        with pytest.raises(calling.NoAnswer, match="no endpoints available"):
            await place()
        await put("Service", spec={"ports": [{"port": 80}]})
        with pytest.raises(calling.NoAnswer, match='no service port 443 found for service "hook"'):
            await place()
        await put("Service", spec={"type": "ExternalName", "externalName": "hooks.example"})
        assert (await place()).address == ("hooks.example", 443)
        await store.close()

    asyncio.run(check())


# -- configurations

WRONG = [
    (("name", "short"), "webhooks[0].name", "three segments"),
    (("sideEffects", "Some"), "webhooks[0].sideEffects", "supported values"),
    (("timeoutSeconds", 31), "webhooks[0].timeoutSeconds", "between 1 and 30 seconds"),
    (("failurePolicy", "Maybe"), "webhooks[0].failurePolicy", "supported values"),
    (("admissionReviewVersions", ["v2"]), "webhooks[0].admissionReviewVersions", "must include at least one of v1"),
    (("clientConfig", {}), "webhooks[0].clientConfig", "exactly one of url or service is required"),
    (("clientConfig", {"url": "http://x"}), "webhooks[0].clientConfig.url", "'https' is the only allowed"),
    (("clientConfig", {"url": "https://x/?a=b"}), "webhooks[0].clientConfig.url", "query parameters"),
    (("clientConfig", {"url": "https://u@x/"}), "webhooks[0].clientConfig.url", "user information"),
    (("clientConfig", {"url": "https://x:y/"}), "webhooks[0].clientConfig.url", "must be a valid URL"),
    (
        ("clientConfig", {"service": {"name": "a", "namespace": "b", "path": "//"}}),
        "webhooks[0].clientConfig.service.path",
        "segment[0] may not be empty",
    ),
    (
        ("matchConditions", [{"name": "a", "expression": "nobody.knows"}]),
        "webhooks[0].matchConditions[0].expression",
        "compilation failed",
    ),
    (("matchConditions", [{"name": "a", "expression": "1"}]), "webhooks[0].matchConditions[0].expression", "bool"),
]
WRONG_RULES = [
    (("operations", ["*", "CREATE"]), "operations", "if '*' is present"),
    (("operations", ["READ"]), "operations[0]", "supported values"),
    (("resources", ["pods/*", "pods/status"]), "resources[1]", "if 'pods/*' is present"),
    (("resources", ["*", "pods"]), "resources", "other resources without subresources"),
    (("resources", []), "resources", "Required"),
    (("scope", "World"), "scope", "supported values"),
]


@pytest.mark.parametrize(("change", "field", "why"), WRONG, ids=[f"{c[0]} {w[:20]}" for c, _, w in WRONG])
def test_a_wrong_webhook_is_refused(server: Server, change: tuple[str, Any], field: str, why: str) -> None:
    given = {
        "name": "a.b.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://nobody.example"},
        change[0]: change[1],
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    refused = server("POST", path, configuration("Validating", given))
    assert refused.code == 422, refused
    (cause,) = refused.body["details"]["causes"]
    assert cause["field"] == field and why in cause["message"]


@pytest.mark.parametrize(("change", "field", "why"), WRONG_RULES, ids=[w for _, _, w in WRONG_RULES])
def test_a_wrong_rule_is_refused(change: tuple[str, Any], field: str, why: str) -> None:
    kind = builtin.KINDS.named("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
    assert kind
    right = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["*"]}
    given = {
        "name": "a.b.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://nobody.example"},
        "rules": [{**right, change[0]: change[1]}],
    }
    (found,) = kind.validate(kind.default(configuration("Validating", given)))
    assert found.field == f"webhooks[0].rules[0].{field}" and why in found.message


def test_a_configuration_has_its_defaults_and_counts_its_changes(server: Server) -> None:
    given = {
        "name": "a.b.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"name": "a", "namespace": "b"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["*"]}],
    }
    made = server.create(configuration("Mutating", given), "")
    (hook,) = made["webhooks"]
    assert {key: value for key, value in hook.items() if key not in given} == {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "reinvocationPolicy": "Never",
        "timeoutSeconds": 10,
    }
    assert hook["clientConfig"]["service"]["port"] == 443 and hook["rules"][0]["scope"] == "*"
    assert made["metadata"]["generation"] == 1
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hooks"
    labelled = server.ok("PUT", path, meta.changed(made, ("metadata", "labels"), {"a": "b"}))
    assert labelled["metadata"]["generation"] == 1
    changed = server.ok("PUT", path, meta.changed(labelled, ("webhooks",), [{**hook, "timeoutSeconds": 3}]))
    assert changed["metadata"]["generation"] == 2


# -- with a real server


@pytest.fixture
def hooks(server: Server, tmp_path: Any) -> Iterator[WebhookServer]:
    hosts = ("127.0.0.1", "hook.default.svc")
    asyncio.set_event_loop(server.loop)
    hooks = WebhookServer(server.loop, tmp_path, hosts)
    yield hooks
    hooks.close()
    asyncio.set_event_loop(None)


def test_a_mutating_webhook_changes_what_is_written(server: Server, hooks: WebhookServer) -> None:
    add = {"op": "add", "path": "/data/added", "value": "1"}
    rename = {"op": "replace", "path": "/metadata/name", "value": "other"}
    hooks.says["/change"] = lambda asked: {**patched(add, rename), "warnings": ["careful"]}
    server.create(configuration("Mutating", hooks.hook("change")), "")
    answer = server("POST", CONFIGMAPS, configmap("a", x="1"), user=JANE_ADMIN)
    assert answer.body["data"] == {"x": "1", "added": "1"} and answer.body["metadata"]["name"] == "a"
    assert "careful" in answer.headers["warning"]
    ((path, asked),) = hooks.asked
    assert path == "/change" and asked["operation"] == "CREATE" and asked["oldObject"] is None
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == asked["requestResource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert asked["userInfo"] == {"username": "jane", "groups": ["system:masters", "system:authenticated"]}
    assert asked["options"]["kind"] == "CreateOptions" and asked["dryRun"] is False
    assert (asked["namespace"], asked["name"], asked["object"]["data"]) == ("default", "a", {"x": "1"})


JANE_ADMIN, JOHN = http.User("jane", ("system:masters",)), http.User("john", ("system:masters",))


def test_a_validating_webhook_sees_what_the_mutating_ones_made_and_refuses(
    server: Server, hooks: WebhookServer
) -> None:
    hooks.says["/change"] = lambda asked: patched({"op": "add", "path": "/data/added", "value": "1"})
    denied = {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "no such data"}}
    hooks.says["/check"] = lambda asked: denied if "added" in asked["object"]["data"] else {"allowed": True}
    server.create(configuration("Mutating", hooks.hook("change")), "")
    server.create(configuration("Validating", hooks.hook("check")), "")
    refused = server("POST", CONFIGMAPS, configmap("a", x="1"))
    assert refused.code == 403 and refused.body["reason"] == "Forbidden"
    assert refused.message == 'admission webhook "check.hooks.example" denied the request: no such data'
    assert server("GET", f"{CONFIGMAPS}/a").code == 404
    server.ok("DELETE", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hooks")
    assert server("POST", CONFIGMAPS, configmap("a", x="1")).code == 201


def test_how_long_webhooks_take_is_counted(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/change"] = lambda asked: {"allowed": True}
    hooks.says["/check"] = lambda asked: {"allowed": "x" not in asked["object"]["data"]}
    server.create(configuration("Mutating", hooks.hook("change")), "")
    server.create(configuration("Validating", hooks.hook("check")), "")
    assert [server("POST", CONFIGMAPS, configmap("a", **{key: "1"})).code for key in "xy"] == [400, 201]
    lines = server.api.rest.others._consulted._webhooks._metrics.taken().render()[1].decode().splitlines()
    name = "apiserver_admission_webhook_admission_duration_seconds_count"
    assert [line.removeprefix(name) for line in sorted(lines) if line.startswith(name)] == [
        '{name="change.hooks.example",operation="CREATE",rejected="false",type="admit"} 2.0',
        '{name="check.hooks.example",operation="CREATE",rejected="false",type="validating"} 1.0',
        '{name="check.hooks.example",operation="CREATE",rejected="true",type="validating"} 1.0',
    ]


def test_updates_and_deletions_are_asked_about_and_other_writes_are_not(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/check"] = lambda asked: {"allowed": asked["operation"] != "DELETE"}
    server.create(configuration("Validating", hooks.hook("check")), "")
    server.create(configmap("a", x="1"))
    server.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    server.ok("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "2"}}, kind="application/merge-patch+json")
    refused = server("DELETE", f"{CONFIGMAPS}/a")
    assert refused.message == 'admission webhook "check.hooks.example" denied the request without explanation'
    assert [asked["operation"] for _, asked in hooks.asked] == ["CREATE", "UPDATE", "DELETE"]
    _, update, removal = (asked for _, asked in hooks.asked)
    assert (update["oldObject"]["data"], update["object"]["data"]) == ({"x": "1"}, {"x": "2"})
    assert update["options"]["kind"] == "PatchOptions" and removal["options"]["kind"] == "DeleteOptions"
    assert removal["object"] is None and removal["oldObject"]["data"] == {"x": "2"}


FAILURES = [
    (None, "context deadline exceeded"),
    (lambda asked: http.Response(500, (), b"it broke"), 'an error on the server ("it broke") has prevented'),
    (lambda asked: http.Response(404), "could not find the requested resource"),
    (lambda asked: http.Response(200, (), b"?"), "received invalid webhook response: it is not JSON"),
    (lambda asked: {"uid": "x"}, "received invalid webhook response: expected response.uid"),
    (lambda asked: http.Response(200, (), b" " * (calling.ANSWER_BYTES_MAX + 1)), "the answer is longer than"),
]


@pytest.mark.parametrize(("say", "why"), FAILURES, ids=[why[:30] for _, why in FAILURES])
def test_a_webhook_that_fails_ends_the_write_or_is_left_out(
    server: Server, hooks: WebhookServer, say: Any, why: str
) -> None:
    hooks.says["/fail"] = say or (lambda asked: hooks.never())
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    made = server.create(configuration("Validating", hooks.hook("fail", timeoutSeconds=1)), "")
    refused = server("POST", CONFIGMAPS, configmap("a"))
    assert refused.code == 500 and refused.body["reason"] == "InternalError"
    assert refused.message.startswith('Internal error occurred: failed calling webhook "fail.hooks.example": ')
    assert why in refused.message
    (hook,) = made["webhooks"]
    server.ok("PUT", f"{path}/hooks", meta.changed(made, ("webhooks",), [{**hook, "failurePolicy": "Ignore"}]))
    assert server("POST", CONFIGMAPS, configmap("a")).code == 201


def test_a_webhook_that_is_not_there_or_not_to_be_trusted_fails(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/fail"] = lambda asked: {"allowed": True}
    url = f"https://127.0.0.1:{hooks.port}/fail"
    nowhere = {"url": "https://127.0.0.1:1/x", "caBundle": hooks.bundle}
    for client, why in (
        (nowhere, "Connection refused"),
        ({"url": url}, "its certificate is not trusted"),
        ({"url": url, "caBundle": base64.b64encode(b"no").decode()}, "unable to load root certificates"),
        ({"url": url.replace("127.0.0.1", "localhost"), "caBundle": hooks.bundle}, "its certificate is not trusted"),
    ):
        made = server.create(configuration("Validating", hooks.hook("fail", clientConfig=client)), "")
        refused = server("POST", CONFIGMAPS, configmap("a"))
        assert refused.code == 500 and why in refused.message, refused
        server.ok("DELETE", f"{path_of(made)}")
    assert hooks.asked == []


def path_of(made: Any) -> str:
    kind = builtin.KINDS.of(made)
    assert kind
    return kind.path("", meta.name(made))


def test_who_wishes_it_is_asked_again_when_the_object_changed_later(server: Server, hooks: WebhookServer) -> None:
    add = {"op": "add", "path": "/data/later", "value": "1"}
    hooks.says["/a"] = lambda asked: {"allowed": True}
    hooks.says["/b"] = lambda asked: patched(add) if "later" not in asked["object"]["data"] else {"allowed": True}
    hooks.says["/c"] = lambda asked: {"allowed": True}
    again = {"reinvocationPolicy": "IfNeeded"}
    server.create(configuration("Mutating", hooks.hook("c"), name="z"), "")
    server.create(configuration("Mutating", hooks.hook("a", **again), hooks.hook("b", **again), name="y"), "")
    server.create(configmap("a", x="1"))
    assert [path for path, _ in hooks.asked] == ["/a", "/b", "/c", "/a"]
    assert "later" in hooks.asked[-1][1]["object"]["data"]


def test_what_a_webhook_makes_of_an_object_must_be_one(server: Server, hooks: WebhookServer) -> None:
    for path, operation, code in (
        ("/wrong", {"op": "add", "path": "/data", "value": 7}, 500),
        ("/missing", {"op": "remove", "path": "/nothing"}, 500),
        ("/invalid", {"op": "add", "path": "/data/..", "value": "x"}, 422),
    ):
        hooks.says[path] = lambda asked, operation=operation: patched(operation)
        made = server.create(configuration("Mutating", hooks.hook(path[1:])), "")
        refused = server("POST", CONFIGMAPS, configmap("a", x="1"))
        assert refused.code == code, refused
        server.ok("DELETE", path_of(made))


def test_a_dry_run_says_so_and_writes_of_the_configurations_are_free(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/check"] = lambda asked: {"allowed": False}
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}]
    made = server.create(configuration("Validating", hooks.hook("check", rules=everything)), "")
    assert server("POST", f"{CONFIGMAPS}?dryRun=All", configmap("a")).code == 400
    ((_, asked),) = hooks.asked
    assert asked["dryRun"] is True and asked["options"]["dryRun"] == ["All"]
    server.ok("DELETE", path_of(made))
    assert server("POST", CONFIGMAPS, configmap("a")).code == 201


def test_match_conditions_and_selectors_choose(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/check"] = lambda asked: {"allowed": False}
    conditions = [{"name": "jane", "expression": "request.userInfo.username == 'jane' && 'x' in object.data"}]
    server.create(configuration("Validating", hooks.hook("check", matchConditions=conditions)), "")
    assert server("POST", CONFIGMAPS, configmap("a", x="1")).code == 201
    assert server("POST", CONFIGMAPS, configmap("b", x="1"), user=JANE_ADMIN).code == 400
    assert server("POST", CONFIGMAPS, configmap("c", y="1"), user=JANE_ADMIN).code == 201
    without = {key: value for key, value in configmap("d").items() if key != "data"}
    unclear = server("POST", CONFIGMAPS, without, user=JANE_ADMIN)
    assert unclear.code == 403 and "match condition jane resulted in error" in unclear.message


def test_a_slow_webhook_holds_up_nobody_else(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/slow"] = lambda asked: hooks.never()
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["UPDATE"]}]
    conditions = [{"name": "jane", "expression": "request.userInfo.username == 'jane'"}]
    server.create(configmap("a", x="1"))
    server.create(
        configuration("Validating", hooks.hook("slow", rules=rules, matchConditions=conditions, timeoutSeconds=30)), ""
    )
    patch = json.dumps({"data": {"x": "2"}}).encode()
    headers = (("content-type", "application/merge-patch+json"),)

    async def check() -> int:
        ask = http.Request("PATCH", f"{CONFIGMAPS}/a", headers, patch, user=JANE_ADMIN)
        waiting = asyncio.ensure_future(server.api.handle(ask))
        await hooks.heard.wait()
        body = json.dumps({"data": {"y": "3"}}).encode()
        made = await server.api.handle(http.Request("PATCH", f"{CONFIGMAPS}/a", headers, body, user=JOHN))
        waiting.cancel()
        await asyncio.wait([waiting])
        return made.code

    assert server.run(check()) == 200
    assert server.get(f"{CONFIGMAPS}/a")["data"] == {"x": "1", "y": "3"}


def test_a_webhook_behind_a_service_is_asked(server: Server, hooks: WebhookServer) -> None:
    hooks.says["/check"] = lambda asked: {"allowed": False, "status": {"message": "no"}}
    ports = [{"name": "https", "port": 443, "targetPort": 8443}]
    spec = {"clusterIP": "None", "ports": ports}
    server.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}, "spec": spec})
    of_hook = {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}
    about = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": of_hook, "addressType": "IPv4"}
    endpoints, there = [{"addresses": ["127.0.0.1"]}], [{"name": "https", "port": hooks.port}]
    server.create({**about, "endpoints": endpoints, "ports": there})
    client = {"service": {"name": "hook", "namespace": "default", "path": "/check"}, "caBundle": hooks.bundle}
    server.create(configuration("Validating", hooks.hook("check", clientConfig=client)), "")
    refused = server("POST", CONFIGMAPS, configmap("a"))
    assert refused.message == 'admission webhook "check.hooks.example" denied the request: no', refused


def test_nothing_is_looked_up_while_there_is_no_configuration(server: Server, monkeypatch: Any) -> None:
    def fail(*about: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(consulted, "Asking", fail)
    monkeypatch.setattr(matching, "concerned", fail)
    server.create(configmap("a"))
    server.ok("PUT", f"{CONFIGMAPS}/a", configmap("a", x="1"))
