"""Every write is one value: who, what, by which field manager; wrong options are refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.server import bootstrap, rest, writes
from petset.server.access import users
from petset.server.writes import CREATE, DELETE, PATCH, UPDATE, Write
from tests.server.conftest import ADMIN, JANE, Server, configmap, petset, pod
from tests.server.test_bootstrap import PLAN

SPACE = "/api/v1/namespaces/default"
CONFIGMAPS = f"{SPACE}/configmaps"
PODS = "/api/v1/namespaces/default/pods"
PETSETS = "/apis/apps/v1alpha1/namespaces/default/petsets"
MERGE = "application/merge-patch+json"
KUBECTL = {"user-agent": "kubectl/v1.33.0 (linux/amd64) kubernetes/1234567"}


@pytest.fixture
def written(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[Write]:
    """The writes that reach Rest, in their order."""
    seen: list[Write] = []

    def spy(real: Any) -> Any:
        def spied(write: Write, *others: Any) -> Any:
            seen.append(write)
            return real(write, *others)

        return spied

    for name in ("create", "change", "remove"):
        monkeypatch.setattr(server.api.rest, name, spy(getattr(server.api.rest, name)))
    return seen


NAMED = {"metadata": {"name": "p"}}
TABLE = [
    ("POST", CONFIGMAPS, configmap("new"), CREATE, "configmaps", "", ""),
    ("PUT", f"{CONFIGMAPS}/c", configmap("c", k="v"), UPDATE, "configmaps", "c", ""),
    ("PATCH", f"{CONFIGMAPS}/c", {"data": {"k": "w"}}, PATCH, "configmaps", "c", ""),
    ("DELETE", f"{CONFIGMAPS}/c", None, DELETE, "configmaps", "c", ""),
    ("DELETE", CONFIGMAPS, None, DELETE, "configmaps", "c", ""),
    ("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, PATCH, "pods", "p", "status"),
    ("POST", f"{PODS}/p/binding", {"target": {"name": "n"}, **NAMED}, CREATE, "pods", "p", "binding"),
    ("POST", f"{PODS}/p/eviction", {**NAMED}, DELETE, "pods", "p", "eviction"),
    ("PATCH", f"{PETSETS}/web/scale", {"spec": {"replicas": 1}}, PATCH, "petsets", "web", "scale"),
    (
        "PUT",
        "/api/v1/namespaces/default/finalize",
        {"metadata": {}, "spec": {}},
        UPDATE,
        "namespaces",
        "default",
        "finalize",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=[f"{row[0]} {row[1].rpartition('/')[2]}" for row in TABLE])
def test_whatever_writes_says_who_and_what(server, written, row):
    method, target, body, *expected = row
    server.create(configmap("c"))
    server.create(pod("p"))
    server.create(petset("web"))
    written.clear()
    server.ok(method, target, body, kind=MERGE if method == "PATCH" else "application/json", headers=KUBECTL)
    # An eviction also has the pod say that it is evicted, which nobody asked for.
    asked = (write for write in written if not write.is_decided or write.subresource)
    write = next(write for write in asked if write.name in (expected[2], "c"))
    assert [write.operation, write.resource.plural, write.name, write.subresource] == expected
    assert (write.user.name, write.field_manager, write.dry_run) == (ADMIN.name, "kubectl", False)
    assert write.is_decided is (write.subresource in ("binding", "finalize"))


def test_options_are_of_the_write(server, written):
    query = "fieldManager=mine&dryRun=All&fieldValidation=Strict"
    server.ok("POST", f"{CONFIGMAPS}?{query}", configmap("a"), headers=KUBECTL)
    assert (written[0].field_manager, written[0].dry_run, written[0].field_validation) == ("mine", True, "Strict")
    server.create(configmap("a"))
    body = {"dryRun": ["All"], "preconditions": {"uid": server.get(f"{CONFIGMAPS}/a")["metadata"]["uid"]}}
    server.ok("DELETE", f"{CONFIGMAPS}/a", body)
    assert written[-1].dry_run and written[-1].options.uid


def test_what_the_server_writes_unasked_is_its_own(written, server):
    server.ok("DELETE", f"{PLACE}/kubernetes")
    server.run(bootstrap.ensure(server.api.rest, PLAN))
    (write,) = [write for write in written if write.operation == CREATE]
    assert (write.user, write.field_manager, write.is_decided) == (users.SERVER, "kube-apiserver", False)


PLACE = "/api/v1/namespaces/default/services"


def test_only_who_is_the_server_itself_gives_a_service_any_address(server):
    """Not who says so: an administrator may impersonate whomever he likes."""
    spec = {"clusterIP": "192.0.2.1", "ports": [{"port": 1}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    claimed = {"impersonate-user": users.SERVER.name, "impersonate-group": users.MASTERS}
    assert server("POST", PLACE, service, headers=claimed).code == 422


def test_rest_is_the_only_way_into_the_store():
    """But for the end of a lease, which upstream's store sees to by itself."""
    for path in Path(rest.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert path.name == "rest.py" or "store.put(" not in text, path.name
        assert path.name in ("rest.py", "expiry.py") or "store.delete(" not in text, path.name


LONG = "x" * 129
WRONG = [
    (f"fieldManager={LONG}", "fieldManager: Too long: may not be more than 128 bytes"),
    ("fieldManager=a%C3%A9%0A", 'fieldManager: Invalid value: "aé\n": invalid character U+000A (at position 3)'),
    ("dryRun=Half", 'dryRun: Unsupported value: ["Half"]: supported values: "All"'),
    (
        "fieldValidation=Loose",
        'fieldValidation: Unsupported value: "Loose": supported values: "", "Ignore", "Strict", "Warn"',
    ),
]


@pytest.mark.parametrize(("query", "message"), WRONG)
@pytest.mark.parametrize(
    ("method", "kind"), [("POST", "CreateOptions"), ("PUT", "UpdateOptions"), ("PATCH", "PatchOptions")]
)
def test_wrong_options_are_refused(server, method, kind, query, message):
    server.create(configmap("c"))
    target = CONFIGMAPS if method == "POST" else f"{CONFIGMAPS}/c"
    body = {"data": {}} if method == "PATCH" else configmap("c")
    answer = server(method, f"{target}?{query}", body, kind=MERGE if method == "PATCH" else "application/json")
    assert answer.code == 422 and answer.message == f'{kind}.meta.k8s.io "" is invalid: {message}'


def test_force_is_for_apply_only(server):
    server.create(configmap("c"))
    answer = server("PATCH", f"{CONFIGMAPS}/c?force=true", {"data": {}}, kind=MERGE)
    assert answer.code == 422 and "force: Forbidden: may not be specified for non-apply patch" in answer.message


def test_a_question_has_options_too(server):
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    assert server("POST", f"{path}?fieldManager={LONG}", review, user=JANE).code == 422
    assert server("POST", f"{path}?fieldManager=me", review, user=JANE).code == 201


@pytest.mark.parametrize(
    ("user_agent", "manager"),
    [
        ("kubectl/v1.33.0 (linux/amd64) kubernetes/1", "kubectl"),
        ("curl", "curl"),
        ("my client/1", "my client"),
        ("/1", "unknown"),
        ("", "unknown"),
        ("a\tb\x7f/1", "ab"),
        ("é" * 100, "é" * 64),
        ("x" + "é" * 100, "x" + "é" * 63),
    ],
)
def test_who_names_no_manager_is_his_user_agent(user_agent, manager):
    assert writes.manager_of(user_agent) == manager


@given(st.text())
def test_a_manager_by_user_agent_would_be_taken_as_a_parameter(user_agent):
    assert writes._wrong_manager(writes.manager_of(user_agent)) == []
