"""Flow control: what one user may have at once, and a 429 that says when to come again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.base import telemetry
from petset.server import flow
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Server, configmap
from tests.steps import counted

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(flow, "REQUESTS_IN_FLIGHT_MAX", 3)
    monkeypatch.setattr(flow, "STREAMS_MAX", 2)
    monkeypatch.setattr(flow, "STORE_WAITING_BYTES_MAX", 1000)


def allow(server: Server, user: http.User) -> None:
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    server.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"all-{user.name}"},
            "roleRef": {**group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{**group, "kind": "User", "name": user.name}],
        },
        namespace="",
    )


def from_outside(user: http.User, method: str, target: str, body: bytes = b"") -> http.Request:
    headers = (("content-type", "application/json"),)
    return http.Request(method, target, headers, body, peer=http.Peer("127.0.0.1", user))


def waiting(revision: int) -> str:
    """A list that waits for a revision that does not come."""
    return f"{CONFIGMAPS}?resourceVersion={revision}"


def test_a_user_has_so_many_requests_under_way_and_others_have_their_own(server, limits):
    allow(server, JANE)
    bob = http.User("bob", ("developers",))
    allow(server, bob)
    far = server.store.revision + 1000

    async def crowd() -> tuple[http.Response, ...]:
        many = [asyncio.create_task(server.api.handle(from_outside(JANE, "GET", waiting(far)))) for _ in range(3)]
        await asyncio.sleep(0)
        refused = await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))
        other = await server.api.handle(from_outside(bob, "GET", CONFIGMAPS))
        inside = await server.api.handle(http.Request("GET", CONFIGMAPS, user=JANE))
        assert inside.code == 200
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)
        return refused, other, await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))

    refused, other, after = server.run(crowd())
    assert (refused.code, refused.header("retry-after")) == (429, "1")
    assert b'"TooManyRequests"' in refused.body and b'"retryAfterSeconds":1' in refused.body
    assert (other.code, after.code) == (200, 200)


def test_a_user_has_so_many_watches_until_they_end(server, limits):
    allow(server, JANE)
    target = f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}"
    open_ = [server.send(from_outside(JANE, "GET", target)) for _ in range(2)]
    assert [response.code for response in open_] == [200, 200]
    assert server.send(from_outside(JANE, "GET", target)).code == 429
    assert server.send(from_outside(JANE, "GET", CONFIGMAPS)).code == 200
    assert server.send(from_outside(ADMIN, "GET", target)).code == 200
    server.run(open_[0].body.aclose())  # One that nobody ever read from counts as well.
    third = server.send(from_outside(JANE, "GET", target))
    assert third.code == 200
    server.run(third.body.aclose())
    server.run(third.body.aclose())
    ended = server.send(from_outside(JANE, "GET", f"{target}&timeoutSeconds=1"))
    assert ended.code == 200

    async def to_the_end() -> None:
        async for _ in ended.body:
            pass

    server.run(to_the_end())
    assert server.send(from_outside(JANE, "GET", target)).code == 200


def test_writes_wait_for_a_slow_disk_up_to_a_limit(server, limits, monkeypatch):
    allow(server, JANE)
    commits: list[asyncio.Future[None]] = []

    def slowly(batch):
        commits.append(asyncio.get_running_loop().create_future())
        return commits[-1]

    monkeypatch.setattr(server.store, "_commit", slowly)
    body = b'{"metadata":{"name":"%s"},"data":{"k":"' + b"x" * 1000 + b'"}}'

    async def writes() -> list[int]:
        first = asyncio.create_task(server.api.handle(from_outside(JANE, "POST", CONFIGMAPS, body % b"a")))
        await asyncio.sleep(0.01)
        assert server.store.waiting_bytes > 1000
        refused = await server.api.handle(from_outside(JANE, "POST", CONFIGMAPS, body % b"b"))
        admin = await server.api.handle(from_outside(ADMIN, "POST", CONFIGMAPS, body % b"c"))
        read = await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))
        commits[0].set_result(None)
        done = await first
        monkeypatch.undo()
        after = await server.api.handle(from_outside(JANE, "POST", CONFIGMAPS, body % b"d"))
        return [refused.code, admin.code, read.code, done.code, after.code]

    assert server.run(writes()) == [429, 429, 200, 201, 201]
    assert server.store.waiting_bytes == 0


def test_what_waits_is_counted_down_when_a_commit_fails(server, monkeypatch):
    def failing(batch):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(OSError("full"))
        return future

    monkeypatch.setattr(server.store, "_commit", failing)
    assert server("POST", CONFIGMAPS, configmap("a")).code >= 500
    assert server.store.waiting_bytes == 0


# -- priority and fairness ------------------------------------------------------------------------------------------

FLOWCONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"
SCHEMAS, LEVELS = f"{FLOWCONTROL}/flowschemas", f"{FLOWCONTROL}/prioritylevelconfigurations"
SCHEMA_HEADER, LEVEL_HEADER = "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"


def level(server: Server, name: str, shares: int = 1, **response: Any) -> None:
    limited = {"nominalConcurrencyShares": shares, "borrowingLimitPercent": 0, "limitResponse": response}
    made = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration"}
    server.ok("POST", LEVELS, {**made, "metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}})


def schema(
    server: Server, name: str, level: str, user: str = "*", precedence: int = 100, method: str = "ByUser"
) -> None:
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    spec = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "distinguisherMethod": {"type": method},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": user}}], "resourceRules": [rule]}],
    }
    made = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name}}
    server.ok("POST", SCHEMAS, {**made, "spec": spec})


def owner(server: Server, response: http.Response) -> tuple[str, str]:
    """The names of the schema and of the level that an answer says it went by."""
    names = {
        one["metadata"]["uid"]: one["metadata"]["name"]
        for path in (SCHEMAS, LEVELS)
        for one in server.get(path)["items"]
    }
    return names[response.header(SCHEMA_HEADER)], names[response.header(LEVEL_HEADER)]


def test_a_new_cluster_has_what_every_cluster_has(server: Server) -> None:
    schemas = {one["metadata"]["name"]: one for one in server.get(SCHEMAS)["items"]}
    assert sorted(schemas) == [
        *("catch-all", "exempt", "global-default", "kube-controller-manager", "kube-scheduler"),
        *("kube-system-service-accounts", "probes", "service-accounts"),
        *("system-leader-election", "system-node-high", "system-nodes"),
    ]
    assert all(
        one["metadata"]["annotations"] == {"apf.kubernetes.io/autoupdate-spec": "true"} for one in schemas.values()
    )
    assert sorted(one["metadata"]["name"] for one in server.get(LEVELS)["items"]) == [
        *("catch-all", "exempt", "global-default", "leader-election"),
        *("node-high", "system", "workload-high", "workload-low"),
    ]


def test_answers_say_by_which_schema_and_level_they_went(server: Server) -> None:
    allow(server, JANE)
    account = http.User("system:serviceaccount:default:app", ("system:serviceaccounts",))
    for user, target, code, names in (
        (ADMIN, CONFIGMAPS, 200, ("exempt", "exempt")),
        (JANE, CONFIGMAPS, 200, ("global-default", "global-default")),
        (JANE, f"{CONFIGMAPS}/x", 404, ("global-default", "global-default")),
        (JANE, "/healthz", 200, ("probes", "exempt")),
        (account, CONFIGMAPS, 403, ("service-accounts", "workload-low")),
    ):
        answer = server.send(from_outside(user, "GET", target))
        assert (answer.code, *owner(server, answer)) == (code, *names)
    watch = server.send(from_outside(JANE, "GET", f"{CONFIGMAPS}?watch=true"))
    assert owner(server, watch) == ("global-default", "global-default")
    server.run(watch.body.aclose())
    inside = server.send(http.Request("GET", CONFIGMAPS, user=JANE))
    assert not inside.header(SCHEMA_HEADER)


def test_a_request_goes_by_whom_it_impersonates(server: Server) -> None:
    headers = (("impersonate-user", "system:kube-scheduler"),)
    answer = server.send(http.Request("GET", CONFIGMAPS, headers, peer=http.Peer("127.0.0.1", ADMIN)))
    assert owner(server, answer) == ("kube-scheduler", "workload-high")


def test_a_schema_holds_at_once_and_as_long_as_it_and_its_level_are_there(server: Server) -> None:
    allow(server, JANE)

    def of() -> str:
        return owner(server, server.send(from_outside(JANE, "GET", CONFIGMAPS)))[0]

    assert of() == "global-default"
    schema(server, "janes", "janes", "jane")
    assert of() == "global-default"
    level(server, "janes", type="Reject")
    assert of() == "janes"
    server.ok("DELETE", f"{LEVELS}/janes")
    assert of() == "global-default"
    level(server, "janes", type="Reject")
    server.ok("DELETE", f"{SCHEMAS}/janes")
    assert of() == "global-default"
    for name in ("exempt", "catch-all", "global-default"):
        server.ok("DELETE", f"{SCHEMAS}/{name}")
    missing = server.send(from_outside(JANE, "GET", CONFIGMAPS))
    assert (missing.code, missing.header(SCHEMA_HEADER)) == (200, ""), "by catch-all, which nobody has stored"


async def begun(server: Server, user: http.User, count: int) -> list[asyncio.Task[http.Response]]:
    """So many requests of a user that hold a seat and do not end."""
    far = server.store.revision + 1000
    found = [asyncio.create_task(server.api.handle(from_outside(user, "GET", waiting(far)))) for _ in range(count)]
    await asyncio.sleep(0)
    return found


async def ended(many: list[asyncio.Task[http.Response]]) -> None:
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)


def test_a_level_that_rejects_refuses_those_beyond_its_seats(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(server, JANE)
    level(server, "janes", type="Reject")
    schema(server, "janes", "janes", "jane")

    async def main() -> tuple[int, http.Response, int]:
        many = await begun(server, JANE, 10)
        refused = [task.result() for task in many if task.done()]
        await ended(many)
        after = await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))
        return len(many) - len(refused), refused[0], after.code

    seats, refused, after = server.run(main())
    assert seats == 3, "1 of 246 shares of 600 seats, rounded up"
    assert (refused.code, refused.header("retry-after"), after) == (429, "1", 200)
    assert b"priority level janes is at its limit (concurrency-limit)" in refused.body
    assert owner(server, refused) == ("janes", "janes")


def test_requests_wait_in_turn_for_a_seat(server: Server) -> None:
    """Whoever fills a level holds up another user by one of its queues, not by all that he has brought."""
    allow(server, JANE)
    bob = http.User("bob", ("developers",))
    allow(server, bob)
    level(server, "low", type="Queue", queuing={"queues": 64, "handSize": 4, "queueLengthLimit": 2})
    schema(server, "low", "low")

    async def main() -> tuple[list[int], int, int]:
        many = await begun(server, JANE, 3 + 4 * 2 + 5)
        refused = [task.result().code for task in many if task.done()]
        other = asyncio.create_task(server.api.handle(from_outside(bob, "GET", CONFIGMAPS)))
        await asyncio.sleep(0)
        assert not other.done()
        seated = 0
        while not other.done():
            many[seated].cancel()
            seated += 1
            for _ in range(20):
                await asyncio.sleep(0)
        await ended(many)
        return refused, seated, (await other).code

    refused, seated, code = server.run(main())
    assert refused == [429] * 5, "what fits in none of her queues"
    assert seated <= 6 and code == 200, "one of each of her queues at most went before"


def test_who_waits_too_long_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "WAIT_SECONDS_MAX", 0.01)
    allow(server, JANE)
    level(server, "low", type="Queue", queuing={"queues": 1, "handSize": 1, "queueLengthLimit": 9})
    schema(server, "low", "low")

    async def main() -> tuple[http.Response, int]:
        many = await begun(server, JANE, 3)
        late = await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))
        await ended(many)
        return late, (await server.api.handle(from_outside(JANE, "GET", CONFIGMAPS))).code

    late, after = server.run(main())
    assert (late.code, after) == (429, 200) and b"(time-out)" in late.body


def test_what_runs_long_has_no_seat(server: Server) -> None:
    allow(server, JANE)
    level(server, "low", type="Reject")
    schema(server, "low", "low")
    target = f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}"
    watches = [server.send(from_outside(JANE, "GET", target)) for _ in range(9)]
    assert [watch.code for watch in watches] == [200] * 9, "it had one until it had begun"

    async def main() -> list[int]:
        many = await begun(server, JANE, 3)
        logs = await server.api.handle(from_outside(JANE, "GET", "/api/v1/namespaces/default/pods/p/log"))
        watch = await server.api.handle(from_outside(JANE, "GET", target))
        await ended(many)
        return [logs.code, watch.code]

    assert server.run(main()) == [404, 429]
    for watch in watches:
        server.run(watch.body.aclose())


def test_figures() -> None:
    server = Server(metrics=telemetry.Telemetry())
    allow(server, JANE)
    level(server, "low", type="Queue", queuing={"queues": 1, "handSize": 1, "queueLengthLimit": 1})
    schema(server, "low", "low", "jane")

    def figures() -> dict[str, float]:
        text = server("GET", "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("apiserver_flowcontrol") and '"low"' in line]
        return {
            line.rpartition(" ")[0].removeprefix("apiserver_flowcontrol_"): float(line.split()[-1]) for line in lines
        }

    async def main() -> None:
        many = await begun(server, JANE, 5)
        response = await server.plane.handle(http.Request("GET", "/metrics", user=ADMIN))
        seen["now"] = response.body
        await ended(many)

    seen: dict[str, Any] = {}
    server.run(main())
    now, of = seen["now"].decode(), '{flow_schema="low",priority_level="low"}'
    for line in (
        f"current_executing_requests{of} 3.0",
        f"current_executing_seats{of} 3.0",
        f"current_inqueue_requests{of} 1.0",
        f"dispatched_requests_total{of} 3.0",
        'rejected_requests_total{flow_schema="low",priority_level="low",reason="queue-full"} 1.0',
        'nominal_limit_seats{priority_level="low"} 3.0',
        'upper_limit_seats{priority_level="low"} 3.0',
    ):
        assert f"apiserver_flowcontrol_{line}" in now, line
    after = figures()
    labels = 'flow_schema="low",priority_level="low"'
    assert after[f"current_executing_requests{of}"] == after[f"current_inqueue_requests{of}"] == 0
    assert after[f'rejected_requests_total{{{labels},reason="queue-full"}}'] == 1
    waited = after[f'request_wait_duration_seconds_count{{execute="true",{labels}}}']
    assert waited == after[f"dispatched_requests_total{of}"]
    assert waited == after[f'request_execution_seconds_count{{{labels},type="regular"}}']
    server.close()


def test_a_seat_costs_a_request_few_steps(server: Server) -> None:
    """Against the same request of who comes through the process; also right after a write of something else.

    Ten of them ask whether the answer is read by a person, as of all that comes from outside.
    """
    allow(server, JANE)
    server.create(configmap("c", k="v"))

    def steps(request: http.Request) -> int:
        with counted() as counting:
            assert server.send(request).code == 200
        return counting.count

    inside = http.Request("GET", f"{CONFIGMAPS}/c", from_outside(JANE, "GET", "").headers, user=JANE)
    outside = from_outside(JANE, "GET", f"{CONFIGMAPS}/c")
    for request in (inside, outside):
        steps(request)  # What is looked up once is known then.
    assert steps(outside) - steps(inside) <= 75, "the bounds of a user are a third of that"
