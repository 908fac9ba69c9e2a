"""Variables out of files that a container wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.node import env_files


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("A='1'\nB='2'\n", "B", "2"),
        ("A='1'", "A", "1"),
        ("\n  # of A\n\t A='1' # one\n", "A", "1"),
        ("A='one\ntwo'\nB='3'", "A", "one\ntwo"),
        ("A='one\ntwo'\nB='3'", "B", "3"),
        ("A= 'x'\n", "A", ""),
        ("A=''\n", "A", ""),
        ("A='1'\nA='2'\n", "A", "1"),
        ("A='$B # \\n'\n", "A", "$B # \\n"),
        ("A='1'\nnonsense", "A", "1"),
        ("A='1'\n", "B", None),
        ("", "A", None),
    ],
)
def test_values(text: str, key: str, found: str | None):
    assert env_files.value(text, key) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1", 1), ("A='1'\nB", 2), ("='x'", 1), ("A ='x'", 1), ("A='x'y", 1), ("\nA='x", 2), ('A="x"', 1)],
)
def test_what_is_no_such_file(text: str, line: int):
    with pytest.raises(env_files.Malformed, match=f"line {line} "):
        env_files.value(text, "Z")


@given(st.text(alphabet="AB='# \t\nx", max_size=40))
def test_any_text_is_read_or_refused(text: str):
    try:
        found = env_files.value(text, "A")
    except env_files.Malformed:
        return
    assert found is None or "'" not in found
