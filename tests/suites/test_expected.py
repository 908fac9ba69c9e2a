"""The list of tests known not to pass is held to what happens: it can be neither too short nor too long."""

from __future__ import annotations

from tests.suites import expected, go_suites, python_suites, sources, table

KNOWN = {"a": "missing", "b": "missing"}


def test_a_run_is_as_expected_when_exactly_the_listed_tests_fail():
    assert expected.compare({"a": "failed", "b": "failed", "c": "passed", "d": "skipped"}, KNOWN).as_expected


def test_what_fails_and_is_not_listed_is_unexpected():
    verdict = expected.compare({"a": "failed", "b": "failed", "c": "failed"}, KNOWN)
    assert verdict.unexpected == ("c",) and not verdict.as_expected


def test_what_is_listed_and_passes_is_a_mistake_of_the_list():
    verdict = expected.compare({"a": "passed", "b": "failed"}, KNOWN)
    assert verdict.mended == ("a",) and not verdict.as_expected


def test_what_is_listed_and_not_run_is_a_mistake_of_the_list():
    verdict = expected.compare({"a": "failed"} | {"b": "skipped"}, KNOWN)
    assert verdict.unknown == ("b",) and not verdict.as_expected
    assert expected.compare({"a": "failed"}, KNOWN).unknown == ("b",)


def test_the_list_names_suites_that_there_are():
    assert set(expected.read()) <= {suite.name for suite in table.SUITES}


def test_every_suite_has_a_pinned_source():
    packages = {suite.package for suite in table.SUITES if isinstance(suite, table.PythonSuite)}
    assert packages == set(sources.pins())
    assert all(suite.checksum.startswith("h1:") for suite in table.SUITES if isinstance(suite, table.GoSuite))


def test_a_report_says_what_came_of_each_test(tmp_path):
    report = tmp_path / "report.xml"
    rows = (
        ("x.test_a.TestIt", "test_one", ""),
        ("x.test_a", "test_two[a-b]", '<failure message="m">t</failure>'),
        ("x.test_a", "test_three", '<skipped message="m"/>'),
        ("x.test_a", "test_four", ""),
        ("x.test_a", "test_four", '<error message="in teardown">t</error>'),
    )
    cases = "".join(f'<testcase classname="{c}" file="x/test_a.py" name="{n}">{t}</testcase>' for c, n, t in rows)
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert python_suites.outcomes(report) == {
        "x/test_a.py::TestIt::test_one": "passed",
        "x/test_a.py::test_two[a-b]": "failed",
        "x/test_a.py::test_three": "skipped",
        "x/test_a.py::test_four": "failed",
    }


def test_a_report_of_ginkgo_says_what_came_of_each_test(tmp_path):
    report = tmp_path / "report.xml"
    rows = (("[BeforeSuite]", "passed"), ("[It] a b", "passed"), ("[It] c", "pending"), ("[It] d", "timedout"))
    cases = "".join(f'<testcase name="{name}" status="{status}"/>' for name, status in rows)
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert go_suites.outcomes(report, "pkg/x") == {
        "pkg/x::a b": "passed",
        "pkg/x::c": "skipped",
        "pkg/x::d": "failed",
    }
