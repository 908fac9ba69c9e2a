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
