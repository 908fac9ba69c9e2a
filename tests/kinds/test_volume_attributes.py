"""Classes of volume attributes: what is refused, and that nothing of one changes."""

from __future__ import annotations

import pytest

from petset.kinds.storage.attributes import PARAMETERS_BYTES_MAX, PARAMETERS_MAX, VOLUMEATTRIBUTESCLASSES

KIND = VOLUMEATTRIBUTESCLASSES
GOOD = {"metadata": {"name": "fast"}, "driverName": "csi.example.com", "parameters": {"iops": "5000"}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"driverName": ""}, "driverName"),
        ({"driverName": "not a name"}, "driverName"),
        ({"parameters": {}}, "parameters"),
        ({"parameters": {"": "x"}}, "parameters"),
        ({"parameters": {f"k{number}": "v" for number in range(PARAMETERS_MAX)}}, None),
        ({"parameters": {f"k{number}": "v" for number in range(PARAMETERS_MAX + 1)}}, "parameters"),
        ({"parameters": {"k": "v" * PARAMETERS_BYTES_MAX}}, "parameters"),
    ],
)
def test_what_is_refused(change, field):
    found = KIND.validate({**GOOD, **change})
    assert [error.field for error in found] == ([field] if field else [])


def test_nothing_of_it_changes():
    for change in ({"driverName": "other.example.com"}, {"parameters": {"iops": "1"}}):
        (error,) = KIND.validate_update({**GOOD, **change}, GOOD)
        assert error.field in change and error.reason == "FieldValueForbidden"
    assert not KIND.validate_update({**GOOD, "metadata": {"name": "fast", "labels": {"a": "b"}}}, GOOD)
