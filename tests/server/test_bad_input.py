# ruff: noqa: E501
"""Bad input: each is answered with a precise Status, and nothing is changed. Nothing anybody sends is answered 500."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petset.kinds import builtin
from petset.objects import documents, meta
from petset.server import decoding
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Server, configmap, petset, pod

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
PETSETS = "/apis/apps/v1alpha1/namespaces/default/petsets"
STATEFULSETS = "/apis/apps/v1/namespaces/default/statefulsets"
STRICT = "?fieldValidation=Strict"
YAML = "application/yaml"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def statefulset(name: str, **spec: Any) -> dict:
    made = petset(name, **spec)
    spec = {"selector": {"matchLabels": {"app": name}}, **made["spec"]}
    return {**made, "apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec}


def with_(obj: dict, path: str, value: Any) -> dict:
    return meta.changed(obj, path.split("."), value)


# What is sent, and what must be answered: code, reason, and a part of the message.
CASES: list[tuple[str, str, str, Any, str, int, str, str]] = [
    ("malformed JSON", "POST", CONFIGMAPS, b"{", "application/json", 400, "BadRequest", "must be of type ConfigMap"),
    ("no body", "POST", CONFIGMAPS, b"", "application/json", 400, "BadRequest", "must be of type ConfigMap"),
    ("not UTF-8", "POST", CONFIGMAPS, b'{"a":"\xff"}', "application/json", 400, "BadRequest", "must be of type ConfigMap"),
    ("a lone surrogate", "POST", CONFIGMAPS, b'{"data":{"a":"\\ud800"}}', "application/json", 400, "BadRequest", ""),
    ("too deep", "POST", CONFIGMAPS, b"[" * 9999 + b"]" * 9999, "application/json", 400, "BadRequest", ""),
    ("malformed YAML", "POST", CONFIGMAPS, b"a: [", YAML, 400, "BadRequest", "yaml parse error"),
    ("two documents", "POST", CONFIGMAPS, b"a: 1\n---\nb: 2", YAML, 400, "BadRequest", "more than one document"),
    ("a YAML tag", "POST", CONFIGMAPS, b"!!python/name:os.system x", YAML, 400, "BadRequest", "yaml parse error"),
    ("aliases without end", "POST", CONFIGMAPS, b"&a [*a]", YAML, 400, "BadRequest", "yaml parse error"),
    (
        "aliases that unfold",
        "POST",
        CONFIGMAPS,
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)),
        YAML,
        400,
        "BadRequest",
        "unfolds",
    ),
    ("a list", "POST", CONFIGMAPS, [], "application/json", 400, "BadRequest", "not an object"),
    ("a text", "POST", CONFIGMAPS, b'"x"', "application/json", 400, "BadRequest", "not an object"),
    ("null", "POST", CONFIGMAPS, b"null", "application/json", 400, "BadRequest", "not an object"),
    ("XML", "POST", CONFIGMAPS, b"<a/>", "application/xml", 415, "UnsupportedMediaType", "application/json"),
    ("another kind", "POST", CONFIGMAPS, pod("a"), "application/json", 400, "BadRequest", "Pod"),
    ("another version", "POST", PETSETS, statefulset("a"), "application/json", 400, "BadRequest", "apps/v1"),
    ("an unknown kind", "POST", "/apis/apps/v1/namespaces/default/dogs", {}, "application/json", 404, "NotFound", ""),
    ("an unknown version", "GET", "/apis/apps/v9/petsets", None, "", 404, "NotFound", ""),
    ("an unknown path", "GET", "/nothing", None, "", 404, "NotFound", "could not find the requested resource"),
    ("no verb", "BREW", CONFIGMAPS, None, "", 405, "MethodNotAllowed", ""),
    ("put to all", "PUT", CONFIGMAPS, configmap("a"), "application/json", 405, "MethodNotAllowed", ""),
    ("post to one", "POST", f"{CONFIGMAPS}/held", configmap("a"), "application/json", 405, "MethodNotAllowed", ""),
    ("an unknown field", "POST", CONFIGMAPS + STRICT, {**configmap("a"), "x": 1}, "", 400, "BadRequest", 'unknown field "x"'),
    (
        "unknown fields deep down",
        "POST",
        PODS + STRICT,
        pod("a", containers=[{"name": "c", "image": "i", "imagee": "j"}]),
        "",
        400,
        "BadRequest",
        'strict decoding error: unknown field "spec.containers[0].imagee"',
    ),
    (
        "a key twice",
        "POST",
        CONFIGMAPS + STRICT,
        b'{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}',
        "",
        400,
        "BadRequest",
        'duplicate field "data.k"',
    ),
    ("a strange validation", "POST", CONFIGMAPS + "?fieldValidation=Maybe", configmap("a"), "", 422, "Invalid", "Strict"),
    ("a wrong type", "POST", PETSETS, with_(petset("a"), "spec.replicas", "two"), "", 400, "BadRequest", "replicas"),
    ("a number for a text", "POST", CONFIGMAPS, {**configmap("a"), "data": {"k": 1}}, "", 400, "BadRequest", "data"),
    ("metadata is a list", "POST", CONFIGMAPS, {"metadata": []}, "", 400, "BadRequest", "metadata"),
    ("labels are numbers", "POST", CONFIGMAPS, with_(configmap("a"), "metadata.labels", {"a": 1}), "", 400, "BadRequest", ""),
    ("a name of another type", "POST", CONFIGMAPS, {"metadata": {"name": {}}}, "", 400, "BadRequest", "name"),
    ("no name", "POST", CONFIGMAPS, {"metadata": {}}, "", 422, "Invalid", "name or generateName is required"),
    ("an invalid name", "POST", CONFIGMAPS, configmap("A_b"), "", 422, "Invalid", "metadata.name"),
    ("a name that climbs", "POST", CONFIGMAPS, configmap("../../x"), "", 422, "Invalid", "metadata.name"),
    ("a name with a zero byte", "POST", CONFIGMAPS, configmap("a\0b"), "", 422, "Invalid", "metadata.name"),
    ("a name without end", "POST", CONFIGMAPS, configmap("a" * 254), "", 422, "Invalid", "metadata.name"),
    ("an invalid label", "POST", CONFIGMAPS, configmap("a", {"-": "x"}), "", 422, "Invalid", "metadata.labels"),
    ("another namespace", "POST", CONFIGMAPS, with_(configmap("a"), "metadata.namespace", "b"), "", 400, "BadRequest", ""),
    ("no such namespace", "POST", "/api/v1/namespaces/b/configmaps", configmap("a"), "", 404, "NotFound", '"b" not found'),
    ("a revision at birth", "POST", CONFIGMAPS, with_(configmap("a"), "metadata.resourceVersion", "1"), "", 400, "BadRequest", ""),
    ("a missing field", "POST", PODS, pod("a", containers=[{"image": "i"}]), "", 422, "Invalid", "spec.containers[0].name"),
    ("no containers", "POST", PODS, pod("a", containers=[]), "", 422, "Invalid", "spec.containers"),
    ("no such account", "POST", PODS, pod("a", serviceAccountName="x"), "", 403, "Forbidden", 'serviceaccount "x" not found'),
    (
        "a selector of others",
        "POST",
        STATEFULSETS,
        statefulset("a", selector={"matchLabels": {"b": "c"}}),
        "",
        422,
        "Invalid",
        "`selector` does not match template `labels`",
    ),
    ("an empty selector", "POST", STATEFULSETS, statefulset("a", selector={}), "", 422, "Invalid", "selector"),
    ("fewer than none", "POST", PETSETS, petset("a", replicas=-1), "", 422, "Invalid", "spec.replicas"),
    (
        "init containers that are no JSON",
        "POST",
        PODS,
        with_(pod("a"), "metadata.annotations", {"pod.alpha.kubernetes.io/init-containers": "[{"}),
        "",
        422,
        "Invalid",
        "pod.alpha.kubernetes.io/init-containers",
    ),
    (
        "init containers without a name",
        "POST",
        PODS,
        with_(pod("a"), "metadata.annotations", {"pod.beta.kubernetes.io/init-containers": '[{"image":"i"}]'}),
        "",
        422,
        "Invalid",
        "spec.initContainers[0].name",
    ),
    (
        "a cluster IP of no network of services",
        "POST",
        "/api/v1/namespaces/default/services",
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"clusterIP": "192.0.2.1", "ports": [{"port": 80}]}},
        "",
        422,
        "Invalid",
        "the provided IP (192.0.2.1) is not in the valid range",
    ),
    ("a stale revision", "PUT", f"{CONFIGMAPS}/held", with_(configmap("held"), "metadata.resourceVersion", "1"), "", 409, "Conflict", ""),
    ("no revision at all", "PUT", f"{CONFIGMAPS}/held", with_(configmap("held"), "metadata.resourceVersion", "x"), "", 422, "Invalid", ""),
    ("another name", "PUT", f"{CONFIGMAPS}/held", configmap("other"), "", 400, "BadRequest", "does not match"),
    ("an absent object", "PUT", f"{CONFIGMAPS}/absent", configmap("absent"), "", 404, "NotFound", ""),
    ("an immutable field", "PATCH", f"{PETSETS}/held", {"spec": {"serviceName": "t"}}, MERGE, 422, "Invalid", "forbidden"),
    ("a pod's spec", "PATCH", f"{PODS}/held", {"spec": {"hostname": "t"}}, MERGE, 422, "Invalid", "pod updates may not"),
    ("a patch of nothing", "PATCH", f"{CONFIGMAPS}/held", [], MERGE, 400, "BadRequest", ""),
    ("a patch that is text", "PATCH", f"{CONFIGMAPS}/held", b"hello", MERGE, 400, "BadRequest", ""),
    ("a patch of a strange type", "PATCH", f"{CONFIGMAPS}/held", {}, "application/json", 415, "UnsupportedMediaType", ""),
    ("a JSON patch that misses", "PATCH", f"{CONFIGMAPS}/held", [{"op": "remove", "path": "/data/absent"}], JSON_PATCH, 422, "Invalid", ""),
    ("a JSON patch of no list", "PATCH", f"{CONFIGMAPS}/held", {}, JSON_PATCH, 400, "BadRequest", ""),
    ("a patch to a wrong type", "PATCH", f"{CONFIGMAPS}/held", {"data": []}, MERGE, 400, "BadRequest", ""),
    ("a patch to no metadata", "PATCH", f"{CONFIGMAPS}/held", {"metadata": None}, MERGE, 400, "BadRequest", "name"),
    ("a patch of the name", "PATCH", f"{CONFIGMAPS}/held", {"metadata": {"name": "x"}}, MERGE, 400, "BadRequest", ""),
    ("a strategic patch of another type", "PATCH", f"{PODS}/held", {"metadata": {"labels": "invalid"}}, STRATEGIC, 422, "Invalid", "cannot restore map from string"),
    ("a strategic patch of a list", "PATCH", f"{PODS}/held", {"metadata": {"finalizers": "x"}}, STRATEGIC, 422, "Invalid", "patch: Invalid value"),
    ("a merge patch of another type", "PATCH", f"{PODS}/held", {"metadata": {"labels": "invalid"}}, MERGE, 400, "BadRequest", "cannot unmarshal string"),
    ("a strategic directive", "PATCH", f"{PODS}/held", {"spec": {"containers": [{"$patch": "boil"}]}}, STRATEGIC, 400, "BadRequest", ""),
    ("options of a wrong kind", "DELETE", f"{CONFIGMAPS}/held", configmap("a"), "", 400, "BadRequest", "DeleteOptions"),
    ("a strange policy", "DELETE", f"{CONFIGMAPS}/held", {"propagationPolicy": "Slowly"}, "", 422, "Invalid", "Foreground"),
    ("negative grace", "DELETE", f"{CONFIGMAPS}/held", {"gracePeriodSeconds": -1}, "", 422, "Invalid", "gracePeriodSeconds"),
    ("grace that is text", "DELETE", f"{CONFIGMAPS}/held?gracePeriodSeconds=x", None, "", 422, "Invalid", ""),
    ("a dry run of something", "DELETE", f"{CONFIGMAPS}/held?dryRun=Half", None, "", 422, "Invalid", "dryRun"),
    ("another's uid", "DELETE", f"{CONFIGMAPS}/held", {"preconditions": {"uid": "x"}}, "", 409, "Conflict", "UID"),
    ("a dry run of half", "POST", f"{CONFIGMAPS}?dryRun=Half", configmap("a"), "", 422, "Invalid", "dryRun"),
    ("a scale of another kind", "PUT", f"{PETSETS}/held/scale", petset("held"), "", 400, "BadRequest", ""),
    ("a scale of text", "PUT", f"{PETSETS}/held/scale", {"spec": {"replicas": "x"}}, "", 400, "BadRequest", "replicas"),
    ("a binding to nothing", "POST", f"{PODS}/held/binding", {"metadata": {}}, "", 422, "Invalid", "target.name"),
    ("an unknown subresource", "GET", f"{PODS}/held/brain", None, "", 404, "NotFound", ""),
    ("a timeout that is none", "GET", f"{CONFIGMAPS}?timeout=soon", None, "", 400, "BadRequest", "invalid timeout specified in the request URL"),
    ("a timeout that is none, of a path", "GET", "/version?timeout=5", None, "", 400, "BadRequest", "invalid timeout"),
    ("a timeout of a part that is none", "GET", f"{CONFIGMAPS}?timeout=1s2", None, "", 400, "BadRequest", "invalid timeout"),
    ("a timeout of dots", "GET", f"{CONFIGMAPS}?timeout=1.2.3s", None, "", 400, "BadRequest", "invalid timeout"),
    ("a timeout beyond all time", "GET", f"{CONFIGMAPS}?timeout={'9' * 400}h", None, "", 400, "BadRequest", "invalid timeout"),
    ("too many parameters", "GET", CONFIGMAPS + "?" + "&".join(["a=b"] * 1001), None, "", 400, "BadRequest", "query"),
]  # fmt: skip


@pytest.fixture(scope="module")
def held():
    """A server with one object of some kinds, that nothing here may change."""
    server = Server()
    server.create(configmap("held", x="1"))
    server.create(pod("held"))
    server.create(petset("held"))
    yield server
    server.close()


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_bad_input_has_a_precise_answer_and_changes_nothing(held, case):
    _, method, target, body, kind, code, reason, part = case
    revision = held.store.revision
    answer = held(method, target, body, kind=kind or "application/json")
    status = answer.body
    assert (answer.code, status["code"], status["reason"]) == (code, code, reason), status
    assert status["kind"] == "Status" and status["status"] == "Failure"
    assert part in status["message"]
    assert held.store.revision == revision
    if reason == "Invalid" and kind != JSON_PATCH:
        assert status["details"]["causes"][0]["field"]


def test_warnings_say_what_was_dropped(held):
    body = {**configmap("warned"), 'x\n"': 1}
    answer = held("POST", f"{CONFIGMAPS}?dryRun=All", body)
    assert answer.code == 201 and answer.headers["warning"].startswith('299 - "unknown field')
    assert "\n" not in answer.headers["warning"]
    silent = held("POST", f"{CONFIGMAPS}?dryRun=All&fieldValidation=Ignore", body)
    assert silent.code == 201 and "warning" not in silent.headers
    text = b'{"metadata":{"name":"w"},"data":{"k":"1","k":"2"}}'
    assert 'duplicate field \\"data.k\\"' in held("POST", f"{CONFIGMAPS}?dryRun=All", text).headers["warning"]


def test_keys_that_yaml_has_twice_are_told_with_their_lines(held):
    text = b"metadata:\n  name: w\nunknown: 1\ndata:\n  k: '1'\n  k: '2'\n"
    told = 'line 6: key "k" already set in map'
    refused = held("POST", f"{CONFIGMAPS}{STRICT}", text, kind=YAML)
    assert refused.code == 400 and f'strict decoding error: {told}, unknown field "unknown"' in refused.message
    known = text.replace(b"unknown: 1\n", b"")
    warned = held("POST", f"{CONFIGMAPS}?dryRun=All", known, kind=YAML)
    assert json.dumps(told.replace("6", "5")) in warned.headers["warning"]
    config = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held}\ndata:\n  k: '1'\n  k: '2'\n"
    target = f"{CONFIGMAPS}/held{STRICT}&fieldManager=me&dryRun=All"
    applied = held("PATCH", target, config, kind="application/apply-patch+yaml")
    assert applied.code == 400 and told in applied.message


def test_a_large_object_is_refused_by_create_update_and_patch(held):
    large = "x" * (decoding.OBJECT_BYTES_MAX + 1)
    revision = held.store.revision
    assert held("POST", CONFIGMAPS, configmap("a", x=large)).code == 413
    assert held("PUT", f"{CONFIGMAPS}/held", configmap("held", x=large)).code == 413
    assert held("PATCH", f"{CONFIGMAPS}/held", {"data": {"y": large}}, kind=MERGE).code == 413
    assert held.store.revision == revision
    made = held.create(configmap("grows", x="x" * 900_000))
    grown = held("PATCH", f"{CONFIGMAPS}/grows", {"data": {"y": "x" * 900_000}}, kind=MERGE)
    assert grown.code in (413, 422) and held.get(f"{CONFIGMAPS}/grows") == made


def test_nobody_may_do_anything_uninvited(held):
    revision = held.store.revision
    for method, target, body in (
        ("GET", CONFIGMAPS, None),
        ("POST", CONFIGMAPS, configmap("a")),
        ("PUT", f"{CONFIGMAPS}/held", configmap("held")),
        ("PATCH", f"{CONFIGMAPS}/held", {}),
        ("DELETE", f"{CONFIGMAPS}/held", None),
        ("DELETE", CONFIGMAPS, None),
        ("GET", f"{PODS}/held/log", None),
        ("GET", f"{PODS}/held/exec?command=id", None),
        ("POST", f"{PODS}/held/eviction", {}),
    ):
        assert held(method, target, body, user=None).code == 401, (method, target)
        assert held(method, target, body, user=JANE).code == 403, (method, target)
    assert held.store.revision == revision


# -- Whatever is sent

KINDS = documents.load_all((Path(__file__).parents[1] / "clients" / "kinds.yaml").read_bytes())
TEXTS = st.sampled_from(["", "a", "A_", "x" * 300, "-1", "0", "..", "a/b", "\0", "é", "default", "None", "1e9", "{}"])
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


def paths_of(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += paths_of(value, (*path, key))
    return found


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = list(tree) if isinstance(tree, list) else dict(tree)
    copied[path[0]] = replaced(copied[path[0]], path[1:], value)
    return copied


@st.composite
def spoiled_objects(draw: st.DrawFn) -> tuple[Any, Any]:
    """(the kind's own object, the same with some places replaced by anything)."""
    obj = draw(st.sampled_from(KINDS))
    wrong = obj
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths_of(wrong)[1:] or [()]))
        wrong = replaced(wrong, path, draw(TREES))
        if not isinstance(wrong, dict):
            break
    return obj, wrong


def fuzzing(examples: int):
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, suppress_health_check=quiet)


def encoded(tree: Any) -> bytes:
    return json.dumps(tree).encode()


@given(
    pair=spoiled_objects(), method=st.sampled_from(["POST", "PUT", "PATCH"]), kind=st.sampled_from([MERGE, STRATEGIC])
)
@fuzzing(400)
def test_no_spoiled_object_is_answered_500(held, pair, method, kind):
    obj, wrong = pair
    resource = builtin.KINDS.of(obj)
    assert resource is not None
    space = "default" if resource.namespaced else ""
    target = resource.path(space, "" if method == "POST" else "x")
    held("POST", resource.path(space), obj)
    answer = held(method, target, encoded(wrong), kind=kind if method == "PATCH" else "application/json")
    assert answer.code < 500 or answer.code == 501, answer
    held("DELETE", resource.path(space, "x"), {"gracePeriodSeconds": 0})


SEGMENTS = st.sampled_from(
    [
        "api",
        "apis",
        "v1",
        "apps",
        "v1alpha1",
        "namespaces",
        "default",
        "pods",
        "petsets",
        "held",
        "scale",
        "status",
        "log",
    ]
    + ["exec", "binding", "eviction", "token", "finalize", "nodes", "watch", "%2F", "%00", "%ff", "", "..", "é", "a b"]
)
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "watch",
            "limit",
            "continue",
            "resourceVersion",
            "resourceVersionMatch",
            "labelSelector",
            "fieldSelector",
            "dryRun",
        ]
        + [
            "fieldValidation",
            "timeoutSeconds",
            "includeObject",
            "container",
            "tailLines",
            "sinceTime",
            "command",
            "pretty",
        ]
    ),
    st.sampled_from(
        ["", "1", "true", "x", "-1", "99999999999999999999", "a=b", "a in (", "metadata.name=held", "%zz", "All"]
    ),
    max_size=3,
)
HEADERS = st.dictionaries(
    st.sampled_from(["accept", "content-type", "authorization", "impersonate-user", "upgrade", "x"]),
    st.sampled_from(
        ["", "*/*", "application/json", YAML, MERGE, "application/json;as=Table;g=meta.k8s.io;v=v1", ";;", "x/y", "é"]
    ),
    max_size=3,
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "x"]),
    segments=st.lists(SEGMENTS, max_size=7),
    query=QUERIES,
    headers=HEADERS,
    body=st.binary(max_size=20) | TREES.map(encoded),
    user=st.sampled_from([ADMIN, JANE, None]),
)
@fuzzing(800)
def test_no_request_is_answered_500(held, method, segments, query, headers, body, user):
    target = "/" + "/".join(segments) + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
    response = held.send(http.Request(method, target, tuple(headers.items()), body, user=user))
    assert response.code < 500 or response.code in (501, 503, 504), (response.code, response.body)


def test_every_kind_survives_the_same_wrong_places(held):
    """Each field of each kind in turn replaced by a value of every type."""
    for obj in KINDS:
        resource = builtin.KINDS.of(obj)
        assert resource is not None
        target = resource.path("default" if resource.namespaced else "") + "?dryRun=All"
        for path in paths_of(obj)[1:]:
            for value in (None, "", "x", 7, True, [], {}, [None], [{}], {"a": None}, {"": ""}):
                answer = held("POST", target, replaced(obj, path, value))
                assert answer.code < 500, (path, value, answer)


def test_the_addresses_of_a_pod_are_addresses(server: Server):
    """One pod's status goes into the Endpoints of all that share its Service."""
    server.create(pod("p"))
    status = {"podIP": "x", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "y"}], "hostIP": "10.0.0.256"}
    answer = server("PATCH", f"{PODS}/p/status", {"status": status}, kind=MERGE)
    assert answer.code == 422
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [
        "status.hostIP",
        "status.podIP",
        "status.podIPs[1].ip",
    ]
    good = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "10.0.0.9"}
    assert server("PATCH", f"{PODS}/p/status", {"status": good}, kind=MERGE).code == 200
