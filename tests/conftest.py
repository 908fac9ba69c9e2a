"""What holds for every test: the laws draw the same examples in every run, and nobody changes an object that is held.

The laws may take as long as the machine does: no run fails by chance. `make test-fresh` draws other examples from a
seed that it tells, for somebody who looks for what nobody has met yet (docs/reliability.md).
"""

from __future__ import annotations

import itertools

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


# What takes longest, so that nobody waits for one of them in the end while the other processes have nothing to do.
LONGEST = (
    "e2e", "torture/test_torture.py", "worlds/seeds", "cli/test_failures.py", "test_architecture.py", "clients",
    "cli", "node/containers", "test_house.py", "worlds", "images", "laws",
)  # fmt: skip
WAITING = ("cli", "clients", "e2e", "images", "node", "torture")  # For programs and containers, much of their time.


def _place(path: str) -> int:
    """Among the longest; the last for what is none of them."""
    return next((at for at, one in enumerate(LONGEST) if path == one or path.startswith(f"{one}/")), len(LONGEST))


def _in_turns(items: list[pytest.Item]) -> list[pytest.Item]:
    """The longest files first, and one that waits beside one that computes: no core has nothing to do."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0].removeprefix("tests/"), []).append(item)
    ordered = sorted(files, key=lambda path: (_place(path), -len(files[path])))
    waiting = [path for path in ordered if path.startswith(WAITING)]
    computing = [path for path in ordered if not path.startswith(WAITING)]
    mixed = [path for pair in itertools.zip_longest(waiting, computing) for path in pair if path is not None]
    return [item for path in mixed for item in files[path]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In turns; of a fresh run only the laws."""
    items[:] = _in_turns(items)
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
