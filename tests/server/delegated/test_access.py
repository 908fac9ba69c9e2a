"""Who asks an extension server, and whether he may: the cluster says it, and what it said counts for some seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from petset.base import tasks
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.server.access import rbac
from petset.server.delegated import answers, authorization, trust
from petset.wire import http
from tests.server.delegated.beside import ALL, JANE, PETS, Beside
from tests.waiting import in_a_loop, until, until_so

LOOKER = [
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "looker"},
        "rules": [{"apiGroups": ["apps"], "resources": ["petsets"], "verbs": ["get", "list"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "looker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looker"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers"}],
    },
]


@pytest.fixture
def moment(monkeypatch) -> list[float]:
    """The clock that answers are remembered by."""
    at = [1000.0]
    monkeypatch.setattr(answers.tasks, "monotonic", lambda: at[0])
    return at


async def let_look(beside: Beside) -> None:
    for obj in LOOKER:
        await beside.admin.create(obj)


@in_a_loop
async def test_whom_the_front_proxy_names_may_what_the_cluster_lets_him(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        await let_look(beside)
        assert (await beside("GET", ALL, None, *JANE)).code == 200
        refused = await beside("POST", PETS, {}, *JANE)
        assert refused.code == 403
        assert refused.message.startswith(
            'petsets.apps is forbidden: User "jane" cannot create resource "petsets" in API group "apps" in the '
            'namespace "default"'
        )


@in_a_loop
async def test_a_certificate_of_the_cluster_is_its_user_and_a_strangers_is_nobodys(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        await let_look(beside)
        jane = beside.clients.client("jane", "jane", ("developers",))
        assert (await beside("GET", ALL, shows=jane, through=False)).code == 200
        # In no name but his own.
        told = await beside("DELETE", ALL, None, ("x-remote-user", "root"), shows=jane, through=False)
        assert 'User "jane" cannot delete' in told.message
        stranger = beside.strangers.client("jane", "jane", ("system:masters",))
        assert (await beside("GET", ALL, shows=stranger, through=False)).code == 401
        other_proxy = beside.proxies.client("other", "other-proxy")
        assert (await beside("GET", ALL, None, *JANE, shows=other_proxy)).code == 401
        nobody = await beside("GET", ALL, through=False)
        assert nobody.code == 401  # As petset tells the anonymous everywhere.


@in_a_loop
async def test_a_front_proxy_in_nobodys_name_is_nobody(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        assert (await beside("GET", ALL, shows=beside.proxy, through=False)).code == 401


@in_a_loop
async def test_the_cluster_says_whose_a_token_is_once_in_ten_seconds(tmp_path: Path, moment: list[float]) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "namespace": "default"}}
        await beside.admin.create(account)
        token = await beside.admin.create(
            {"metadata": {"namespace": "default"}, "spec": {}}, SERVICEACCOUNTS, "token", "a"
        )
        bearer = ("authorization", f"Bearer {token['status']['token']}")
        for _ in range(3):
            told = await beside("GET", ALL, None, bearer, through=False)
            assert 'User "system:serviceaccount:default:a" cannot list' in told.message
        assert beside.line.count("tokenreviews") == 1
        await beside.admin.delete(SERVICEACCOUNTS, "a", "default")
        moment[0] += answers.FRESH_SECONDS - 1
        assert (await beside("GET", ALL, None, bearer, through=False)).code == 403
        moment[0] += 1
        assert (await beside("GET", ALL, None, bearer, through=False)).code == 401
        assert beside.line.count("tokenreviews") == 2
        assert (await beside("GET", ALL, None, ("authorization", "Bearer nonsense"), through=False)).code == 401
        assert (await beside("GET", ALL, None, ("authorization", "Basic eDp5"), through=False)).code == 401


@in_a_loop
async def test_the_same_question_is_asked_once_for_all_who_wait_and_kept(tmp_path: Path, moment: list[float]) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        await let_look(beside)
        before = beside.line.count("subjectaccessreviews")
        got = await asyncio.gather(*(beside("GET", ALL, None, *JANE) for _ in range(20)))
        assert {answer.code for answer in got} == {200}
        assert beside.line.count("subjectaccessreviews") == before + 1
        assert (await beside("GET", PETS, None, *JANE)).code == 200  # Another question.
        assert beside.line.count("subjectaccessreviews") == before + 2
        moment[0] += answers.FRESH_SECONDS
        await beside("GET", ALL, None, *JANE)
        assert beside.line.count("subjectaccessreviews") == before + 3
        counted = beside.metrics.taken().render()[1].decode()
        assert 'apiserver_delegated_authz_request_total{code="201"} 3.0' in counted


@in_a_loop
async def test_masters_and_probes_are_not_asked_about(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        assert (await beside("GET", ALL)).code == 200
        for probe in ("/healthz", "/livez", "/readyz"):
            assert (await beside("GET", probe, through=False)).code == 200
        assert beside.line.count("subjectaccessreviews") == 0
        assert (await beside("GET", "/metrics", None, *JANE)).code == 403
        assert (await beside("GET", "/metrics")).code == 200


@in_a_loop
async def test_without_an_answer_nobody_is_let_in_or_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(answers, "ASK_SECONDS_MAX", 0.2)
    beside = Beside(tmp_path)
    async with beside.running():
        beside.line.is_cut = True
        told = await beside("GET", ALL, None, *JANE)
        assert told.code == 503
        assert told.message == (
            "cannot tell whether the user may: the cluster does not say: connection refused; try again"
        )
        told = await beside("GET", ALL, None, ("authorization", "Bearer x"), through=False)
        assert told.code == 503 and told.message.startswith("cannot tell whose the token is: the cluster does not say")
        beside.line.is_cut, beside.line.is_silent = False, True
        told = await beside("GET", ALL, None, *JANE)
        assert told.code == 503 and "no answer came within 0.2 s" in told.message
        beside.line.is_silent = False
        assert (await beside("GET", ALL, None, *JANE)).code == 403  # A trouble is not remembered.


@in_a_loop
async def test_who_leaves_takes_nobodys_answer_along(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        await let_look(beside)
        beside.line.is_silent = True
        async with asyncio.TaskGroup() as group:
            first = group.create_task(beside("GET", ALL, None, *JANE))
            await until(lambda: beside.line.count("subjectaccessreviews"))
            second = group.create_task(beside("GET", ALL, None, *JANE))
            await asyncio.sleep(0)
            beside.line.is_silent = False
            first.cancel()
            await asyncio.wait([second])
        assert second.result().code == 200


@in_a_loop
async def test_how_many_questions_are_open_has_a_limit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(answers, "AT_ONCE_MAX", 2)
    beside = Beside(tmp_path)
    async with beside.running():
        beside.line.is_silent = True
        waiting = [asyncio.ensure_future(beside("GET", ALL, None, ("x-remote-user", f"u{i}"))) for i in range(2)]
        await until(lambda: beside.line.count("subjectaccessreviews") == 2)
        told = await beside("GET", ALL, None, ("x-remote-user", "u3"))
        assert told.code == 429 and "2 questions to the cluster are open, which is the most" in told.message
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)


@in_a_loop
async def test_who_may_act_as_somebody_else_is_the_clusters_to_say_too(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        await let_look(beside)
        as_jane = (("impersonate-user", "jane"), ("impersonate-group", "developers"))
        assert (await beside("GET", ALL, None, *as_jane)).code == 200
        told = await beside("DELETE", ALL, None, *as_jane)
        assert told.code == 403 and 'User "jane"' in told.message
        refused = await beside("GET", ALL, None, *JANE, ("impersonate-user", "root"))
        assert refused.code == 403 and 'User "jane" cannot impersonate' in refused.message


@in_a_loop
async def test_what_the_cluster_believes_is_followed_for_open_connections_too(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        assert beside.believed[-1].count("BEGIN CERTIFICATE") == 2
        jane, new = beside.clients.client("jane", "jane"), beside.strangers.client("new", "new")
        assert (await beside("GET", ALL, shows=jane, through=False)).code == 403
        assert (await beside("GET", ALL, shows=new, through=False)).code == 401
        await beside.config_map(**{"client-ca-file": beside.strangers.certificate_pem})
        await until(lambda: beside.strangers.certificate_pem.strip() in beside.believed[-1])
        assert (await beside("GET", ALL, shows=jane, through=False)).code == 401
        assert (await beside("GET", ALL, shows=new, through=False)).code == 403
        await beside.config_map(**{"requestheader-allowed-names": '["somebody-else"]'})
        await until_so(lambda: _is_refused(beside))
        # What cannot be read leaves what was.
        await beside.config_map(**{"requestheader-allowed-names": "nonsense"})
        await beside.config_map(**{"client-ca-file": beside.clients.certificate_pem})
        await beside.config_map(**{"requestheader-allowed-names": "[]"})
        await until_so(lambda: _is_known(beside))


async def _is_refused(beside: Beside) -> bool:
    return (await beside("GET", ALL)).code == 401


async def _is_known(beside: Beside) -> bool:
    return (await beside("GET", ALL)).code == 200


@in_a_loop
async def test_headers_are_those_that_the_cluster_names(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        await beside.config_map(
            **{
                "requestheader-username-headers": '["X-Other-User", "X-Remote-User"]',
                "requestheader-group-headers": '["X-Other-Group"]',
            }
        )
        said = (("x-other-user", "root"), ("x-other-group", "system:masters"), ("x-remote-user", "jane"))

        async def counts() -> bool:
            return (await beside("GET", ALL, None, *said)).code == 200

        await until_so(counts)
        assert (await beside("GET", ALL, None, *JANE)).code == 403


@in_a_loop
async def test_a_certificate_is_no_good_after_its_end(tmp_path: Path, monkeypatch) -> None:
    beside = Beside(tmp_path)
    async with beside.running():
        jane = beside.clients.client("jane", "jane")
        assert (await beside("GET", ALL, shows=jane, through=False)).code == 403
        now = tasks.now()
        monkeypatch.setattr(tasks, "now", lambda: now + 400 * 86400)
        assert (await beside("GET", ALL, shows=jane, through=False)).code == 401


@in_a_loop
async def test_before_the_cluster_has_said_whom_to_believe_nobody_is_known(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    beside.line.is_cut = True
    async with beside.running(until_ready=False):
        told = await beside("GET", ALL)
        assert told.code == 503 and "the cluster's authorities are not known yet" in told.message

        async def says_why() -> bool:
            return b"connection refused" in (await beside("GET", "/readyz", through=False)).body

        await until_so(says_why)
        lines = str((await beside("GET", "/readyz?verbose", through=False)).body)
        assert "[-]cluster-authentication failed: connection refused" in lines
        assert (await beside("GET", "/livez", through=False)).code == 200
        beside.line.is_cut = False
        await asyncio.wait_for(beside.here.ready(), 10)
        assert (await beside("GET", "/readyz", through=False)).code == 200
        assert (await beside("GET", ALL)).code == 200
        beside.here.stop_soon()
        told = await beside("GET", "/readyz", through=False)
        assert told.code == 500 and b"shutdown failed: process is shutting down" in told.body
        assert (await beside("GET", ALL)).code == 200


@in_a_loop
async def test_a_cluster_that_publishes_nothing_is_waited_for(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    await beside.there.begin()
    was = await beside.admin.get(CONFIGMAPS, trust.NAME, trust.NAMESPACE)
    await beside.admin.delete(CONFIGMAPS, trust.NAME, trust.NAMESPACE)
    async with beside.here.running():

        async def says_why() -> bool:
            told = await beside("GET", "/readyz?verbose", through=False)
            return b"ConfigMap kube-system/extension-apiserver-authentication is missing" in told.body

        await until_so(says_why)
        await beside.admin.create({**was, "metadata": {"name": trust.NAME, "namespace": trust.NAMESPACE}})
        await asyncio.wait_for(beside.here.ready(), 10)


def test_a_question_is_asked_as_the_cluster_knows_it() -> None:
    user = http.User("jane", ("a", "b"), "7", (("scopes", ("x", "y")),))
    asked = rbac.Attributes("patch", "apps", "petsets", "scale", "default", "web")
    assert authorization.review(user, asked)["spec"] == {
        "user": "jane",
        "groups": ["a", "b"],
        "uid": "7",
        "extra": {"scopes": ["x", "y"]},
        "resourceAttributes": {
            "namespace": "default",
            "verb": "patch",
            "group": "apps",
            "version": "v1alpha1",
            "resource": "petsets",
            "subresource": "scale",
            "name": "web",
        },
    }
    path = authorization.review(http.User("jane"), rbac.Attributes("get", path="/metrics"))["spec"]
    assert path == {"user": "jane", "groups": [], "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
