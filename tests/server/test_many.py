"""What is asked over many objects is done in runs beside the loop; over few, at once. Users take turns there."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from petset.objects import tables
from petset.server import answers, lists, watch, weight
from petset.store import memory
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap, whole
from tests.server.test_weight import CONFIGMAPS, LINES

RUN, MANY = 3, 10
ROWS = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
METADATA = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


@pytest.fixture
def calls(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """(what, over how many objects, whether in the loop's thread), of all that costs by the object."""
    monkeypatch.setattr(weight, "RUN_OBJECTS_MAX", RUN)
    noted: list[tuple[str, int, bool]] = []

    def noting(where: Any, name: str, items_at: int) -> None:
        real = getattr(where, name)

        def noting_call(*args: Any) -> Any:
            in_loop = threading.current_thread() is threading.main_thread()
            noted.append((name, len(args[items_at]), in_loop))
            return real(*args)

        monkeypatch.setattr(where, name, noting_call)

    noting(lists.Selection, "among", 1)
    noting(tables, "rows", 1)
    noting(answers, "_partials", 0)
    noting(answers, "_objects", 0)
    noting(watch.Viewer, "initial", 1)
    noting(watch.Neighbour, "initial", 1)
    return noted


def filled(server: Server, count: int) -> list[str]:
    return [server.create(configmap(f"m{at}", labels={"many": "yes"}))["metadata"]["name"] for at in range(count)]


def beside(what: str) -> list[tuple[str, int, bool]]:
    """How MANY are gone through."""
    return [(what, size, False) for size in (RUN, RUN, RUN, MANY - 3 * RUN)]


def shown(server: Server, query: str = "", **headers: str) -> list[str]:
    body = server.get(f"{CONFIGMAPS}{query}", headers=headers)
    items = body["items"] if "items" in body else [row["object"] for row in body["rows"]]
    return [item["metadata"]["name"] for item in items]


@pytest.mark.parametrize(
    ("what", "query", "headers"),
    [
        ("among", "?labelSelector=many%3Dyes", {}),
        ("rows", "", ROWS),
        ("_partials", "", METADATA),
    ],
)
def test_many_objects_are_gone_through_in_runs_beside_the_loop(server, calls, what, query, headers):
    names = filled(server, MANY)
    assert shown(server, query, **headers) == names
    assert [call for call in calls if call[0] == what] == beside(what)


@pytest.mark.parametrize(("query", "headers"), [("?labelSelector=many", {}), ("", ROWS), ("", METADATA)])
def test_few_objects_are_gone_through_at_once(server, calls, query, headers):
    names = filled(server, RUN)
    assert shown(server, query, **headers) == names
    assert {(size, in_loop) for _, size, in_loop in calls} == {(RUN, True)}


@pytest.mark.parametrize(("what", "headers"), [("rows", ROWS), ("_partials", METADATA)])
def test_no_more_is_made_than_is_read(server, calls, what, headers):
    """Else each of many connections that do not read would hold a whole Table."""
    filled(server, MANY)
    response = server.send(http.Request("GET", CONFIGMAPS, tuple(headers.items()), user=ADMIN))
    server.run(anext(response.body))
    server.run(response.body.aclose())
    assert [call for call in calls if call[0] == what] == beside(what)[:1]


def test_a_plain_list_looks_into_no_object(server, calls):
    names = filled(server, MANY)
    assert shown(server) == names and calls == []


def test_a_plain_list_encodes_and_reads_no_item_to_leave_out_its_kind(server, monkeypatch):
    """But those that do not begin with the two: what somebody else has put into the store."""
    filled(server, MANY)
    stranger = {"metadata": {"name": "z", "namespace": "default"}, "kind": "ConfigMap", "apiVersion": "v1"}
    counted: list[str] = []
    for name in ("dumps", "loads_answer"):
        real = getattr(answers.encoding, name)
        monkeypatch.setattr(answers.encoding, name, lambda data, n=name, r=real: counted.append(n) or r(data))

    def items() -> list[Any]:
        counted.clear()
        return server.get(CONFIGMAPS)["items"]

    assert not any({"kind", "apiVersion"} & set(item) for item in items()) and len(items()) == MANY
    assert counted == ["dumps"] * 3, "the list's head, and what its items begin with"
    server.run(server.store.put("/core/configmaps/default/z", stranger, 0))
    assert [sorted(items()[at]) for at in (0, -1)] == [["data", "metadata"], ["metadata"]]
    assert counted == ["dumps"] * 3 + ["loads_answer", "dumps"]


@pytest.mark.parametrize("inside", [False, True])
def test_a_watchs_initial_events_come_in_runs(server, calls, inside):
    names = filled(server, MANY)
    target = f"{CONFIGMAPS}?watch=true&timeoutSeconds=1"
    response = server.send(http.Request("GET", target, user=ADMIN, takes_objects=inside))

    async def pieces() -> list[Any]:
        found = response.objects if inside else response.body
        return [piece async for piece in found]

    told = server.run(pieces())
    assert [len(piece if inside else piece.splitlines()) for piece in told] == [RUN, RUN, RUN, MANY - 3 * RUN]
    assert len(names) == MANY and calls == beside("initial")


def test_who_is_in_the_process_gets_many_objects_in_runs(server, calls):
    names = filled(server, MANY)
    response = server.send(http.Request("GET", CONFIGMAPS, user=ADMIN, takes_objects=True))
    assert [item["metadata"]["name"] for item in response.objects["items"]] == names
    assert calls == beside("_objects")


def test_a_list_is_of_one_revision_although_writes_come_between_its_runs(server, calls, monkeypatch):
    names = filled(server, MANY)
    revision = server.store.revision
    real = lists.Selection.among
    matched, go_on = threading.Event(), threading.Event()

    def waiting(self: lists.Selection, entries: Any) -> Any:
        matched.set()
        assert go_on.wait(30)
        return real(self, entries)

    monkeypatch.setattr(lists.Selection, "among", waiting)

    async def both() -> bytes:
        target = f"{CONFIGMAPS}?labelSelector=many"
        listing = asyncio.create_task(server.api.handle(http.Request("GET", target, user=ADMIN)))
        await asyncio.to_thread(matched.wait, 30)
        await server.api.handle(http.Request("DELETE", f"{CONFIGMAPS}/{names[-1]}", user=ADMIN))
        go_on.set()
        return await whole(await listing)

    answer = server.run(both())
    assert b'"resourceVersion":"%d"}' % revision in answer
    assert [b'"name":"%s"' % name.encode() in answer for name in names] == [True] * MANY
    assert server.store.revision > revision


def test_many_changes_are_told_in_runs_between_which_the_loop_goes_on(server, monkeypatch):
    monkeypatch.setattr(weight, "RUN_OBJECTS_MAX", RUN)
    at_once: list[int] = []
    real = watch.Viewer.changes
    monkeypatch.setattr(watch.Viewer, "changes", lambda self, run: at_once.append(len(run)) or real(self, run))
    seen = server.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={server.store.revision}")

    names = filled(server, MANY)
    assert [name for _, name in seen.take(MANY)] == names
    assert at_once == [RUN, RUN, RUN, MANY - 3 * RUN]
    seen.close()


@pytest.mark.parametrize(
    ("sizes", "found"),
    [([], []), ([1], [1]), ([9], [1]), ([1, 1, 1, 1], [3, 1]), ([4, 4, 1], [1, 2]), ([9, 1, 4, 9], [1, 2, 1])],
)
def test_runs_are_short_by_number_and_by_bytes(sizes, found, monkeypatch):
    monkeypatch.setattr(weight, "RUN_OBJECTS_MAX", 3)
    monkeypatch.setattr(weight, "RUN_BYTES_MAX", 6)
    assert [len(run) for run in weight.runs(sizes, int)] == found


# Users take turns


def in_line(*users: str, leaving: str = "") -> list[str]:
    """Whose work was done in which order, when all of it came while the thread was at work for somebody."""
    done: list[str] = []

    async def one(line: weight.Line, user: str) -> None:
        async with line.turn(user):
            done.append(user)
            await asyncio.sleep(0)

    async def main() -> None:
        line, first = weight.Line(), asyncio.Event()

        async def at_work() -> None:
            async with line.turn("somebody"):
                await first.wait()

        tasks = [asyncio.create_task(at_work()), *(asyncio.create_task(one(line, user)) for user in users)]
        await asyncio.sleep(0)
        for task, user in zip(tasks[1:], users, strict=True):
            if user == leaving:
                task.cancel()
        first.set()
        await asyncio.wait(tasks)
        async with asyncio.timeout(5), line.turn("afterwards"):
            assert not line._waiting

    asyncio.run(main())
    return done


def test_who_brings_much_holds_up_others_by_one_piece_of_work():
    assert in_line(*["jane"] * 5, "bob", "eve", "bob") == [*("jane", "bob", "eve"), *("jane", "bob"), *["jane"] * 3]


def test_who_leaves_the_line_holds_up_nobody():
    assert in_line("jane", "bob", "jane", "eve", leaving="jane") == ["bob", "eve"]


def test_who_is_cancelled_when_called_passes_the_turn_on():
    async def main() -> None:
        line = weight.Line()
        holding = line.turn("jane")
        await holding.__aenter__()

        async def one() -> None:
            async with line.turn("bob"):
                raise AssertionError("it was cancelled")

        bob = asyncio.create_task(one())
        await asyncio.sleep(0)
        await holding.__aexit__(None, None, None)  # Calls bob, who has not woken up yet.
        bob.cancel()
        await asyncio.wait([bob])
        async with asyncio.timeout(5), line.turn("eve"):
            pass

    asyncio.run(main())


def test_one_large_body_does_not_wait_for_many_of_another_user(server, monkeypatch):
    order: list[str] = []
    real: Callable[..., Any] = memory.MemoryStore.put

    async def put(self: Any, key: str, obj: Any, expected: Any) -> Any:
        order.append(key.rpartition("/")[2])
        return await real(self, key, obj, expected)

    monkeypatch.setattr(memory.MemoryStore, "put", put)

    def post(user: str, name: str) -> Any:
        body = json.dumps(configmap(name, **LINES)).encode()
        caller = http.User(user, ("system:masters",))
        return server.api.handle(
            http.Request("POST", CONFIGMAPS, (("content-type", "application/json"),), body, user=caller)
        )

    async def crowd() -> list[int]:
        many = [asyncio.create_task(post("jane", f"j{at}")) for at in range(8)]
        await asyncio.sleep(0)
        bob = asyncio.create_task(post("bob", "b"))
        return [answer.code for answer in await asyncio.gather(*many, bob)]

    assert server.run(crowd()) == [201] * 9
    assert order.index("b") < 3
