"""What is said of things that do not get on: cases of what is there (tests/cases/why), and then the sentences."""

from __future__ import annotations

import pytest

from petset.why import finding
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
