"""One kind in two versions: stored once, and shown to everybody in the form that he asks for."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds import event, event_v1
from petset.objects import encoding, meta, selectors, tables
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.store import store as stores
from petset.wire import http
from tests.server.conftest import ADMIN, Server, configmap

# Only here; both have the schema of a LeaseCandidate.
STORED = Kind(
    "coordination.example.com",
    "v1beta1",
    "leasecandidates",
    "LeaseCandidate",
    has_generation=True,
    fields=selectors.fields("spec.leaseName"),
    printer=tables.Printer(
        tables.columns("Name, Lease"), lambda obj, now: [tables.name(obj), obj["spec"]["leaseName"]]
    ),
)
OLDER = dataclasses.replace(STORED, version="v1alpha2", stored_as=STORED)
KINDS = (STORED, OLDER)
PATHS = [kind.path("default") for kind in KINDS]
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
MERGE = "application/merge-patch+json"


@pytest.fixture
def server() -> Any:
    server = Server()
    server.kinds.replace(server.kinds.now.with_kind(STORED).with_kind(OLDER))
    yield server
    server.close()


def candidate(kind: Kind, name: str, lease: str = "leader", **metadata: Any) -> dict[str, Any]:
    spec = {"leaseName": lease, "binaryVersion": "1.0.0", "strategy": "OldestEmulationVersion"}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


def item(obj: dict[str, Any]) -> dict[str, Any]:
    """As it stands in a list."""
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}


def both() -> Any:
    """(the one that writes, the one that reads)."""
    return pytest.mark.parametrize("writer", [0, 1], ids=["newer writes", "older writes"])


@both()
def test_what_one_version_writes_the_other_shows(server: Server, writer: int) -> None:
    mine, other, path, others = KINDS[writer], KINDS[1 - writer], PATHS[writer], PATHS[1 - writer]
    made = server.ok("POST", path, candidate(mine, "one"))
    assert made["apiVersion"] == mine.api_version
    assert server("POST", others, candidate(other, "one")).code == 409
    assert server.get(f"{others}/one") == {**made, "apiVersion": other.api_version}
    listed = server.get(others)
    assert listed["apiVersion"] == other.api_version and listed["items"] == [item(server.get(f"{others}/one"))]
    patched = server.ok("PATCH", f"{others}/one", {"spec": {"leaseName": "b"}}, kind=MERGE)
    assert patched["apiVersion"] == other.api_version and patched["metadata"]["generation"] == 2
    assert server.get(f"{path}/one") == {**patched, "apiVersion": mine.api_version}
    read = server.get(f"{path}/one")
    updated = server.ok("PUT", f"{path}/one", {**read, "spec": {**read["spec"], "leaseName": "c"}})
    assert updated["apiVersion"] == mine.api_version and updated["metadata"]["uid"] == made["metadata"]["uid"]
    assert server("PUT", f"{others}/one", {**read, "apiVersion": other.api_version}).code == 409, "it is an old one"
    assert server("PUT", f"{others}/one", updated).code == 400, "it is of the other version"
    (stored,) = server.store.list("/coordination.example.com/")[1]
    assert (stored.object["apiVersion"], stored.key) == (
        STORED.api_version,
        "/coordination.example.com/leasecandidates/default/one",
    )
    assert server.ok("DELETE", f"{others}/one")["status"] == "Success"
    assert server("GET", f"{path}/one").code == 404


@both()
def test_a_write_that_changes_nothing_is_none(server: Server, writer: int) -> None:
    server.ok("POST", PATHS[writer], candidate(KINDS[writer], "one"))
    read = server.get(f"{PATHS[1 - writer]}/one")
    before = server.store.revision
    assert server.ok("PUT", f"{PATHS[1 - writer]}/one", read) == read
    assert server.ok("PATCH", f"{PATHS[1 - writer]}/one", {"spec": {"leaseName": "leader"}}, kind=MERGE) == read
    assert server.store.revision == before


def test_a_dry_run_and_a_deletion_that_waits_are_shown_in_the_form_asked_for(server: Server) -> None:
    held = candidate(OLDER, "held", finalizers=["example.com/wait"])
    assert server.ok("POST", f"{PATHS[1]}?dryRun=All", held)["apiVersion"] == OLDER.api_version
    server.ok("POST", PATHS[1], held)
    marked = server.ok("DELETE", f"{PATHS[1]}/held")
    assert marked["apiVersion"] == OLDER.api_version and meta.is_deleting(marked)
    assert server.store.list("/coordination.example.com/")[1][0].object["apiVersion"] == STORED.api_version
    last = server.ok("PATCH", f"{PATHS[1]}/held", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert last["apiVersion"] == OLDER.api_version and not server.get(PATHS[0])["items"]
    for number in range(3):
        server.ok("POST", PATHS[0], candidate(STORED, f"c{number}"))
    gone = server.ok("DELETE", PATHS[1])
    assert gone["apiVersion"] == OLDER.api_version and len(gone["items"]) == 3


@both()
def test_watches_of_both_versions_see_every_change_in_their_form(server: Server, writer: int) -> None:
    mine, path = KINDS[writer], PATHS[writer]
    watches = [server.watch(f"{where}?watch=1") for where in (*PATHS, *PATHS)]
    server.ok("POST", path, candidate(mine, "one"))
    server.ok("PATCH", f"{path}/one", {"spec": {"leaseName": "b"}}, kind=MERGE)
    server.ok("DELETE", f"{path}/one")
    for watch, kind in zip(watches, (*KINDS, *KINDS), strict=True):
        events = [watch.next() for _ in range(3)]
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert [event["object"]["apiVersion"] for event in events] == [kind.api_version] * 3
        watch.close()


def test_selectors_and_tables_are_of_the_version_that_is_asked(server: Server) -> None:
    for name, lease in (("one", "a"), ("two", "b")):
        server.ok("POST", PATHS[0], candidate(STORED, name, lease, labels={"lease": lease}))
    for path in PATHS:
        for query in (
            "fieldSelector=spec.leaseName%3Db",
            "labelSelector=lease%3Db",
            "fieldSelector=metadata.name%3Dtwo",
        ):
            assert [meta.name(item) for item in server.get(f"{path}?{query}")["items"]] == ["two"]
            watch = server.watch(f"{path}?watch=1&{query}")
            assert watch.take(1) == [("ADDED", "two")]
            server.ok("PATCH", f"{PATHS[0]}/one", {"spec": {"binaryVersion": "2.0.0"}}, kind=MERGE)
            changed = {"metadata": {"annotations": {"n": str(server.store.revision)}}}
            server.ok("PATCH", f"{PATHS[0]}/two", changed, kind=MERGE)
            assert watch.take(1) == [("MODIFIED", "two")]
            watch.close()
        assert [row["cells"] for row in server.get(path, headers=TABLE)["rows"]] == [["one", "a"], ["two", "b"]]
    first = server.get(f"{PATHS[1]}?limit=1")
    rest = server.get(f"{PATHS[1]}?limit=1&continue={first['metadata']['continue']}")
    assert [page["apiVersion"] for page in (first, rest)] == [OLDER.api_version] * 2
    assert [meta.name(each) for each in (*first["items"], *rest["items"])] == ["one", "two"]


def test_a_long_list_is_converted_whole(server: Server) -> None:
    async def fill() -> None:
        for number in range(450):
            obj = candidate(STORED, f"c{number:03}", namespace="default", uid=f"u{number}")
            await server.store.put(STORED.key("default", f"c{number:03}"), obj, 0)

    server.run(fill())
    listed = server.get(PATHS[1])
    assert [each["metadata"]["name"] for each in listed["items"]] == [f"c{number:03}" for number in range(450)]
    assert listed["apiVersion"] == OLDER.api_version and not any("apiVersion" in each for each in listed["items"])


def test_a_conversion_may_take_its_time_and_is_asked_in_batches(server: Server) -> None:
    asked: list[int] = []

    async def from_stored(objects: Sequence[Object]) -> Sequence[Object]:
        asked.append(len(objects))
        await asyncio.sleep(0)
        version = {"apiVersion": OLDER.api_version}
        return [{**obj, **version, "spec": {**obj["spec"], "leaseName": "slow"}} for obj in objects]

    async def to_stored(objects: Sequence[Object]) -> Sequence[Object]:
        return [{**obj, "apiVersion": STORED.api_version} for obj in objects]

    slow = dataclasses.replace(OLDER, from_stored=from_stored, to_stored=to_stored)
    server.kinds.replace(server.kinds.now.with_kind(slow))
    for number in range(3):
        server.ok("POST", PATHS[0], candidate(STORED, f"c{number}", "quick"))
    assert [item["spec"]["leaseName"] for item in server.get(PATHS[1])["items"]] == ["slow"] * 3 and asked == [3]
    selected = server.get(f"{PATHS[1]}?fieldSelector=spec.leaseName%3Dslow")["items"]
    assert len(selected) == 3, "the fields are those of the form that is asked for"
    asked.clear()
    watches = [server.watch(f"{PATHS[1]}?watch=1&resourceVersion={server.store.revision}") for _ in range(5)]
    server.ok("PATCH", f"{PATHS[0]}/c0", {"spec": {"binaryVersion": "2.0.0"}}, kind=MERGE)
    for watch in watches:
        assert watch.next()["object"]["spec"]["leaseName"] == "slow"
        watch.close()
    assert asked == [2], "a change is converted once for all who watch: as it was and as it is"


def test_who_has_no_other_version_is_sent_the_stores_bytes(server: Server) -> None:
    server.create(configmap("one"))
    path = "/api/v1/namespaces/default/configmaps/one"
    answer = server.send(http.Request("GET", path, user=ADMIN))
    assert answer.body is server.store.list("/core/configmaps/default/")[1][0].encoded


def test_nothing_of_other_versions_is_kept_for_ever() -> None:
    from petset.server import conversion

    shown = conversion.Shown()

    async def many() -> None:
        for revision in range(1, 200):
            obj = candidate(STORED, "one", "x" * 20_000)
            entry = stores.Entry("/k", revision, 1, encoding.dumps(obj), obj)
            (change,) = await shown.changes(OLDER, [stores.Change("MODIFIED", entry, None)])
            assert change.entry.object["apiVersion"] == OLDER.api_version

    server = Server()
    server.run(many())
    assert shown._bytes <= conversion.SHOWN_CACHED_BYTES_MAX
    assert shown._bytes == sum(len(entry.encoded) for entry in shown._made.values()) > 0
    server.close()


# -- events.k8s.io


NEW = "/apis/events.k8s.io/v1/namespaces/default/events"
CORE = "/api/v1/namespaces/default/events"
WHEN = "2016-08-03T00:00:00.000000Z"


def new_event(name: str = "e", **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name},
        "eventTime": WHEN,
        "regarding": {"kind": "Pod", "namespace": "default", "name": "web-0"},
        "reason": "Started",
        "action": "Starting",
        "note": "it runs",
        "type": "Normal",
        "reportingController": "example.com/operator",
        "reportingInstance": "operator-1",
        **fields,
    }


def core_event(name: str = "e") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-0"},
        "reason": "Started",
        "message": "it runs",
        "type": "Normal",
        "source": {"component": "kubelet", "host": "node-1"},
        "count": 3,
        "firstTimestamp": "2016-08-03T00:00:00Z",
        "lastTimestamp": "2016-08-03T00:01:00Z",
    }


def test_events_of_either_form_are_the_same_events(server: Server) -> None:
    server.ok("POST", CORE, core_event("old"))
    server.ok("POST", NEW, new_event("new"))
    old = server.get(f"{NEW}/old")
    assert old["regarding"]["name"] == "web-0" and old["note"] == "it runs"
    assert old["deprecatedSource"] == {"component": "kubelet", "host": "node-1"} and old["deprecatedCount"] == 3
    assert (old["deprecatedFirstTimestamp"], old["deprecatedLastTimestamp"]) == (
        "2016-08-03T00:00:00Z",
        "2016-08-03T00:01:00Z",
    )
    new = server.get(f"{CORE}/new")
    assert new["involvedObject"]["name"] == "web-0" and new["message"] == "it runs"
    assert new["reportingComponent"] == "example.com/operator" and new["eventTime"] == WHEN
    assert len(server.store.list("/core/events/default/")[1]) == 2 and not server.store.list("/events.k8s.io/")[1]
    rows = [[row["cells"][:5] for row in server.get(path, headers=TABLE)["rows"]] for path in (CORE, NEW)]
    assert rows[0] == rows[1] and rows[0][0][3] == "pod/web-0"


def test_events_are_selected_by_the_names_of_the_form(server: Server) -> None:
    server.ok("POST", NEW, new_event("one"))
    server.ok("POST", NEW, new_event("two", reportingController="example.com/other"))
    for path, query in (
        (NEW, "reportingController%3Dexample.com/other,regarding.name%3Dweb-0"),
        (CORE, "reportingComponent%3Dexample.com/other,involvedObject.name%3Dweb-0"),
    ):
        assert [meta.name(item) for item in server.get(f"{path}?fieldSelector={query}")["items"]] == ["two"]
    assert server("GET", f"{NEW}?fieldSelector=involvedObject.name%3Dx").code == 400


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"reportingController": ""}, "reportingController"),
        ({"reportingController": "a b"}, "reportingController"),
        ({"reportingInstance": ""}, "reportingInstance"),
        ({"reportingInstance": "x" * 129}, "reportingInstance"),
        ({"action": ""}, "action"),
        ({"reason": "x" * 129}, "reason"),
        ({"note": "x" * 1025}, "note"),
        ({"type": "Odd"}, "type"),
        ({"regarding": {"kind": "Pod", "namespace": "other", "name": "p"}}, "regarding.namespace"),
        ({"series": {"count": 1, "lastObservedTime": WHEN}}, "series.count"),
    ],
)
def test_the_newer_form_has_stricter_rules(server: Server, wrong: dict[str, Any], field: str) -> None:
    answer = server("POST", NEW, {key: value for key, value in new_event(**wrong).items() if value is not None})
    assert answer.code == 422 and field in [cause["field"] for cause in answer.body["details"]["causes"]]


def test_the_newer_form_lets_only_the_series_change(server: Server) -> None:
    server.ok("POST", NEW, new_event())
    series = {"series": {"count": 2, "lastObservedTime": WHEN}}
    assert server.ok("PATCH", f"{NEW}/e", series, kind=MERGE)["series"]["count"] == 2
    refused = server("PATCH", f"{NEW}/e", {"note": "other"}, kind=MERGE)
    assert refused.code == 422 and refused.body["details"]["causes"][0]["field"] == "note"
    assert server.ok("PATCH", f"{CORE}/e", {"message": "other"}, kind=MERGE)["message"] == "other"
    assert json.dumps(server.get(f"{NEW}/e")["note"]) == '"other"'


TEXT = st.text("abc", max_size=3)
FIELDS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("Event"), "metadata": st.just({"name": "e"})},
    optional=dict.fromkeys((*event_v1.NAMES.values(), "reason", "type", "series", "action", "related"), TEXT),
)


@given(FIELDS)
def test_a_core_event_comes_back_as_it_was(obj: dict[str, Any]) -> None:
    (there,) = event_v1.from_core([obj])
    assert not (set(event_v1.NAMES.values()) & there.keys())
    assert event_v1.to_core([there]) == [obj]
    assert event.EVENTS.key("a", "b") == event_v1.EVENTS_V1.key("a", "b")
