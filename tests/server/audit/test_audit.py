"""The audit log: what the policy tells of which request, and what the lines say."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from petset import cluster
from petset.server.access import rbac
from petset.server.audit import event, log, policy
from petset.store import memory
from petset.wire import http
from tests.server.conftest import ADMIN, configmap

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
JANE = http.User("jane", ("developers",))


def policy_of(*rules: dict[str, Any], **more: Any) -> policy.Policy:
    tree = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}
    return policy.read(json.dumps(tree).encode())


def pods(verb: str = "get", **more: str) -> rbac.Attributes:
    return rbac.Attributes(verb, "", "pods", **more)


@pytest.mark.parametrize(
    ("rule", "asked", "fits"),
    [
        ({}, pods(), True),
        ({"users": ["jane"]}, pods(), True),
        ({"users": ["bob"]}, pods(), False),
        ({"userGroups": ["developers", "x"]}, pods(), True),
        ({"userGroups": ["x"]}, pods(), False),
        ({"verbs": ["get", "list"]}, pods(), True),
        ({"verbs": ["list"]}, pods(), False),
        ({"namespaces": ["a"]}, pods(namespace="a"), True),
        ({"namespaces": ["a"]}, pods(namespace="b"), False),
        ({"namespaces": [""]}, pods(), True),
        ({"resources": [{"resources": ["pods"]}]}, pods(), True),
        ({"resources": [{"resources": ["pods"]}]}, pods(subresource="log"), False),
        ({"resources": [{"resources": ["pods/log"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods/*"]}]}, pods(subresource="log"), True),
        ({"resources": [{"resources": ["*/log"]}]}, pods(subresource="log"), True),
        ({"resources": [{"group": ""}]}, pods(subresource="log"), True),
        ({"resources": [{"group": "apps"}]}, pods(), False),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, pods(name="a"), True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, pods(name="b"), False),
        ({"resources": [{"resources": ["pods"]}]}, rbac.Attributes("get", path="/healthz"), False),
        ({"nonResourceURLs": ["/healthz*"]}, rbac.Attributes("get", path="/healthz/ping"), True),
        ({"nonResourceURLs": ["/healthz"]}, rbac.Attributes("get", path="/healthz/ping"), False),
        ({"nonResourceURLs": ["*"]}, pods(), False),
    ],
)
def test_which_requests_a_rule_fits(rule, asked, fits):
    decided = policy_of({"level": "Metadata", **rule}).decide(JANE, asked)
    assert (decided.level == "Metadata") is fits


def test_the_first_rule_that_fits_counts():
    made = policy_of({"level": "None", "verbs": ["get"]}, {"level": "Request"}, omitStages=["RequestReceived"])
    assert made.decide(JANE, pods()).level == "None"
    assert made.decide(JANE, pods("list")) == policy.Decision("Request", ("RequestReceived",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: [", ""),
        ("kind: Policy", "it is no Policy of audit.k8s.io/v1"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy}", "rules: there are none"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: All}]}", "rules[0].level"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, user: [a]}]}", "rules[0].user"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, users: a}]}", "rules[0].users"),
        (
            "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, omitStages: [End]}]}",
            "rules[0].omitStages: 'End'",
        ),
    ],
)
def test_what_is_wrong_with_a_policy(text, says):
    with pytest.raises(ValueError) as wrong:
        policy.read(text.encode())
    assert says in str(wrong.value)


# -- The lines


def played(tmp_path: Path, made: policy.Policy, *requests: http.Request) -> tuple[list[Any], list[http.Response]]:
    """(the log, the answers) of requests one after another."""
    file = tmp_path / "audit.log"

    async def play() -> list[http.Response]:
        settings = log.Settings(made, str(file))
        plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(audit=settings))
        await plane.begin()
        audit = plane.api.audit
        assert audit is not None
        keeping = asyncio.ensure_future(audit.keep())
        await asyncio.sleep(0)
        answers = [await plane.handle(request) for request in requests]
        for answer in answers:
            if not isinstance(answer.body, bytes):
                await answer.body.aclose()  # type: ignore[attr-defined]
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        return answers

    answers = asyncio.run(play())
    return [json.loads(line) for line in file.read_text().splitlines()], answers


def asked(method: str, target: str, user: http.User = ADMIN, body: Any = None, **headers: str) -> http.Request:
    given: Sequence[tuple[str, str]] = [(key.replace("_", "-"), value) for key, value in headers.items()]
    data = b"" if body is None else json.dumps(body, indent=1).encode()
    return http.Request(method, target, tuple(given), data, user=user, peer=http.Peer("10.0.0.9"))


def test_a_line_says_who_asked_for_what_and_what_became_of_it(tmp_path):
    made = policy_of({"level": "RequestResponse"}, omitManagedFields=True)
    create = asked("POST", CONFIGMAPS, body=configmap("a", k="v"), user_agent="test/1", impersonate_user="ann")
    admin = asked("POST", CONFIGMAPS, body=configmap("a", k="v"), user_agent="test/1")
    lines, answers = played(tmp_path, made, admin, create)
    received, complete, _, refused = lines
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    assert received["auditID"] == complete["auditID"] == answers[0].header("audit-id")
    assert received["requestURI"] == CONFIGMAPS and received["verb"] == "create" and "responseStatus" not in received
    assert complete["user"]["username"] == "petset-admin" and complete["sourceIPs"] == ["10.0.0.9"]
    assert complete["userAgent"] == "test/1" and complete["responseStatus"]["code"] == 201
    assert complete["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert complete["requestObject"]["data"] == complete["responseObject"]["data"] == {"k": "v"}
    assert complete["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in complete["responseObject"]["metadata"]
    assert complete["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert refused["impersonatedUser"]["username"] == "ann" and refused["responseStatus"]["code"] == 403
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert os.stat(tmp_path / "audit.log").st_mode & 0o777 == 0o600


def test_refused_credentials_are_told_of_once_and_name_nobody(tmp_path):
    made = policy_of({"level": "None", "users": ["petset-admin"]}, {"level": "Request"})
    requests = [
        http.Request("POST", CONFIGMAPS, (("authorization", given),), b"{}", peer=http.Peer("10.0.0.9"))
        for given in ("Bearer x", "basic eA==", "Digest y")
    ]
    proxy = http.Request("GET", "/version", peer=http.Peer("10.0.0.9", None, "other"))
    weird = http.Request("BREW", CONFIGMAPS, (("authorization", "Bearer x"),))
    lines, answers = played(tmp_path, made, *requests, proxy, weird)
    assert [answer.code for answer in answers] == [401] * 5
    assert [answer.header("audit-id") for answer in answers] == [line["auditID"] for line in lines]
    assert {line["stage"] for line in lines} == {"ResponseStarted"} and [line["user"] for line in lines] == [{}] * 5
    assert [line["responseStatus"]["message"] for line in lines] == [
        "Authentication failed, attempted: bearer",
        "Authentication failed, attempted: basic",
        "Authentication failed, no credentials provided",
        "Authentication failed, attempted: x509",
        "Authentication failed, attempted: bearer",
    ]
    assert lines[0]["objectRef"]["resource"] == "configmaps" and lines[0]["verb"] == "create"
    assert not any("requestObject" in line or "annotations" in line for line in lines)


def test_paths_that_are_none_are_told_of(tmp_path):
    made = policy_of({"level": "None", "nonResourceURLs": ["/quiet"]}, {"level": "Metadata"})
    lines, answers = played(
        tmp_path,
        made,
        asked("GET", "/quiet"),
        asked("GET", "/nothing", JANE),
        asked("GET", "/apis/none.example.com/v1/things", JANE),
        http.Request("GET", "/api/v1/nothings", (("authorization", "Bearer x"),)),
    )
    assert [answer.code for answer in answers] == [404, 403, 404, 404]
    assert [(line["stage"], line["requestURI"], line["user"].get("username")) for line in lines] == [
        ("RequestReceived", "/nothing", "jane"),
        ("ResponseComplete", "/nothing", "jane"),
        ("RequestReceived", "/apis/none.example.com/v1/things", "jane"),
        ("ResponseComplete", "/apis/none.example.com/v1/things", "jane"),
        ("ResponseStarted", "/api/v1/nothings", None),
    ]


def test_a_log_to_standard_output(capsys):
    async def play() -> None:
        plane = cluster.ControlPlane(
            memory.MemoryStore(), cluster.Config(audit=log.Settings(policy_of({"level": "Metadata"}), "-"))
        )
        audit = plane.api.audit
        assert audit is not None
        keeping = asyncio.ensure_future(audit.keep())
        await asyncio.sleep(0)
        await plane.handle(asked("GET", "/version"))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(play())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["stage"] for line in lines] == ["RequestReceived", "ResponseComplete"]
    print("standard output is still open")


def test_levels_and_stages(tmp_path):
    made = policy_of(
        {"level": "None", "nonResourceURLs": ["/version"]},
        {"level": "Metadata", "resources": [{"resources": ["secrets"]}], "omitStages": ["RequestReceived"]},
        {"level": "Request", "verbs": ["create"], "omitStages": ["RequestReceived"]},
        {"level": "Metadata"},
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "eA=="}}
    secrets = CONFIGMAPS.replace("configmaps", "secrets")
    watch = f"{CONFIGMAPS}?watch=true&resourceVersion=1"
    requests = [asked("GET", "/version"), asked("POST", secrets, body=secret), asked("POST", CONFIGMAPS, body={})]
    lines, answers = played(tmp_path, made, *requests, asked("GET", watch))
    assert [line["level"] for line in lines] == ["Metadata", "Request", *["Metadata"] * 3]
    assert "requestObject" not in lines[0] and "responseObject" not in lines[1] and lines[1]["requestObject"] == {}
    assert [line["stage"] for line in lines[2:]] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert not answers[0].header("audit-id")


def test_what_comes_faster_than_it_is_written_is_lost_and_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(event, "WAITING_EVENTS_MAX", 3)

    async def play() -> None:
        settings = log.Settings(policy_of({"level": "Metadata"}), str(tmp_path / "audit.log"))
        plane = cluster.ControlPlane(memory.MemoryStore(), cluster.Config(audit=settings))
        audit = plane.api.audit
        assert audit is not None
        for _ in range(3):
            assert (await plane.handle(asked("GET", "/version"))).code == 200
        samples = {name: value for name, _, value in audit.samples()}
        assert samples == {"apiserver_audit_event_total": 6, "apiserver_audit_error_total": 3}
        keeping = asyncio.ensure_future(audit.keep())
        while not caplog.records:  # noqa: ASYNC110  # A line of the log is no event to await.
            await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(asyncio.wait_for(play(), 10))
    assert len((tmp_path / "audit.log").read_text().splitlines()) == 3
    assert "3 events of the audit log are lost" in caplog.text
