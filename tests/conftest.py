"""What holds for every test: the laws draw the same examples in every run, and nobody changes an object that is held.

The laws may take as long as the machine does: no run fails by chance. `make test-fresh` draws other examples from a
seed that it tells, for somebody who looks for what nobody has met yet (docs/reliability.md).
"""

from __future__ import annotations

import hypothesis
import pytest

from petset.testing import plugin
from tests import frozen

hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "fresh", hypothesis.settings.get_profile("steady"), derandomize=False, print_blob=True, database=None
)
hypothesis.settings.load_profile("steady")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a fresh run only the laws."""
    if config.getoption("--hypothesis-profile") != "fresh":
        return
    laws = [item for item in items if hypothesis.is_hypothesis_test(getattr(item, "function", None))]
    config.hook.pytest_deselected(items=[item for item in items if item not in laws])
    items[:] = laws


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


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """petset's own fixtures, also where petset was installed before it had any."""
    if not pluginmanager.hasplugin("petset"):
        pluginmanager.register(plugin, "petset")
