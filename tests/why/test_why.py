"""What is said of things that do not get on: cases of what is there (tests/cases/why), and then the sentences."""

from __future__ import annotations

import asyncio

import pytest

from petset.objects import errors
from petset.why import finding, reading
from petset.why.picture import Unread
from tests.case_files import cases
from tests.why.clusters import Fake, kind_of


@pytest.mark.parametrize("case", cases("why"))
def test_why(case):
    given = case["given"]
    fake = Fake(given, case.get("logs", {}), case.get("petset", True), case.get("refused", ()))
    kind, _, name = case["about"].partition("/")
    row = kind_of(kind)
    told = fake.told(row, name, "default" if row.namespaced else "")
    assert "\n".join(finding.lines(told)).split("\n") == "\n".join(case["then"]).split("\n")
    assert told.state == case["state"]
    assert len(fake.asked) == len(set(fake.asked)), "nothing is read twice"


@pytest.mark.parametrize("case", cases("why"))
def test_lists_that_come_in_pages_say_the_same(case):
    """A server may cut a list wherever it wants to."""
    fake = Fake(case["given"], case.get("logs", {}), case.get("petset", True), case.get("refused", ()), page_objects=1)
    kind, _, name = case["about"].partition("/")
    row = kind_of(kind)
    told = fake.told(row, name, "default" if row.namespaced else "")
    assert "\n".join(finding.lines(told)).split("\n") == "\n".join(case["then"]).split("\n")


class Raw:
    """A client of a fake cluster, for GETs alone."""

    def __init__(self, fake: Fake):
        self._fake = fake

    async def raw(self, target: str) -> bytes:
        found = self._fake.answer(target)
        if isinstance(found, Unread):
            raise errors.ApiError(found.code, "NotFound" if found.is_missing else "Forbidden", found.message)
        return found


def test_lists_are_read_to_their_end_in_one_round_and_none_twice():
    pods = [{"kind": "Pod", "name": f"web-{i}", "labels": {"app": f"a{i}"}} for i in range(250)]
    service = {"kind": "Service", "name": "web", "spec": {"selector": {"app": "a249x"}}}
    near = {"kind": "Pod", "name": "last", "labels": {"app": "a249"}}
    fake = Fake([service, near, *pods[:249]], {}, True, page_objects=50)
    found = asyncio.run(reading.told(Raw(fake), kind_of("Service"), "web", "default"))
    assert "has no endpoints" in found.says
    pages = [target for target in fake.asked if "/pods?" in target and "labelSelector" not in target]
    assert len(pages) == 5 and len(fake.asked) == len(set(fake.asked))


def test_a_list_without_an_end_is_read_for_so_many_pages_only():
    fake = Fake(
        [
            {"kind": "Service", "name": "web", "spec": {"selector": {"app": "none"}}},
            *({"kind": "Pod", "name": f"p{i}"} for i in range(100)),
        ],
        {},
        True,
        page_objects=1,
    )
    assert "has no endpoints" in asyncio.run(reading.told(Raw(fake), kind_of("Service"), "web", "default")).says
    assert len([target for target in fake.asked if "/pods?" in target and "labelSelector" not in target]) == 20


@pytest.mark.parametrize("case", cases("why"))
def test_whatever_is_missing_something_is_told(case):
    """Objects come and go while one looks, and not everybody writes all fields: each is left out in turn."""
    row, name = kind_of(case["about"].partition("/")[0]), case["about"].partition("/")[2]
    given = case["given"]
    for i, obj in enumerate(given):
        without = [{key: value for key, value in obj.items() if key != gone} for gone in ("status", "labels", "of")]
        for instead in ([], *([one] for one in without)):
            fake = Fake([*given[:i], *instead, *given[i + 1 :]], case.get("logs", {}), case.get("petset", True))
            assert finding.lines(fake.told(row, name, "default" if row.namespaced else ""))


def test_what_is_said_of_a_set_reads_no_more_of_more_pets():
    """An ordered set's first pet that is not ready is looked into, and none behind it."""

    def asked(replicas: int) -> int:
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "podManagementPolicy": "OrderedReady",
        }
        waiting = {
            "phase": "Pending",
            "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}],
        }
        pods = [
            {
                "kind": "Pod",
                "name": f"web-{i}",
                "of": "StatefulSet/web",
                "labels": {"app": "web"},
                "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]},
                "status": waiting,
            }
            for i in range(replicas)
        ]
        fake = Fake([{"kind": "StatefulSet", "name": "web", "spec": spec}, *pods], {}, True)
        fake.told(kind_of("StatefulSet"), "web", "default")
        return len(fake.asked)

    assert asked(50) == asked(5)


@pytest.mark.parametrize(
    "policy, says",
    [
        (
            "OrderedReady",
            "1 of 2147483647 pets are ready; web-2, web-3, web-4, web-5, web-6 and 2147483639 more are made only once "
            "web-1 is ready",
        ),
        ("Parallel", "1 of 2147483647 pets are ready"),
    ],
)
def test_pets_that_are_not_there_are_counted_and_never_walked(policy: str, says: str):
    """As many as the field can hold: any user may ask for them, and the server answers why."""
    spec = {
        "replicas": 2**31 - 1,
        "selector": {"matchLabels": {"app": "web"}},
        "podManagementPolicy": policy,
    }
    pods = [
        {
            "kind": "Pod",
            "name": f"web-{i}",
            "of": "StatefulSet/web",
            "labels": {"app": "web"},
            "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        }
        for i, ready in ((0, "True"), (1, "False"), (7, "False"))
    ]
    fake = Fake([{"kind": "StatefulSet", "name": "web", "spec": spec}, *pods], {}, True)
    found = fake.told(kind_of("StatefulSet"), "web", "default")
    assert found.says == says and 0 < len(found.because) <= 5
    absent = fake.told(kind_of("Pod"), "web-2147483646", "default")
    assert absent.says == "is not there yet; StatefulSet web makes it"
    absent = fake.told(kind_of("Pod"), "web-2147483647", "default")
    assert absent.says == "is not there: StatefulSet web has 2147483647 pets, and this is none of them"
