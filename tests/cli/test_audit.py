"""`petset up` with an audit log: what is wrong with its flags is one line, before anything begins."""

from __future__ import annotations

import argparse

import pytest

from petset.cli import up
from petset.cli.failures import CommandError
from petset.cli.given import auditing


def given(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    up.arguments(parser)
    return parser.parse_args(flags)


@pytest.mark.parametrize(
    ("policy", "flags", "says"),
    [
        ("", ["--audit-log-path=log"], "nor is a place without a policy"),
        ("", ["--audit-policy-file=absent", "--audit-log-path=log"], "absent: No such file"),
        ("kind: x", ["--audit-policy-file=policy", "--audit-log-path=log"], "it is no Policy of audit.k8s.io/v1"),
        ("a: [", ["--audit-policy-file=policy", "--audit-log-path=log"], "cannot keep an audit log"),
        (
            "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None}]}",
            ["--audit-policy-file=policy", "--audit-log-path=absent/log"],
            "No such file",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, monkeypatch, policy, flags, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy").write_text(policy)
    with pytest.raises(CommandError) as wrong:
        auditing.settings(given(*flags))
    assert says in str(wrong.value) and "\n" not in str(wrong.value)


def test_what_is_right_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy").write_text("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}")
    taken = auditing.settings(given("--audit-policy-file=policy", "--audit-log-path=log", "--audit-log-maxsize=1"))
    assert taken is not None and (taken.path, taken.size_bytes_max) == (str(tmp_path / "log"), 1 << 20)
    assert auditing.settings(given()) is None
    taken = auditing.settings(given("--audit-policy-file=policy", "--audit-log-path=-"))
    assert taken is not None and taken.path == "-" and not (tmp_path / "-").exists()
