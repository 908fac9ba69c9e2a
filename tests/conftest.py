"""What holds for every test: the laws draw the same examples in every run, and nobody changes an object that is held.

The laws may take as long as the machine does: no run fails by chance. `make test-fresh` draws anew, for somebody who
looks for what nobody has met yet (docs/reliability.md).
"""

from __future__ import annotations

import hypothesis
import pytest

from tests import frozen

hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def held_objects():
    """All that is held by the stores and caches of the running test (tests/frozen.py)."""
    with pytest.MonkeyPatch.context() as patch:
        yield frozen.watch(patch)


@pytest.fixture(autouse=True)
def objects_are_frozen(held_objects):
    yield
    changed = held_objects.take()
    assert not changed, "objects are frozen, and these were changed:\n" + "\n".join(changed)
