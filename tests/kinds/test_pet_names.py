"""The names of a set's pets and of their claims, read and written."""

from __future__ import annotations

from typing import Any

import pytest

from petset.kinds import pet_names
from petset.objects.meta import Object


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("web-0", ("web", 0)),
        ("a-b-12", ("a-b", 12)),
        ("web", ("", -1)),
        ("web-01", ("", -1)),
        ("web-", ("", -1)),
        ("-1", ("", -1)),
    ],
)
def test_only_canonical_names_are_pets(name: str, parsed: tuple[str, int]) -> None:
    assert pet_names.parsed(name) == parsed


def set_(**spec: Any) -> Object:
    templates = [{"metadata": {"name": "data"}}, {"metadata": {"name": "my-logs"}}]
    return {"metadata": {"name": "a-b"}, "spec": {"volumeClaimTemplates": templates, **spec}}


def test_the_pets_are_as_many_numbers_in_a_row_as_there_are_replicas() -> None:
    assert pet_names.names(set_()) == ["a-b-0"]  # replicas defaults to 1.
    assert pet_names.names(set_(replicas=0)) == []
    assert pet_names.names(set_(replicas=2, ordinals={"start": 3})) == ["a-b-3", "a-b-4"]


def test_a_pet_has_a_claim_of_each_template_in_their_order() -> None:
    assert pet_names.claim_names(set_(), "a-b-1") == ["data-a-b-1", "my-logs-a-b-1"]
    assert pet_names.claim_names(set_(volumeClaimTemplates=None), "a-b-1") == []


@pytest.mark.parametrize(
    ("claim", "template"),
    [
        ("data-a-b-0", "data"),
        ("my-logs-a-b-17", "my-logs"),  # Of a pet that is too many now, too.
        ("data-a-b-x", None),
        ("data-a-b-01", None),
        ("data-a-b", None),
        ("logs-a-b-0", None),
        ("data-a-b-c-0", None),  # Of the set a-b-c.
    ],
)
def test_which_template_makes_a_claim(claim: str, template: str | None) -> None:
    found = pet_names.template_of(set_(), claim)
    assert (found["metadata"]["name"] if found is not None else None) == template
