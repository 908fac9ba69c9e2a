"""What the laws of the worlds say of themselves: a law that looks away would find nothing."""

from __future__ import annotations

from typing import Any

import pytest

from petset.world import laws

OLD, NEW = laws.Running("node-0", "old", ()), laws.Running("node-1", "new", ())
BY_FORCE = "deleted by force"


@pytest.mark.parametrize(
    ("runs", "starts", "excused", "in_the_api", "is_broken"),
    [
        (OLD, NEW, "", "new", True),
        (OLD, NEW, "old", "new", False),  # Its node does not know yet that it was deleted by force.
        (NEW, OLD, "old", "new", False),  # Its node was about to start it when it was.
        (NEW, OLD, "old", "old", True),  # It is there, whatever was done to it.
        (NEW, OLD, "", "new", True),
        (OLD, laws.Running("node-0", "new", ()), "old", "new", True),  # One node knows better.
    ],
)
def test_no_two_of_one_identity_run_but_where_one_was_deleted_by_force(
    runs: laws.Running, starts: laws.Running, excused: str, in_the_api: str, is_broken: bool
) -> None:
    there: list[tuple[str, laws.Running]] = [("default/web-1", runs)]
    law = laws.Laws(lambda: 0.0, lambda: there)
    pod: dict[str, Any] = {"metadata": {"name": "web-1", "namespace": "default", "uid": in_the_api}}
    law.objects[f"{laws.PODS}default/web-1"] = pod
    if excused:
        law.excused(excused, BY_FORCE)
    law.starts("default/web-1", starts)
    assert bool(law.broken) == is_broken, law.broken
