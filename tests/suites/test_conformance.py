"""What a report of upstream's specs says, and that the list of those known to fail names specs as the runner does."""

from __future__ import annotations

import re

from tests.suites import expected
from tests.suites.conformance import __main__ as conformance
from tests.suites.conformance import mirror, programs, specs

REPORT = """<testsuites><testsuite>
<testcase name="[It] [sig-apps] Job should run [Conformance]" status="passed"/>
<testcase name="[It] [sig-apps] Job should end [Conformance]" status="failed"><failure message="no"/></testcase>
<testcase name="[It] [sig-apps] DaemonSet needs two nodes [Conformance]" status="skipped">
<skipped message="skipped - there is one node"/></testcase>
<testcase name="[It] [sig-apps] Job may do more" status="skipped"/>
<testcase name="[It] [sig-node] Pods should run [Conformance]" status="skipped"/>
<testcase name="[SynchronizedBeforeSuite]" status="passed"/>
</testsuite></testsuites>"""


def test_a_report_says_what_came_of_a_groups_specs_alone(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    result = specs.read(report, "sig-apps")
    assert result.outcomes == {
        "[sig-apps] Job should run [Conformance]": expected.PASSED,
        "[sig-apps] Job should end [Conformance]": expected.FAILED,
        "[sig-apps] DaemonSet needs two nodes [Conformance]": expected.SKIPPED,
    }
    assert result.skipped == {"[sig-apps] DaemonSet needs two nodes [Conformance]": "skipped - there is one node"}


def test_what_fails_before_any_spec_counts(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT.replace('Suite]" status="passed"', 'Suite]" status="failed"'))
    assert specs.read(report, "sig-apps").outcomes["[SynchronizedBeforeSuite]"] == expected.FAILED


def test_a_groups_pattern_takes_its_specs_of_conformance():
    assert re.search(specs.pattern("sig-apps"), "[sig-apps] Job should run [Conformance]")
    assert not re.search(specs.pattern("sig-apps"), "[sig-node] Job should run [Conformance]")
    assert not re.search(specs.pattern("sig-apps"), "[sig-apps] Job should run")
    assert not re.search(specs.pattern("sig-apps", "should end (soon)"), "[sig-apps] Job should end soon [Conformance]")


def test_the_list_names_groups_and_their_specs():
    for group, tests in expected.read(conformance.EXPECTED).items():
        assert group in specs.GROUPS
        assert all(re.search(specs.pattern(group), test) for test in tests)


def test_every_program_of_an_image_has_its_recipe_and_every_recipe_its_names():
    own = {path.name for path in (programs.HERE / "images").iterdir()}
    assert {recipe for _, recipe, _ in programs.IN_IMAGES.values()} <= own <= set(mirror.RECIPES)
